"""Writes netCDF-4 files that xarray and every other reader of netCDF open: named dimensions, coordinates, units, long names.

They follow the layout of our own files, so that they are read as those are; what they add is what netCDF and the CF conventions
ask for. Values are uncompressed and in one piece each. netCDF has no truth values: those are whole numbers of 8 bits with an
attribute that says so, as xarray writes them.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from sciml.data.blocks import blocks
from sciml.data.layout import Layout, TimeGrid, stored_dims
from sciml.data.set import Set
from sciml.data.variables import coordinate_names, space_names
from sciml.data.writers.plain import plain_attributes, stored_type, time_grid

CONVENTIONS = "CF-1.11"
_RESERVED = ("CLASS", "DIMENSION_LIST", "NAME", "REFERENCE_LIST", "_NCProperties", "_Netcdf4Coordinates", "_Netcdf4Dimid")


def check(source: Set) -> None:
    """That netCDF can hold a set.

    Raises:
        ValueError: complex or half-precision numbers, or a variable has the name of a coordinate.
    """
    for info in source.variables.values():
        if stored_type(source.path, info) == np.float16:
            raise ValueError(f"{source.path}: variable {info.name}: netCDF has no numbers of type float16; convert to sciml")
    time = time_grid(source, range(len(source)))
    Layout(dict(source.variables), range(len(source)), source.domain, {}, time)


def write(source: Set, rows: range, path: Path, *, name: str, tick: Callable[[int], None]) -> None:
    """Write one file; memory holds one block.

    Args:
        rows: the samples of this file, of a set that `check` lets pass.
        name: of the set.
        tick: called with the bytes of every block that was written.
    Raises:
        OSError: no space, or a file cannot be read.
    """
    import h5netcdf

    # HDF5 does not survive a full disk when it closes its file: better to see before.
    needed = sum(info.bytes for info in source.variables.values()) * len(rows) + 2**20
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{path.parent}: has {free:,} bytes left, need about {needed:,}; make room and try again")
    with h5netcdf.File(path, "w") as file:
        file.attrs["Conventions"], file.attrs["title"] = CONVENTIONS, name
        for key, value in plain_attributes(source).items():
            if key not in ("Conventions", "title", *_RESERVED):
                file.attrs[key] = int(value) if isinstance(value, bool | np.bool_) else value
        _coordinates(file, source, rows)
        for info in source.variables.values():
            dims = stored_dims(info, source.variables)
            dtype = stored_type(path, info)
            kept = np.dtype(np.int8) if dtype.kind == "b" else dtype
            array = file.create_variable(info.name, dims, kept)
            array.attrs["role"], array.attrs["units"], array.attrs["long_name"] = info.role, info.units, info.long_name
            if dtype.kind == "b":
                array.attrs["dtype"] = "bool"
            for block in blocks(source, info.name, rows):
                values = block.read(source)
                start = block.rows.start - rows.start
                place = (slice(start, start + len(values)),)
                if block.count is not None:
                    place += (slice(block.first, block.first + block.count),)
                array[place] = values.astype(kept, copy=False)
                tick(values.nbytes)
    _finish(path, source)


def _coordinates(file: object, source: Set, rows: range) -> None:
    """Dimensions and their values."""
    import h5netcdf

    assert isinstance(file, h5netcdf.File)
    lengths = {"sample": len(rows)}
    for info in source.variables.values():
        lengths |= dict(zip(stored_dims(info, source.variables)[1:], info.sample_shape, strict=True))
    file.dimensions = lengths
    _coordinate(file, "sample", ("sample",), np.arange(rows.start, rows.stop), "number of the sample within the whole set")
    if source.domain is not None:
        dim = source.domain.dim
        places = zip(coordinate_names(source.variables, dim), space_names(dim), source.domain.coordinates(), strict=True)
        for place, axis, points in places:
            if place in lengths:
                _coordinate(file, place, (place,), points.numpy(), f"coordinate along {axis}")
                if axis in ("x", "y", "z"):
                    file[place].attrs["axis"] = axis.upper()
    grid = time_grid(source, rows) or TimeGrid()
    if grid.times is not None and grid.times.ndim == 1:
        _coordinate(file, "time", ("time",), grid.times, "time")
        file["time"].attrs["axis"] = "T"
    elif grid.times is not None:
        _coordinate(file, "times", ("sample", "time"), grid.times, "times of the instants of each sample, NaN behind the last")
    if grid.steps is not None:
        _coordinate(file, "steps", ("sample",), grid.steps, "how many instants each sample has")
        file["steps"].attrs["about"] = "steps"


def _coordinate(file: object, name: str, dims: tuple[str, ...], values: np.ndarray, words: str) -> None:
    import h5netcdf

    assert isinstance(file, h5netcdf.File)
    axis = file.create_variable(name, dims, data=values)
    axis.attrs["units"], axis.attrs["long_name"] = "1", words


def _finish(path: Path, source: Set) -> None:
    """What our reader looks for as single numbers, which netCDF writes as lists of one."""
    with h5py.File(path, "r+") as file:
        for info in source.variables.values():
            if info.steps is not None or info.particles:
                kind = "particles" if info.particles else "series" if info.grid is None else "field"
                file[info.name].attrs["layout"] = kind
                file[info.name].attrs["time_varying"] = np.int64(info.steps is not None)
        if source.domain is not None:
            file.attrs["domain"] = json.dumps(source.domain.to_dict())
        file.attrs["variables"] = json.dumps(list(source.variables))
        file.attrs["complete"] = np.int64(1)


__all__ = ["CONVENTIONS", "check", "write"]
