"""Series that are like a given one in every linear respect and in no other: what a measure has to tell from the truth."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def phase_randomised(series: Float[Tensor, "*replica time state"], seed: int = 0) -> Float[Tensor, "*replica time state"]:
    """A series with the same mean, spectra and cross-spectra and random phases: the surrogate of a linear Gaussian process.

    All components of a replica turn by the same random phase at each frequency, which keeps their phase differences and so
    the covariance at every lag, wrapped around the ends. Frequency 0 and, for an even length, the highest one are kept.

    Args:
        seed: the phases depend on it and the shape alone, and are the same on all devices.
    Returns:
        of the dtype of `series`; computed in float64.
    Raises:
        ValueError: fewer than 2 instants, or a value that is not finite.

    Source: Prichard & Theiler, Phys. Rev. Lett. 73 (1994) 951.
    """
    if series.ndim < 2 or series.shape[-2] < 2:
        raise ValueError(f"series: got shape {tuple(series.shape)}, need (*replica, time, state) with at least 2 instants")
    if not bool(torch.isfinite(series).all()):
        raise ValueError("series: got a value that is not finite, need finite ones")
    time = series.shape[-2]
    modes = torch.fft.rfft(series.double(), dim=-2)
    random = torch.Generator().manual_seed(seed)
    turn = torch.rand(*modes.shape[:-1], 1, generator=random, dtype=torch.float64) * (2 * math.pi)
    turn[..., 0, :] = 0
    if time % 2 == 0:
        turn[..., -1, :] = 0
    turned = modes * torch.polar(torch.ones_like(turn), turn).to(series.device)
    return torch.fft.irfft(turned, n=time, dim=-2).to(series.dtype)


__all__ = ["phase_randomised"]
