"""Numbers of rows, as a caller may give them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = Sequence[int] | npt.NDArray[np.generic]
"""Row numbers in any order, or a mask that says for every row whether it is meant."""


def row_numbers(rows: Rows, count: int, what: str) -> npt.NDArray[np.int64]:
    """Which of `count` rows are meant, each in 0 ... count - 1.

    Args:
        what: the rows are of, for messages.
    Raises:
        ValueError: neither whole numbers nor a mask with one value per row.
        IndexError: a number out of range; negative ones do not count from the end.

    >>> row_numbers(np.array([True, False, True]), 3, "set").tolist()
    [0, 2]
    """
    given = np.asarray(rows)
    if given.ndim != 1:
        raise ValueError(f"{what}: got rows of shape {given.shape}, need a list of row numbers")
    if not given.size:
        return np.empty(0, np.int64)
    if given.dtype == np.bool_:
        if len(given) != count:
            raise ValueError(f"{what}: got a mask for {len(given)} rows, there are {count}")
        return np.flatnonzero(given)
    if not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"{what}: got rows of type {given.dtype}, need whole numbers or a mask")
    if given.min() < 0 or given.max() >= count:
        raise IndexError(f"{what}: got rows {given.min()} to {given.max()}, there are 0 to {count - 1}")
    return given.astype(np.int64)


__all__ = ["Rows", "row_numbers"]
