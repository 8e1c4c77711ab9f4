"""Attributes of an HDF5 file, read under guard: there is damage on which the HDF5 library runs for ever."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5l, h5o  # pyright: ignore[reportAttributeAccessIssue]

Identity = tuple[int, ...]

_HEAP = b"GCOL"


def identity(item: h5f.FileID | h5g.GroupID | h5d.DatasetID) -> tuple[Identity, Identity]:
    """Of the file an object lies in, and of the object in it; the latter is the same each time the file is opened.

    Not by `h5o.get_info`, which also adds up the sizes of maps of blocks: slow, and where these are damaged HDF5 2.0 crashes.
    """
    status = h5g.get_objinfo(item, b".")
    return status.fileno, status.objno


def attributes_of(path: Path) -> dict[Identity, dict[str, object]]:
    """Attributes of all groups and arrays that stand in a file itself, by the identity of these.

    In Python's own types: text, numbers and lists of these; others are left out.

    Raises:
        OSError: the file is damaged. Most that h5py raises on damage is passed on as it is.
    """
    found: dict[Identity, dict[str, object]] = {}
    with _guarded(path) as file:
        left = [h5g.open(file.id, b"/")]
        found[identity(left[0])[1]] = _attributes(h5py.Group(left[0]))
        while left:
            group = left.pop()
            for name in list(group):
                # Others lead to what a hard link leads to as well, or out of the file.
                if group.links.get_info(name).type != h5l.TYPE_HARD:
                    continue
                # Opening a virtual array reads a global heap, too.
                item = h5o.open(group, name)
                if not isinstance(item, h5g.GroupID | h5d.DatasetID) or (number := identity(item)[1]) in found:
                    continue
                if isinstance(item, h5g.GroupID):
                    left.append(item)
                found[number] = _attributes(h5py.Group(item) if isinstance(item, h5g.GroupID) else h5py.Dataset(item))
    return found


def attributes_at(path: Path, name: bytes) -> dict[str, object]:
    """The same for the one array of this name.

    Raises:
        OSError: as for `attributes_of`.
    """
    with _guarded(path) as file:
        return _attributes(h5py.Dataset(h5d.open(file.id, name)))


@contextmanager
def _guarded(path: Path) -> Iterator[h5py.File]:
    with path.open("rb") as raw, _Guard(raw) as guard, h5py.File(guard, "r") as file:
        guard.width = file.id.get_create_plist().get_sizes()[1]
        yield file


class _Guard(io.RawIOBase):
    """The bytes of a file as HDF5 asks for them, each global heap checked before HDF5 gets it.

    HDF5 passes from each object of a heap to the next one by its size and does not notice when that is nothing. Only what
    HDF5 takes for a heap is looked at: it begins with these four letters, and nothing else does that this file is asked for.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        super().__init__()
        self.raw = raw
        self.place = 0
        # Bytes of a length in this file.
        self.width = 8

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: os.fstat(self.raw.fileno()).st_size}[whence]
        self.place = start + offset
        return self.place

    def readinto(self, buffer: Any, /) -> int:
        buffer = memoryview(buffer)
        count = os.preadv(self.raw.fileno(), [buffer], self.place)
        if bytes(buffer[:4]) == _HEAP:
            # HDF5 asks for the first 4096 bytes, later for the rest.
            length = int.from_bytes(buffer[8 : 8 + self.width], "little")
            size = os.fstat(self.raw.fileno()).st_size
            heap = buffer if length <= count else os.pread(self.raw.fileno(), min(length, size - self.place), self.place)
            if length <= len(heap) and (place := _broken(heap, length, self.width)) is not None:
                raise OSError(f"a heap of texts at byte {self.place} is broken at byte {self.place + place}")
        self.place += count
        return count


def _broken(heap: bytes | bytearray | memoryview, length: int, width: int) -> int | None:
    """Where one cannot pass from an object of a global heap to the next; None where all can be passed.

    Source: HDF5 File Format Specification 3.0, III.E. Object 0 is free space, its size includes its head.
    """
    head = 8 + -(-width // 8) * 8
    place = head
    while place + head <= length:
        number = int.from_bytes(heap[place : place + 2], "little")
        size = int.from_bytes(heap[place + 8 : place + 8 + width], "little")
        step = head + -(-size // 8) * 8 if number else size
        if not 0 < step <= length - place:
            return place
        place += step
    return None


def _attributes(item: h5py.Group | h5py.Dataset) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in item.attrs:
        try:
            value = item.attrs[name]
        except TypeError:
            # A type that NumPy does not have.
            continue
        if (plain := _plain(value)) is not None:
            found[str(name)] = plain
    return found


def _plain(value: object) -> object:
    """An attribute in Python's own types; None where it is not text or numbers."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, h5py.Empty):
        return "" if value.dtype.kind in "SUO" else None
    if isinstance(value, np.generic | np.ndarray):
        return _plain_list(value.tolist()) if value.dtype.kind in "biufSUO" else None
    return value if isinstance(value, str | int | float | bool) else None


def _plain_list(value: object) -> object:
    if isinstance(value, list):
        parts = [_plain_list(part) for part in value]
        return None if any(part is None for part in parts) else parts
    return _plain(value)


__all__ = ["Identity", "attributes_at", "attributes_of", "identity"]
