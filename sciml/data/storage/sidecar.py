"""The index of a folder, kept beside its files, so that a second opening need not walk through them.

One JSON file, `.sciml-index.json`. An entry stands for one file as long as size, time of change, inode and first bytes are the
same; each carries a checksum of its own. What is damaged or foreign counts as not there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.atomic import write_whole
from sciml.data.storage.arrays import Chunked, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.stamp import Stamp
from sciml.data.storage.walking import Layout, Tree

NAME = ".sciml-index.json"
# Another number whenever what `walk` finds, or the way it is written here, changes.
_VERSION = 1
_HEAD = 4096
# Files and trees larger than this are not what this package wrote.
_LARGEST = 2**28


@dataclass(frozen=True)
class Entry:
    """What the index holds of one file.

    Args:
        head: hash of the first bytes of the file.
        tree: packed.
    """

    stamp: Stamp
    head: str
    tree: str


def head_of(path: Path) -> str:
    """A hash of the first 4096 bytes.

    Raises:
        OSError: the file cannot be read.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        return hashlib.blake2b(os.pread(handle, _HEAD, 0), digest_size=16).hexdigest()
    finally:
        os.close(handle)


def settled(stamp: Stamp) -> bool:
    """Whether a change from now on would show in the stamp: clocks of file systems tick in steps, some of 2 seconds."""
    tick = 50_000_000 if stamp.modified % 1_000_000_000 else 2_000_000_000
    return abs(time.time_ns() - stamp.modified) > tick


def places_of(folder: Path) -> tuple[Path, Path]:
    """Where the index of a folder may stand: in it, or in the user's cache where it cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sciml"
    return folder / NAME, cache / f"{hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()}.json"


def load(place: Path) -> dict[str, Entry]:
    """The entries of an index by name of the file; none where there is no index, or it is no good."""
    try:
        if place.stat().st_size > _LARGEST:
            return {}
        document = json.loads(place.read_bytes())
        if document["version"] != _VERSION:
            return {}
        files = document["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        return {}
    found = {}
    for name, entry in files:
        with suppress(Exception):
            known = Entry(Stamp(*map(int, entry["stamp"])), str(entry["head"]), str(entry["tree"]))
            if entry["check"] == _checksum(name, known):
                found[name] = known
    return found


def save(folder: Path, entries: Mapping[str, Entry]) -> bool:
    """Write the index of a folder in it, else in the user's cache; whether that went well.

    What others wrote in the meantime stays; entries of files that are gone do not.
    """
    there = set(os.listdir(folder))
    for place in places_of(folder):
        merged = {**load(place), **entries}
        files = {
            name: {
                "stamp": [entry.stamp.size, entry.stamp.modified, entry.stamp.inode],
                "head": entry.head,
                "tree": entry.tree,
                "check": _checksum(name, entry),
            }
            for name, entry in sorted(merged.items())
            if name in there
        }
        try:
            if place.parent != folder:
                place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, json.dumps({"version": _VERSION, "files": files}, indent=0).encode())
        except OSError:
            continue
        return True
    return False


def _checksum(name: str, entry: Entry) -> int:
    return zlib.crc32(repr((name, entry.stamp, entry.head, entry.tree)).encode(errors="surrogateescape"))


def packed(tree: Tree) -> str:
    """A tree as text."""
    document = {
        "attributes": tree.attributes,
        "arrays": [[array.name, array.shape, array.dtype.str, _layout_as_list(array.layout)] for array in tree.arrays.values()],
        "groups": tree.groups,
        "user_block": tree.user_block,
        "unreadable": tree.unreadable,
    }
    return base64.b64encode(zlib.compress(json.dumps(document).encode(), 1)).decode()


def unpacked(text: str) -> Tree | None:
    """The tree; None where the text is no such thing."""
    try:
        document = json.loads(_inflated(base64.b64decode(text, validate=True)))
        arrays = {}
        for name, shape, dtype, layout in document["arrays"]:
            kind = np.dtype(str(dtype))
            arrays[str(name)] = StoredArray(str(name), tuple(map(int, shape)), kind, _layout_of(layout, tuple(shape)))
        return Tree(
            {str(path): dict(found) for path, found in document["attributes"].items()},
            arrays,
            tuple(map(str, document["groups"])),
            int(document["user_block"]),
            {str(path): str(why) for path, why in document["unreadable"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError, zlib.error, binascii.Error):
        return None


def _layout_as_list(layout: Layout) -> list[object]:
    if isinstance(layout, Contiguous):
        return ["contiguous", layout.offset]
    if isinstance(layout, Elsewhere):
        return ["elsewhere", layout.reason]
    fill = [layout.fill.real, layout.fill.imag] if isinstance(layout.fill, complex) else layout.fill
    tables = [_table_as_text(table) for table in (layout.offsets, layout.sizes, layout.masks)]
    return ["chunked", layout.chunk, layout.filters, fill, *tables]


def _layout_of(given: list, shape: tuple[int, ...]) -> Layout:
    kind, *rest = given
    if kind == "contiguous":
        return Contiguous(int(rest[0]))
    if kind == "elsewhere":
        return Elsewhere(str(rest[0]))
    chunk, filters, fill, *tables = rest
    if kind != "chunked" or len(chunk) != len(shape):
        raise ValueError("not a layout")
    grid = tuple(-(-n // int(c)) for n, c in zip(shape, chunk, strict=True))
    value = complex(*fill) if isinstance(fill, list) else fill
    offsets, sizes, masks = (_table_of(table, grid) for table in tables)
    return Chunked(tuple(map(int, chunk)), offsets, sizes, masks, tuple(map(str, filters)), value)


def _table_as_text(table: npt.NDArray[np.int64]) -> int | str:
    """One number where all are equal; else the differences, as they are nearly all equal where chunks lie in order."""
    if table.size and (table == table.flat[0]).all():
        return int(table.flat[0])
    steps = np.diff(table.reshape(-1), prepend=0).astype("<i8")
    return base64.b64encode(zlib.compress(steps.tobytes(), 1)).decode()


def _table_of(given: int | str, grid: tuple[int, ...]) -> npt.NDArray[np.int64]:
    if isinstance(given, int):
        return np.broadcast_to(np.int64(given), grid)
    steps = np.frombuffer(_inflated(base64.b64decode(given, validate=True)), "<i8")
    if len(steps) != math.prod(grid):
        raise ValueError("not a map of these chunks")
    return np.cumsum(steps, dtype=np.int64).reshape(grid)


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, _LARGEST)
    if not stream.eof:
        raise ValueError("ends early")
    return found


__all__ = ["NAME", "Entry", "head_of", "load", "packed", "places_of", "save", "settled", "unpacked"]
