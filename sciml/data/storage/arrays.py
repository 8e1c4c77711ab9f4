"""Arrays as they lie in files: shape, type, and at which bytes, so that they can be read by position and without a lock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Contiguous:
    """All values one after the other, last axis fastest, from byte `offset` of the file on."""

    offset: int


@dataclass(frozen=True, eq=False)
class Chunked:
    """Values in blocks of equal shape; blocks at the far ends are stored in full.

    Args:
        chunk: shape of a block.
        offsets: byte of each block in the file, an array over the grid of blocks; -1 where none was ever written.
        sizes: bytes of each block as stored.
        masks: per block, bit i set where filter i was left out.
        filters: by which the bytes went when written, in this order: `shuffle`, `deflate`.
        fill: the value of blocks never written.
    """

    chunk: tuple[int, ...]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.int64]
    filters: tuple[str, ...]
    fill: int | float | complex


@dataclass(frozen=True)
class Elsewhere:
    """Values that only the library of the format can bring.

    Args:
        reason: why, in a few words.
    """

    reason: str


@dataclass(frozen=True)
class StoredArray:
    """One array in a file.

    Args:
        name: within the file.
        dtype: as stored, with its byte order.
        layout: where the values lie.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    layout: Contiguous | Chunked | Elsewhere

    @property
    def bytes(self) -> int:
        """Of all values, as they are in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one value to the next along each axis, where all lie one after the other."""
        return tuple(self.dtype.itemsize * math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))


@dataclass(frozen=True)
class Box:
    """A part of an array: along every axis `counts` values from `starts` on, `steps` apart.

    Raises:
        ValueError: lengths differ, a negative start, a count below 0 or a step below 1.
    """

    starts: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.starts) == len(self.counts) == len(self.steps):
            raise ValueError(f"box: got {len(self.starts)} starts, {len(self.counts)} counts and {len(self.steps)} steps")
        if min((*self.starts, *self.counts), default=0) < 0 or min(self.steps, default=1) < 1:
            raise ValueError(f"box: got starts {self.starts}, counts {self.counts}, steps {self.steps}, need >= 0, >= 0, >= 1")

    @property
    def slices(self) -> tuple[slice, ...]:
        """The same as an index into the array."""
        return tuple(slice(a, a + n * s, s) for a, n, s in zip(self.starts, self.counts, self.steps, strict=True))


__all__ = ["Box", "Chunked", "Contiguous", "Elsewhere", "StoredArray"]
