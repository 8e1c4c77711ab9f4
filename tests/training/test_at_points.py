import csv

import pytest
import torch
from torch import nn

from data.made_sets import at_points
from sciml.data.stream import stream
from sciml.metrics.functions import global_relative_l2, mean_relative_l2
from sciml.operators.deeponet.objectives import FunctionsAtPoints
from sciml.training.at_points import evaluate_at_points

READING = FunctionsAtPoints(("f",), ("s",), "y")


class Off(nn.Module):
    """Answers with a number times the first coordinate, in both channels."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, u, y):
        return self.factor * y[..., :1].expand(*y.shape[:-1], 2)


def test_a_row_holds_the_mean_and_the_global_error_over_all_batches(tmp_path):
    folder = at_points(tmp_path / "set")
    whole = next(iter(stream(folder, batch_size=100, dtype=torch.float64)))
    table = evaluate_at_points(
        {"half": Off(0.5), "zero": Off(0.0)}, READING, stream(folder, batch_size=2, dtype=torch.float64), out=tmp_path
    )
    half = table.rows[0]
    prediction = (0.5 * whole["y"][..., :1]).expand_as(whole["s"])
    assert half.mean_squared_error == pytest.approx(float((prediction - whole["s"]).square().mean()), rel=1e-6)
    assert half.mean_relative_l2 == pytest.approx(float(mean_relative_l2(prediction, whole["s"])), rel=1e-6)
    assert half.global_relative_l2 == pytest.approx(float(global_relative_l2(prediction, whole["s"])), rel=1e-6)
    assert half.worst_relative_l2 > half.mean_relative_l2
    assert table.rows[1].mean_relative_l2 == pytest.approx(1.0)
    assert table.functions == len(whole["s"])
    with (tmp_path / "table.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["half", "zero"]
    assert "mean relative l2" in str(table)
    assert "global relative l2" in str(table)


def test_an_answer_that_is_not_finite_is_named(tmp_path):
    folder = at_points(tmp_path / "set")
    with pytest.raises(ValueError, match="model: bad gave an answer that is not finite"):
        evaluate_at_points({"bad": Off(torch.inf)}, READING, stream(folder, batch_size=2))


def test_truths_that_are_zero_have_no_relative_error_and_bad_ones_are_named(tmp_path):
    def zero(batch):
        return batch["f"], batch["y"], torch.zeros_like(batch["s"])

    def bad(batch):
        return batch["f"], batch["y"], batch["s"] * torch.nan

    samples = stream(at_points(tmp_path / "set"), batch_size=2)
    row = evaluate_at_points({"half": Off(0.5)}, zero, samples).rows[0]
    assert row.mean_squared_error > 0
    assert (row.mean_relative_l2, row.global_relative_l2, row.worst_relative_l2) == (None, None, None)
    with pytest.raises(ValueError, match="stream: has truths that are not finite"):
        evaluate_at_points({"half": Off(0.5)}, bad, samples)


def test_an_unknown_truth_is_no_infinite_error():
    unknown = torch.full((2, 3, 1), torch.nan)
    assert bool(mean_relative_l2(unknown, unknown).isnan())
    assert bool(global_relative_l2(unknown, unknown).isnan())
