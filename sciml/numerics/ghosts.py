"""Grids that coarsen by two, and the ghost points that continue a function beyond the sides of its box.

A grid remembers where the sides are, in its own spacings, so that a condition holds at the true side on every level of a
multigrid cycle, for any number of points.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

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
    if all(line.zero_ghosts for line in grid):
        return functional.pad(field, (1, 1) * len(grid))
    return cast(Tensor, _Extended.apply(field, grid))


class _Extended(torch.autograd.Function):
    """One copy forward and one back; paddings of torch, and slices put together, copy more often in their gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(field: Tensor, grid: Grid) -> Tensor:
        lead = field.ndim - len(grid)
        if lead == 2 and (points := field.movedim(1, -1)).is_contiguous():  # channels of a point side by side
            out = field.new_empty(len(field), *(n + 2 for n in points.shape[1:-1]), points.shape[-1]).movedim(-1, 1)
        else:
            out = field.new_empty(*field.shape[:lead], *(n + 2 for n in field.shape[lead:]))
        _inside(out, range(lead, field.ndim)).copy_(field)
        for at, line in enumerate(grid, start=lead):
            for ghost, outer, inner, (first, second) in _ghosts(line, field.shape[at]):
                beyond = out.select(at, ghost).copy_(out.select(at, outer)).mul_(first)
                if second:
                    beyond.add_(out.select(at, inner), alpha=second)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Grid], output: Tensor) -> None:
        ctx.grid = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grid: Grid = ctx.grid
        lead = gradient.ndim - len(grid)
        for at, line in reversed(list(enumerate(grid, start=lead))):
            beyond = [gradient.select(at, end) for end in (0, -1)]
            n = gradient.shape[at] - 2
            inside = gradient.narrow(at, 1, n)
            gradient = inside.clone() if at == gradient.ndim - 1 else inside
            for (_, outer, inner, (first, second)), values in zip(_ghosts(line, n), beyond, strict=True):
                gradient.select(at, outer - 1).add_(values, alpha=first)
                if second:
                    gradient.select(at, inner - 1).add_(values, alpha=second)
        return gradient, None


def _inside(extended: Tensor, axes: Iterable[int]) -> Tensor:
    for at in axes:
        extended = extended.narrow(at, 1, extended.shape[at] - 2)
    return extended


def _ghosts(line: Line, n: int) -> list[tuple[int, int, int, tuple[float, float]]]:
    """For both ends, places in the extended line: of the ghost, of the two points it is made of; and their weights."""
    first, last = (1, 2), (n, n - 1)
    near = (last, first) if line.periodic else (first, last)
    return [(0, *near[0], line.ghost(0)), (n + 1, *near[1], line.ghost(1))]


def zero_on_walls(field: Float[Tensor, "*batch"], grid: Grid) -> Float[Tensor, "*batch"]:
    """`field` with the points that lie on `dirichlet` sides set to zero."""
    return _times_ends(field, [tuple(0.0 if wall else 1.0 for wall in line.walls) for line in grid])


def _times_ends(field: Tensor, factors: list[tuple[float, ...]]) -> Tensor:
    """`field` with the first and the last point along each of its last axes multiplied by that axis' two factors."""
    if all(set(pair) == {1.0} for pair in factors):
        return field
    table = _table(tuple(field.shape[-len(factors) :]), tuple(factors), field.dtype, field.device)
    return field * table


@lru_cache(maxsize=256)
def _table(
    shape: tuple[int, ...], factors: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "*space"]:
    """Ones, and at the ends of each axis its factors; made outside of inference mode, whose tensors training could not use."""
    with torch.inference_mode(False):
        product = torch.ones((), dtype=dtype, device=device)
        for n, (first, last) in zip(shape, factors, strict=True):
            line = torch.ones(n, dtype=dtype, device=device)
            line[0], line[-1] = first, last
            product = product[..., None] * line
        return product
