"""One file as a format sees it: its first bytes, and where it is HDF5 all that stands in it but the large arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.storage.arrays import Box, Elsewhere
from sciml.data.storage.reading import read_box, read_by_hdf5
from sciml.data.storage.stamp import Stamp, stamp_of
from sciml.data.storage.tree import Tree, tree_of

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAD = 4096


class StoredFile:
    """A file that is there and not empty.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty, or no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file() or not path.stat().st_size:
            raise ValueError(f"{path}: is empty or no file, need a file with a set in it")
        with path.open("rb") as file:
            self.head = file.read(_HEAD)
        self.stamp: Stamp = stamp_of(path)

    @cached_property
    def is_hdf5(self) -> bool:
        """Whether the signature of HDF5 stands at the beginning or behind a user block."""
        if self.head.startswith(_SIGNATURE):
            return True
        at = 512
        with self.path.open("rb") as file:
            while at < self.stamp.size:
                file.seek(at)
                if file.read(len(_SIGNATURE)) == _SIGNATURE:
                    return True
                at *= 2
        return False

    @cached_property
    def hdf5(self) -> Tree:
        """Groups, attributes and arrays of an HDF5 file.

        Raises:
            OSError: HDF5 cannot read it, as when it is truncated.
        """
        return tree_of(self.path)

    def attributes(self, path: str = "") -> Mapping[str, object]:
        """Of a group or an array of an HDF5 file, none where there is no such thing."""
        return self.hdf5.attributes.get(path, {})

    def read(self, name: str, box: Box | None = None) -> npt.NDArray[np.generic]:
        """An array of an HDF5 file, or a part of it; for small ones such as coordinates.

        Raises:
            ValueError: no such array.
            OSError: it cannot be read.
        """
        if name not in self.hdf5.arrays:
            raise ValueError(f"{self.path}: no array {name!r}")
        array = self.hdf5.arrays[name]
        whole = Box((0,) * len(array.shape), array.shape, (1,) * len(array.shape))
        if isinstance(array.layout, Elsewhere):
            return read_by_hdf5(self.path, name, box or whole)
        return read_box(self.path, self.stamp, array, box or whole)


__all__ = ["StoredFile"]
