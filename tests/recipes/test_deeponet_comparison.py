from dataclasses import replace

import pytest

from recipes.deeponet_comparison import CASES, PRESETS, main
from sciml.training.checkpoint import load

SHORT = replace(PRESETS["quick"], steps=150, fno_steps=150, batch_size=16, width=32, fno_width=8)


@pytest.mark.parametrize("name", ["burgers", "advection"])
def test_all_operators_of_a_case_stand_in_one_table(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CASES, name, replace(CASES[name], modes=20))
    table = main(name, SHORT, "cpu", tmp_path / "out", 0, samples=80)
    errors = {row.name: row.statistic("relative_l2", "mean") for row in table.rows}
    assert list(errors)[:3] == ["DeepONet", "POD-DeepONet", "FNO (neuraloperator)"]
    assert errors["POD-DeepONet"] < 0.8 * errors["mean of training"]
    assert max(errors["DeepONet"], errors["FNO (neuraloperator)"]) < 1
    for folder in ("deeponet", "pod-deeponet", "fno"):
        load(tmp_path / "out" / folder / "best.pt")
