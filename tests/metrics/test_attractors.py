import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from sciml.metrics.attractors import (
    persistence_error,
    prediction_error,
    state_space_divergence,
    state_space_divergence_mixture,
)
from sciml.metrics.surrogates import phase_randomised

GRIDS = ["widened", "deviations", "extremes"]


def cloud(time, state, seed=0):
    """Correlated Gaussian points, some of which lie off any grid made of others."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.eye(state, dtype=torch.float64) + 0.3
    return torch.randn(time, state, generator=random, dtype=torch.float64) @ mix


def dense(generated, truth, bins, grid, outside, smoothing=1e-5):
    """The definition itself, with the full histogram of numpy."""
    std = truth.std(0, ddof=1)
    low, high = {
        "widened": (truth.min(0) - 0.1 * std, truth.max(0) + 0.1 * std),
        "deviations": (truth.mean(0) - 2 * std, truth.mean(0) + 2 * std),
        "extremes": (truth.min(0), truth.max(0)),
    }[grid]
    densities = []
    for points in (truth, generated):
        counts, _ = np.histogramdd(points, bins, range=list(zip(low, high, strict=True)))
        if grid == "extremes":
            for axis in range(points.shape[1]):
                np.moveaxis(counts, axis, 0)[0] = 0
        counts = counts.ravel()
        if outside == "cell":
            counts = np.append(counts, len(points) - counts.sum())
        densities.append((counts + smoothing) / (counts + smoothing).sum())
    p, q = densities
    return (p * np.log(p / q)).sum()


@pytest.fixture
def lorenz63(published_data):
    folder = published_data / "lorenz63"
    names = ("lorenz63_test", "lorenz63_on0.05_train", "lorenz63_mit")
    return tuple(torch.from_numpy(np.load(folder / f"{name}.npy")) for name in names)


@pytest.fixture
def ecg(published_data):
    return tuple(torch.from_numpy(np.load(published_data / "ecg" / f"ECG_pecuzal_5d_{name}.npy")) for name in ("test", "train"))


@pytest.fixture
def eeg(published_data):
    return torch.from_numpy(np.load(published_data / "eeg" / "EEG.npy"))


@pytest.mark.parametrize("outside", ["cell", "ignored"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("state", "bins"), [(1, 50), (2, 30), (3, 12)])
def test_visited_cells_alone_give_the_divergence_of_the_full_histogram(state, bins, grid, outside):
    truth, generated = cloud(3000, state), 1.3 * cloud(2000, state, seed=1) + 0.2
    ours = state_space_divergence(generated, truth, bins=bins, grid=grid, outside=outside).item()
    assert ours == pytest.approx(dense(generated.numpy(), truth.numpy(), bins, grid, outside), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("outside", ["cell", "ignored"])
def test_a_series_has_no_divergence_from_itself(outside):
    truth = cloud(500, 3)
    assert state_space_divergence(truth, truth, outside=outside).item() == pytest.approx(0, abs=1e-14)


def test_one_cell_of_two_has_the_divergence_of_paper_and_pencil():
    truth = torch.tensor([[0.0], [0.0], [0.0], [1.0]], dtype=torch.float64)
    generated = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    ours = state_space_divergence(generated, truth, bins=2, smoothing=1.0, outside="ignored").item()
    assert ours == pytest.approx(4 / 6 * math.log(4 / 3) + 2 / 6 * math.log(2 / 3), abs=1e-15)


def test_replicas_score_alone_as_together_and_one_that_is_not_finite_is_infinitely_far():
    truth = cloud(800, 2)
    generated = torch.stack([cloud(600, 2, seed=k) for k in range(6)]).reshape(2, 3, 600, 2)
    alone = state_space_divergence(generated[1, 2], truth)
    for bad in (math.nan, math.inf, -math.inf):
        generated[0, 1, 7, 1] = bad
        scores = state_space_divergence(generated, truth)
        assert scores.shape == (2, 3)
        assert scores[0, 1] == math.inf
        assert torch.isfinite(scores).sum() == 5
        assert scores[1, 2] == alone


def test_float32_scores_as_the_same_numbers_in_float64_do():
    truth, generated = cloud(900, 3).float(), cloud(700, 3, seed=3).float()
    score = state_space_divergence(generated, truth)
    assert score.dtype == torch.float64
    assert score == state_space_divergence(generated.double(), truth.double())


def test_a_cell_counts_more_visits_than_sixteen_bits_hold():
    truth = torch.linspace(0, 1, 70_000, dtype=torch.float64)[:, None]
    still = torch.full_like(truth, 0.5)
    ours = state_space_divergence(still, truth, bins=4).item()
    assert ours == pytest.approx(dense(still.numpy(), truth.numpy(), 4, "widened", "cell"), rel=1e-12)


def test_a_grid_of_more_cells_than_memory_holds_is_scored():
    # 30^12 = 5e17 cells, in which 1000 points are alone: one visit against 1e-20 of one, and 5e17 times 1e-20 is little.
    truth = cloud(1000, 12)
    score = state_space_divergence(torch.full_like(truth, 1e300), truth, smoothing=1e-20).item()
    assert score == pytest.approx(20 * math.log(10), rel=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_a_larger_blow_up_never_scores_better(grid, seed):
    truth, other = cloud(20_000, 2, seed), cloud(20_000, 2, seed + 1)
    scores = [state_space_divergence(c * other, truth, grid=grid).item() for c in (1, 1.5, 2, 3, 10, 100, 1e6)]
    # Noise: what two true series of this length differ by.
    assert all(b >= a - scores[0] for a, b in pairwise(scores))
    assert min(scores[4:]) > 3 * scores[1]


@pytest.mark.parametrize("grid", GRIDS)
def test_ignoring_what_is_off_the_grid_lets_a_blow_up_win_and_the_cell_does_not(grid):
    truth = cloud(5000, 2)
    truth /= truth.norm(dim=-1, keepdim=True)  # a ring: nothing of a blown-up one is on the grid
    still, gone = torch.zeros_like(truth), 100 * truth
    published = [state_space_divergence(x, truth, grid=grid, outside="ignored").item() for x in (still, gone)]
    ours = [state_space_divergence(x, truth, grid=grid).item() for x in (still, gone)]
    assert published[1] < 0.5 * published[0]
    # The cell has true points too on two of the grids: up to a third of this ring.
    assert ours[1] > 0.7 * ours[0]


def test_what_cannot_be_binned_is_named():
    truth = cloud(100, 2)
    with pytest.raises(ValueError, match=r"truth: got \[.*nan.*\] at instant 3, need finite"):
        state_space_divergence(truth, truth.index_put((torch.tensor(3), torch.tensor(1)), torch.tensor(math.nan).double()))
    with pytest.raises(ValueError, match="component 1 is constant"):
        state_space_divergence(truth, torch.cat([truth[:, :1], torch.ones(100, 1).double()], 1))
    with pytest.raises(ValueError, match=r"need bins\^13 <= 2\^62"):
        state_space_divergence(cloud(9, 13), cloud(9, 13))
    with pytest.raises(ValueError, match="bins: got 1"):
        state_space_divergence(truth, truth, bins=1)
    with pytest.raises(ValueError, match="smoothing: got 0"):
        state_space_divergence(truth, truth, smoothing=0)


def mixture_oracle(generated, truth, variance, samples, seed):
    """The same draws as ours, every distance in full and scipy's sum of exponentials."""
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(truth), (samples,), generator=random)
    noise = torch.randn(samples, truth.shape[1], generator=random, dtype=torch.float64).numpy()
    x = truth.numpy()[chosen] + math.sqrt(variance) * noise
    logs = []
    for centres in (truth.numpy(), generated.numpy()):
        gaps = ((x[:, None] - centres[None]) ** 2).sum(-1)
        logs.append(logsumexp(-gaps / (2 * variance), axis=1) - math.log(len(centres)))
    return (logs[0] - logs[1]).mean()


@pytest.mark.parametrize("variance", [1.0, 0.05])
def test_the_mixture_is_the_mean_log_ratio_of_all_distances_in_full(variance):
    truth, generated = cloud(300, 8), 2 * cloud(200, 8, seed=1)
    ours = state_space_divergence_mixture(generated, truth, variance=variance, samples=100, seed=5).item()
    assert ours == pytest.approx(mixture_oracle(generated, truth, variance, 100, 5), rel=1e-11)


def test_two_gaussians_are_half_their_squared_distance_apart():
    # log ratio = d^2/2 + d n with n standard normal: the mean of 4000 is within 4 d / sqrt(4000).
    truth, generated = torch.zeros(2, 64, dtype=torch.float64), torch.zeros(2, 64, dtype=torch.float64)
    generated[:, 3] = 20.0
    score = state_space_divergence_mixture(generated, truth, samples=4000).item()
    assert score == pytest.approx(200.0, abs=4 * 20 / math.sqrt(4000))
    assert state_space_divergence_mixture(truth, truth).item() == pytest.approx(0.0, abs=1e-13)


def test_no_sample_of_the_mixture_underflows():
    truth = cloud(200, 5).float()
    near, far = (state_space_divergence_mixture(truth + shift, truth).item() for shift in (1e3, 1e4))
    assert far / near == pytest.approx(100, rel=0.02)
    assert far > 1e8  # float64 likelihoods are zero from about 750 on


def test_a_mixture_of_replicas_that_are_not_finite_or_too_large_is_infinitely_far():
    truth = cloud(60, 3)
    bad = torch.stack([truth, truth, truth])
    bad[1, 4, 0] = math.nan
    bad[2, 4, 0] = 1e200
    scores = state_space_divergence_mixture(bad, truth, samples=20)
    assert scores.tolist() == [pytest.approx(0, abs=1e-13), math.inf, math.inf]


def test_a_forecast_by_the_true_map_has_no_error_and_of_a_wrong_one_the_known_one():
    rates = torch.tensor([0.9, -0.5], dtype=torch.float64)
    series = torch.stack([rates**k for k in range(50)])
    exact = prediction_error(lambda z, n: z * rates**n, series, 7, chunk=8)
    assert exact.item() == pytest.approx(0, abs=1e-30)
    off = torch.tensor([0.5, 2.0], dtype=torch.float64)[:, None, None]
    replicas = prediction_error(lambda z, n: z * rates**n + off, series, 7, chunk=8)
    assert replicas.tolist() == pytest.approx([0.25, 4.0], rel=1e-14)
    lost = prediction_error(lambda z, n: torch.stack([z, z * math.nan]), series, 7)
    assert lost[1] == math.inf
    assert lost[0] == persistence_error(series, 7)


def test_persistence_of_a_ramp_is_the_square_of_what_it_climbs():
    ramp = 3.0 * torch.arange(30, dtype=torch.float32)[:, None]
    assert persistence_error(ramp, 4).item() == 144.0
    with pytest.raises(ValueError, match="series: got shape"):
        persistence_error(ramp, 30)


def test_lorenz_63_reaches_its_floors(lorenz63):
    test, noisy, other = lorenz63

    def published(x, grid):
        return state_space_divergence(x, test, grid=grid, outside="ignored").item()

    assert published(noisy, "widened") == pytest.approx(0.119, abs=0.0005)
    assert published(noisy, "deviations") == pytest.approx(0.219, abs=0.0005)
    assert 0.134 <= published(other, "widened") <= 0.138
    assert 0.166 <= published(other, "deviations") <= 0.1755
    assert 0.122 <= published(other, "extremes") <= 0.132
    assert published(torch.zeros_like(test), "widened") == pytest.approx(16.44, abs=0.05)
    assert published(phase_randomised(test), "widened") == pytest.approx(2.33, abs=0.1)
    assert state_space_divergence(noisy, test).item() == pytest.approx(published(noisy, "widened"), abs=1e-4)
    assert persistence_error(test, 20).item() == pytest.approx(1.34, abs=0.005)


def test_lorenz_63_scores_depend_on_the_number_of_instants(lorenz63):
    test, _, other = lorenz63
    scores = [state_space_divergence(other[:n], test[:n]).item() for n in (1000, 3000, 10_000, 30_000)]
    # The page's series are others: at 1e3 instants their scores spread by some tenths.
    assert scores == pytest.approx([14.6, 9.1, 1.72, 0.64], rel=0.02)


@pytest.mark.parametrize("grid", GRIDS)
def test_lorenz_63_blown_up_never_scores_better(lorenz63, grid):
    test = lorenz63[0]
    scores = [state_space_divergence(c * test, test, grid=grid).item() for c in (1, 1.5, 2, 3, 10, 100)]
    assert all(b >= a - 1e-3 for a, b in pairwise(scores))


def test_ecg_reaches_its_floors(ecg):
    test, train = ecg
    assert state_space_divergence(train, test).item() == pytest.approx(0.294, abs=0.001)
    assert state_space_divergence(train, test, bins=8).item() == pytest.approx(0.026, abs=0.001)
    assert state_space_divergence(torch.zeros_like(test), test).item() == pytest.approx(16.9, abs=0.05)
    surrogates = [state_space_divergence(phase_randomised(test, k), test).item() for k in range(2)]
    # Over 16 seeds they scatter by 0.7.
    assert np.mean(surrogates) == pytest.approx(11.5, abs=3 * 0.7 / math.sqrt(2))
    assert persistence_error(test, 20).item() == pytest.approx(1.13, abs=0.005)


def test_eeg_reaches_its_floors(eeg):
    half = len(eeg) // 2
    # Within four standard errors of 1000 draws, as the page's draws are others.
    assert state_space_divergence_mixture(eeg[half:], eeg[:half]).item() == pytest.approx(2.68, abs=4 * 0.1)
    assert state_space_divergence_mixture(0 * eeg, eeg).item() == pytest.approx(25.8, abs=4 * 0.64)
    assert state_space_divergence_mixture(10 * eeg, eeg).item() == pytest.approx(112, abs=4 * 0.7)
    factor = torch.linalg.cholesky(torch.cov(eeg.T.double()))
    noise = torch.randn(len(eeg), 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) @ factor.T
    assert state_space_divergence_mixture(noise, eeg).item() == pytest.approx(1.63, abs=4 * 0.11)
    assert persistence_error(eeg, 20).item() == pytest.approx(0.90, abs=0.005)
