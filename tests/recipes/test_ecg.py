from dataclasses import replace

import pytest

from dynamics.made_orbits import orbits, saved
from recipes.ecg import PRESETS, Preset, main, network, published
from sciml.data.delay_embedding import delay_embedding
from sciml.training.reconstruction import MEASURES

SHORT = Preset(2, hidden=40, steps=20, updates=500, rate=1e-2, orbit=100)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five delay coordinates of one number of a flow."""
    folder = tmp_path_factory.mktemp("series")
    parts = [delay_embedding(part[:, :1], (0, 8, 16, 24, 32)) for part in orbits("rossler", 1000)]
    return [saved(folder / f"{name}.npy", part) for name, part in zip(("train", "test"), parts, strict=True)]


def test_a_short_run_forecasts_better_than_persistence(files, tmp_path):
    table = main(SHORT, *files, "constant", "cpu", tmp_path, 0)
    rows = {row.name: row for row in table.rows}
    ours = rows["shallow PLRNN, alpha constant"]
    assert ours.summary("prediction_error")[0] < rows["persistence"].summary("prediction_error")[0] / 2
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("alpha", ["adaptive", "annealed"])
def test_other_strengths_learn_too(files, tmp_path, alpha):
    table = main(replace(SHORT, updates=10, instants=100, orbit=20), *files, alpha, "cpu", tmp_path, 0)
    assert table.instants == 100
    assert table.rows[0].name == f"shallow PLRNN, alpha {alpha}"


def test_the_published_settings():
    full = PRESETS["full"]
    assert sum(w.numel() for w in network(full, 5).parameters()) == 20 * 2785
    assert (full.latent, full.hidden, full.replicas, full.steps, full.updates) == (5, 250, 20, 200, 250_000)
    rates = [1e-3 * PRESETS["full"].schedule(step, 100) for step in (0, 50, 100)]
    assert rates == pytest.approx([1e-3, 1e-3 * 10**-1.5, 1e-6], rel=1e-12)
    assert len(published(20).splitlines()) == 8


def test_the_published_files_are_accepted(published_data, tmp_path):
    train, test = (published_data / "ecg" / f"ECG_pecuzal_5d_{name}.npy" for name in ("train", "test"))
    table = main(replace(SHORT, updates=3, instants=200, orbit=20), train, test, "constant", "cpu", tmp_path, 0)
    assert table.instants == 200
    assert all(len(getattr(table.rows[0], measure)) == 2 for measure in MEASURES)
