"""Functions from one grid of a box to another: by points that both have, or by cubics."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.ghosts import Grid, Line


def inject(u: Float[Tensor, "*fine"], fine: Grid, coarse: Grid) -> Float[Tensor, "*coarse"]:
    """The values at the points that the coarser grid keeps."""
    for axis, (line, kept) in enumerate(zip(fine, coarse, strict=True)):
        first = _first_kept(line, kept)
        index = [slice(None)] * (u.ndim - len(fine) + axis) + [slice(first, first + 2 * kept.points - 1, 2)]
        u = u[tuple(index)]
    return u


def interpolate(u: Float[Tensor, "*coarse"], coarse: Grid, fine: Grid) -> Float[Tensor, "*fine"]:
    """The values kept, and midway between two points the cubic through the nearest four.

    Beyond a side the function goes on as the condition says, and straight on past an `open` one.
    """
    for axis, (low, high) in enumerate(zip(coarse, fine, strict=True)):
        at = u.ndim - len(fine) + axis
        u = _interpolated(u.movedim(at, 0), low, high).movedim(0, at)
    return u


def resample(u: Float[Tensor, "*source"], source: Grid, target: Grid) -> Float[Tensor, "*target"]:
    """At the points of any other grid of the same box: the cubic through the nearest four, axis by axis.

    Beyond a side as `interpolate`. From fine to coarse nothing is averaged.
    """
    for axis, (old, new) in enumerate(zip(source, target, strict=True)):
        if old != new:
            at = u.ndim - len(source) + axis
            u = (u.movedim(at, -1) @ _weights(old, new).to(u).mT).movedim(-1, at)
    return u


def _intervals(line: Line) -> float:
    """Spacings from side to side."""
    return line.points - 1 + sum(line.gaps)


def _first_kept(fine: Line, coarse: Line) -> int:
    """Which point of the fine line the first of the coarse one is."""
    return round(2 * coarse.gaps[0] - fine.gaps[0])


def _interpolated(u: Tensor, coarse: Line, fine: Line) -> Tensor:
    """Along the first axis."""
    wrapped = coarse.periodic and coarse.ghost(0) == (1.0, 0.0)
    before, after = (u[-1:], u[:1]) if wrapped else (_ghost(u, coarse, 0), _ghost(u, coarse, 1))
    means = (torch.cat((before, u)) + torch.cat((u, after))) / 2
    # What makes the outermost means those of two points; across a whole seam the points are there.
    second = (u[-2:-1], u[1:2]) if wrapped else (u[:1] + before - u[1:2], u[-1:] + after - u[-2:-1])
    far = torch.cat((second[0], before, u[:-1])) + torch.cat((u[1:], after, second[1]))
    means = means + (means - far / 2) / 8
    both = torch.stack((torch.cat((before, u)), means), 1).flatten(0, 1)  # ghost, midway, point, midway, ...
    return both.narrow(0, 2 - _first_kept(fine, coarse), fine.points)


def _ghost(u: Tensor, line: Line, end: int) -> Tensor:
    """Beyond an end of the line, from the point and its neighbour at that end, or at the other one across a seam."""
    outer, inner = _continuation(line, end)
    nearest = u.flip(0) if line.periodic != (end == 1) else u
    return outer * nearest[:1] + inner * nearest[1:2]


def _continuation(line: Line, end: int) -> tuple[float, float]:
    return (2.0, -1.0) if line.sides[end] == "open" else line.ghost(end)


def _weights(source: Line, target: Line) -> Float[Tensor, "target source"]:
    """Of the points of one line in the values at those of another, float64."""
    n = source.points
    steps = torch.arange(target.points, dtype=torch.float64) + target.gaps[0]
    place = steps * (_intervals(source) / _intervals(target)) - source.gaps[0]  # in spacings from the first point
    first = place.floor() - 1
    if not source.periodic:
        first = first.clamp(-1, n - 3)
    t = place - first
    # Lagrange's polynomials of the nodes 0, 1, 2, 3
    parts = (-(t - 1) * (t - 2) * (t - 3) / 6, t * (t - 2) * (t - 3) / 2, -t * (t - 1) * (t - 3) / 2, t * (t - 1) * (t - 2) / 6)
    columns = first.long()[:, None] + torch.arange(4)
    weights = torch.zeros(target.points, n if source.periodic else n + 2, dtype=torch.float64)
    weights.scatter_add_(1, columns % n if source.periodic else columns + 1, torch.stack(parts, 1))
    if source.periodic:
        return weights
    before, inside, after = weights[:, :1], weights[:, 1:-1].clone(), weights[:, -1:]
    (outer, inner), (outer_last, inner_last) = _continuation(source, 0), _continuation(source, 1)
    inside[:, :1] += outer * before
    inside[:, 1:2] += inner * before
    inside[:, -1:] += outer_last * after
    inside[:, -2:-1] += inner_last * after
    return inside


__all__ = ["inject", "interpolate", "resample"]
