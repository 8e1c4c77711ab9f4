"""From arrays as they lie in files to variables as a batch has them: (row, [time], channel, *space)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.reading import read_box, read_frames
from sciml.data.storage.stamp import Stamp, check_unchanged
from sciml.data.variables import Description, Given, Source, VariableInfo, space_names

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

_TURNED_AT_ONCE = 2**20
_FEW_CHANNELS = 8

Library = Callable[[Path, str, Box], Array]
"""(path, name of the array, part) -> its values, by the library of the format; for arrays that lie `Elsewhere`."""


@dataclass(frozen=True)
class Opened:
    """One file with all that is known of it."""

    path: Path
    stamp: Stamp
    description: Description
    library: Library


@dataclass(frozen=True)
class Rows:
    """Which samples of a file are meant, and which instants of each.

    Args:
        samples: numbers within the file.
        first: the first instant of each; None where the variable does not change in time.
        count, stride: how many instants, and how far apart.
        into: where each goes along the first axis of the output; in turn from 0 on if not given.
    """

    samples: Integers
    first: Integers | None
    count: int
    stride: int
    into: Integers | None = None

    def of(self, members: Integers) -> Rows:
        """Some of them, by their place."""
        first = None if self.first is None else self.first[members]
        return Rows(self.samples[members], first, self.count, self.stride, members if self.into is None else self.into[members])

    def runs(self) -> Iterator[tuple[int, int]]:
        """Places from ... to ... of neighbouring samples with the same instants."""
        same = np.diff(self.samples) == 1
        if self.first is not None:
            same &= np.diff(self.first) == 0
        ends = [*(np.flatnonzero(~same) + 1).tolist(), len(self.samples)]
        yield from zip([0, *ends[:-1]], ends, strict=True)

    def goals(self, start: int, stop: int) -> slice | Integers:
        """Where those from ... to ... go."""
        return slice(start, stop) if self.into is None else self.into[start:stop]


def fill(file: Opened, name: str, rows: Rows, out: Array) -> None:
    """Write rows of a variable into `out`.

    Args:
        out: (row, time, *shape) of a variable that changes in time, else (row, *shape); of the stored dtype.
    Raises:
        OSError: the file cannot be read, or was changed since it was opened.
    """
    if not len(rows.samples):
        return
    info = file.description.variables[name]
    order = _canonical_order(info)
    axis = order.index("channel")
    begin = 0
    for source in file.description.sources[name]:
        end = begin + channels_of(source, file.description.arrays)
        place = out[(slice(None),) * axis + (slice(begin, end),)]
        begin = end
        if isinstance(source, Given):
            values = source.values[rows.samples] if len(source.values) > 1 else source.values
            shaped = values.reshape(len(values), *(values.shape[1] if at == "channel" else 1 for at in order[1:]))
            place[rows.goals(0, len(rows.samples))] = shaped
            continue
        for array, members in _arrays_of(source, rows.samples, file):
            _fill_from(file, source, array, rows if members is None else rows.of(members), place, order)


def channels_of(source: Source | Given, arrays: Mapping[str, StoredArray]) -> int:
    """How many channels of a variable a source gives."""
    if isinstance(source, Given):
        return source.values.shape[1]
    shape = arrays[source.arrays[0]].shape
    stored = math.prod(n for n, axis in zip(shape, source.axes, strict=True) if axis == "channel")
    return stored if source.channels is None else len(range(*source.channels.indices(stored)))


def _canonical_order(info: VariableInfo) -> tuple[str, ...]:
    """The axes of a variable in a batch."""
    time = () if info.steps is None else ("time",)
    if info.particles:
        return ("sample", *time, "particle", "channel")
    return ("sample", *time, "channel", *space_names(len(info.shape) - 1))


def _arrays_of(source: Source, samples: Integers, file: Opened) -> list[tuple[StoredArray, Integers | None]]:
    """The arrays that hold these samples, each with the places of its samples; None stands for all of them."""
    arrays = file.description.arrays
    if len(source.arrays) == 1:
        return [(arrays[source.arrays[0]], None)]
    homes = np.unique(samples)
    if len(homes) == 1:
        return [(arrays[source.arrays[homes[0]]], None)]
    return [(arrays[source.arrays[home]], np.flatnonzero(samples == home)) for home in homes]


def _fill_from(file: Opened, source: Source, array: StoredArray, rows: Rows, place: Array, order: tuple[str, ...]) -> None:
    """From one array; `place` has the axes of `order`, with the channels of this source alone."""
    lead = _leading(source, order)
    if isinstance(array.layout, Elsewhere) or not lead or {"sample", "time"} & set(source.axes[len(lead) :]):
        _by_boxes(file, source, array, rows, place, order)
        return
    if _whole(lead, array, rows):
        lead = ("sample",)  # one run for all instants
    index = _index(lead, rows, file.description.first)
    inner = source.axes[len(lead) :]
    frames = array.shape[len(lead) :]
    held = ("sample", "time") if set(lead) == {"sample", "time"} else ("sample",)
    # A missing channel and an axis to drop have length 1, and leave the bytes as they are.
    stored = tuple(axis for axis in (*held, *inner) if axis != "-")
    same = stored == order or stored == tuple(axis for axis in order if axis != "channel")
    straight = same and source.channels is None and place.flags.c_contiguous
    per_row = len(index) // len(rows.samples)
    if straight:
        goals = None if rows.into is None else (rows.into[:, None] * per_row + np.arange(per_row)).reshape(-1)
        read_frames(file.path, file.stamp, array, index, place.reshape(len(place) * per_row, *frames), goals)
        return
    # Few rows at a time: what was just read is still in the cache when it is turned.
    rows_at_once = max(1, _TURNED_AT_ONCE // max(1, per_row * math.prod(frames) * array.dtype.itemsize))
    scratch = np.empty((min(rows_at_once, len(rows.samples)) * per_row, *frames), place.dtype)
    for start in range(0, len(rows.samples), rows_at_once):
        stop = min(start + rows_at_once, len(rows.samples))
        values = scratch[: (stop - start) * per_row]
        read_frames(file.path, file.stamp, array, index[start * per_row : stop * per_row], values)
        counts = tuple(stop - start if axis == "sample" else rows.count for axis in held)
        turned = _in_order(values.reshape(*counts, *frames), (*held, *inner), source.channels, order)
        _copy_by_channel(turned, place, rows.goals(start, stop), order.index("channel"))


def _copy_by_channel(values: Array, place: Array, goals: slice | Integers, axis: int) -> None:
    """Where components lie next to each other on disk, one after the other is faster than all at once."""
    if not 1 < values.shape[axis] <= _FEW_CHANNELS:
        place[goals] = values
        return
    for channel in range(values.shape[axis]):
        at = (slice(None),) * (axis - 1) + (channel,)
        place[(goals, *at)] = values[(slice(None), *at)]


def _leading(source: Source, order: tuple[str, ...]) -> tuple[str, ...]:
    """The first axes of an array by which instants of samples are found, if those can be found so."""
    lead: list[str] = []
    for axis in source.axes:
        if axis not in ("sample", "time"):
            break
        lead.append(axis)
    # Of an array without samples every sample would have its own instants: one box for each.
    return tuple(lead) if "sample" in lead and ("time" in order or "time" not in lead) else ()


def _whole(lead: tuple[str, ...], array: StoredArray, rows: Rows) -> bool:
    """Whether all stored instants of every row are meant, in stored order."""
    if lead != ("sample", "time") or rows.first is None or rows.stride != 1:
        return False
    return rows.count == array.shape[1] and not rows.first.any()


def _index(lead: tuple[str, ...], rows: Rows, first_sample: int) -> Integers:
    """(row and instant, axis of `lead`), instants of one row one after the other."""
    samples = rows.samples + first_sample if first_sample else rows.samples
    if "time" not in lead or rows.first is None:
        return samples[:, None]
    index = np.empty((len(samples), rows.count, 2), np.int64)
    index[:, :, lead.index("sample")] = samples[:, None]
    index[:, :, lead.index("time")] = rows.first[:, None] + np.arange(rows.count) * rows.stride
    return index.reshape(-1, 2)


def _by_boxes(file: Opened, source: Source, array: StoredArray, rows: Rows, place: Array, order: tuple[str, ...]) -> None:
    """One part of the array for every run of neighbouring samples."""
    if isinstance(array.layout, Elsewhere):
        check_unchanged(file.path, file.stamp)  # libraries do not look
    # Each of its own array: a sample is not a place in it.
    for start, stop in rows.runs() if len(source.arrays) == 1 else ((i, i + 1) for i in range(len(rows.samples))):
        starts, counts, steps = [0] * len(array.shape), list(array.shape), [1] * len(array.shape)
        for i, axis in enumerate(source.axes):
            if axis == "sample":
                starts[i], counts[i] = int(rows.samples[start]) + file.description.first, stop - start
            elif axis == "time" and rows.first is not None:
                starts[i], counts[i], steps[i] = int(rows.first[start]), rows.count, rows.stride
        box = Box(tuple(starts), tuple(counts), tuple(steps))
        if isinstance(array.layout, Elsewhere):
            values = file.library(file.path, array.name, box)
        else:
            values = read_box(file.path, file.stamp, array, box)
        place[rows.goals(start, stop)] = _in_order(values, source.axes, source.channels, order)


def _in_order(values: Array, axes: tuple[str, ...], channels: slice | None, order: tuple[str, ...]) -> Array:
    """With the axes of `order`, those that are missing of length 1."""
    values = values.reshape([n for n, axis in zip(values.shape, axes, strict=True) if axis != "-"])
    axes = tuple(axis for axis in axes if axis != "-")
    if axes.count("channel") == 2:
        row, column = (i for i, axis in enumerate(axes) if axis == "channel")
        values = np.moveaxis(values, column, row + 1)
        values = values.reshape(*values.shape[:row], -1, *values.shape[row + 2 :])
        axes = (*axes[: row + 1], *(axis for axis in axes[row + 1 :] if axis != "channel"))
    values = values.transpose([axes.index(axis) for axis in order if axis in axes])
    values = values[tuple(slice(None) if axis in axes else np.newaxis for axis in order)]
    return values if channels is None else values[(slice(None),) * order.index("channel") + (channels,)]


__all__ = ["Library", "Opened", "Rows", "channels_of", "fill"]
