"""Grids that coarsen by two, and the ghost points that continue a function beyond the sides of its box.

A grid remembers where the sides are, in its own spacings, so that a condition holds at the true side on every level of a
multigrid cycle, for any number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sciml.numerics.domain import Axis, Condition, Domain


@dataclass(frozen=True)
class Line:
    """One axis of a grid, in units of its own spacing.

    Args:
        points: number of points.
        sides: condition at the first and at the last side.
        gaps: distance from the first point to the first side and from the last point to the last side, 0 to 1.
    """

    points: int
    sides: tuple[Condition, Condition]
    gaps: tuple[float, float]

    @classmethod
    def of(cls, axis: Axis, points: int) -> Line:
        return cls(points, axis.sides, axis.gaps)

    @property
    def periodic(self) -> bool:
        return self.sides[0] == "periodic"

    @property
    def offset(self) -> int:
        """The first point that the coarser line keeps: 1 where the side lies a full spacing before point 0, else 0."""
        return int(self.sides[0] in ("dirichlet", "neumann") and self.gaps[0] > 0.5)

    def coarser(self) -> Line:
        """Every second point; the sides stay where they are."""
        kept = (self.points - 1 - self.offset) // 2 + 1
        left_over = self.points - 1 - (2 * (kept - 1) + self.offset)
        return Line(kept, self.sides, ((self.gaps[0] + self.offset) / 2, (self.gaps[1] + left_over) / 2))

    def ghost(self, end: int) -> tuple[float, float]:
        """Weights of the outermost and of the second point in the ghost value beyond the first (0) or last (1) point.

        `dirichlet` continues oddly about the side and `neumann` evenly, by linear interpolation where the mirror image
        falls between points; `open` continues by zero. On a `periodic` line the points are those of the other end: where the
        first and the last point are less than a spacing apart across the seam, the ghost lies between the last two.
        """
        side, gap = self.sides[end], self.gaps[end]
        if side == "open":
            return 0.0, 0.0
        if side == "periodic":
            return sum(self.gaps), 1 - sum(self.gaps)
        if side == "dirichlet":
            return (-2 * gap, -(1 - 2 * gap)) if gap <= 0.5 else (-(1 - gap) / gap, 0.0)
        return (2 * gap, 1 - 2 * gap) if gap <= 0.5 else (1.0, 0.0)

    @property
    def zero_ghosts(self) -> bool:
        """Whether both ghost values are zero whatever the function."""
        return not self.periodic and self.ghost(0) == (0, 0) and self.ghost(1) == (0, 0)

    @property
    def walls(self) -> tuple[bool, bool]:
        """Whether the first (last) point lies on a `dirichlet` side, where a function is zero."""
        first, last = (s == "dirichlet" and g == 0 for s, g in zip(self.sides, self.gaps, strict=True))
        return first, last


Grid = tuple[Line, ...]


def pyramid(domain: Domain, shape: tuple[int, ...], levels: int) -> list[Grid]:
    """The grid of `shape` over the box of `domain` and its successive coarsenings, as `coarsened` gives them."""
    return coarsened(tuple(Line.of(axis, n) for axis, n in zip(domain.axes, shape, strict=True)), levels)


def coarsened(grid: Grid, levels: int) -> list[Grid]:
    """A grid and its successive coarsenings: at most `levels`, fewer when a side would fall below 2 points."""
    grids = [grid]
    while len(grids) < levels:
        coarse = tuple(line.coarser() for line in grids[-1])
        if min(line.points for line in coarse) < 2:
            break
        grids.append(coarse)
    return grids


def extend(field: Float[Tensor, "*batch"], grid: Grid) -> Float[Tensor, "*extended"]:
    """`field` with one ghost point at both ends of each of its last axes."""
    every_gap = {gap for line in grid for gap in line.gaps}
    if all(line.zero_ghosts for line in grid):
        return functional.pad(field, (1, 1) * len(grid))
    if field.ndim == len(grid) + 2:  # what the fast paddings of torch take
        if all(line.periodic and line.ghost(0) == (1, 0) for line in grid):
            return functional.pad(field, (1, 1) * len(grid), mode="circular")
        if every_gap in ({0.0}, {0.5}) and all({"dirichlet", "neumann"}.issuperset(line.sides) for line in grid):
            mirrored = functional.pad(field, (1, 1) * len(grid), mode="reflect" if every_gap == {0.0} else "replicate")
            return _times_ends(mirrored, [tuple(-1.0 if s == "dirichlet" else 1.0 for s in line.sides) for line in grid])
    for axis, line in enumerate(grid):
        at = axis - len(grid)
        n = field.shape[at]
        first_end, last_end = (0, 1), (n - 1, n - 2)
        first = _ghost(field, at, line.ghost(0), *(last_end if line.periodic else first_end))
        last = _ghost(field, at, line.ghost(1), *(first_end if line.periodic else last_end))
        field = torch.cat((first, field, last), at)
    return field


def _ghost(field: Tensor, at: int, weights: tuple[float, float], outer: int, inner: int) -> Tensor:
    edge = field.narrow(at, outer, 1)
    if weights[1] == 0:
        return edge * weights[0]
    return edge * weights[0] + field.narrow(at, inner, 1) * weights[1]


def zero_on_walls(field: Float[Tensor, "*batch"], grid: Grid) -> Float[Tensor, "*batch"]:
    """`field` with the points that lie on `dirichlet` sides set to zero."""
    return _times_ends(field, [tuple(0.0 if wall else 1.0 for wall in line.walls) for line in grid])


def _times_ends(field: Tensor, factors: list[tuple[float, ...]]) -> Tensor:
    """`field` with the first and the last point along each of its last axes multiplied by that axis' two factors."""
    if all(set(pair) == {1.0} for pair in factors):
        return field
    product = field.new_ones(())
    for n, (first, last) in zip(field.shape[-len(factors) :], factors, strict=True):
        line = field.new_ones(n)
        line[0], line[-1] = first, last
        product = product[..., None] * line
    return field * product
