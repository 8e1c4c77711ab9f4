"""What stands in an HDF5 file: from the index that was kept beside it, else by a walk through the file."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from sciml.data.storage import sidecar
from sciml.data.storage.sidecar import Entry
from sciml.data.storage.stamp import stamp_of
from sciml.data.storage.walking import Tree, walk

# Seconds of walking from which on an index is kept on disk: small sets leave no file behind.
_WORTHWHILE = 0.2
_FOLDERS = 8


def tree_of(path: Path) -> Tree:
    """Groups, attributes and arrays of an HDF5 file.

    Raises:
        OSError: it is not there, still being written, no HDF5, truncated or damaged.
    """
    with _known.lock:
        folder = _known.folder(path.absolute().parent)
        tree = folder.tree(path)
        # Each time for as many files again, so that the index of many files is not written once for each.
        folder.save(max(_WORTHWHILE, folder.saved))
        return tree


def trees_of(paths: Sequence[Path]) -> list[Tree]:
    """The same for many files, at best one after the other from the same folder.

    Raises:
        OSError: one of them is not there, still being written, no HDF5, truncated or damaged.
    """
    trees: dict[int, Tree] = {}
    with _known.lock:
        homes: dict[Path, list[int]] = {}
        for number, path in enumerate(paths):
            homes.setdefault(path.absolute().parent, []).append(number)
        for home, members in homes.items():
            folder = _known.folder(home)
            try:
                for number in members:
                    trees[number] = folder.tree(paths[number])
            finally:
                folder.save(_WORTHWHILE)
    return [trees[number] for number in range(len(paths))]


class _Folder:
    """What is known of the files of one folder.

    Args:
        stamps: of the index on disk when it was read, in both of its places.
        unsaved, saved: seconds of walking that the index on disk does not hold yet, and that it was given by this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.stamps: list[tuple[int, int] | None] = [None, None]
        self.unsaved = self.saved = 0.0

    def refresh(self) -> None:
        """Take over what others wrote."""
        for i, place in enumerate(sidecar.places_of(self.path)):
            try:
                status = place.stat()
            except OSError:
                continue
            if self.stamps[i] != (status.st_mtime_ns, status.st_ino):
                self.stamps[i] = (status.st_mtime_ns, status.st_ino)
                self.entries = {**sidecar.load(place), **self.entries}

    def tree(self, path: Path) -> Tree:
        stamp, head = stamp_of(path), sidecar.head_of(path)
        known = self.entries.get(path.name)
        if known is not None and known.stamp == stamp and known.head == head:
            tree = sidecar.unpacked(known.tree)
            if tree is not None:
                return tree
        begin = time.perf_counter()
        tree = walk(path)
        if stamp_of(path) != stamp:
            raise OSError(f"{path}: is still being written, it changed meanwhile; wait until the writer is done")
        if sidecar.settled(stamp):
            self.entries[path.name] = Entry(stamp, head, sidecar.packed(tree))
            self.unsaved += time.perf_counter() - begin
        return tree

    def save(self, least: float) -> None:
        if self.unsaved <= least:
            return
        sidecar.save(self.path, self.entries)
        self.saved += self.unsaved
        self.unsaved = 0.0


class _Known:
    """The folders looked at last."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.folders: OrderedDict[Path, _Folder] = OrderedDict()

    def folder(self, path: Path) -> _Folder:
        found = self.folders.setdefault(path, _Folder(path))
        self.folders.move_to_end(path)
        while len(self.folders) > _FOLDERS:
            self.folders.popitem(last=False)
        found.refresh()
        return found

    def after_fork(self) -> None:
        self.lock = threading.RLock()


_known = _Known()
os.register_at_fork(after_in_child=_known.after_fork)

__all__ = ["Tree", "tree_of", "trees_of"]
