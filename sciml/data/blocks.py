"""A set in pieces of bounded size, so that it can be read through whatever its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sciml.data.set import Set

BLOCK = 16 << 20
"""Bytes of one piece."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Block:
    """Some instants of some samples of one variable.

    Args:
        rows: neighbouring samples, all of the same length.
        first, count: the instants; None where the variable does not change in time.
        repeated: how many of them, from the first on, are in the piece before as well.
    """

    name: str
    rows: range
    first: int = 0
    count: int | None = None
    repeated: int = 0

    def read(self, source: Set) -> Array:
        """Its values, (row, *shape) or (row, instant, *shape), in the stored dtype."""
        rows = np.arange(self.rows.start, self.rows.stop)
        if self.count is None:
            return source.read(self.name, rows).numpy()
        return source.read(self.name, rows, first=self.first, count=self.count).numpy()


def blocks(source: Set, name: str, rows: range, *, most: int | None = None, overlap: int = 0) -> Iterator[Block]:
    """The pieces of a variable, in the order of rows: several samples, one, or where one is large some instants of it.

    Args:
        most: bytes of a piece, `BLOCK` if not given; exceeded where one instant is larger.
        overlap: how many instants of the piece before are repeated in one that does not begin at the first.
    """
    info, most = source.variables[name], most or BLOCK
    instant = int(np.prod(info.shape, dtype=np.int64)) * info.dtype.itemsize
    if info.steps is None:
        yield from (Block(name, part) for part in _parts(rows, max(most // instant, 1)))
        return
    for run, steps in runs_of_equal_length(source, rows):
        at_once = most // (instant * steps)
        if at_once:
            yield from (Block(name, part, 0, steps) for part in _parts(run, at_once))
            continue
        count = max(most // instant - overlap, 1)
        for row in run:
            for first in range(0, steps, count):
                start = max(first - overlap, 0)
                yield Block(name, range(row, row + 1), start, min(first + count, steps) - start, first - start)


def runs_of_equal_length(source: Set, rows: range) -> Iterator[tuple[range, int]]:
    """Neighbouring samples with as many instants, and how many that are."""
    assert source.steps is not None
    steps = source.steps[rows.start : rows.stop]
    ends = [*(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield range(rows.start + start, rows.start + end), int(steps[start])


def files_of_rows(source: Set, most: int) -> list[range]:
    """Samples for files of at most so many bytes each, at least one sample in each."""
    size = sum(info.bytes for info in source.variables.values())
    count = -(-len(source) // max(most // size, 1))
    ends = [len(source) * i // count for i in range(count + 1)]
    return [range(start, stop) for start, stop in pairwise(ends)]


def _parts(rows: range, count: int) -> Iterator[range]:
    yield from (range(start, min(start + count, rows.stop)) for start in range(rows.start, rows.stop, count))


__all__ = ["BLOCK", "Block", "blocks", "files_of_rows", "runs_of_equal_length"]
