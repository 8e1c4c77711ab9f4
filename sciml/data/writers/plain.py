"""What all writers of other formats need to know of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sciml.data import layout
from sciml.data.layout import TimeGrid
from sciml.data.set import Set
from sciml.data.variables import VariableInfo

OWN = ("complete", "domain", "shard", "shards", "split", "variables")
"""Attributes of a file alone, or that every writer says anew."""
_LONGEST = 32_000
"""Bytes: HDF5 keeps what is longer elsewhere, and not in attributes."""


def plain_attributes(source: Set) -> dict[str, str | int | float]:
    """What the files of a set say of it in text or numbers, without what they say of themselves alone."""
    return {
        key: value
        for key, value in source.attributes.items()
        if key not in OWN and not key.startswith("_") and isinstance(value, str | int | float) and len(str(value)) <= _LONGEST
    }


def stored_type(path: str | Path, info: VariableInfo) -> np.dtype[np.generic]:
    """The type of the values of a variable in files.

    Raises:
        ValueError: NumPy has no such type, it is complex, or the name of the variable cannot be that of an array.
    """
    try:
        return layout.stored_type(info)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def time_grid(source: Set, rows: range) -> TimeGrid | None:
    """The instants of some samples of a set, padded to those of its longest one; None where nothing changes in time."""
    if source.steps is None:
        return None
    numbers, steps = np.arange(rows.start, rows.stop), source.steps[rows.start : rows.stop]
    times, ragged = source.times(numbers), bool((steps != source.steps.max()).any())
    if times is not None and not ragged and (times == times[:1]).all():
        times = times[0]
    return TimeGrid(times, steps if ragged else None)


__all__ = ["OWN", "plain_attributes", "stored_type", "time_grid"]
