"""Reading stored arrays by position, without a lock and straight into the place where the values are wanted.

Threads and forked processes read at the same time: every read names its place in the file, and nothing else is shared than open
files. What cannot be read so goes through the HDF5 library, `read_by_hdf5`.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sciml.data.storage.arrays import Box, Chunked, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.decoding import decoded
from sciml.data.storage.descriptors import using
from sciml.data.storage.library import check_inside, read_by_hdf5
from sciml.data.storage.stamp import Stamp

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

# Up to here, bytes that are not wanted are read rather than left out by further calls: a call costs about what 10 KB cost.
_SMALL, _SCRATCH = 2**15, 2**24
# Up to so many frames their places are worked out faster by Python than by NumPy.
_FEW = 8


def read_box(path: Path, stamp: Stamp, array: StoredArray, box: Box, out: Array | None = None) -> Array:
    """A part of an array, by position.

    Args:
        stamp: of the file when its layout was learnt.
        out: where to write, of shape `box.counts`, the dtype of the array, any strides; made if not given.
    Returns:
        `out`, in the byte order of this machine.
    Raises:
        ValueError: the box leaves the array, `out` does not fit, or the array lies elsewhere.
        OSError: the file was changed, ends early, or a chunk is damaged.
    """
    where = f"{path}: array {array.name}"
    check_inside(where, array.shape, box)
    layout = _by_position(where, array)
    dtype = array.dtype.newbyteorder("=")
    if out is not None and (out.shape != box.counts or out.dtype != dtype):
        raise ValueError(f"{where}: got an output {out.shape} of {out.dtype}, need {box.counts} of {dtype}")
    try:
        room = _room(where, box.counts, dtype) if out is None else out
        if room.size and isinstance(layout, Contiguous):
            using(path, stamp, _region, where, stamp.size, layout.offset, array.shape, box, room)
        elif room.size:
            using(path, stamp, _chunks, where, stamp.size, array, layout, box, room)
    except MemoryError as error:
        raise OSError(f"{where}: {math.prod(box.counts)} values of {dtype} do not fit into the memory") from error
    return room


def read_frames(
    path: Path, stamp: Stamp, array: StoredArray, index: Integers, out: Array, into: Integers | None = None
) -> None:
    """For each of n places along the first k axes the values of all other axes.

    The way of random windows: neighbours are read in one go, straight into `out`.

    Args:
        stamp: of the file when its layout was learnt.
        index: (n, k).
        out: (n, *array.shape[k:]) of the dtype of the array, C-contiguous; longer where `into` says where each goes.
        into: (n,), places along the first axis of `out`.
    Raises:
        IndexError: a place outside of the array.
        ValueError: `out` does not fit, or the array lies elsewhere.
        OSError: the file was changed, ends early, or a chunk is damaged.
    """
    count, axes = index.shape
    rows = count if into is None else len(out)
    fits = out.shape == (rows, *array.shape[axes:]) and out.dtype == array.dtype
    if not fits or not out.flags.c_contiguous or axes > len(array.shape):
        raise ValueError(_unfit(path, array, index, out))
    if not out.nbytes:
        _check_places(path, array, index)
        return
    layout = array.layout
    if isinstance(layout, Contiguous):
        places = _places(path, array, index, layout.offset)
    elif isinstance(layout, Elsewhere):
        raise ValueError(_elsewhere(f"{path}: array {array.name}", layout))
    elif layout.filters or layout.chunk[axes:] != array.shape[axes:]:
        frames = out if into is None else np.empty((count, *out.shape[1:]), out.dtype)
        using(path, stamp, _frames_of_chunks, path, stamp, array, layout, index, frames)
        if into is not None:
            out[into] = frames
        return
    else:
        places = _places_in_chunks(path, array, layout, index)
    goals = range(count) if into is None else into.tolist()
    using(path, stamp, _read_runs, path, array, stamp.size, places, goals, out)


def _room(where: str, counts: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    try:
        return np.empty(counts, dtype)
    except ValueError as error:
        # So says NumPy of what is larger than any memory.
        raise MemoryError(where) from error


def _by_position(where: str, array: StoredArray) -> Contiguous | Chunked:
    if isinstance(array.layout, Elsewhere):
        raise ValueError(_elsewhere(where, array.layout))
    return array.layout


def _elsewhere(where: str, layout: Elsewhere) -> str:
    return f"{where}: cannot be read by position ({layout.reason}), need the library of the format"


def _unfit(path: Path, array: StoredArray, index: Integers, out: Array) -> str:
    return (
        f"{path}: array {array.name}: got index {index.shape} and output {out.shape} of {out.dtype}, need (n, k) and "
        f"(n, {', '.join(map(str, array.shape[index.shape[1] :]))}) of {array.dtype}, in C order"
    )


# Places of frames, as bytes of the file; -1 where a chunk was never written.


def _outside(path: Path, array: StoredArray, row: Sequence[int]) -> IndexError:
    return IndexError(f"{path}: array {array.name}: got place {tuple(row)}, need one inside {array.shape[: len(row)]}")


def _check_places(path: Path, array: StoredArray, index: Integers) -> None:
    # Without its sign a negative number is more than any length.
    wrong = index.astype(np.uint64) >= np.array(array.shape[: index.shape[1]], np.uint64)
    if wrong.any():
        raise _outside(path, array, index[wrong.any(axis=1).argmax()].tolist())


def _places(path: Path, array: StoredArray, index: Integers, offset: int) -> list[int]:
    """Of frames of values one after the other."""
    axes = index.shape[1]
    lead, strides = array.shape[:axes], array.strides
    if len(index) > _FEW:
        _check_places(path, array, index)
        return (offset + index @ np.array(strides[:axes], np.int64)).tolist()
    places = []
    for row in index.tolist():
        place = offset
        for at, length, stride in zip(row, lead, strides):  # noqa: B905  # strides of all axes; half the time of strict=False
            if not 0 <= at < length:
                raise _outside(path, array, row)
            place += at * stride
        places.append(place)
    return places


def _places_in_chunks(path: Path, array: StoredArray, layout: Chunked, index: Integers) -> list[int]:
    """Of frames that lie whole in chunks."""
    axes = index.shape[1]
    frame = math.prod(array.shape[axes:]) * array.dtype.itemsize
    lead, grid = layout.chunk[:axes], layout.offsets.shape
    if len(index) > _FEW:
        _check_places(path, array, index)
        table = layout.offsets.reshape(grid[:axes])
        if axes and math.prod(lead) == 1:
            return table[tuple(index.T)].tolist()
        cells, rests = np.divmod(index, np.array(lead, np.int64))
        starts = table[tuple(cells.T)]
        inner = np.zeros(len(index), np.int64)
        for axis, length in enumerate(lead):
            inner = inner * length + rests[:, axis]
        return np.where(starts < 0, -1, starts + inner * frame).tolist()
    places = []
    item = layout.offsets.item
    for row in index.tolist():
        cell = inner = 0
        for at, length, size, cells in zip(row, array.shape, lead, grid):  # noqa: B905  # as above
            if not 0 <= at < length:
                raise _outside(path, array, row)
            block, rest = divmod(at, size)
            cell = cell * cells + block
            inner = inner * size + rest
        start = item(cell)
        places.append(start if start < 0 else start + inner * frame)
    return places


def _read_runs(fd: int, path: Path, array: StoredArray, end: int, places: list[int], goals: Sequence[int], out: Array) -> None:
    """Frames at these bytes to these places of `out`, those that follow each other here and there in one go."""
    begin, count = 0, len(places)
    frame = out.nbytes // len(out)
    whole: Any = None
    while begin < count:
        start = following = places[begin]
        goal = place = goals[begin]
        if start < 0:
            out[goal] = array.layout.fill if isinstance(array.layout, Chunked) else 0
            begin += 1
            continue
        while begin < count and places[begin] == following and goals[begin] == place:
            begin += 1
            place += 1
            following += frame
        part: Any = out
        if place - goal < len(out):
            if whole is None:
                whole = out.reshape(-1).view(np.uint8).data
            part = whole[goal * frame : place * frame]
        if os.preadv(fd, (part,), start) != following - start:
            # At the end of the file, or more than the system reads at once.
            _read(fd, f"{path}: array {array.name}", end, start, out[goal:place])


# Parts of values that lie one after the other.


def _read(fd: int, where: str, end: int, offset: int, out: Array) -> None:
    """Fill `out`, C-contiguous, from byte `offset` on."""
    if offset + out.nbytes > end:
        raise _short(where, end, offset + out.nbytes)
    view, done = out.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        got = os.preadv(fd, (view[done:],), offset + done)
        if not got:
            raise _short(where, offset + done, offset + out.nbytes)
        done += got


def _short(where: str, end: int, needed: int) -> OSError:
    return OSError(f"{where}: the file ends at byte {end}, need values up to byte {needed}; copy or generate it again")


def _region(fd: int, where: str, end: int, offset: int, shape: tuple[int, ...], box: Box, out: Array) -> None:
    """A box of an array that begins at byte `offset`, into `out` of any strides."""
    width = out.dtype.itemsize
    strides = _strides(shape, width)
    last = sum(
        (start + (n - 1) * step) * s for start, n, step, s in zip(box.starts, box.counts, box.steps, strides, strict=True)
    )
    if offset + last + width > end:
        raise _short(where, end, offset + last + width)
    # From the last axis on, as much is read at once as is wanted, or little more.
    inner, span, useful = len(shape), width, width
    while inner:
        axis = inner - 1
        wider = (box.counts[axis] - 1) * box.steps[axis] * strides[axis] + span
        more = useful * box.counts[axis]
        if wider != more and (wider > _SCRATCH or wider > max(_SMALL, 4 * more)):
            break
        inner, span, useful = axis, wider, more
    steps = tuple(s * step for s, step in zip(strides, box.steps, strict=True))
    offset += sum(start * s for start, s in zip(box.starts, strides, strict=True))
    scratch = None
    for place in itertools.product(*map(range, box.counts[:inner])):
        start = offset + sum(at * step for at, step in zip(place, steps, strict=False))
        target = out[place]
        if span == useful and target.flags.c_contiguous and isinstance(target, np.ndarray):
            _read(fd, where, end, start, target)
            continue
        if scratch is None:
            scratch = np.empty(span, np.uint8)
        _read(fd, where, end, start, scratch)
        out[(*place, ...)] = np.ndarray(box.counts[inner:], out.dtype, scratch.data, 0, steps[inner:])


def _strides(shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    return tuple(width * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


# Chunks.


def _chunks(fd: int, where: str, end: int, array: StoredArray, layout: Chunked, box: Box, out: Array) -> None:
    """A box, chunk by chunk."""
    sides = [_along(*side) for side in zip(box.starts, box.counts, box.steps, layout.chunk, strict=True)]
    written = layout.offsets[np.ix_(*(side[0] for side in sides))] >= 0
    if not written.all():
        out[...] = layout.fill
    for places in np.argwhere(written).tolist():
        parts = [side[:, at].tolist() for side, at in zip(sides, places, strict=True)]
        cell, firsts, counts, begins = (tuple(values) for values in zip(*parts, strict=True))
        inside = Box(firsts, counts, box.steps)
        target = out[tuple(slice(a, a + n) for a, n in zip(begins, counts, strict=True))]
        if layout.filters:
            target[...] = _block(fd, where, end, array, layout, cell)[inside.slices]
        else:
            _region(fd, where, end, layout.offsets.item(cell), layout.chunk, inside, target)


def _along(start: int, count: int, step: int, size: int) -> Integers:
    """One axis of a box cut at the chunks: rows are their numbers, first values in them, how many, and places in the box."""
    if step < size:
        cells = np.arange(start // size, (start + (count - 1) * step) // size + 1)
    else:
        cells = (start + step * np.arange(count)) // size
    begins = np.maximum(0, -((start - cells * size) // step))
    return np.stack([cells, start + begins * step - cells * size, np.diff(begins, append=count), begins])


def _block(fd: int, where: str, end: int, array: StoredArray, layout: Chunked, cell: tuple[int, ...]) -> Array:
    """The values of one chunk that was written."""
    offset, size, mask = (table.item(cell) for table in (layout.offsets, layout.sizes, layout.masks))
    where = f"{where}, chunk {cell}"
    if offset + size > end:
        raise _short(where, end, offset + size)
    raw = np.empty(size, np.uint8)
    _read(fd, where, end, offset, raw)
    whole = math.prod(layout.chunk) * array.dtype.itemsize
    try:
        values = decoded(raw.data, layout.filters, mask, whole, array.dtype.itemsize)
    except ValueError as error:
        raise OSError(f"{where} is damaged, {error}; copy or generate the file again") from error
    return values.view(array.dtype).reshape(layout.chunk)


def _frames_of_chunks(
    fd: int, path: Path, stamp: Stamp, array: StoredArray, layout: Chunked, index: Integers, out: Array
) -> None:
    """Frames in pieces, every chunk that holds some of them read once."""
    _check_places(path, array, index)
    axes, where = index.shape[1], f"{path}: array {array.name}"
    cells, rests = np.divmod(index, np.array(layout.chunk[:axes], np.int64))
    leads, members = np.unique(cells, axis=0, return_inverse=True)
    members = members.reshape(-1)
    order, borders = np.argsort(members, kind="stable"), np.searchsorted(np.sort(members), np.arange(len(leads) + 1))
    written = (layout.offsets[tuple(leads.T)] >= 0).reshape(len(leads), -1)
    if not written.all():
        out[np.asarray(~written.all(axis=1))[members]] = layout.fill
    for number in np.flatnonzero(written.any(axis=1)).tolist():
        lead = leads[number].tolist()
        here = order[borders[number] : borders[number + 1]]
        inner = rests[here]
        # Of a chunk that is not packed only what lies between the first and the last frame that is wanted.
        low, high = (0, layout.chunk[0] - 1) if not axes else (int(inner[:, 0].min()), int(inner[:, 0].max()))
        for rest in np.argwhere(written[number].reshape(layout.offsets.shape[axes:])).tolist():
            cell = (*lead, *rest)
            ends = [min(size, n - c * size) for size, n, c in zip(layout.chunk[axes:], array.shape[axes:], rest, strict=True)]
            place = tuple(slice(c * size, c * size + n) for c, size, n in zip(rest, layout.chunk[axes:], ends, strict=True))
            if layout.filters:
                first, block = 0, _block(fd, where, stamp.size, array, layout, cell)
            else:
                first, block = low, np.empty((high - low + 1, *layout.chunk[1:]), array.dtype)
                start = layout.offsets.item(cell) + low * (block.nbytes // len(block))
                _read(fd, where, stamp.size, start, block)
            offsets = inner - [[first] + [0] * (axes - 1)] if axes else inner
            out[(here, *place)] = block[(*offsets.T, *(slice(n) for n in ends))]


__all__ = ["read_box", "read_by_hdf5", "read_frames"]
