"""Reads files that may be damaged, in a process of its own: HDF5 can crash or hang on them.

For each line of standard input, a file and the one it was made from, two lines on standard output: what our reading gave
and what stands at the places where the whole file had its values, then what h5py itself gave. A result is a checksum of
the values, or the name of an error.
"""

import itertools
import json
import os
import resource
import signal
import sys
import zlib
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from sciml.data.storage.arrays import Box, Elsewhere
from sciml.data.storage.reading import read_box, read_by_hdf5, read_frames
from sciml.data.storage.stamp import stamp_of
from sciml.data.storage.tree import tree_of

MEMORY = 2**30
SECONDS = 10
PIECE = 2**14


def checksum(values):
    return [list(values.shape), values.dtype.newbyteorder("=").str, zlib.crc32(np.ascontiguousarray(values).tobytes())]


def ours(path):
    tree, stamp = tree_of(path), stamp_of(path)
    if "values" not in tree.arrays:
        raise ValueError(f"{path}: no array of numbers 'values': {tree.unreadable}")
    array = tree.arrays["values"]
    box = Box((0,) * len(array.shape), array.shape, (1,) * len(array.shape))
    if isinstance(array.layout, Elsewhere):
        return checksum(read_by_hdf5(path, "values", box))
    values = read_box(path, stamp, array, box)
    frames = np.empty_like(values)
    read_frames(path, stamp, array, np.arange(array.shape[0])[:, None], frames)
    assert frames.tobytes() == values.tobytes()
    return checksum(values)


def there(path, original):
    """The values by the map of the whole file: no damage to the map of this one matters."""
    array = tree_of(original).arrays["values"]
    return checksum(read_box(path, stamp_of(path), array, Box((0,) * len(array.shape), array.shape, (1,) * len(array.shape))))


def theirs(path):
    """In pieces: a damaged shape may have millions of chunks, and when HDF5 runs out of memory for them differs by version."""
    with h5py.File(path, "r") as file:
        data = file["values"]
        values = np.empty(data.shape, data.dtype.newbyteorder("="))
        for corner in itertools.product(*(range(0, n, PIECE) for n in data.shape)):
            piece = tuple(slice(start, start + PIECE) for start in corner)
            values[piece] = data[piece]
        return checksum(values)


def told(path, read, clear):
    try:
        return {"values": read(path)}
    except clear as error:
        return {"error": type(error).__name__, "says": str(error), "named": str(path) in str(error)}


def main():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What is still at work after this long is killed, wherever it hangs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        path, original = map(Path, json.loads(line))
        signal.alarm(SECONDS)
        given = told(path, ours, (OSError, ValueError))
        stands = told(path, partial(there, original=original), (OSError, ValueError))
        print(json.dumps({"path": str(path), "ours": given, "there": stands}), flush=True)
        signal.alarm(SECONDS)
        print(json.dumps({"path": str(path), "theirs": told(path, theirs, Exception)}), flush=True)
        signal.alarm(0)
    sys.stdout.flush()
    # HDF5 may crash when it clears up after a damaged file.
    os._exit(0)


if __name__ == "__main__":
    main()
