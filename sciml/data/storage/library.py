"""Reading by the HDF5 library itself: to learn what a file holds, and for arrays that cannot be read by position."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5z  # pyright: ignore[reportAttributeAccessIssue]

from sciml.data.storage.arrays import Box
from sciml.data.storage.stamp import Stamp, stamp_of

_logger = logging.getLogger("sciml.data")
# What HDF5 says of a file that another process writes (a lock), or that was never closed by who wrote it (a mark).
_WRITTEN = (f"unable to lock file, errno = {errno.EAGAIN}", "already open for write", "already open for SWMR write", "h5clear")
_KEPT = 4


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading; what goes wrong inside is told as an error of this file.

    Raises:
        OSError: it is not there, still being written, no HDF5, truncated or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:
        raise _told(path, error) from error


def _told(path: Path, error: Exception) -> Exception:
    """The error of h5py in the words of this package; what is not of h5py is left as it is."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) or getattr(error, "told", False):
        return error
    # h5py raises almost anything on damaged files, also UnicodeDecodeError, SystemError and MemoryError.
    why = " ".join(str(error).split()) or type(error).__name__
    if any(sign in why for sign in _WRITTEN):
        return told(
            f"{path}: is still being written, or its writer was stopped, {why}; wait until the writer is done, "
            "or run h5clear -s on it if none is at work"
        )
    return told(f"{path}: cannot be read as HDF5, {why}; it is truncated or damaged, copy or generate it again")


def told(message: str) -> OSError:
    """An error that is already complete: `opened` passes it on as it is."""
    error = OSError(message)
    error.told = True  # pyright: ignore[reportAttributeAccessIssue]
    return error


def check_inside(where: str, shape: tuple[int, ...], box: Box) -> None:
    """That a box lies in an array of this shape.

    Raises:
        ValueError: it does not.
    """
    if len(box.counts) == len(shape):
        for start, count, step, length in zip(box.starts, box.counts, box.steps, shape, strict=True):
            if count and start + (count - 1) * step >= length:
                break
        else:
            return
    raise ValueError(
        f"{where}: got starts {box.starts}, counts {box.counts}, steps {box.steps}, need a part of an array of shape {shape}"
    )


class _Handles:
    """A few files that stay open, the least used closed first; in a forked child none of the parent's is touched."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.files: OrderedDict[str, tuple[Stamp, h5py.File]] = OrderedDict()
        self.said: set[tuple[str, str]] = set()
        self.abandoned: list[object] = []

    def after_fork(self) -> None:
        self.lock = threading.RLock()
        # Kept from the garbage collector, which would close what the parent shares.
        self.abandoned.append(self.files)
        self.files = OrderedDict()

    def of(self, path: Path) -> h5py.File:
        key, stamp = os.fspath(path), stamp_of(path)
        if key in self.files:
            self.files.move_to_end(key)
            if self.files[key][0] == stamp:
                return self.files[key][1]
            self.close(key)
        while len(self.files) >= _KEPT:
            self.close(next(iter(self.files)))
        try:
            file = h5py.File(path, "r")
        except Exception as error:
            raise _told(path, error) from error
        self.files[key] = (stamp, file)
        return file

    def close(self, key: str) -> None:
        _, file = self.files.pop(key)
        with suppress(Exception):
            file.close()

    def say(self, path: Path, array: str, reason: str) -> None:
        if (os.fspath(path), reason) not in self.said:
            self.said.add((os.fspath(path), reason))
            _logger.info("%s: %s and maybe others are read through HDF5, which is slower: %s", path, array, reason)


_handles = _Handles()
os.register_at_fork(after_in_child=_handles.after_fork)


def read_by_hdf5(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of an array through the HDF5 library, one call at a time; for what cannot be read by position.

    Says once per file and reason on the logger `sciml.data` that it does so.

    Returns:
        Values in the byte order of this machine, of shape `box.counts`.
    Raises:
        ValueError: no such array, or the box leaves it.
        OSError: HDF5 cannot read it, or a filter it needs is not installed.
    """
    with _handles.lock:
        file = _handles.of(path)
        try:
            data = file.get(array)
            if not isinstance(data, h5py.Dataset) or data.shape is None:
                raise ValueError(f"{path}: no array {array!r}")
            check_inside(f"{path}: array {array}", data.shape, box)
            _handles.say(path, array, _reason(path, array, data))
            values = np.asarray(data[box.slices])
            return np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(box.counts)
        except ValueError as error:
            # Its own complaints of damage are ValueErrors, too.
            if str(error).startswith(str(path)):
                raise
            raise OSError(f"{path}: array {array} cannot be read, {error}; the file is damaged") from error
        except Exception as error:
            if getattr(error, "told", False):
                raise
            why = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{path}: array {array} cannot be read, {why}; the file is truncated or damaged") from error


def _reason(path: Path, array: str, data: h5py.Dataset) -> str:
    """Why an array is read this way, and whether its filters are there."""
    settings = data.id.get_create_plist()
    filters = [settings.get_filter(i) for i in range(settings.get_nfilters())]
    for code, _, _, name in filters:
        if not h5z.filter_avail(code):
            with suppress(ImportError):
                import hdf5plugin  # noqa: F401  # pyright: ignore[reportUnusedImport]  # registers its filters
        if not h5z.filter_avail(code):
            label = name.decode(errors="replace") or "unnamed"
            raise told(
                f"{path}: array {array} is packed by filter {code} ({label}), which is not installed; pip install hdf5plugin"
            )
    if filters:
        return "filters " + ", ".join(name.decode(errors="replace") or str(code) for code, _, _, name in filters)
    return f"layout {settings.get_layout()}, type {data.dtype}"


__all__ = ["check_inside", "opened", "read_by_hdf5", "told"]
