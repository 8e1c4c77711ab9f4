"""What to know of a set before one reads it: dimensions, instants, where the values lie, and what will make it slow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sciml.data.layout import stored_dims
from sciml.data.set import Part, Set
from sciml.data.storage.arrays import Chunked, Contiguous, Elsewhere, StoredArray
from sciml.data.variables import Given, Source

SMALL_CHUNK = 64 << 10
"""Bytes: below, finding and asking for a chunk takes as long as reading it."""

SMALL_FILE = 1 << 20
"""Bytes: below, opening many files takes longer than reading them."""

MANY_FILES = 64
"""As many as are kept open at once."""

FILTERS = {"deflate": "gzip"}
"""Other names of filters."""


def dimensions(source: Set) -> dict[str, int]:
    """Names of the axes of a set, with their lengths; those of channels only where there are several."""
    found = {"sample": len(source)}
    steps = [info.steps for info in source.variables.values() if info.steps is not None]
    found |= {"time": steps[0]} if steps else {}
    for info in source.variables.values():
        sizes = dict(zip(stored_dims(info, source.variables)[1:], info.sample_shape, strict=True))
        found |= {name: n for name, n in sizes.items() if n > 1 or not name.endswith("_channel")}
    return found


def instants(source: Set) -> str:
    """How many instants samples have, and their times; empty where nothing changes in time."""
    if source.steps is None:
        return ""
    least, most = int(source.steps.min()), int(source.steps.max())
    counts = f"{most}" if least == most else f"{least} to {most}"
    words = f"{counts} per sample, {int(source.steps.sum()):,} in all"
    times = source.times(np.arange(len(source)))
    if times is None:
        return f"{words}; their times are not known"
    shared = "" if (times == times[:1]).all() else ", other ones for each sample"
    return f"{words}; times {np.nanmin(times):g} to {np.nanmax(times):g}{shared}{_spacing(times)}"


def notes(source: Set) -> tuple[str, ...]:
    """What is odd about a set and how it was taken, and whether its domain is made up."""
    if not source.made_up:
        return source.notes
    made_up = f"the files do not say on which grid the fields lie; the domain is made up: {source.domain}"
    return (*source.notes, made_up)


def layouts(source: Set) -> dict[str, list[str]]:
    """Where the values lie in words, and which variables lie so."""
    found: dict[str, list[str]] = {}
    for name in source.variables:
        words = {_layout(array) for part in source.parts for _, array in _arrays(part, name)}
        found.setdefault("; ".join(sorted(words)) or "small, read when the file is opened", []).append(name)
    return found


def slow_parts(source: Set) -> list[str]:
    """What will make it slow to read, each with a number; the last line is the remedy."""
    lines: dict[str, int] = {}
    for part in source.parts:
        for name in source.variables:
            for line in dict.fromkeys(_slow(part, name)):
                lines[line] = lines.get(line, 0) + 1
    files = len(source.parts)
    found = [line if files == count or files == 1 else f"{line} (in {count} of {files} files)" for line, count in lines.items()]
    size = on_disk(source)
    if files > MANY_FILES and size / files < SMALL_FILE:
        found.append(f"{files:,} files of {in_bytes(size / files)} on average, each of which must be opened")
    if found:
        found.append(f"`sciml convert {source.path} OUT --to sciml` writes whole samples in one piece each, in few files")
    return found


def on_disk(source: Set) -> int:
    """Bytes of all files."""
    return sum(part.file.stamp.size for part in source.parts)


def in_bytes(count: float) -> str:
    """`512 B`, `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _arrays(part: Part, name: str) -> Iterator[tuple[Source, StoredArray]]:
    """The stored arrays of a variable; of many that are alike the first."""
    described = part.file.description
    for source in described.sources[name]:
        if not isinstance(source, Given):
            yield source, described.arrays[source.arrays[0]]


def _layout(array: StoredArray) -> str:
    if isinstance(array.layout, Contiguous):
        return "in one piece"
    if isinstance(array.layout, Elsewhere):
        return f"read by the library of the format ({array.layout.reason})"
    by = " + ".join(FILTERS.get(name, name) for name in array.layout.filters)
    return f"in chunks of {' x '.join(map(str, array.layout.chunk))}{f', {by}' if by else ''}"


def _slow(part: Part, name: str) -> Iterator[str]:
    for source, array in _arrays(part, name):
        lead = [i for i, axis in enumerate(source.axes) if axis in ("sample", "time")]
        instant = array.dtype.itemsize * math.prod(n for i, n in enumerate(array.shape) if i not in lead)
        unit = "instant" if "time" in source.axes else "sample"
        if isinstance(array.layout, Elsewhere):
            yield f"{name}: {array.layout.reason}; {in_bytes(array.bytes)} go through the library of the format, in 1 thread"
        elif isinstance(array.layout, Chunked):
            yield from (f"{name}: {line}" for line in _slow_chunks(array, array.layout, lead, instant, unit))
        elif lead and lead != list(range(len(lead))):
            run = array.dtype.itemsize * math.prod(array.shape[max(lead) + 1 :])
            axes = ", ".join(source.axes)
            yield (
                f"{name}: its axes on disk are ({axes}), one {unit} of {in_bytes(instant)} lies in {instant // run:,} pieces "
                f"of {in_bytes(run)}"
            )


def _slow_chunks(array: StoredArray, layout: Chunked, lead: Sequence[int], instant: int, unit: str) -> Iterator[str]:
    chunk = array.dtype.itemsize * math.prod(layout.chunk)
    pieces = math.prod(-(-n // c) for i, (n, c) in enumerate(zip(array.shape, layout.chunk, strict=True)) if i not in lead)
    held = math.prod(min(layout.chunk[i], array.shape[i]) for i in lead)
    by = " + ".join(FILTERS.get(name, name) for name in layout.filters)
    if held > 1 and pieces * chunk >= 2 * instant:
        verb = "decodes" if by else "touches"
        yield (
            f"chunks hold {held} {unit}s each, so reading one {unit} of {in_bytes(instant)} {verb} {in_bytes(pieces * chunk)}, "
            f"{pieces * chunk / instant:.0f} times as much"
        )
    if pieces > 4 and chunk < SMALL_CHUNK:
        yield f"small chunks, one {unit} of {in_bytes(instant)} lies in {pieces:,} chunks of {in_bytes(chunk)}"
    stored = int(layout.sizes[layout.offsets >= 0].sum())
    if by and stored:
        yield f"compressed by {by} to 1/{array.bytes / stored:.2f} of {in_bytes(array.bytes)}, all of it is decoded when read"


def _spacing(times: np.ndarray) -> str:
    """How far apart instants are, where that is the same for all."""
    gaps = np.diff(times, axis=1)
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return ""
    even = np.abs(gaps - gaps[0]).max() <= 1e-6 * abs(gaps[0])
    return f", {gaps[0]:g} apart" if even else f", {gaps.min():g} to {gaps.max():g} apart"


__all__ = ["dimensions", "in_bytes", "instants", "layouts", "notes", "on_disk", "slow_parts"]
