"""Opens files and reads them whole, one after the other, and holds the values against those of the library of the format.

It reads lines `KIND ORIGINAL PATH`, and prints a line `begin PATH` before each file and one with the outcome behind it: `told`
(a clear error), `same` (the values of the library), `whole` (the library refuses the file and the values are those before the
damage), `chance` (the library itself reads other values each time), or `wrong` and why. With `--library` it asks the library
alone.
"""

import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import torch

from sciml.data.set import open_set
from sciml.data.storage.arrays import Box, Elsewhere
from sciml.data.storage.reading import read_box

SECONDS = 10
MEMORY = 12 * 2**30


def ours(path):
    """All values as the set gives them, and as they are stored: (part, array, values)."""
    found = open_set(path)
    for name in found.variables:
        for row in range(min(len(found), 3)):
            found.read(name, [row])
        if len(set([0] if found.steps is None else found.steps.tolist())) == 1:
            found.read(name, slice(None))
    for part in found.parts:
        for name, array in part.file.description.arrays.items():
            whole = Box((0,) * len(array.shape), array.shape, (1,) * len(array.shape))
            if isinstance(array.layout, Elsewhere):
                yield part, array, part.file.library(path, name, whole)
            else:
                yield part, array, read_box(path, part.file.stamp, array, whole)


def reference(path, kind, name, shape):
    """The values of one array by the library of the format, with the axes as the library has them."""
    if kind == "torch":
        return torch.load(path, weights_only=True, map_location="cpu")[name].resolve_conj().resolve_neg().numpy()
    if kind == "numpy":
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else content[name]
    if kind == "mat":
        import scipy.io

        return scipy.io.loadmat(path, mat_dtype=True)[name]
    if kind == "gsd":
        import gsd.hoomd

        with gsd.hoomd.open(str(path)) as frames:
            home, _, key = name.removesuffix("@0").rpartition("/")
            rows = [getattr(getattr(frame, home), key) for frame in frames]
            return rows[0] if name.endswith("@0") else np.stack(rows)
    if kind == "text":
        return np.genfromtxt(path, delimiter=",", ndmin=2)[-shape[0] :, -shape[1] :]
    if kind == "netcdf":
        import xarray

        with path.open("rb") as file:
            engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
        with xarray.open_dataset(path, engine=engine, decode_times=False) as data:
            return data[name].values
    with h5py.File(path, "r") as file:
        return file[name][()]


def alike(one, other):
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        # The stored axes of tensors and arrays may be those of the library in another order.
        other = (
            other.transpose(sorted(range(other.ndim), key=lambda axis: one.shape.index(other.shape[axis])))
            if sorted(one.shape) == sorted(other.shape) and len(set(one.shape)) == one.ndim
            else other
        )
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def by_chance(path, kind, name, shape):
    """Whether the library gives what happened to stand in memory, as that of HDF5 does for damaged data packed by lzf."""
    found = set()
    for filling in range(20):
        junk = [np.full(size, filling, np.uint8) for size in (64, 192, 512, 4096) for _ in range(100)]
        del junk
        found.add(np.asarray(reference(path, kind, name, shape)).tobytes())
    return len(found) > 1


def judged(path, kind, original):
    try:
        stored = list(ours(path))
    except (ValueError, OSError, IndexError) as error:
        said = str(error)
        return "told" if path.name in said and "\n" not in said else f"wrong: does not name the file in one line, {said!r}"
    except BaseException as error:
        return f"wrong: {type(error).__name__}, {error}"
    outcome = "same"
    for _, array, values in stored:
        try:
            expected = reference(path, kind, array.name, values.shape)
        except BaseException as error:
            if not alike(values, reference(original, kind, array.name, values.shape)):
                return f"wrong: {array.name} is read, the library says {type(error).__name__}, {error}"
            outcome = "whole"
            continue
        if not alike(values, expected):
            if by_chance(path, kind, array.name, values.shape):
                return "chance"
            return f"wrong: {array.name} has other values than the library reads, or another shape ({values.shape})"
    return outcome


def library(path, kind, original):
    """Only to see whether the library survives."""
    with suppress(Exception):
        if kind == "gsd":
            reference(path, kind, "particles/position", ())
    with suppress(Exception), h5py.File(path, "r") as file:
        things = [file]
        with suppress(Exception):
            file.visititems(lambda _, thing: things.append(thing))
        for thing in things:
            for name in list_of(thing.attrs):
                with suppress(Exception):
                    thing.attrs[name]
            with suppress(Exception):
                thing[()]
    return "survived"


def list_of(attributes):
    with suppress(Exception):
        return list(attributes)
    return []


if __name__ == "__main__":
    alone = "--library" in sys.argv
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for text in sys.stdin.read().split("\n"):
        if not text:
            continue
        kind, original, name = text.split(" ")
        print(f"begin {name}", flush=True)
        # The default of this signal ends the process, also from inside of a library.
        signal.alarm(SECONDS)
        outcome = (library if alone else judged)(Path(name), kind, Path(original))
        signal.alarm(0)
        print(" ".join(outcome.split())[:300], flush=True)
