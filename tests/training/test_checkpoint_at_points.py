"""What the checkpoint of an operator at points holds: sensors, units, scales, the name of its error; no data are needed."""

import shutil

import pytest
import torch

from data.made_sets import at_points
from sciml.data.stream import stream
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.networks import MLP, Chain
from sciml.operators.deeponet.objectives import FunctionsAtPoints, RelativeError, SquaredError
from sciml.operators.deeponet.sensors import AtSensors, Sampled
from sciml.training.checkpoint import load, read_checkpoint
from sciml.training.fit import fit

READING = FunctionsAtPoints(("f",), ("s",), "y")


@pytest.fixture(params=["strict", "interpolate"])
def trained(request, tmp_path):
    """Run and file of an operator that was trained in units of its own; the data are gone."""
    folder = at_points(tmp_path / "set")
    train = stream(folder, batch_size=2, dtype=torch.float64)
    u, _, s = (torch.cat(parts) for parts in zip(*(READING(batch) for batch in train), strict=True))
    (x,) = train.domain.coordinates()
    torch.manual_seed(0)
    components = PrincipalComponents.of(u)
    branch = AtSensors(Chain([components, MLP((components.count, 6))]), x[:, None], request.param)
    trunk = MLP((2, 12), "tanh", last_activation=True)
    scales = {"scale": s.std((0, 1)).tolist(), "shift": s.mean((0, 1)).tolist()}
    model = DeepONet(branch, trunk, channels=2, split="trunk", **scales).double()
    run = fit(model, SquaredError(READING), train, steps=4, validation=train, criterion=RelativeError(READING), out=tmp_path)
    shutil.rmtree(folder)
    return run, tmp_path / "best.pt", u, x


def test_answers_in_physical_units_are_the_same_without_the_data(trained):
    run, path, u, _ = trained
    y = torch.rand(9, 2, dtype=torch.float64)
    assert torch.equal(load(path)(u, y), run.model(u, y))
    assert float(run.model(u, y).detach().mean()) == pytest.approx(
        3, abs=1.5
    )  # of the set, about 3; a net at its start gives 0


def test_the_file_names_sensors_units_points_and_the_error(trained):
    run, path, _, x = trained
    kept = read_checkpoint(path)
    assert [(field.name, field.units) for field in kept.targets] == [("s", "K")]
    assert [field.name for field in kept.inputs] == ["f", "y"]
    assert torch.equal(kept.domain.coordinates()[0], x)
    assert torch.equal(load(path, kind=DeepONet).branch.sensors, x[:, None])
    assert kept.metrics == {"validation": run.best, "step": run.best_step}
    assert kept.criterion.endswith("RelativeError")


def test_other_sensors_are_refused_or_resampled_as_was_asked(trained):
    run, path, u, x = trained
    model, y = load(path, kind=DeepONet), torch.rand(9, 2, dtype=torch.float64)
    finer = torch.linspace(float(x[0]), float(x[-1]), 2 * len(x) - 1, dtype=torch.float64)
    between = torch.stack([u[:, 0], torch.cat([(u[:, 0, 1:] + u[:, 0, :-1]) / 2, u[:, 0, :1]], 1)], -1).flatten(1)[:, :-1]
    given = Sampled(between[..., None], finer[:, None])
    if model.branch.policy == "strict":
        with pytest.raises(ValueError, match=f"u: got {len(finer)} sensors; the model has {len(x)} of its own"):
            model(given, y)
    else:
        torch.testing.assert_close(model(given, y), run.model(u, y), rtol=1e-12, atol=0)
