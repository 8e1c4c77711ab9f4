"""Checks of the numbers that laws and problems are made of: one line that names the number, what came and what is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

MOST = 1_000_000
"""The largest count that is taken: of modes, points, instants."""

LARGEST = 1e100
"""The largest size of a number that is taken, and the inverse of the smallest of a positive one: its square is finite."""


def check_positive(**numbers: float) -> None:
    """Raise a ValueError that names the first number that is not positive, or not from 1 / `LARGEST` to `LARGEST`."""
    for name, value in numbers.items():
        if not 1 / LARGEST <= value <= LARGEST:
            raise ValueError(f"{name}: got {value}, need a positive finite number{_bound(value)}")


def check_range(least: float = -LARGEST, most: float = LARGEST, /, **numbers: float) -> None:
    """Raise a ValueError that names the first number that is not from `least` to `most`."""
    for name, value in numbers.items():
        if not least <= value <= most:
            low = "" if least == -LARGEST else f" >= {least:g}"
            high = _bound(value) if most == LARGEST else f"{' and' if low else ''} <= {most:g}"
            raise ValueError(f"{name}: got {value}, need a finite number{low}{high}")


def check_count(least: int = 1, /, **counts: float) -> None:
    """Raise a ValueError that names the first number that is not whole, or not from `least` to `MOST`."""
    for name, value in counts.items():
        if not value >= least:
            raise ValueError(f"{name}: got {value}, need at least {least}")
        if value > MOST or value != int(value):
            raise ValueError(f"{name}: got {value}, need a whole number up to {MOST}")


def check_times(times: Sequence[float]) -> None:
    """Raise a ValueError unless these are at least two finite instants that grow."""
    grows = all(b > a for a, b in pairwise(times))
    if len(times) < 2 or not grows or not all(abs(time) <= LARGEST for time in times):
        shown = ", ".join(f"{time:g}" for time in times[:3]) + (", ..." if len(times) > 3 else "")
        raise ValueError(f"times: got ({shown}), need at least two finite ones that grow")


def equal_times(frames: int, duration: float) -> tuple[float, ...]:
    """`frames` instants from 0 to `duration`, both included.

    Raises:
        ValueError: fewer than 2 frames, or a duration that is not positive.
    """
    check_count(2, frames=frames)
    check_positive(duration=duration)
    return tuple(i * duration / (frames - 1) for i in range(frames))


def instants(frames: int, per_unit: int) -> tuple[float, ...]:
    """`frames` instants from 0 on, so many in a unit of time.

    Raises:
        ValueError: fewer than 2 frames.
    """
    check_count(2, frames=frames)
    return tuple(i / per_unit for i in range(frames))


def check_power_law(alpha: float, tau: float, scale: float = 1.0) -> None:
    """Raise a ValueError for numbers with which `PowerLaw` gives no finite field."""
    check_range(0, 10, alpha=alpha)
    check_range(0, 1e10, tau=tau)
    check_positive(scale=scale)


def _bound(value: float) -> str:
    if 0 < value < 1 / LARGEST:
        return f" from {1 / LARGEST:g} on"
    return f" up to {LARGEST:g}" if LARGEST < abs(value) < math.inf else ""


__all__ = [
    "LARGEST",
    "MOST",
    "check_count",
    "check_positive",
    "check_power_law",
    "check_range",
    "check_times",
    "equal_times",
    "instants",
]
