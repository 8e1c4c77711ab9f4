"""The ring of Lorenz 1996: x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing, in any number of sites.

Source: Lorenz, "Predictability: a problem partly solved", Proc. Seminar on Predictability, ECMWF (1996) 1.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sciml.numerics.checks import check_count, check_range
from sciml.numerics.runge_kutta import advanced
from sciml.problems.chaotic_flows import ChaoticFlow, series_of
from sciml.problems.flows.flow import Flow, Number, Rates

_STEP, _INTERVAL = 0.005, 0.01
_EXPONENT = 1.7  # of 40 sites at forcing 8; fewer sites have less (1.2 of ten)
_SCALE = 3.64  # standard deviation of a site at forcing 8
_MOST = 10_000


def ring(dim: int = 10, forcing: float = 8.0) -> Flow:
    """The flow; chaotic at forcing 8 from about 7 sites on.

    Raises:
        ValueError: fewer than 4 sites or more than 10,000, or a forcing that is not from -100 to 100.
    """
    check_count(4, dim=dim)
    check_range(4, _MOST, dim=dim)
    check_range(-100.0, 100.0, forcing=forcing)
    return Flow(
        name=f"lorenz_96 of {dim} sites",
        rates=_ring,
        start=_start(int(dim), float(forcing)),
        scale=(_SCALE,) * int(dim),
        step=_STEP,
        interval=_INTERVAL,
        exponent=_EXPONENT,
        equation="x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing",
        source="Lorenz, Proc. Seminar on Predictability, ECMWF (1996) 1",
        parameters={"forcing": forcing},
        contraction=lambda x, **_: -float(len(x)),
    )


def lorenz96(
    dim: int = 10, forcing: float = 8.0, frames: int = 1000, interval: float = _INTERVAL, noise: float = 0.0
) -> ChaoticFlow:
    """Series of `dim` sites; published with 10 and 20, forcing 8, 0.01 apart."""
    return series_of(ring(dim, forcing), frames, interval, noise)


def _ring(x: Tensor, forcing: Number) -> Rates:
    return torch.roll(x, 1, 0) * (torch.roll(x, -1, 0) - torch.roll(x, 2, 0)) - x + forcing


@lru_cache(maxsize=16)
def _start(dim: int, forcing: float) -> tuple[float, ...]:
    """A point of the attractor, the same on every machine; from whole numbers, as chaos would show the last digit of a sine."""
    site = torch.arange(dim, dtype=torch.float64)
    state = 2 + (site * site % 7) / 7
    return tuple(advanced(lambda x: torch.as_tensor(_ring(x, forcing)), state, 0.01, 2000).tolist())


__all__ = ["lorenz96", "ring"]
