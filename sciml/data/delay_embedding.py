"""Delay coordinates: from a series to states that hold its values at several times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def delay_embedding(
    series: Tensor, delays: Sequence[int], channels: Sequence[int] | None = None
) -> Float[Tensor, "*lead instant component"]:
    """(s(t), s(t + delay), ...) for all t at which every delayed value is there: component k is the series, `delays[k]` later.

    Values are taken as they are, so that a gap, NaN, is in every state that it has a part in. A delay below 0 is one before.

    Args:
        series: (..., time, channel), instants equally far apart; (time, 1) of a single number.
        delays: in instants, at least one.
        channels: which channel each component is taken from; if not given, all channels for each delay, the delays outside.
    Raises:
        ValueError: no delays, another number of channels than of delays, a channel that is not there, or a series that is not
            longer than the delays span.

    Source: Takens, Lect. Notes Math. 898 (1981) 366; one delay per component after Judd & Mees, Physica D 120 (1998) 273.
    """
    if series.ndim < 2:
        raise ValueError(f"series: got shape {tuple(series.shape)}, need (..., time, channel), such as series[:, None]")
    if not delays:
        raise ValueError("delays: got none, need at least one")
    there = series.shape[-1]
    if channels is not None and len(channels) != len(delays):
        raise ValueError(f"channels: got {len(channels)} for {len(delays)} delays, need one per delay")
    if channels is not None and not all(-there <= channel < there for channel in channels):
        raise ValueError(f"channels: got {list(channels)}, the series has {there}")
    first, last = min(0, *delays), max(0, *delays)
    count = series.shape[-2] - (last - first)
    if count < 1:
        raise ValueError(f"series: got {series.shape[-2]} instants, delays {list(delays)} need at least {last - first + 1}")
    parts = []
    for component, delay in enumerate(delays):
        part = series[..., delay - first :, :][..., :count, :]
        parts.append(part if channels is None else part[..., channels[component], None])
    return torch.cat(parts, -1)


def first_zero_of_autocorrelation(series: Float[Tensor, "time"]) -> int:
    """The first delay, in instants, at which the autocorrelation is not positive: a delay to begin with.

    Gaps, NaN, are left out, pair by pair. There always is one, as the autocorrelations of what has mean 0 add up to 0.

    Raises:
        ValueError: fewer than 2 finite instants, or a constant series.
    """
    good = series.isfinite()
    if int(good.sum()) < 2:
        raise ValueError(f"series: got {int(good.sum())} finite instants, need at least 2")
    values = torch.where(good, series.double() - series.double()[good].mean(), 0.0)
    if not values.any():
        raise ValueError("series: is constant, its autocorrelation is not defined")
    length = 2 * len(series)
    spectrum = torch.fft.rfft(values, n=length)
    # Where pairs are missing, their number does not change the sign.
    correlation = torch.fft.irfft(spectrum.abs().square(), n=length)[: len(series)]
    return int((correlation <= 0).nonzero()[0])


__all__ = ["delay_embedding", "first_zero_of_autocorrelation"]
