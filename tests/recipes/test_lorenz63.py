from dataclasses import replace

import pytest

from dynamics.made_orbits import orbits, saved
from recipes.lorenz63 import FILTERED, PRESETS, Preset, main
from sciml.training.checkpoint import load

SHORT = Preset("lorenz-63", 2, 50, updates=300, stages=(FILTERED,), frames=300, orbit=200)


def test_a_short_run_on_files_forecasts_better_than_persistence(tmp_path):
    noisy, clean = orbits("lorenz", 1500, noise=0.05)
    train, test = saved(tmp_path / "train.npy", noisy), saved(tmp_path / "test.npy", clean)
    table = main(SHORT, train, test, "cpu", tmp_path / "out", 0)
    rows = {row.name: row for row in table.rows}
    assert rows["shallow PLRNN"].parameters == 356
    assert rows["shallow PLRNN"].failed == 0
    still = float(rows["persistence"].prediction_error)
    assert float(rows["shallow PLRNN"].prediction_error.max()) < still / 10
    assert "Lyapunov exponents" in (tmp_path / "out" / "report.html").read_text()
    assert load(tmp_path / "out" / "refined.pt").replicas == 2


def test_the_set_is_made_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = main(replace(SHORT, updates=2, orbit=20), None, None, "cpu", None, 0)
    assert table.instants == 300
    assert (tmp_path / "results" / "lorenz-63-300" / "table.csv").read_text().startswith("model,parameters,replica")


def test_the_full_preset_takes_the_card_as_it_is():
    assert PRESETS["full"].name == "lorenz-63"
    assert PRESETS["quick"].name == "lorenz-63-5000"


def test_one_series_without_the_other_and_a_short_one_are_refused(tmp_path):
    short = saved(tmp_path / "short.npy", orbits("lorenz", 100)[0])
    with pytest.raises(ValueError, match="need both or neither"):
        main(SHORT, short, None, "cpu", tmp_path / "out", 0)
    with pytest.raises(ValueError, match="series: got 100 instants, need more than the 200"):
        main(SHORT, short, short, "cpu", tmp_path / "out", 0)
