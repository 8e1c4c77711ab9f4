"""The HDF5 files of PDEArena (Gupta & Brandstetter 2022): a group per split, all trajectories of it in one array per field.

Navier-Stokes: `u` (smoke), `vx`, `vy` (sample, time, x, y); Kuramoto-Sivashinsky: one array `pde_...` (sample, time, x), here
called `u`; Maxwell: `d_field`, `h_field` (sample, time, x, y, z, channel). Numbers per trajectory (buoyancy `buo_y`, viscosity
`v`, steps `dt`, `dx`, `dy`) are parameters. The shallow-water set is netCDF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, array_of, constant, domain_of, sizes, stored
from sciml.data.formats.grids import alike
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, Given, VariableInfo, space_names
from sciml.numerics.domain import Condition, Domain

_MODES = ("train", "valid", "test")
_PARAMETERS = {
    "buo_y": "buoyancy along y",
    "v": "viscosity",
    "dt": "time between instants",
    "dx": "distance of points along x",
    "dy": "distance of points along y",
}
_SMOKE = {"u": "density of smoke", "vx": "velocity along x", "vy": "velocity along y"}
_MAXWELL = {"d_field": "electric displacement", "h_field": "magnetic field"}


def recognises(file: StoredFile) -> bool:
    """Whether it has a group called by a split, with the fields of one of the sets.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    return file.is_hdf5 and bool(splits(file))


def splits(file: StoredFile) -> tuple[str, ...]:
    """Its groups `train`, `valid` and `test`, those that are there."""
    return tuple(mode for mode in _MODES if mode in file.hdf5.groups and _has_fields(file.hdf5.children(mode)))


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: several splits and none chosen, an array is missing, or shapes contradict each other.
        OSError: HDF5 cannot read it.
    """
    inside = splits(file)
    if split is None and len(inside) > 1:
        raise ValueError(f"{file.path}: holds the splits {', '.join(inside)}; choose one of them")
    mode = split or "".join(inside)
    if mode not in inside:
        raise ValueError(f"{file.path}: got split {mode!r}, it holds {', '.join(inside) or 'none'}")
    notes: list[str] = []
    found = _fields(file, mode, notes)
    lengths = sizes(file, found)
    samples, steps = lengths["sample"], lengths["time"]
    parameters = _parameters(file, mode, samples)
    return Description(
        {name: variable.info for name, variable in found.items()} | {name: info for name, (info, _) in parameters.items()},
        samples,
        _domain(file, mode, lengths, parameters, notes),
        dict(file.attributes()) | dict(file.attributes(mode)),
        arrays={variable.array.name: variable.array for variable in found.values()},
        sources={name: (variable.source,) for name, variable in found.items()}
        | {name: (given,) for name, (_, given) in parameters.items()},
        times=_times(file, mode, samples, steps, parameters, notes),
        notes=tuple(notes),
    )


def _has_fields(names: tuple[str, ...]) -> bool:
    return bool({"vx", "vy", *_MAXWELL} & set(names)) or any(name.startswith("pde_") for name in names)


def _fields(file: StoredFile, mode: str, notes: list[str]) -> dict[str, Stored]:
    names = file.hdf5.children(mode)
    if set(_MAXWELL) & set(names):
        axes = ("sample", "time", "x", "y", "z", "channel")
        return {name: _field(file, mode, name, axes, words) for name, words in _MAXWELL.items()}
    equations = [name for name in names if name.startswith("pde_")]
    if not equations:
        return {name: _field(file, mode, name, ("sample", "time", "x", "y"), words) for name, words in _SMOKE.items()}
    if equations[1:]:
        notes.append(f"{mode} holds {', '.join(equations)}; the first is taken, as by the published program")
    channel = ("channel",) * (len(array_of(file, f"{mode}/{equations[0]}").shape) == 4)
    found = _field(file, mode, equations[0], ("sample", "time", *channel, "x"), "solution")
    return {"u": replace(found, info=replace(found.info, name="u"))}


def _field(file: StoredFile, mode: str, name: str, axes: tuple[str, ...], words: str) -> Stored:
    return stored(file, name, [array_of(file, f"{mode}/{name}")], axes, "state", long_name=words)


def _parameters(file: StoredFile, mode: str, samples: int) -> dict[str, tuple[VariableInfo, Given]]:
    found = {}
    for name, words in _PARAMETERS.items():
        if f"{mode}/{name}" not in file.hdf5.arrays:
            continue
        values = file.read(f"{mode}/{name}")
        if values.shape not in ((samples,), (samples, 1)) or values.dtype.kind not in "fiu":
            raise ValueError(
                f"{file.path}: {mode}/{name} is {values.dtype} of shape {values.shape}, need a number for each of {samples}"
            )
        found[name] = constant(file, name, values.reshape(samples, 1), long_name=words)
    return found


def _times(
    file: StoredFile,
    mode: str,
    samples: int,
    steps: int,
    parameters: Mapping[str, tuple[VariableInfo, Given]],
    notes: list[str],
) -> npt.NDArray[np.float64] | None:
    """As the file has them, or by the time between instants."""
    if f"{mode}/t" in file.hdf5.arrays:
        times = file.read(f"{mode}/t").astype(np.float64)
        if times.shape not in ((steps,), (samples, steps)):
            raise ValueError(f"{file.path}: {mode}/t has shape {times.shape}, need ({samples}, {steps})")
        return times[0] if times.ndim == 2 and alike(times) else times
    if "dt" not in parameters:
        notes.append(f"{mode} holds no times and no dt")
        return None
    notes.append(f"{mode} holds no times; they are taken as 0, dt, 2 dt, ...")
    return parameters["dt"][1].values.astype(np.float64) * np.arange(steps)


def _domain(
    file: StoredFile,
    mode: str,
    lengths: Mapping[str, int],
    parameters: Mapping[str, tuple[VariableInfo, Given]],
    notes: list[str],
) -> Domain | None:
    coordinates: list[npt.NDArray[np.generic]] = []
    for name in space_names(sum(axis in lengths for axis in "xyz")):
        path, points = f"{mode}/{name}", lengths[name]
        if path in file.hdf5.arrays:
            values = file.read(path)
            if values.shape not in ((points,), (lengths["sample"], points)):
                raise ValueError(f"{file.path}: {path} has shape {values.shape}, need ({lengths['sample']}, {points})")
            rows = np.atleast_2d(values)
        elif f"d{name}" in parameters:
            notes.append(f"{mode} holds no {name}; it is taken as 0, d{name}, 2 d{name}, ...")
            rows = parameters[f"d{name}"][1].values.astype(np.float64) * np.arange(points)
        else:
            notes.append("the file does not say on which grid its fields lie; give `domain` where that matters")
            return None
        if not alike(rows):
            notes.append(f"the grid along {name} differs between samples; give `domain` where that matters")
            return None
        coordinates.append(rows[0])
    sides: list[Condition] = ["open"] * len(coordinates)
    return domain_of(file, coordinates, sides, notes)


__all__ = ["describe", "read", "recognises", "splits"]
