"""What libraries loaded of files, kept while it is in use: a few things, the least used let go first."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from sciml.data.storage.stamp import Stamp, stamp_of

T = TypeVar("T")


class Kept(Generic[T]):
    """Things by file and part of it, loaded again when the file was changed; one thread at a time uses them.

    Args:
        load: from the path and the name of a part.
        most: how many are kept.
        close: what to do with one that is let go.
    """

    def __init__(self, load: Callable[[Path, str], T], most: int, close: Callable[[T], object] | None = None) -> None:
        self._load, self._most, self._close = load, most, close
        self._things: OrderedDict[tuple[str, str], tuple[Stamp, T]] = OrderedDict()
        self._lock = threading.RLock()
        self._abandoned: list[object] = []
        os.register_at_fork(after_in_child=self._after_fork)
        # Before the libraries go, which the things need to be closed.
        atexit.register(self._clear)

    @contextmanager
    def use(self, path: Path, part: str = "") -> Iterator[T]:
        """The thing, which stays loaded inside of the `with`.

        Raises:
            OSError: the file is not there; and whatever `load` raises.
        """
        with self._lock:
            key, stamp = (os.fspath(path), part), stamp_of(path)
            if key in self._things and self._things[key][0] != stamp:
                self._drop(key)
            if key not in self._things:
                while len(self._things) >= self._most:
                    self._drop(next(iter(self._things)))
                self._things[key] = (stamp, self._load(path, part))
            self._things.move_to_end(key)
            yield self._things[key][1]

    def _drop(self, key: tuple[str, str]) -> None:
        _, thing = self._things.pop(key)
        if self._close is not None:
            with suppress(Exception):
                self._close(thing)

    def _clear(self) -> None:
        with self._lock:
            for key in list(self._things):
                self._drop(key)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        # Not closed: the child shares open files with its parent.
        self._abandoned.append(self._things)
        self._things = OrderedDict()


__all__ = ["Kept"]
