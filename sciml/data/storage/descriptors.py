"""Open files, shared by all threads and kept for the next call: at most 64, the least recently used closed first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sciml.data.storage.stamp import Stamp

LIMIT = 64


class Descriptor:
    """A file open for reading by position, how many calls use it, when it was last asked for, whether it stays."""

    __slots__ = ("asked", "fd", "kept", "name", "users")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.users = 1
        self.asked = 0
        self.kept = True


class Descriptors:
    """A pool of open files.

    One that is in use is never closed; who finds all of them in use waits. Reads are by position, so that the child of a fork
    goes on with the same files.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._open: dict[str, Descriptor] = {}
        self._count = self._clock = self._waiting = 0
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)

    def __len__(self) -> int:
        return self._count

    def take(self, path: Path) -> Descriptor:
        """A file, to be given back by `give`.

        Raises:
            OSError: as the system gives it.
        """
        name = os.fspath(path)
        with self._lock:
            found = self._open.get(name)
            self._clock += 1
            if found is not None:
                found.asked = self._clock
                found.users += 1
                return found
            self._make_room()
            self._count += 1
        try:
            fresh = Descriptor(name, os.open(name, os.O_RDONLY))
        except BaseException:
            with self._lock:
                self._left()
            raise
        with self._lock:
            fresh.asked = self._clock
            # Of two that open a file at once the later one stays; the other is closed when its user is done.
            if name in self._open:
                self._drop(self._open[name])
            self._open[name] = fresh
        return fresh

    def give(self, descriptor: Descriptor) -> None:
        """Back, after use."""
        with self._lock:
            descriptor.users -= 1
            if not descriptor.users and (self._waiting or not descriptor.kept):
                self._idle(descriptor)

    def drop(self, descriptor: Descriptor) -> None:
        """Not to be handed out any more, as it is no longer the file of that name."""
        with self._lock:
            if descriptor.kept:
                self._drop(descriptor)

    def close(self) -> None:
        """All files that are not in use."""
        with self._lock:
            for found in [found for found in self._open.values() if not found.users]:
                self._drop(found)

    def after_fork(self) -> None:
        """In the child only the thread that forked is left: no lock is held and no file in use."""
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._waiting = 0
        for found in self._open.values():
            found.users = 0
        self._count = len(self._open)

    def _make_room(self) -> None:
        """Wait, holding the lock, until there is room for one more file."""
        while self._count >= self.limit:
            idle = [found for found in self._open.values() if not found.users]
            if idle:
                self._drop(min(idle, key=lambda found: found.asked))
                continue
            self._waiting += 1
            self._freed.wait()
            self._waiting -= 1

    def _drop(self, descriptor: Descriptor) -> None:
        del self._open[descriptor.name]
        descriptor.kept = False
        if not descriptor.users:
            self._idle(descriptor)

    def _idle(self, descriptor: Descriptor) -> None:
        """Nobody uses it any more: close it, or let one that waits close it in exchange for another."""
        if not descriptor.kept:
            os.close(descriptor.fd)
            self._left()
        elif self._waiting:
            self._freed.notify()

    def _left(self) -> None:
        self._count -= 1
        if self._waiting:
            self._freed.notify()


def using(path: Path, stamp: Stamp, work: Callable[..., None], *given: Any) -> None:
    """Call `work` with the descriptor of a file and what is given.

    The stamp is looked at when the work is done, so that a change in the middle of it is noticed, too; what was read until
    then is no good, nor is any error it led to.

    Raises:
        OSError: the file is not there, or is not the one of `stamp`.
    """
    for _ in range(2):
        descriptor = pool.take(path)
        try:
            work(descriptor.fd, *given)
            if unchanged(descriptor.fd, stamp):
                return
        except Exception:
            if unchanged(descriptor.fd, stamp):
                raise
        finally:
            pool.give(descriptor)
        # Another file may have this name by now, and be the one that is meant: once more.
        pool.drop(descriptor)
    raise OSError(f"{path}: was changed since it was opened; open the set again")


def unchanged(fd: int, stamp: Stamp) -> bool:
    """Whether an open file is the one of `stamp`, and still has a name."""
    status = os.fstat(fd)
    return (
        status.st_mtime_ns == stamp.modified
        and status.st_size == stamp.size
        and status.st_ino == stamp.inode
        and status.st_nlink > 0
    )


pool = Descriptors()
os.register_at_fork(after_in_child=pool.after_fork)

__all__ = ["LIMIT", "Descriptor", "Descriptors", "pool", "unchanged", "using"]
