import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from sciml.metrics.spectra import power_spectrum, spectral_hellinger
from sciml.metrics.surrogates import phase_randomised


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def oracle(x, sigma):
    x = (x - x.mean(0)) / x.std(0)
    power = np.abs(np.fft.rfft(x, axis=0)) ** 2
    if sigma > 0:
        power = gaussian_filter1d(power, sigma, axis=0, truncate=4.0, mode="reflect")
    return power / power.sum(0)


@pytest.mark.parametrize("time", [2, 9, 64, 2001])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 1.5, 20.0])
def test_spectrum_is_that_of_scipys_filter_with_mirrored_borders(time, sigma):
    x = noise(time, 3).cumsum(0)
    assert power_spectrum(x, smoothing=sigma).numpy() == pytest.approx(oracle(x.numpy(), sigma), rel=1e-11, abs=1e-18)


def test_a_wave_has_all_its_power_at_its_frequency():
    wave = torch.sin(2 * math.pi * 5 * torch.arange(100, dtype=torch.float64) / 100)[:, None]
    expected = torch.zeros(51, 1, dtype=torch.float64)
    expected[5] = 1
    assert torch.allclose(power_spectrum(wave, smoothing=0), expected, atol=1e-28)


def test_waves_of_different_frequency_are_one_apart_and_of_different_size_nothing():
    t = torch.arange(200, dtype=torch.float64) / 200
    slow, fast = (torch.sin(2 * math.pi * k * t)[:, None] for k in (3, 40))
    assert spectral_hellinger(slow, fast, smoothing=0).item() == pytest.approx(1, abs=1e-12)
    assert spectral_hellinger(7 * slow + 2, slow, smoothing=0).item() == pytest.approx(0, abs=1e-13)


def test_a_sum_of_two_waves_is_as_far_from_one_as_its_share_says():
    t = torch.arange(300, dtype=torch.float64)[:, None] / 300
    one, other = torch.sin(2 * math.pi * 4 * t), torch.sin(2 * math.pi * 90 * t)
    # p has (0.8, 0.2), q (1, 0): sqrt(1 - sqrt(0.8)).
    distance = spectral_hellinger(one, 2 * one + other, smoothing=0).item()
    assert distance == pytest.approx(math.sqrt(1 - math.sqrt(0.8)), abs=1e-12)


def test_distance_is_the_definition_per_component_and_lies_between_0_and_1():
    x, y = noise(500, 3), noise(500, 3, seed=1).cumsum(0)
    p, q = oracle(x.numpy(), 5.0), oracle(y.numpy(), 5.0)
    expected = np.sqrt(1 - np.sqrt(p * q).sum(0)).mean()
    assert spectral_hellinger(x, y, smoothing=5).item() == pytest.approx(expected, abs=1e-12)
    assert spectral_hellinger(y, x, smoothing=5).item() == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_component_that_stands_still_is_one_away(dtype):
    truth = noise(256, 2).to(dtype)
    still = torch.full_like(truth, 0.1)
    still[::3] *= 1 + torch.finfo(dtype).eps  # a fixed point up to rounding
    assert spectral_hellinger(still, truth).item() == 1.0
    half = torch.stack([truth[:, 0], still[:, 1]], -1)
    assert spectral_hellinger(half, truth).item() == pytest.approx(0.5, abs=1e-12)
    assert power_spectrum(still).abs().max() == 0


def test_replicas_score_alone_as_together_and_one_that_is_not_finite_is_infinitely_far():
    truth, generated = noise(128, 2), noise(2, 2, 128, 2, seed=3)
    generated[0, 1, 5, 0] = math.inf
    generated[1, 0, 5, 0] = math.nan
    scores = spectral_hellinger(generated, truth)
    assert scores[0, 1] == scores[1, 0] == math.inf
    assert scores[1, 1] == spectral_hellinger(generated[1, 1], truth)
    assert power_spectrum(generated)[0, 1, :, 0].isnan().all()


def test_huge_values_do_not_overflow():
    x = noise(64, 1)
    assert spectral_hellinger(1e200 * x, x).item() == pytest.approx(0, abs=1e-7)


def test_what_has_no_spectrum_is_named():
    x = noise(50, 2)
    with pytest.raises(ValueError, match="got 40 instants, need the 50"):
        spectral_hellinger(x[:40], x)
    with pytest.raises(ValueError, match="component 1 is constant"):
        spectral_hellinger(x, x * torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="smoothing: got -1"):
        power_spectrum(x, smoothing=-1)
    with pytest.raises(ValueError, match="at least 2 instants"):
        power_spectrum(x[:1])


@pytest.mark.parametrize(
    ("generated", "truth", "floor"),
    [
        ("lorenz63/lorenz63_on0.05_train", "lorenz63/lorenz63_test", (0.0695, 0.0705)),
        ("lorenz63/lorenz63_mit", "lorenz63/lorenz63_test", (0.050, 0.056)),
        ("ecg/ECG_pecuzal_5d_train", "ecg/ECG_pecuzal_5d_test", (0.0590, 0.0605)),
    ],
)
def test_floors_of_published_series_are_reached(published_data, generated, truth, floor):
    a, b = (torch.from_numpy(np.load(published_data / f"{name}.npy")) for name in (generated, truth))
    assert floor[0] <= spectral_hellinger(a, b).item() <= floor[1]


def test_published_nulls_are_reached(published_data):
    lorenz = torch.from_numpy(np.load(published_data / "lorenz63" / "lorenz63_test.npy"))
    other = torch.from_numpy(np.load(published_data / "lorenz63" / "lorenz63_mit.npy"))
    assert spectral_hellinger(phase_randomised(lorenz), lorenz).item() < 1e-6
    assert spectral_hellinger(other, lorenz, smoothing=0).item() == pytest.approx(0.47, abs=0.01)
    eeg = torch.from_numpy(np.load(published_data / "eeg" / "EEG.npy"))
    half = len(eeg) // 2
    assert spectral_hellinger(eeg[half:], eeg[:half]).item() == pytest.approx(0.075, abs=0.0005)
