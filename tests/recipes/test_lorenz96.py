from recipes.lorenz96 import Preset, main, name_of

SHORT = Preset(2, 60, 0.1, steps=15, warm_up=5, updates=500, frames=1200, orbit=50)


def test_a_short_run_forecasts_better_than_persistence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = main(SHORT, 10, "cpu", None, 0)
    rows = {row.name: row for row in table.rows}
    assert rows["shallow PLRNN"].parameters == 2 * 10 + 2 * 10 * 60 + 60
    errors = {name: row.summary("prediction_error")[0] for name, row in rows.items()}
    assert errors["shallow PLRNN"] < errors["persistence"]
    # Gaussians of variance 1 beside a series of deviation 3.6 would give the mean ten times as much.
    assert 0 < rows["another true series"].summary("divergence")[0] < rows["persistence"].summary("divergence")[0] < 5
    assert (tmp_path / "results" / name_of(10, SHORT) / "report.html").stat().st_size > 10_000
