"""From the coordinates that a file gives to a Domain, where the points are equally spaced."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sciml.data.variables import space_names
from sciml.numerics.domain import Axis, Condition, Domain, Layout

# Candidates in order of preference, with the distance of the sides from the first and the last point in spacings and what
# speaks against each: digits that the others may have more.
_OPEN: tuple[tuple[Layout, float, float, int], ...] = (
    ("both_ends", 0.0, 0.0, 0),
    ("cells", 0.5, 0.5, 0),
    ("first_end", 0.0, 1.0, 1),
)
_PERIODIC: tuple[tuple[Layout, float, float, int], ...] = (("first_end", 0.0, 1.0, 0), ("cells", 0.5, 0.5, 0))


def domain_of_coordinates(
    coordinates: Sequence[npt.NDArray[np.generic]], conditions: Sequence[Condition], notes: list[str]
) -> Domain:
    """The box and the grid whose points have these coordinates, to 1e-6 of the spacing or what their type can tell apart.

    The same points fit several layouts: with both ends stored they reach from side to side, as centres of cells half a
    spacing further. Taken is the layout whose sides are the shortest numbers, decimal or in units of pi: points 0.05, 0.15,
    ..., 0.95 are cells of [0, 1], and 0, 0.1, ..., 1 have both ends.

    Args:
        coordinates: of the points along each axis, growing.
        conditions: on both sides of each axis.
        notes: gets a sentence for each thing that is odd.
    Returns:
        Where an axis is not equally spaced, a box of sides of length 1 with open conditions, its points in the middle of cells.
    Raises:
        ValueError: an axis with fewer than 2 points, or as many conditions as axes are not given.
    """
    if len(coordinates) != len(conditions):
        raise ValueError(f"conditions: got {len(conditions)} for {len(coordinates)} axes, need one each")
    names = space_names(len(coordinates))
    axes: list[Axis] = []
    for name, points, condition in zip(names, coordinates, conditions, strict=True):
        if points.ndim != 1 or len(points) < 2:
            raise ValueError(f"coordinate {name}: got values of shape {points.shape}, need at least 2 along a line")
        with np.errstate(over="ignore", invalid="ignore"):
            problem = _oddity(points)
        if problem:
            return unit_box([len(points) for points in coordinates], f"coordinate {name} {problem}", notes)
        axes.append(_axis(name, points, condition, notes))
    return Domain(tuple(axes))


def unit_box(points: Sequence[int], reason: str, notes: list[str]) -> Domain:
    """What stands for a grid that the file does not give, or that no Domain can be.

    Args:
        reason: why; a sentence without its full stop.
    """
    notes.append(f"{reason}; the points are taken as centres of equal cells on a box with open sides of length 1")
    return Domain.box([1.0] * len(points), list(points), "open", "cells")


def alike(values: npt.NDArray[np.generic]) -> bool:
    """Whether all rows are the same: (sample, ...)."""
    return bool(np.array_equal(values, np.broadcast_to(values[:1], values.shape), equal_nan=values.dtype.kind == "f"))


def _resolution(points: npt.NDArray[np.generic]) -> float:
    """How far the stored coordinates may be from equally spaced ones."""
    values = points.astype(np.float64)
    spacing = (values[-1] - values[0]) / (len(values) - 1)
    # Those made in float32 carry a few roundings of their largest value, a program's steps and its midpoints.
    rounding = 8 * float(np.finfo(points.dtype.name).eps) if points.dtype.kind == "f" else 0.0
    return float(min(1e-6 * spacing + rounding * np.abs(values).max(), 0.05 * spacing))


def _oddity(points: npt.NDArray[np.generic]) -> str:
    """Why these are not the points of a Domain; empty where they are."""
    if points.dtype.kind not in "fiu":
        return f"has values of type {points.dtype}"
    values = points.astype(np.float64)
    if not np.isfinite(values).all() or not np.isfinite(values[-1] - values[0]):
        return "has values that are not finite, or too large"
    if (np.diff(values) <= 0).any():
        return "does not grow"
    even = values[0] + (values[-1] - values[0]) * (np.arange(len(values)) / (len(values) - 1))
    if not np.abs(values - even).max() <= _resolution(points):
        return f"is not equally spaced (spacings from {np.diff(values).min():.6g} to {np.diff(values).max():.6g})"
    return ""


def _axis(name: str, points: npt.NDArray[np.generic], condition: Condition, notes: list[str]) -> Axis:
    first, last = float(points[0]), float(points[-1])
    spacing, tolerance = (last - first) / (len(points) - 1), _resolution(points)
    found: list[tuple[int, Layout, float, float]] = []
    for layout, before, behind, against in _PERIODIC if condition == "periodic" else _OPEN:
        begin, digits_begin = _shortest(first - before * spacing, tolerance)
        end, digits_end = _shortest(last + behind * spacing, tolerance)
        found.append((digits_begin + digits_end + against, layout, begin, end))
    # The first of those with the fewest digits.
    digits, layout, begin, end = min(found, key=lambda one: one[0])
    both = sum(_shortest(side, tolerance)[1] for side in (first, last))
    if condition == "periodic" and both + 1 < digits:
        notes.append(
            f"coordinate {name} is periodic and reaches from {first:g} to {last:g} with both ends; the period is taken as "
            f"{len(points)} spacings, {end - begin:g}"
        )
    return Axis(end - begin, len(points), (condition, condition), layout, begin)


def _shortest(value: float, tolerance: float) -> tuple[float, int]:
    """The number with the fewest digits within the tolerance, in units of 1 or pi, and how many; itself where it has over 6."""
    if abs(value) <= tolerance:
        return 0.0, 0
    for digits in range(1, 7):
        for unit in (1.0, math.pi):
            short = float(f"{value / unit:.{digits - 1}e}") * unit
            if abs(short - value) <= tolerance:
                return short, digits
    return value, 7


__all__ = ["alike", "domain_of_coordinates", "unit_box"]
