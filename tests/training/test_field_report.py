import pytest
import torch

from data.made_sets import fields_in_time
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.plots import fields as plots
from sciml.training import field_report
from sciml.training.baselines import mean_of_training, persistence, ridge
from sciml.training.evaluate import METRICS, evaluate
from sciml.training.fit import Run


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, besides being drawn."""
    kept = []

    def noted(panels, *rest):
        kept.append(panels)
        return plots.field_panels(panels, *rest)

    monkeypatch.setattr(field_report, "field_panels", noted)
    return kept


def test_the_page_of_a_model_of_windows_shows_the_windows_it_names(tmp_path, drawn):
    test = stream(fields_in_time(tmp_path / "set"), batch_size=4, window=Window(2, 1), dtype=torch.float64)
    model, stays = ridge(test), persistence(test)
    metrics = {name: METRICS[name] for name in ("relative_l2",)}
    table = evaluate(model, test, baselines={"persistence": stays, "mean": mean_of_training(test)}, metrics=metrics)
    record = {"step": 3, "loss": 0.5, "validation": None, "learning_rate": 0.1, "seconds": 1.0}
    run = Run(model, (record,), None, None, None)
    field_report.write_field_report(tmp_path / "r.html", "fields", run, table, test, {"persistence": stays})
    page = (tmp_path / "r.html").read_text()
    assert "10 samples of set" in page
    assert page.count("data:image/png;base64,") == 2

    errors = table.rows[0].errors["relative_l2"]
    order = errors.argsort().tolist()
    batches = list(test)
    v, after = (torch.cat([batch[name] for batch in batches]) for name in ("v", "v_next"))
    chosen = [order[0], order[5], order[9]]
    panels = {panel.title: panel.fields for panel in drawn[0]}
    assert torch.equal(panels["input: velocity [m/s]"], v[chosen, 1, 0])
    assert torch.equal(panels["truth: velocity [m/s]"], after[chosen, 0, 0])
    assert torch.equal(panels["error of persistence"], v[chosen, 1, 0] - after[chosen, 0, 0])
