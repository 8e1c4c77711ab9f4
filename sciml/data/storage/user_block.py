"""Where the bytes of arrays are in an HDF5 file with a user block: bytes of others before HDF5 begins."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

import h5py
import numpy as np
from h5py import h5d  # pyright: ignore[reportAttributeAccessIssue]

from sciml.data.storage.arrays import Chunked, Contiguous, Elsewhere, StoredArray

# Bytes that are compared in one place.
_SAMPLE = 2**16


def settled(
    items: Mapping[str, h5d.DatasetID], arrays: Mapping[str, StoredArray], user_block: int, raw: int
) -> dict[str, StoredArray]:
    """Arrays of a file with a user block, with their places moved to where the bytes are.

    Whether HDF5 counts from the beginning of the file or from the end of the user block differs between its versions and
    between contiguous and chunked arrays. So what it reads is compared with the bytes; where that cannot tell, HDF5 reads.
    """
    found = dict(arrays)
    for kind in (Contiguous, Chunked):
        names = [name for name, array in arrays.items() if isinstance(array.layout, kind)]
        agree = {name: _agreeing(items[name], arrays[name], (0, user_block), raw) for name in names}
        left = {0, user_block}.intersection(*(shifts for shifts in agree.values() if shifts))
        for name in names:
            array, shift = arrays[name], next(iter(left), 0)
            if len(left) == 1 and shift in agree[name]:
                found[name] = replace(array, layout=_moved(array.layout, shift))
            else:
                found[name] = replace(array, layout=Elsewhere("behind a user block, where its bytes are not found"))
    return found


def _moved(layout: Contiguous | Chunked | Elsewhere, shift: int) -> Contiguous | Chunked | Elsewhere:
    if isinstance(layout, Contiguous):
        return Contiguous(layout.offset + shift)
    if isinstance(layout, Chunked):
        return replace(layout, offsets=np.where(layout.offsets < 0, -1, layout.offsets + shift))
    return layout


def _agreeing(item: h5d.DatasetID, array: StoredArray, shifts: tuple[int, ...], raw: int) -> set[int]:
    """By which of these shifts the bytes in the file are those that HDF5 reads, at up to 16 places."""
    left = set(shifts)
    for place, values in _samples(item, array):
        left = {shift for shift in left if os.pread(raw, len(values), place + shift) == values}
    return left


def _samples(item: h5d.DatasetID, array: StoredArray) -> Iterator[tuple[int, bytes]]:
    """Bytes of an array as HDF5 reads them, and where it says that they are."""
    if isinstance(array.layout, Contiguous):
        data, width = h5py.Dataset(item), array.dtype.itemsize
        lead, last = array.shape[:-1], array.shape[-1] if array.shape else 1
        length = max(1, min(last, _SAMPLE // width))
        pieces = -(-last // length)
        for number in spaced(math.prod(lead) * pieces):
            row, start = number // pieces, number % pieces * length
            place = (*(int(at) for at in np.unravel_index(row, lead)), slice(start, start + length)) if array.shape else ()
            yield array.layout.offset + (row * last + start) * width, np.asarray(data[place]).tobytes()
    elif isinstance(array.layout, Chunked):
        written = np.argwhere(array.layout.offsets >= 0)
        for row in spaced(len(written)):
            cell = tuple(written[row].tolist())
            _, values = item.read_direct_chunk(tuple(c * n for c, n in zip(cell, array.layout.chunk, strict=True)))
            yield array.layout.offsets.item(cell), bytes(values[:_SAMPLE])


def spaced(count: int) -> list[int]:
    """Up to 16 of `count` places, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, 16).astype(np.int64)).tolist() if count else []


__all__ = ["settled", "spaced"]
