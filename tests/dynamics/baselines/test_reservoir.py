import math

import numpy as np
import pytest
import torch

from sciml.dynamics.baselines.reservoir import Reservoir


def waves(count=600, observed=2):
    time = torch.arange(count, dtype=torch.float64)
    return torch.stack([3 + (i + 1) * torch.sin(0.3 * time + i) + 0.5 * torch.cos(0.11 * time) for i in range(observed)], 1)


def matrix_of(model, replica=0):
    """W, dense."""
    matrix = np.zeros((model.units, model.units))
    sources = model.sources[replica].numpy() - replica * model.units
    np.put_along_axis(matrix, sources, model.recurrent[replica].numpy(), 1)
    return matrix


def test_only_the_readout_counts():
    count = sum(p.numel() for p in Reservoir(5, 1000).parameters())
    assert count == 5000
    assert sum(p.numel() for p in Reservoir(64, 448).parameters()) == 28672
    assert not any(p.requires_grad for p in Reservoir(5, 10).parameters())


@pytest.mark.parametrize("connections", [5, 40])
def test_the_largest_eigenvalue_is_the_one_asked_for(connections):
    model = Reservoir.of(waves(), 40, spectral_radius=0.7, connections=connections, replicas=2)
    for replica in range(2):
        values = np.linalg.eigvals(matrix_of(model, replica))
        assert np.abs(values).max() == pytest.approx(0.7, rel=1e-10)
        assert (np.count_nonzero(matrix_of(model, replica), 1) == connections).all()


@pytest.mark.parametrize("connections", [6, 30])
def test_the_readout_is_the_ridge_regression_on_the_cells(connections):
    series, ridge, leak, warm_up = waves(), 1e-4, 0.6, 20
    model = Reservoir.of(series, 30, leak=leak, ridge=ridge, warm_up=warm_up, connections=connections, replicas=2, seed=3)
    x = series.numpy()
    u = (x - x.mean(0)) / x.std(0)
    for replica in range(2):
        w, v, b = matrix_of(model, replica), model.entering[replica].numpy(), model.shift[replica].numpy()
        r, cells = np.zeros(30), []
        for now in u[:-1]:
            r = (1 - leak) * r + leak * np.tanh(w @ r + v @ now + b)
            cells.append(r)
        kept, wanted = np.array(cells)[warm_up:], u[1:][warm_up:]
        gram = kept.T @ kept / len(kept) + ridge * np.eye(30)
        expected = np.linalg.solve(gram, kept.T @ wanted / len(kept)).T
        np.testing.assert_allclose(model.readout[replica].numpy(), expected, rtol=0, atol=1e-9)  # condition number 1e5 to 1e6
        nxt = model.forecast(series[None, None, :-1].expand(2, -1, -1, -1), 1)[replica, 0, 0].numpy()
        np.testing.assert_allclose(nxt, x.mean(0) + x.std(0) * (model.readout[replica].numpy() @ r), rtol=0, atol=1e-11)


def test_series_that_are_long_are_fitted_in_blocks(monkeypatch):
    series = torch.stack([waves(400)[:200], waves(400)[200:]])
    whole = Reservoir.of(series, 20, connections=4, warm_up=10)
    monkeypatch.setattr("sciml.dynamics.baselines.reservoir.BLOCK", 1)
    pieces = Reservoir.of([series[0], series[1]], 20, connections=4, warm_up=10)
    torch.testing.assert_close(pieces.readout, whole.readout, rtol=0, atol=1e-9)


def test_several_series_do_not_run_into_each_other():
    series = waves(300)
    both = Reservoir.of([series[:140], series[140:]], 20, connections=4, warm_up=10, ridge=1e-3)
    cells = []
    for part in (series[:140], series[140:]):
        r = torch.zeros(1, 20, 1, dtype=torch.float64)
        for x in part[:-1]:
            r = both.remember(r, x.view(1, 1, -1))
            cells.append(r[0, :, 0])
    kept = torch.stack(cells[10:139] + cells[149:])
    wanted = (torch.cat([series[11:140], series[151:]]) - both.mean) / both.deviation
    gram = kept.T @ kept / len(kept) + 1e-3 * torch.eye(20, dtype=torch.float64)
    expected = torch.linalg.solve(gram, kept.T @ wanted / len(kept)).T
    torch.testing.assert_close(both.readout[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_replica_is_the_reservoir_of_its_seed(noise):
    series = waves()
    many = Reservoir.of(series, 25, connections=5, noise=noise, replicas=3, seed=7)
    found = many.forecast(series[None, None].expand(3, -1, -1, -1), 20)
    for replica in range(3):
        alone = Reservoir.of(series, 25, connections=5, noise=noise, seed=7 + replica)
        torch.testing.assert_close(found[replica], alone.forecast(series[None, None], 20)[0], rtol=0, atol=1e-8)
    assert not torch.allclose(found[0], found[1], rtol=0, atol=1e-8)


def test_noise_drives_the_cells_but_is_not_asked_for(monkeypatch):
    series, noise, ridge = waves(1000), 0.05, 1e-3
    seen, cells, remember = [], [], Reservoir.remember

    def recorded(self, before, x):
        seen.append(x[0, 0])
        cells.append(remember(self, before, x)[0, :, 0])
        return cells[-1].view(1, -1, 1)

    monkeypatch.setattr(Reservoir, "remember", recorded)
    model = Reservoir.of(series, 25, connections=5, noise=noise, ridge=ridge, warm_up=10)
    added = (torch.stack(seen) - series[:-1]) / model.deviation
    assert float(added.std()) == pytest.approx(noise, rel=5 / math.sqrt(2 * added.numel()))  # five standard errors
    assert float(added.mean().abs()) < 5 * noise / math.sqrt(added.numel())
    kept, wanted = torch.stack(cells[10:]), ((series - model.mean) / model.deviation)[11:]
    gram = kept.T @ kept / len(kept) + ridge * torch.eye(25, dtype=torch.float64)
    torch.testing.assert_close(model.readout[0], torch.linalg.solve(gram, kept.T @ wanted / len(kept)).T, rtol=0, atol=1e-10)


def test_units_and_offset_of_a_series_do_not_matter():
    series = waves()
    scaled = 1e3 * series - 5e4
    plain = Reservoir.of(series, 25, connections=5).forecast(series[None, None], 30)
    other = Reservoir.of(scaled, 25, connections=5).forecast(scaled[None, None], 30)
    torch.testing.assert_close((other + 5e4) / 1e3, plain, rtol=0, atol=1e-7)


def test_a_sum_of_waves_goes_on():
    series = waves(1200)
    model = Reservoir.of(series[:1000], 200, ridge=1e-9, replicas=2)
    found = model.forecast(series[None, None, :1000].expand(2, -1, -1, -1), 100)
    errors = (found[:, 0] - series[1000:1100]).square().mean((1, 2)).sqrt()
    assert float(errors.max()) < 0.05 * math.sqrt(float(series.var(0).mean()))


def test_one_that_is_not_fitted_forecasts_nothing():
    assert Reservoir(2, 10).forecast(torch.zeros(1, 1, 5, 2), 3).isnan().all()


def test_what_cannot_be_fitted_is_told():
    series = waves(300)
    with pytest.raises(ValueError, match=r"series: got \(50, 2\), need \(at least 102 instants, observed\)"):
        Reservoir.of(series[:50], 20)
    still = series.clone()
    still[:, 1] = 0.1
    with pytest.raises(ValueError, match="series: 1 of its components do not vary"):
        Reservoir.of(still, 20)
    for arguments in (
        {"ridge": 0},
        {"spectral_radius": 0},
        {"input_scale": 0},
        {"leak": 0},
        {"leak": 1.5},
        {"warm_up": 0},
        {"noise": -1},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}: got"):
            Reservoir.of(series, 20, **arguments)
    with pytest.raises(ValueError, match="connections: got 10, need at most units = 5"):
        Reservoir.of(series, 5)
