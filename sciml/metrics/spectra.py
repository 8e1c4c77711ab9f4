"""Power spectra of series, and how far apart two are: the Hellinger distance."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.metrics.series import check_generated, finite, replicas
from sciml.numerics.checks import check_range

TRUNCATION = 4.0
"""The Gaussian filter ends after so many sigma."""


@torch.no_grad()
def power_spectrum(
    series: Float[Tensor, "*replica time state"], *, smoothing: float = 20.0
) -> Float[Tensor, "*replica f state"]:
    """The share of each frequency in the variance of each component, float64; it sums to 1 over frequencies.

    Components are standardised, |rfft|^2 is smoothed by a Gaussian that ends at 4 sigma, and normalised. At both ends the
    spectrum is mirrored about its border (the first bin is its own neighbour), so smoothing keeps the sum. Frequencies are
    0, 1/time, ..., in cycles per step: `torch.fft.rfftfreq(time)`.

    Args:
        smoothing: sigma in frequency bins; 0 is none. A bin is 1/time wide, so sigma means more in a short series.
    Returns:
        zero everywhere for a component that changes by no more than rounding; NaN for one that is not finite.
    Raises:
        ValueError: a series of fewer than 2 instants, or a smoothing that is not from 0 to 1e6.
    """
    if series.ndim < 2 or series.shape[-2] < 2:
        raise ValueError(f"series: got shape {tuple(series.shape)}, need (*replica, time, state) with at least 2 instants")
    check_range(0, 1e6, smoothing=smoothing)
    values = series.double()
    values = values / values.abs().amax(-2, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)  # squares stay finite
    moves = values.amax(-2, keepdim=True) - values.amin(-2, keepdim=True) > 8 * torch.finfo(series.dtype).eps
    values = values - values.mean(-2, keepdim=True)
    values = torch.where(moves | values.isnan(), values, 0)
    power = torch.fft.rfft(values.transpose(-1, -2)).abs().square()
    power = _smoothed(power, smoothing)
    total = power.sum(-1, keepdim=True)
    return torch.where(total == 0, 0, power / total).transpose(-1, -2)


def _smoothed(power: Float[Tensor, "*batch f"], sigma: float) -> Float[Tensor, "*batch f"]:
    """By a sum of shifts: by Fourier transform the small values would drown in the rounding of the large ones."""
    radius = int(TRUNCATION * sigma + 0.5)
    if radius == 0:
        return power
    size = power.shape[-1]
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    scale = weights[0] + 2 * sum(weights[1:])
    index = torch.arange(-radius, size + radius, device=power.device) % (2 * size)
    wide = power[..., torch.minimum(index, 2 * size - 1 - index)]
    out = power * (weights[0] / scale)
    for k in range(1, radius + 1):
        for shift in (radius - k, radius + k):
            out.add_(wide[..., shift : shift + size], alpha=weights[k] / scale)
    return out


@torch.no_grad()
def spectral_hellinger(
    generated: Float[Tensor, "*replica time state"], truth: Float[Tensor, "instants state"], *, smoothing: float = 20.0
) -> Float[Tensor, "*replica"]:
    """D_H: the Hellinger distance of the power spectra, sqrt(1 - sum sqrt(p q)), mean over components; from 0 to 1.

    Without smoothing two true chaotic series are about 0.5 apart, as single bins of a periodogram are mostly chance. A linear
    surrogate (`phase_randomised`) is at 0 always, so this measure says nothing alone.

    Args:
        smoothing: sigma of the Gaussian in frequency bins (`power_spectrum`). 20 in Hess et al. (2023).
    Returns:
        float64. 1 for a component that is constant up to rounding, `inf` for a replica with a value that is not finite.
    Raises:
        ValueError: series of different lengths, whose frequencies differ, or a truth that is not finite or does not change.
    """
    check_generated(generated, truth)
    if generated.shape[-2] != truth.shape[0]:
        need = f"the {truth.shape[0]} instants of the truth: cut the longer one"
        raise ValueError(f"generated: got {generated.shape[-2]} instants, need {need}")
    p = power_spectrum(truth, smoothing=smoothing).sqrt()
    still = (p.sum(0) == 0).nonzero()
    if len(still):
        raise ValueError(f"truth: component {int(still[0])} is constant up to rounding and has no spectrum; leave it out")
    scores = []
    for one in replicas(generated):
        q = power_spectrum(one, smoothing=smoothing)
        # Half of |sqrt p - sqrt q|^2 is 1 - sum sqrt(p q), without its cancellation for spectra that agree.
        square = 0.5 * (p - q.sqrt()).square().sum(0)
        scores.append(torch.where(q.sum(0) == 0, 1, square).sqrt().mean())
    if not scores:
        return torch.zeros(generated.shape[:-2], dtype=torch.float64, device=truth.device)
    distance = torch.stack(scores).reshape(generated.shape[:-2])
    return torch.where(finite(generated), distance, math.inf)


__all__ = ["power_spectrum", "spectral_hellinger"]
