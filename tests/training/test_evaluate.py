import csv
import io
import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import nn

from data.made_sets import fields_in_time
from data.small_sets import values_of, write_set
from sciml.data.stream import stream
from sciml.metrics.fields import global_relative_l2, relative_h1, relative_l2
from sciml.training.baselines import TrainingMean
from sciml.training.evaluate import METRICS, Row, Table, evaluate
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from training.small_runs import DOMAIN, MemoryStream, samples


class Scaled(nn.Module):
    """u (1 + e_i) for sample i, so that its relative error is e_i in every norm."""

    def __init__(self, answers, errors):
        super().__init__()
        self.answers, self.errors, self.weight = answers, errors, nn.Parameter(torch.zeros(3, dtype=torch.complex64))
        self.modes = []

    def forward(self, a):
        self.modes.append((self.training, torch.is_grad_enabled()))
        rows = [int((self.answers["a"] == sample).flatten(1).all(1).nonzero()) for sample in a]
        return self.answers["u"][rows] * (1 + self.errors[rows, None, None])


def streamed(batch, batch_size):
    return MemoryStream(batch, batch_size)


ERRORS = torch.tensor([0.1, 0.4, 0.2, 0.6, 0.3, 0.05, 0.5], dtype=torch.float64)
DATA = samples(7)


def test_errors_are_those_of_every_sample_in_every_norm():
    model = Scaled(DATA, ERRORS)
    table = evaluate(model, streamed(DATA, 3), name="ours")
    row = table.rows[0]
    for metric in ("relative_l2", "relative_h1", "relative_h1_spectral"):
        assert torch.allclose(row.errors[metric], ERRORS, rtol=1e-12)
        assert row.statistic(metric, "mean") == pytest.approx(2.15 / 7)
        assert row.statistic(metric, "median") == pytest.approx(0.3)
        assert row.statistic(metric, "max") == pytest.approx(0.6)
    assert (row.name, row.parameters, table.samples) == ("ours", 6, 7)
    assert row.seconds > 0
    assert set(model.modes) == {(False, False)}
    assert model.training


def test_the_global_error_weighs_samples_by_their_size():
    """u is 1, 2, ..., 7 times one wave and sample i is e_i off: Σ (i e_i)² over Σ i², under a root."""
    size = torch.arange(1, 8, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * DOMAIN.coordinates()[0]).double()
    data = DATA | {"u": size[:, None, None] * wave}
    row = evaluate(Scaled(data, ERRORS), streamed(data, 3)).rows[0]
    expected = float((size * ERRORS).norm() / size.norm())
    assert row.global_relative_l2 == pytest.approx(expected, rel=1e-14)
    assert row.statistic("relative_l2", "mean") == pytest.approx(2.15 / 7, rel=1e-14)
    assert abs(expected - 2.15 / 7) > 0.05
    answers = data["u"] * (1 + ERRORS[:, None, None])
    assert float(global_relative_l2(answers, data["u"], DOMAIN)) == pytest.approx(expected, rel=1e-14)


def test_where_the_truth_is_zero_everywhere_there_is_no_global_error():
    data = DATA | {"u": torch.zeros_like(DATA["u"])}
    absolute = {"largest gap": lambda p, u, domain: (p - u).flatten(1).abs().amax(1)}
    assert evaluate(nn.Identity(), streamed(data, 3), metrics=absolute).rows[0].global_relative_l2 is None


class WrongByNumber(nn.Module):
    """The answer of sample i of `small_sets`, (i + 1) % off; the sample is known by its input i + x."""

    def forward(self, a):
        numbers = a[:, 0, 0, 0].round().long()
        return values_of(numbers.tolist())["u"].float() * (1.01 + numbers.view(-1, 1, 1, 1) / 100)


def test_an_error_stands_at_the_place_of_its_sample_in_the_set(tmp_path):
    test = stream(write_set(tmp_path / "test"), batch_size=4, seed=3)
    errors = evaluate(WrongByNumber(), test).rows[0].errors["relative_l2"]
    assert errors.tolist() == pytest.approx([(i + 1) / 100 for i in range(13)], rel=1e-4)
    worst = test.subset([int(errors.argmax())])  # as a report takes the samples that it shows
    assert float(next(iter(worst))["a"][0, 0, 0, 0]) == 12


def test_metrics_are_taken_in_float64_whatever_the_model_gives():
    data = samples(7, dtype=torch.float32)
    row = evaluate(Scaled(data, ERRORS.float()), streamed(data, 7)).rows[0]
    assert {errors.dtype for errors in row.errors.values()} == {torch.float64}


def test_a_baseline_that_cannot_take_the_samples_keeps_its_row_and_says_why():
    baselines = {"mean": TrainingMean(torch.zeros(1, 8).double()), "coarse mean": TrainingMean(torch.zeros(1, 4).double())}
    table = evaluate(Scaled(DATA, ERRORS), streamed(DATA, 3), baselines=baselines)
    assert [row.name for row in table.rows] == ["model", "mean", "coarse mean"]
    assert table.rows[1].statistic("relative_l2", "max") == 1.0
    assert table.rows[2].statistic("relative_l2", "max") is None
    assert table.notes() == ["coarse mean: a: got the grid (8,), the training mean is on (4,); resample"]
    with pytest.raises(ValueError, match=r"a: got the grid \(8,\), the training mean is on \(4,\)"):
        evaluate(baselines["coarse mean"], streamed(DATA, 3))


def test_a_truth_of_zero_is_an_error_that_names_the_sample():
    data = {name: values.clone() for name, values in DATA.items()}
    data["u"][4] = 0
    stream = streamed(data, 3)
    with pytest.raises(ValueError, match="target u: sample 4 of the stream is zero everywhere, where relative_l2"):
        evaluate(nn.Identity(), stream)
    absolute = {"largest gap": lambda p, u, domain: (p - u).flatten(1).abs().amax(1)}
    row = evaluate(nn.Identity(), stream, metrics=absolute).rows[0]
    assert row.errors["largest gap"][4] == data["a"][4].abs().max()


def test_a_table_is_written_whole_as_csv_markdown_and_json(tmp_path):
    coarse = TrainingMean(torch.zeros(1, 4))
    table = evaluate(Scaled(DATA, ERRORS), streamed(DATA, 3), baselines={"coarse": coarse}, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [float(rows[0]["relative_l2 max"]), float(rows[0]["parameters"])] == [pytest.approx(0.6), 6]
    assert rows[1]["relative_l2 max"] == rows[1]["global_relative_l2"] == ""
    assert float(rows[0]["global_relative_l2"]) == table.rows[0].global_relative_l2
    assert json.loads((tmp_path / "table.json").read_text()) == table.to_dict()
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].split(" | ")[1] == "parameters"
    assert lines[2].startswith("| model | 6 | 0.3071 / 0.3 / 0.6 |")
    assert lines[0].split(" | ")[-2] == "global_relative_l2"
    assert lines[2].split(" | ")[-2] == f"{table.rows[0].global_relative_l2:.4g}"
    assert "coarse: a: got the grid (8,), the training mean is on (4,)" in lines[-1]


def test_a_printed_table_has_one_line_per_model_and_fits_100_columns():
    errors = {name: torch.full((7,), 0.0123456789).double() for name in METRICS}
    names = ["MgNO, 5 levels", "ridge regression", "neuraloperator FNO", "mean of training"]
    rows = [Row(name, 12_345_678, 0.12345, errors, global_relative_l2=0.0123456789) for name in names[:3]]
    table = Table((*rows, Row(names[3], 0, None, {}, "a long reason " * 20)), tuple(METRICS), 7)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 100
    first = next(number for number, line in enumerate(lines) if line.strip().startswith(names[0]))
    assert [line.strip().startswith(name) for name, line in zip(names, lines[first:], strict=False)] == [True] * 4
    assert lines[first].split()[-7:] == ["12,345,678", *["0.01235"] * 5, "123.5"]
    head = "mean errors of 7 samples H1 worst global ms per model parameters L2 H1 spectral L2 L2 sample"
    assert " ".join(" ".join(lines[:first]).split()).startswith(head)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    assert lines[first].strip() in console.export_text()


def test_a_printed_table_shows_the_mean_of_every_metric_and_the_worst_of_the_first():
    table = evaluate(Scaled(DATA, ERRORS), streamed(DATA, 3), metrics={"gap": relative_l2, "relative_h1": relative_h1})
    (line,) = [line for line in str(table).splitlines() if line.strip().startswith("model ") and "0.3" in line]
    assert line.split()[2:6] == ["0.3071", "0.3071", "0.6", f"{table.rows[0].global_relative_l2:.4g}"]


def test_what_fit_trains_evaluate_measures():
    """The validation error of `fit` and the table of `evaluate` are one number."""
    data = samples(9)
    stream = streamed(data, 4)
    model = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", dtype=torch.float64)
    run = fit(model, RelativeL2(DOMAIN, ("a",), ("u",)), stream, steps=30, validation=stream)
    assert evaluate(run.model, stream).rows[0].statistic("relative_l2", "mean") == pytest.approx(run.best, rel=1e-12)


def test_a_stream_needs_only_what_the_interface_names():
    described = SimpleNamespace(domain=DOMAIN, variables={})
    parts = {"set": described, "inputs": ("a",), "targets": ("u",), "device": torch.device("cpu")}
    bare = type("Bare", (), {**parts, "__iter__": lambda self: iter([DATA]), "info": lambda self, name: None})()
    assert evaluate(Scaled(DATA, ERRORS), bare).samples == 7
    described.domain = None
    with pytest.raises(ValueError, match="its set has no grid"):
        evaluate(Scaled(DATA, ERRORS), bare)


class Difference(nn.Module):
    """Not the same when its channels are exchanged."""

    def forward(self, given):
        return given[:, :1] - 0.5 * given[:, 1:2]


def test_channels_are_those_of_the_names_whatever_the_set_holds_and_in_which_order():
    data = samples(7)
    data["b"] = samples(7, 5)["a"]
    told = streamed(data, 3)
    told.inputs = ("a", "b")
    expected = evaluate(Difference(), told).rows[0].errors["relative_l2"]
    for stored in (("b", "a"), ("c", "b", "a")):
        test = streamed(data | {"c": data["u"] + 1}, 3)
        test.inputs = stored
        got = evaluate(Difference(), test, inputs=("a", "b"), targets=("u",)).rows[0].errors["relative_l2"]
        assert torch.equal(got, expected), stored


def test_a_target_of_the_set_is_no_input_of_the_model_nor_the_reverse():
    with pytest.raises(ValueError, match="variable u: is an input of the model and a target of the set"):
        evaluate(nn.Identity(), streamed(DATA, 3), inputs=("u",))
    with pytest.raises(ValueError, match="variable a: is a target of the model and an input of the set"):
        evaluate(nn.Identity(), streamed(DATA, 3), targets=("a",))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_is_told_with_model_and_sample(value):
    errors = ERRORS.clone()
    errors[4] = value
    broken = Scaled(DATA, errors)
    with pytest.raises(ValueError, match="sample 4 of the stream: the answer of ours is not finite"):
        evaluate(broken, streamed(DATA, 3), name="ours")
    assert broken.training
    table = evaluate(Scaled(DATA, ERRORS), streamed(DATA, 3), baselines={"other": broken})
    assert table.rows[1].errors == {}
    assert table.notes()[0].startswith("other: sample 4 of the stream: the answer")


def test_every_part_of_a_model_comes_back_in_its_mode():
    model = nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)).double()
    model[1].eval()
    evaluate(model, streamed(DATA, 3))
    assert [part.training for part in model.modules()] == [True, True, False]


def test_a_model_of_another_precision_than_the_stream_is_refused_and_a_baseline_noted():
    single = nn.Conv1d(1, 1, 1)
    message = r"model: its weights are torch.float32, the stream brings torch.float64; .*dtype=torch.float32"
    with pytest.raises(ValueError, match=message):
        evaluate(single, streamed(DATA, 3))
    assert len(evaluate(nn.Identity(), streamed(DATA, 3), baselines={"single": single}).notes()) == 1


def test_states_that_are_brought_whole_cannot_be_evaluated(tmp_path):
    whole = stream(fields_in_time(tmp_path / "set"), batch_size=2)
    with pytest.raises(ValueError, match=r"^targets: got none, need .*window=Window\(1, 1\)"):
        evaluate(nn.Identity(), whole)
