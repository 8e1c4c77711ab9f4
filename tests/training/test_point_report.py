import pytest
import torch
from torch import nn

from data.made_sets import at_points
from sciml.data.stream import stream
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.objectives import FunctionsAtPoints, coordinates
from sciml.training import point_report
from sciml.training.fit import Run
from sciml.training.point_report import report_at_points

READING = FunctionsAtPoints(("f",), ("s",), "y")


class Off(nn.Module):
    """Answers with a number times the first coordinate, in both channels."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, u, y):
        return self.factor * y[..., :1].expand(*y.shape[:-1], 2)


def run_of(model):
    record = {"step": 1200, "loss": 0.5, "validation": 0.3, "learning_rate": 0.1, "seconds": 7.0}
    return Run(model, (record,), 0.3, 1200, None)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, besides being drawn."""
    kept = {}

    def watched(name, drawing):
        def noted(functions, *rest):
            kept[name] = functions, rest
            return drawing(functions, *rest)

        monkeypatch.setattr(point_report, name, noted)

    for name in ("along_a_line", "scattered"):
        watched(name, getattr(point_report, name))
    return kept


def test_the_page_has_both_relative_errors_of_every_model_the_facts_and_two_pictures(tmp_path, drawn):
    test = stream(at_points(tmp_path / "set"), batch_size=2, dtype=torch.float64)
    table = report_at_points(run_of(Off(0.5)), READING, test, baselines={"zero": Off(0.0)}, out=tmp_path / "out", name="half")
    page = (tmp_path / "out" / "report.html").read_text()
    for word in ("mean_relative_l2", "global_relative_l2", "1,200", "7 s", "of set"):
        assert word in page
    for row in table.rows:
        assert f"<td>{row.name}</td>" in page
        assert f"<td>{row.mean_relative_l2:.4g}</td>" in page
        assert f"<td>{row.global_relative_l2:.4g}</td>" in page
    assert page.count("data:image/png;base64,") == 2
    assert (tmp_path / "out" / "table.json").exists()


def test_the_functions_shown_are_the_best_the_middle_and_the_worst(tmp_path, drawn):
    test = stream(at_points(tmp_path / "set"), batch_size=2, dtype=torch.float64)
    report_at_points(run_of(Off(0.5)), READING, test, out=tmp_path / "out")
    ((name, (functions, _)),) = drawn.items()
    batches = list(test)
    y, s = (torch.cat([batch[key] for batch in batches]) for key in ("y", "s"))
    gap = 0.5 * y[..., :1] - s
    order = (gap.flatten(1).norm(dim=1) / s.flatten(1).norm(dim=1)).argsort().tolist()
    assert name == ("along_a_line" if y.shape[-1] == 1 else "scattered")
    for row, (points, answer, truth) in zip((order[0], order[len(s) // 2], order[-1]), functions, strict=True):
        assert torch.equal(points, y[row])
        # The factor is float32, and so is what it is given.
        torch.testing.assert_close(answer, 0.5 * y[row, :, 0], rtol=1e-6, atol=0)
        assert torch.equal(truth, s[row, :, 0])


def test_points_of_every_dimension_have_a_page(drawn):
    for dim, kind in ((1, "along_a_line"), (2, "scattered")):
        domain = Domain.box((1.0,) * dim, (4,) * dim, "open", "both_ends")
        functions = [(coordinates(domain), torch.zeros(4**dim), torch.ones(4**dim))]
        figure = getattr(point_report, kind)(functions, "model", ["one"])
        assert len(figure.axes) == (2 if dim == 1 else 6)  # with the bars of colours
