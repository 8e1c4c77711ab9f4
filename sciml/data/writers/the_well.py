"""Writes files of The Well (Ohana et al. 2024): what its own loader reads, and its validation accepts.

A field of one channel is in `t0_fields`, one with as many channels as there are dimensions in `t1_fields`, any other is several
of `t0_fields`, called name_0, name_1, ...; numbers without a grid are `scalars`. What does not change in time has no axis of
time. Both sides of a periodic axis are `periodic`, dirichlet and neumann are `wall`. What The Well cannot say stands in one
attribute (see `sciml.data.formats.the_well_roles`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from sciml.data.blocks import blocks
from sciml.data.formats.the_well_roles import ATTRIBUTE, Kept, told
from sciml.data.set import Set
from sciml.data.variables import VariableInfo, space_names
from sciml.data.writers.plain import plain_attributes, stored_type
from sciml.numerics.domain import Axis, Domain

SPLITS = {"validation": "valid", "val": "valid"}
"""Names of splits that are others in The Well."""

_BOUNDARIES = {"periodic": "periodic", "dirichlet": "wall", "neumann": "wall", "open": "open"}
_RESERVED = ("dataset_name", "grid_type", "n_spatial_dims", "n_trajectories", "simulation_parameters", ATTRIBUTE)


@dataclass(frozen=True)
class Piece:
    """One array of a file.

    Args:
        path: of the array.
        channels: of the variable.
        vector: whether they are the last axis; else there is one and no axis.
    """

    path: str
    channels: slice
    vector: bool

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def check(source: Set) -> None:
    """That The Well can hold a set.

    Raises:
        ValueError: it has no field, particles, samples of different length, complex numbers, or names that meet.
    """
    where = f"{source.path}: The Well cannot hold it, "
    if particles := [name for name, info in source.variables.items() if info.particles]:
        raise ValueError(f"{where}variable {particles[0]} is of particles and has no grid; convert to sciml or netcdf")
    if source.domain is None or all(info.grid is None for info in source.variables.values()):
        raise ValueError(f"{where}no variable is a field on a grid; convert to sciml or netcdf")
    if source.steps is not None and len(set(source.steps.tolist())) > 1:
        least, most = source.steps.min(), source.steps.max()
        raise ValueError(f"{where}samples have {least} to {most} instants and need equally many; convert to sciml or netcdf")
    names: dict[str, str] = {}
    for info in source.variables.values():
        stored_type(source.path, info)
        for piece in pieces(info, source.domain.dim):
            if other := names.get(piece.name):
                raise ValueError(f"{where}variables {other} and {info.name} would both have an array {piece.name}")
            names[piece.name] = info.name


def pieces(info: VariableInfo, dim: int) -> list[Piece]:
    """The arrays of a variable over so many dimensions."""
    channels = info.shape[0]
    if info.grid is not None and channels == dim and channels > 1:
        return [Piece(f"t1_fields/{info.name}", slice(0, channels), True)]
    group = "scalars" if info.grid is None else "t0_fields"
    if channels == 1:
        return [Piece(f"{group}/{info.name}", slice(0, 1), False)]
    return [Piece(f"{group}/{info.name}_{channel}", slice(channel, channel + 1), False) for channel in range(channels)]


def write(source: Set, rows: range, path: Path, *, name: str, tick: Callable[[int], None]) -> None:
    """Write one file; memory holds one block.

    Args:
        rows: the samples of this file, of a set that `check` lets pass.
        name: of the data set.
        tick: called with the bytes of every block that was written.
    Raises:
        OSError: no space, or a file cannot be read.
    """
    domain = source.domain
    assert domain is not None
    steps = None if source.steps is None else int(source.steps[0])
    times = _times(source, rows, steps)
    with h5py.File(path, "x") as file:
        _root(file, source, rows, name, domain)
        _dimensions(file, domain, times)
        for axis, line in zip(space_names(domain.dim), domain.axes, strict=True):
            _boundary(file, axis, line)
        for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
            file.create_group(group)
        parts = {info.name: pieces(info, domain.dim) for info in source.variables.values()}
        for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
            held = [piece.name for some in parts.values() for piece in some if piece.path.startswith(f"{group}/")]
            file[group].attrs["field_names"] = _names(held)
        for info in source.variables.values():
            arrays = [_array(file, piece, info, len(rows)) for piece in parts[info.name]]
            for block in blocks(source, info.name, rows):
                values = block.read(source)
                _put(arrays, parts[info.name], info, values, block.rows.start - rows.start, block.first)
                tick(values.nbytes)


def _root(file: h5py.File, source: Set, rows: range, name: str, domain: Domain) -> None:
    shared = _shared_parameters(source, rows)
    for key, value in plain_attributes(source).items():
        if key not in _RESERVED and key not in shared:
            file.attrs[key] = value
    file.attrs["dataset_name"] = name
    file.attrs["grid_type"] = "cartesian"
    file.attrs["n_spatial_dims"] = np.int64(domain.dim)
    file.attrs["n_trajectories"] = np.int64(len(rows))
    file.attrs["simulation_parameters"] = _names(list(shared))
    for key, value in shared.items():
        file.attrs[key] = value
    kept = [Kept(v, tuple(piece.name for piece in pieces(v, domain.dim))) for v in source.variables.values()]
    file.attrs[ATTRIBUTE] = told(kept, domain, times=source.times(np.arange(1)) is not None)


def _shared_parameters(source: Set, rows: range) -> dict[str, float]:
    """Those that are one number and the same for all samples of the file."""
    found = {}
    for name, info in source.variables.items():
        if info.role == "parameter" and info.steps is None and info.shape == (1,) and name not in _RESERVED:
            values = source.read(name, slice(rows.start, rows.stop))
            if bool((values == values[0]).all()):
                found[name] = float(values[0].item())
    return found


def _dimensions(file: h5py.File, domain: Domain, times: npt.NDArray[np.float64]) -> None:
    group = file.create_group("dimensions")
    group.attrs["spatial_dims"] = _names(list(space_names(domain.dim)))
    _flagged(group.create_dataset("time", data=times), sample=times.ndim == 2, time=True)
    for name, points in zip(space_names(domain.dim), domain.coordinates(), strict=True):
        _flagged(group.create_dataset(name, data=points.numpy()), sample=False, time=False)


def _boundary(file: h5py.File, name: str, axis: Axis) -> None:
    """A group per condition, with a mask that says on which side it holds."""
    sides: dict[str, list[int]] = {}
    for end, side in zip((0, -1), axis.sides, strict=True):
        sides.setdefault(_BOUNDARIES[side], []).append(end)
    for kind, ends in sides.items():
        group = file.require_group("boundary_conditions").create_group(f"{name}_{kind}")
        group.attrs["associated_dims"], group.attrs["associated_fields"] = _names([name]), _names([])
        group.attrs["bc_type"] = kind
        _flagged(group, sample=False, time=False)
        mask = np.zeros(axis.points, bool)
        mask[ends] = True
        group.create_dataset("mask", data=mask)


def _array(file: h5py.File, piece: Piece, info: VariableInfo, samples: int) -> h5py.Dataset:
    """A place for values, in one piece and not compressed."""
    shape = (samples, *(() if info.steps is None else (info.steps,)), *info.shape[1:])
    shape += (info.shape[0],) if piece.vector else ()
    array = file.create_dataset(piece.path, shape, stored_type(file.filename, info), fill_time="never")
    _flagged(array, sample=True, time=info.steps is not None)
    if info.grid is not None:
        array.attrs["dim_varying"] = np.ones(len(info.shape) - 1, bool)
    return array


def _put(
    arrays: list[h5py.Dataset], parts: list[Piece], info: VariableInfo, values: npt.NDArray[np.generic], row: int, first: int
) -> None:
    """(row, [time], channel, *space) at its place in every array."""
    axis = 1 if info.steps is None else 2
    place: tuple[slice, ...] = (slice(row, row + len(values)),)
    place += () if info.steps is None else (slice(first, first + values.shape[1]),)
    for array, piece in zip(arrays, parts, strict=True):
        if piece.vector:
            array[place] = np.moveaxis(values, axis, -1)
        else:
            array[place] = values.take(piece.channels.start, axis)


def _times(source: Set, rows: range, steps: int | None) -> npt.NDArray[np.float64]:
    """(time,), or (sample, time) where they differ between samples; numbers from 0 where the set does not say."""
    found = source.times(np.arange(rows.start, rows.stop))
    if found is None:
        return np.arange(steps or 1, dtype=np.float64)
    return found[0] if (found == found[0]).all() else found


def _flagged(item: h5py.Dataset | h5py.Group, *, sample: bool, time: bool) -> None:
    item.attrs["sample_varying"], item.attrs["time_varying"] = np.bool_(sample), np.bool_(time)


def _names(names: list[str]) -> npt.NDArray[np.object_] | list[str]:
    """As h5py writes a list of text, also of none."""
    return names or np.array(names, h5py.string_dtype())


__all__ = ["SPLITS", "Piece", "check", "pieces", "write"]
