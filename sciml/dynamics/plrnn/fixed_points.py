"""Fixed points of piecewise-linear networks and their stability."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Complex, Float, Int8
from torch import Tensor

from sciml.dynamics.plrnn.cycles import SEARCH, Cycle, Search, cycles, every_cycle
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear


@dataclass(frozen=True)
class FixedPoint:
    """A state that the map leaves where it is.

    Args:
        point: float64.
        region: -1, 0, 1 for hidden units below, between and above their bounds.
        eigenvalues: of the derivative there, the largest first. On the border of two regions, those of one side.
        stable: all eigenvalues are less than 1 in size.
        residual: largest component of the difference between its map and itself.
    """

    point: Float[Tensor, "state"]
    region: Int8[Tensor, "hidden"]
    eigenvalues: Complex[Tensor, "state"]
    stable: bool
    residual: float


def fixed_points(
    network: PiecewiseLinear,
    *,
    starts: Float[Tensor, "replica start state"] | None = None,
    search: Search = SEARCH,
) -> list[list[FixedPoint]]:
    """Those that a search finds, for each replica; see `cycles`.

    In the region D the candidate is the solution of (1 - A - W D V) z = W (D b + bounds) + h; where it lies in another region
    the search goes on from there.

    Args:
        starts: states that matter, such as those of the data.
    Raises:
        ValueError: starts of another shape or not finite.
    """
    return _as_points(cycles(network, 1, starts=starts, search=search))


def every_fixed_point(network: PiecewiseLinear) -> list[list[FixedPoint]]:
    """All isolated ones, by trying every pattern of the hidden units: for few of them.

    Raises:
        ValueError: more than 4,000,000 patterns: 21 rectifiers, 13 units with two bounds.
    """
    return _as_points(every_cycle(network, 1))


def _as_points(found: list[list[Cycle]]) -> list[list[FixedPoint]]:
    return [
        [FixedPoint(one.points[0], one.patterns[0], one.eigenvalues, one.stable, one.residual) for one in replica]
        for replica in found
    ]


__all__ = ["FixedPoint", "every_fixed_point", "fixed_points"]
