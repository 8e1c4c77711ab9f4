import pytest
import torch
from torch import nn

from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import stream
from sciml.numerics.domain import Domain
from sciml.training.baselines import TrainingMean
from sciml.training.checkpoint import Field, save
from sciml.training.predict import predict
from training.small_runs import MemoryStream, samples
from training.two_ranks import write_set

DOMAIN = Domain.box((1.0, 1.0), (6, 5), "open", "cells")
TRUST = (__name__,)


class Affine(nn.Module):
    """2 x + 1 of every channel, and the sum of the channels: two variables out."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.tensor(factor))
        self.calls = []

    def forward(self, a):
        self.calls.append((len(a), self.training, torch.is_grad_enabled()))
        return torch.cat([self.weight * a, a.sum(1, keepdim=True)], 1)


X, Y_AND_S = (Field("x"),), (Field("y"), Field("s"))


def saved(path, inputs=X, targets=Y_AND_S, domain=DOMAIN):
    save(path, Affine(2.0), domain=domain, inputs=inputs, targets=targets)
    return path


FIELD = torch.randn(70, 1, 6, 5, generator=torch.Generator().manual_seed(0))


def test_fields_in_memory_come_back_by_name_in_their_order(tmp_path):
    made = predict(saved(tmp_path / "m.pt"), {"x": FIELD}, trust=TRUST)
    assert set(made) == {"y", "s"}
    assert torch.equal(made["y"], 2 * FIELD)
    assert torch.equal(made["s"], FIELD)


def test_channels_are_joined_in_the_order_of_the_checkpoint_not_of_the_caller(tmp_path):
    path = saved(tmp_path / "m.pt", (Field("b", channels=2), Field("a")), (Field("y", channels=3), Field("s")))
    a, b = FIELD, torch.cat([FIELD + 1, FIELD + 2], 1)
    made = predict(path, {"a": a, "more": a, "b": b}, trust=TRUST)
    assert torch.equal(made["y"], 2 * torch.cat([b, a], 1))


def test_a_stream_is_predicted_in_stored_order_and_physical_units(tmp_path):
    train = stream(write_set(tmp_path / "set.pt", 13), batch_size=5)
    inner = nn.Identity()
    model = Normalised(inner, Normaliser([1.0], [2.0]), Normaliser([10.0], [4.0]))
    made = predict(model, train)
    truth = torch.load(tmp_path / "set.pt", weights_only=True)["x"].float()[:, None]
    assert torch.allclose(made["y"], (truth - 1) / 2 * 4 + 10)


def test_a_model_is_run_for_evaluation_and_left_as_it_was(tmp_path):
    train = stream(write_set(tmp_path / "set.pt", 13), batch_size=5)
    model = Affine(2.0)
    with pytest.raises(ValueError, match="model: gave 2 channels, the targets have 1"):
        predict(model, train)
    assert model.calls == [(5, False, False), (5, False, False), (3, False, False)]


def test_a_stream_of_another_grid_is_refused_unless_any_grid_will_do(tmp_path):
    here = stream(write_set(tmp_path / "set.pt", 9), batch_size=5)
    there = Domain.box((1.0, 1.0), (12, 10), "open", "cells")
    path = saved(tmp_path / "m.pt", domain=there)
    with pytest.raises(
        ValueError, match=r"grid: got .* 6 points .*m\.pt was trained on .* 12 points .*; resample.*any_grid=True"
    ):
        predict(path, here, trust=TRUST)
    assert predict(path, here, any_grid=True, trust=TRUST)["y"].shape == (9, 1, 6, 5)
    walls = saved(tmp_path / "walls.pt", domain=Domain.box((1.0, 1.0), (12, 10), "dirichlet", "cells"))
    with pytest.raises(ValueError, match="grid: got"):
        predict(walls, here, any_grid=True, trust=TRUST)


def test_fields_of_another_grid_are_refused(tmp_path):
    path = saved(tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"variable x: got shape \(70, 1, 5, 6\), the grid of .*m\.pt is \(6, 5\)"):
        predict(path, {"x": FIELD.mT}, trust=TRUST)
    turned = Domain.box((1.0, 1.0), (5, 6), "open", "cells")
    with pytest.raises(ValueError, match="grid: got"):
        predict(path, {"x": FIELD.mT}, domain=turned, trust=TRUST)
    assert predict(path, {"x": FIELD.mT}, domain=turned, any_grid=True, trust=TRUST)["y"].shape == (70, 1, 5, 6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((Field("x", "m"),), r"variable x: got units '1', the checkpoint .*m\.pt has 'm'; convert it"),
        ((Field("permeability"),), r"variable permeability: the checkpoint .*m\.pt needs it, there are x, y; rename yours"),
        ((Field("x", channels=3),), r"variable x: got channels 1, the checkpoint .* has 3"),
    ],
)
def test_other_variables_units_or_channels_are_named(tmp_path, inputs, message):
    here = stream(write_set(tmp_path / "set.pt", 9), batch_size=5)
    with pytest.raises(ValueError, match=message):
        predict(saved(tmp_path / "m.pt", inputs), here, trust=TRUST)


def test_values_and_types_that_would_go_wrong_are_named(tmp_path):
    path = saved(tmp_path / "m.pt")
    broken = FIELD.clone()
    broken[3, 0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="variable x: holds values that are not finite"):
        predict(path, {"x": broken}, trust=TRUST)
    with pytest.raises(ValueError, match=r"variable x: got torch\.float64, the model has torch\.float32"):
        predict(path, {"x": FIELD.double()}, trust=TRUST)
    with pytest.raises(ValueError, match="a model does not know the names of fields"):
        predict(TrainingMean(torch.zeros(1, 6, 5)), {"x": FIELD})


def test_a_model_that_fails_comes_back_in_its_mode_and_another_precision_is_refused():
    single = torch.nn.Conv1d(1, 1, 1)
    with pytest.raises(ValueError, match=r"model: its weights are torch.float32, the stream brings torch.float64"):
        predict(single, MemoryStream(samples(5), 2))
    assert single.training
