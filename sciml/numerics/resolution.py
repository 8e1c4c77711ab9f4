"""Between a grid and the next coarser one without weights: every second point down, interpolation up."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.ghosts import Grid, Line


def finer(grid: Grid) -> Grid:
    """The grid of half the spacing whose coarser one is `grid`, with a point midway between all of its points."""
    return tuple(_finer(line) for line in grid)


def _finer(line: Line) -> Line:
    first, last = (int(gap > 0.5) for gap in line.gaps)
    gaps = (2 * line.gaps[0] - first, 2 * line.gaps[1] - last)
    return Line(2 * line.points - 1 + first + last, line.sides, gaps)


def first_kept(fine: Line, coarse: Line) -> int:
    """Which point of the fine line the first of the coarse one is."""
    return round(2 * coarse.gaps[0] - fine.gaps[0])


def inject(u: Float[Tensor, "*fine"], fine: Grid, coarse: Grid) -> Float[Tensor, "*coarse"]:
    """The values at the points that the coarser grid keeps."""
    for axis, (line, kept) in enumerate(zip(fine, coarse, strict=True)):
        first = first_kept(line, kept)
        index = [slice(None)] * (u.ndim - len(fine) + axis) + [slice(first, first + 2 * kept.points - 1, 2)]
        u = u[tuple(index)]
    return u


def interpolate(u: Float[Tensor, "*coarse"], coarse: Grid, fine: Grid, *, cubic: bool) -> Float[Tensor, "*fine"]:
    """The values kept, and midway between two points their mean, or with `cubic` the cubic through the nearest four.

    Beyond a side the function goes on as the condition says, and straight on past an `open` one.
    """
    for axis, (low, high) in enumerate(zip(coarse, fine, strict=True)):
        at = u.ndim - len(fine) + axis
        u = _interpolated(u.movedim(at, 0), low, high, cubic).movedim(0, at)
    return u


def _interpolated(u: Tensor, coarse: Line, fine: Line, cubic: bool) -> Tensor:
    """Along the first axis."""
    wrapped = coarse.periodic and coarse.ghost(0) == (1.0, 0.0)
    before, after = (u[-1:], u[:1]) if wrapped else (_ghost(u, coarse, 0), _ghost(u, coarse, 1))
    means = (torch.cat((before, u)) + torch.cat((u, after))) / 2
    if cubic:
        # What makes the outermost means those of two points; across a whole seam the points are there.
        second = (u[-2:-1], u[1:2]) if wrapped else (u[:1] + before - u[1:2], u[-1:] + after - u[-2:-1])
        far = torch.cat((second[0], before, u[:-1])) + torch.cat((u[1:], after, second[1]))
        means = means + (means - far / 2) / 8
    both = torch.stack((torch.cat((before, u)), means), 1).flatten(0, 1)  # ghost, midway, point, midway, ...
    return both.narrow(0, 2 - first_kept(fine, coarse), fine.points)


def _ghost(u: Tensor, line: Line, end: int) -> Tensor:
    """Beyond an end of the line, from the point and its neighbour at that end, or at the other one across a seam."""
    outer, inner = (2.0, -1.0) if line.sides[end] == "open" else line.ghost(end)
    nearest = u.flip(0) if line.periodic != (end == 1) else u
    return outer * nearest[:1] + inner * nearest[1:2]


__all__ = ["finer", "first_kept", "inject", "interpolate"]
