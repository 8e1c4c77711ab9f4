import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamics.made_orbits import orbits, saved
from recipes.eeg import PRESETS, Preset, main, network, objective, published, series
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.training.fit import fit

SHORT = Preset(2, latent=6, hidden=40, steps=20, updates=300, rate=4e-3, orbit=50)


@pytest.fixture(scope="module")
def channels(tmp_path_factory):
    """Eight mixtures of the three numbers of a flow, each with noise of its own."""
    random = torch.Generator().manual_seed(1)
    states = torch.cat(orbits("rossler", 400))
    mixed = states @ torch.randn(3, 8, generator=random, dtype=torch.float64) / 3**0.5
    mixed = mixed + 0.05 * torch.randn(mixed.shape, generator=random, dtype=torch.float64)
    return saved(tmp_path_factory.mktemp("series") / "channels.npy", mixed)


def test_a_short_run_forecasts_the_held_out_half_better_than_persistence(channels, tmp_path):
    table = main(SHORT, channels, None, "constant", "cpu", tmp_path, 0)
    rows = {row.name: row for row in table.rows}
    ours = rows["shallow PLRNN, alpha constant"]
    assert ours.summary("prediction_error")[0] < rows["persistence"].summary("prediction_error")[0] / 2
    assert "another true series" in rows
    whole = np.load(channels)
    np.testing.assert_array_equal(np.load(tmp_path / "first_half.npy"), whole[:400])
    assert table.instants == 400
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("alpha", ["adaptive", "annealed"])
def test_a_series_is_no_floor_for_itself(channels, tmp_path, alpha):
    table = main(replace(SHORT, updates=5, instants=100, orbit=20), channels, channels, alpha, "cpu", tmp_path, 0)
    assert "another true series" not in [row.name for row in table.rows]
    assert table.rows[0].name == f"shallow PLRNN, alpha {alpha}"


def test_the_published_settings():
    full = PRESETS["full"]
    assert sum(w.numel() for w in network(full, 64).parameters()) == 20 * 17_952
    assert (full.latent, full.hidden, full.replicas, full.steps, full.updates) == (16, 512, 20, 50, 250_000)
    assert len(published(20).splitlines()) == 8


def test_the_published_file_is_accepted(published_data, tmp_path):
    given = published_data / "eeg" / "EEG.npy"
    assert series(given).shape == (9640, 64)
    samples = stream(given, batch_size=32, window=Window(21, 0))
    run = fit(network(SHORT, 64), objective("constant", 3), samples, steps=3)
    assert all(math.isfinite(float(record["loss"] or math.inf)) for record in run.history)
