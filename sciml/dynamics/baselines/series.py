"""Series that models are fitted to in closed form, checked as they come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Series = Tensor | Sequence[Tensor]
"""One, (time, observed); several of one length, (sequence, time, observed); or a list of such as (time, observed)."""


def listed(series: Series, least: int) -> list[Float[Tensor, "time observed"]]:
    """In float64.

    Raises:
        ValueError: no series, one of another shape, of fewer than `least` instants or with values that are not finite.
    """
    if isinstance(series, Tensor) and series.ndim != 3:
        series = [series]
    given = list(series)
    if not given:
        raise ValueError("series: got none, need at least one")
    for x in given:
        if x.ndim != 2 or x.shape[0] < least or x.shape[1] < 1 or x.shape[1] != given[0].shape[-1]:
            shapes = ", ".join(str(tuple(x.shape)) for x in given[:4])
            raise ValueError(f"series: got {shapes}, need (at least {least} instants, observed), observed alike in all")
        if not bool(x.isfinite().all()):
            raise ValueError(f"series: {int((~x.isfinite()).sum())} values are not finite, need all; leave those parts out")
    return [x.detach().double() for x in given]


def stacked(series: Sequence[Float[Tensor, "_ observed"]]) -> Iterator[Float[Tensor, "sequence time observed"]]:
    """Those of one length together."""
    for length in sorted({len(x) for x in series}):
        yield torch.stack([x for x in series if len(x) == length])


__all__ = ["Series", "listed", "stacked"]
