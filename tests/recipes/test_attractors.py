import pytest

from recipes.attractors import Preset, flow_of, line, main

SHORT = Preset(300, 2, 30, 0.1, steps=20, warm_up=5, updates=150, orbit=50)


def test_a_driven_flow_is_learned_with_its_clock(tmp_path):
    flow = flow_of("duffing")
    (table,) = main(SHORT, [flow], "cpu", tmp_path / "out", 0, data=tmp_path / "data")
    ours = table.rows[0]
    assert ours.name == "shallow PLRNN of duffing"
    assert ours.parameters == 2 * 4 + 2 * 4 * 30 + 30
    still = next(row for row in table.rows if row.name == "persistence")
    assert ours.summary("prediction_error")[0] < still.summary("prediction_error")[0] / 2
    assert (tmp_path / "out" / "duffing" / "report.html").stat().st_size > 10_000
    cells = line(flow, table, 0.125).strip("|\n").split("|")
    assert [cell.strip() for cell in cells][0::5] == ["duffing", "0.125"]
    assert float(cells[4]) < 0.5  # the error by that of persistence


def test_an_unknown_flow_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match="flow: got 'rosler', need one of rossler"):
        flow_of("rosler")
