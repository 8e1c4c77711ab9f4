"""Undoing the filters of HDF5 that the standard library and NumPy can undo without a lock: deflate and shuffle."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def decoded(raw: bytes | memoryview, filters: tuple[str, ...], mask: int, size: int, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of a chunk as they were before its filters.

    Args:
        filters: in the order they were applied in, of `shuffle` and `deflate`.
        mask: bit i set where filter i was left out for this chunk.
        size: bytes that must come out.
        width: bytes of one value.
    Returns:
        (size,), maybe read-only.
    Raises:
        ValueError: the data are damaged, or of another length.
    """
    data: bytes | memoryview | npt.NDArray[np.uint8] = raw
    for i in reversed(range(len(filters))):
        if mask >> i & 1:
            continue
        data = _inflated(data, size) if filters[i] == "deflate" else _unshuffled(data, width)
    if len(data) != size:
        raise ValueError(f"got {len(data)} bytes, need {size}")
    return np.frombuffer(data, np.uint8)


def _inflated(data: Any, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        # One byte more than needed shows data that are too long, and bounds what a damaged file can ask for.
        values = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"deflate: {error}") from error
    if len(values) > size:
        raise ValueError(f"deflate: got more than the {size} bytes of a chunk")
    if not stream.eof:
        raise ValueError("deflate: the data end early")
    return values


def _unshuffled(data: bytes | memoryview | npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """First all first bytes, then all second bytes, ... back to value by value; what is left at the end stays there."""
    given = np.frombuffer(data, np.uint8)
    count = len(given) // width
    if width == 1 or not count:
        return given
    values = np.empty_like(given)
    whole = count * width
    rows = values[:whole].reshape(count, width)
    # Byte by byte: three times as fast as a transposed copy.
    for byte in range(width):
        rows[:, byte] = given[byte * count : (byte + 1) * count]
    values[whole:] = given[whole:]
    return values


__all__ = ["decoded"]
