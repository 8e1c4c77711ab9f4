"""Whether all values of a set are finite, and no frames are zero that should not be, as a writer leaves them that was stopped.

A frame is one instant of one sample, or a sample that does not change in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sciml.data.blocks import blocks
from sciml.data.manifest import remade
from sciml.data.set import Part, Set
from sciml.data.storage.arrays import Contiguous
from sciml.data.variables import Source, VariableInfo, numpy_type
from sciml.generation.check_report import Fault

Flags = npt.NDArray[np.bool_]

# Bytes at a time: they stay in the cache between the reading and the looking.
_PIECE = 1 << 21
# At a time of what is stored in pieces, and may have to be unpacked by whole ones.
_LARGE = 1 << 26
# Fewer numbers than this may well be zero together.
_FEW = 16


@dataclass(frozen=True)
class Frames:
    """What is known of the frames of a variable in one file, each (sample, time).

    Args:
        there: that the sample has this instant.
        finite: all values are.
        zero: all values are zero; never of frames of a few numbers alone.
    """

    there: Flags
    finite: Flags
    zero: Flags


@dataclass
class Findings:
    """Faults and notes on values."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def value_findings(found: Set, part: Part, *, sealed: bool, first: int = 0) -> Findings:
    """Look at all values of one file of a set.

    A value that is not finite is a fault. So is a frame of zeros among frames that are not, in a variable of real numbers; but
    it is a note where checksums say that the file is as it was written, where zeros go on from the first instant, and where the
    numbers are whole, as in masks.

    Args:
        sealed: the bytes of the file are known to be those that were written.
        first: number of the first sample of the file.
    Raises:
        OSError, ValueError: the file cannot be read.
    """
    findings = Findings()
    for name, info in found.variables.items():
        frames = frames_of(found, part, name)
        bad = np.argwhere(frames.there & ~frames.finite)
        if len(bad):
            findings.faults.append(_finite_fault(found, part, info, bad, first))
        real = info.dtype.is_floating_point
        wrong, begin = _zero_frames(frames)
        for flags, is_fault in ((wrong, real and not sealed), (begin, False)):
            if flags.any():
                message = _zero_message(info, flags, first, begin=flags is begin)
                fault = Fault(part.path, message, name, first + int(np.argwhere(flags)[0, 0]), found.split)
                if is_fault:
                    findings.faults.append(fault)
                else:
                    findings.notes.append(str(fault))
    return findings


def frames_of(found: Set, part: Part, name: str) -> Frames:
    """Read a variable of one file once and say of each frame whether it is finite and whether it is zero."""
    info = found.variables[name]
    rows = range(part.start, part.start + part.samples)
    steps = np.ones(len(rows), np.int64) if info.steps is None or found.steps is None else found.steps[rows.start : rows.stop]
    there = np.arange(steps.max(initial=1)) < steps[:, None]
    finite, zero = np.ones_like(there), np.zeros_like(there)
    buffer = np.empty(0, numpy_type(info.dtype))
    for block in blocks(found, name, rows, most=_at_once(part, name)):
        shape = (len(block.rows), *(() if block.count is None else (block.count,)), *info.shape)
        size = int(np.prod(shape))
        if len(buffer) < size:
            buffer = np.empty(size, buffer.dtype)
        values = buffer[:size].reshape(shape)
        first = None if block.count is None else np.full(len(block.rows), block.first)
        found.read_into(name, np.arange(block.rows.start, block.rows.stop), values, first=first)
        count = block.count or 1
        where = slice(block.rows.start - rows.start, block.rows.stop - rows.start), slice(block.first, block.first + count)
        finite[where], zero[where] = _looked_at(values.reshape(len(block.rows), count, -1))
    return Frames(there, finite, zero)


def _looked_at(values: npt.NDArray[np.generic]) -> tuple[Flags, Flags]:
    """Whether frames (sample, time, value) are finite and whether they are zero; those of few values all together."""
    samples, instants, width = values.shape
    rows = values.reshape(samples * instants, width) if width >= _FEW else values.reshape(samples, instants * width)
    # Two reductions of what lies in the cache, with nothing in between to be stored; NaN is passed on by both.
    with np.errstate(invalid="ignore"):
        high, low = rows.max(axis=1), rows.min(axis=1)
    finite, zero = np.isfinite(high) & np.isfinite(low), (high == 0) & (low == 0) & (rows.shape[1] >= _FEW)
    shape = (samples, instants)
    return np.broadcast_to(finite.reshape(samples, -1), shape), np.broadcast_to(zero.reshape(samples, -1), shape)


def _at_once(part: Part, name: str) -> int:
    """Bytes to read at a time: many where they have to be unpacked, so that nothing is unpacked twice."""
    description = part.file.description
    stored = [description.arrays[s.arrays[0]] for s in description.sources[name] if isinstance(s, Source)]
    return _PIECE if all(isinstance(array.layout, Contiguous) for array in stored) else _LARGE


def _finite_fault(found: Set, part: Part, info: VariableInfo, bad: npt.NDArray[np.int64], first: int) -> Fault:
    """One line for a variable; the first bad value is looked up again."""
    row, instant = bad[0].tolist()
    left = 1 if info.steps is None or found.steps is None else int(found.steps[part.start + row]) - instant
    width = int(np.prod(info.shape)) * info.dtype.itemsize
    count = None if info.steps is None else min(left, max(_LARGE // width, 1))
    values = found.read(info.name, [part.start + row], first=instant, count=count)[0]
    index = np.argwhere(~values.isfinite().numpy())[0].tolist()
    value = values[tuple(index)].item()
    if info.steps is not None:
        instant, index = instant + index[0], index[1:]
    at = f"at {tuple(index)}" if info.steps is None else f"at instant {instant}, {tuple(index)}"
    rows = len(np.unique(bad[:, 0]))
    of = "file" if found.split is None else "split"
    more = "" if rows == 1 else f", and {rows - 1} more sample{'s' if rows > 2 else ''} of this {of}"
    return Fault(part.path, f"holds {value} {at}{more}. {remade(part.path)}", info.name, first + row, found.split)


def _zero_frames(frames: Frames) -> tuple[Flags, Flags]:
    """Which frames are zero though others are not, and which of the zeros are only the beginning of a sample."""
    zero = frames.there & frames.zero
    if not (frames.there & frames.finite & ~frames.zero).any():
        return np.zeros_like(zero), np.zeros_like(zero)
    begin = np.logical_and.accumulate(zero, axis=1)
    whole = (zero == frames.there).all(axis=1, keepdims=True)
    return zero & ~(begin & ~whole), begin & ~whole


def _zero_message(info: VariableInfo, flags: Flags, first: int, *, begin: bool) -> str:
    rows, count = np.flatnonzero(flags.any(axis=1)), int(flags.sum())
    what = f"{count} {'sample' if info.steps is None else 'instant'}{'s are' if count > 1 else ' is'} zero throughout"
    why = "from the first instant on" if begin else "as a writer leaves them that was stopped"
    at = "" if info.steps is None or begin else f", the first is instant {int(np.argwhere(flags)[0, 1])}"
    more = f"; {len(rows)} samples from {first + int(rows[0])} to {first + int(rows[-1])}" if len(rows) > 1 else ""
    return f"{what}, {why}{at}{more}"


__all__ = ["Findings", "Frames", "frames_of", "value_findings"]
