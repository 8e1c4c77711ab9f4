"""Models of series and particles, which have no grid: their objectives take the batches as they are."""

import pytest
import torch
from torch import nn

from data.made_sets import particles, series_of_unequal_length
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.training.baselines import mean_of_training
from sciml.training.checkpoint import Field, read_checkpoint
from sciml.training.evaluate import evaluate
from sciml.training.fit import fit
from sciml.training.optimisers import SGD


class NextState(nn.Module):
    """A linear map of the components, the same for each instant or particle."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.linear = nn.Linear(components, components)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.mark.parametrize(
    ("write", "name", "field", "asked"),
    [
        (series_of_unequal_length, "x1", Field("x1", "1", 3, 1), Field("x1_next", "1", 3, 1)),
        (particles, "position", Field("position", "um", 2, 1), Field("position_next", "um", 2, 1)),
    ],
)
def test_a_stream_without_a_grid_is_trained_on_batches_as_they_are(tmp_path, write, name, field, asked):
    train = stream(write(tmp_path / "set"), batch_size=4, window=Window(1, 1), dtype=torch.float32)

    def objective(model, batch):
        return (model(batch[name]) - batch[f"{name}_next"]).square().mean()

    torch.manual_seed(0)
    run = fit(NextState(field.channels), objective, train, steps=6, every=3, optimiser=SGD(1e-2), out=tmp_path / "run")
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    saved = read_checkpoint(tmp_path / "run" / "last.pt")
    assert (saved.domain, saved.window, saved.inputs[0], saved.targets[0]) == (None, Window(1, 1), field, asked)


def test_norms_over_a_grid_need_one(tmp_path):
    test = stream(series_of_unequal_length(tmp_path / "set"), batch_size=4, window=Window(2, 1))
    with pytest.raises(ValueError, match="stream: its set has no grid, which norms are taken over"):
        evaluate(NextState(3), test)


def test_the_training_mean_of_a_series_has_its_instants_and_components(tmp_path):
    train = stream(series_of_unequal_length(tmp_path / "set"), batch_size=4, window=Window(2, 2))
    every = torch.cat([batch["x1_next"] for batch in train])
    assert torch.allclose(mean_of_training(train).mean, every.mean(0), rtol=1e-6)
