import math

import pytest
import torch

from sciml.metrics.surrogates import phase_randomised


def walk(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=random, dtype=torch.float64).cumsum(-2)
    return x @ (torch.eye(shape[-1], dtype=torch.float64) + 0.5) + 3


@pytest.mark.parametrize("time", [2, 3, 500, 501])
def test_surrogate_keeps_spectra_cross_spectra_mean_and_covariance(time):
    x = walk(time, 3)
    y = phase_randomised(x, 4)
    a, b = torch.fft.rfft(x, dim=0), torch.fft.rfft(y, dim=0)
    scale = a.abs().square().amax()
    assert torch.allclose(
        a[:, :, None] * a[:, None].conj(), b[:, :, None] * b[:, None].conj(), rtol=0, atol=1e-13 * scale.item()
    )
    assert torch.allclose(x.mean(0), y.mean(0), rtol=1e-13)
    assert torch.allclose(torch.cov(x.T), torch.cov(y.T), rtol=1e-12, atol=1e-13)


def test_surrogate_differs_from_the_series_and_from_that_of_another_seed():
    x = walk(400, 2)
    a, b = phase_randomised(x, 0), phase_randomised(x, 1)
    assert (a - x).abs().max() > 0.1 * x.std()
    assert (a - b).abs().max() > 0.1 * x.std()
    assert torch.equal(a, phase_randomised(x, 0))


def test_replicas_have_phases_of_their_own_and_keep_their_dtype():
    x = walk(300, 2).float().expand(3, 300, 2)
    y = phase_randomised(x, 0)
    assert y.dtype == torch.float32
    assert y.shape == x.shape
    assert (y[0] - y[1]).abs().max() > 0.1 * x.std()


def test_surrogate_destroys_what_is_not_linear():
    # A square wave has kurtosis 1, a Gaussian process 3. About 100 harmonics count: its scatter is below 0.5.
    square = torch.sign(torch.sin(2 * math.pi * (torch.arange(1000).double()[:, None] + 0.5) / 500))
    square = square * torch.where(torch.arange(1000)[:, None] % 7 < 3, 1.0, -1.0)
    y = phase_randomised(square, 2)
    assert square.pow(4).mean() / square.square().mean() ** 2 == pytest.approx(1, abs=1e-12)
    assert y.pow(4).mean() / y.square().mean() ** 2 > 1.4


def test_a_series_without_a_spectrum_is_named():
    with pytest.raises(ValueError, match="at least 2 instants"):
        phase_randomised(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="not finite"):
        phase_randomised(torch.full((5, 2), math.nan))
