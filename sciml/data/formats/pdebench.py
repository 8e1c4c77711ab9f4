"""The files of PDEBench (Takamoto et al. 2022), in all their layouts.

- one array of all samples: `tensor` (sample, time, x) of advection, Burgers and reaction-diffusion; `nu` and `tensor` of Darcy;
  `density`, `pressure`, `Vx`, ... of the compressible Navier-Stokes equations; coordinates in `x-coordinate`, `t-coordinate`;
- a group per seed, `0000`, `0001`, ..., each with `data` (time, *space, channel) and `grid`: diffusion-sorption,
  diffusion-reaction, shallow water;
- `velocity`, `particles`, `force` and `t` of the incompressible Navier-Stokes equations, a few samples per file.

Splits are those of the programs published with it: the first 10 % are `test` in files with one array, the last 10 % in files
with a group per seed; files of the incompressible equations have none. Numbers of the equation are parameters. Nothing is said
of boundaries, so they are open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, array_of, constant, domain_of, sizes, stored
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, Given, VariableInfo, space_names
from sciml.numerics.domain import Condition, Domain
from sciml.numerics.roles import Role

_TEST = 0.1  # of the samples, as published
_PARAMETERS = {
    "beta": "advection speed, or strength of the source",
    "Nu": "viscosity",
    "rho": "rate of the reaction",
    "eta": "shear viscosity",
    "zeta": "bulk viscosity",
    "M": "Mach number of the initial state",
}
_FLUID = ("density", "pressure", "Vx", "Vy", "Vz")


@dataclass(frozen=True)
class _Content:
    """What one layout gives: variables, coordinates of space, and times."""

    variables: Mapping[str, Stored]
    coordinates: tuple[npt.NDArray[np.generic], ...]
    times: npt.NDArray[np.float64] | None
    settings: str = ""  # the path of the group with the attribute `config`


def recognises(file: StoredFile) -> bool:
    """Whether it has the names of one of the layouts.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if not file.is_hdf5:
        return False
    root = file.hdf5.arrays
    gridded = "nu" in root or any(name.endswith("-coordinate") for name in root)
    return _is_incompressible(file) or _is_per_seed(file) or (gridded and ("tensor" in root or "density" in root))


def splits(file: StoredFile) -> tuple[str, ...]:
    """`train` and `test`, where the published programs divide such files."""
    return () if _is_incompressible(file) else ("train", "test")


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    In files with a group per seed the grid and the times of the first are taken for all, as their shapes agree.

    Args:
        split: `train` or `test`; all samples if not given.
    Raises:
        ValueError: an array is missing, shapes contradict each other, or the split holds nothing.
        OSError: HDF5 cannot read it.
    """
    notes: list[str] = []
    content = _content(file, split, notes)
    lengths = sizes(file, content.variables)
    domain = _domain(file, content, lengths, notes)
    first, samples = _part(file, split, lengths["sample"])
    parameters = dict(_parameters(file))
    variables = {name: found.info for name, found in content.variables.items()}
    return Description(
        variables | {name: info for name, (info, _) in parameters.items()},
        samples,
        domain,
        _attributes(file, content, notes),
        arrays=_arrays(file, content),
        sources={name: (found.source,) for name, found in content.variables.items()}
        | {name: (given,) for name, (_, given) in parameters.items()},
        times=content.times if content.times is None or content.times.ndim == 1 else content.times[first : first + samples],
        first=first,
        notes=tuple(notes),
    )


def _is_incompressible(file: StoredFile) -> bool:
    return {"velocity", "particles"} <= file.hdf5.arrays.keys()


def _is_per_seed(file: StoredFile) -> bool:
    """Whether all at the root are groups called by numbers, of which one has data."""
    tree = file.hdf5
    seeds = tree.children("")
    return (
        bool(seeds)
        and all(name.isdigit() and name not in tree.arrays for name in seeds)
        and any(f"{name}/data" in tree.arrays for name in seeds)
    )


def _content(file: StoredFile, split: str | None, notes: list[str]) -> _Content:
    if _is_incompressible(file):
        return _incompressible(file, notes)
    if _is_per_seed(file):
        return _per_seed(file, split, notes)
    if "tensor" in file.hdf5.arrays:
        return _scalar(file, notes)
    return _fluid(file, notes)


def _part(file: StoredFile, split: str | None, samples: int) -> tuple[int, int]:
    """First sample along the axis of samples, and how many."""
    if split is None or _is_per_seed(file):
        return 0, samples  # of groups those of the split are named already
    inside = splits(file)
    if split not in inside:
        raise ValueError(f"{file.path}: got split {split!r}, it holds {', '.join(inside) or 'none'}")
    test = int(samples * _TEST)
    if split == "test" and not test:
        raise ValueError(f"{file.path}: of {samples} samples none is in the split test, the first 10 %")
    return (0, test) if split == "test" else (test, samples - test)


def _scalar(file: StoredFile, notes: list[str]) -> _Content:
    """One unknown in time on a line; or Darcy's coefficient and pressure on a plane."""
    tensor = array_of(file, "tensor")
    dim = len(tensor.shape) - 2
    if not 1 <= dim <= 3:
        raise ValueError(f"{file.path}: tensor has shape {tensor.shape}, need (sample, time, x) or (sample, 1, x, y)")
    space = space_names(dim)
    if "nu" in file.hdf5.arrays:
        nu = array_of(file, "nu")
        pressure = stored(file, "tensor", [tensor], ("sample", "channel", *space), "target", long_name="pressure")
        given = stored(file, "nu", [nu], ("sample", *space), "coefficient", long_name="permeability")
        return _Content({"nu": given, "tensor": pressure}, _coordinates(file, dim), None)
    variable = stored(file, "tensor", [tensor], ("sample", "time", *space), "state", long_name="solution")
    return _Content({"tensor": variable}, _coordinates(file, dim), _times(file, "t-coordinate", tensor.shape[1], notes))


def _fluid(file: StoredFile, notes: list[str]) -> _Content:
    dim = len(array_of(file, "density").shape) - 2
    if not 1 <= dim <= 3:
        raise ValueError(f"{file.path}: density has shape {array_of(file, 'density').shape}, need (sample, time, x[, y[, z]])")
    axes = ("sample", "time", *space_names(dim))
    names = {"density": "density", "pressure": "pressure"} | {f"V{x}": f"velocity along {x}" for x in space_names(dim)}
    found = {name: stored(file, name, [array_of(file, name)], axes, "state", long_name=words) for name, words in names.items()}
    if more := [name for name in _FLUID if name in file.hdf5.arrays and name not in names]:
        notes.append(f"{', '.join(more)} on a grid of {dim} dimensions left out")
    steps = sizes(file, found)["time"]
    return _Content(found, _coordinates(file, dim), _times(file, "t-coordinate", steps, notes))


def _incompressible(file: StoredFile, notes: list[str]) -> _Content:
    """A file as the solver writes it, frame by frame; `latestIndex` says how far it came."""
    velocity = array_of(file, "velocity")
    dim = len(velocity.shape) - 3
    if not 1 <= dim <= 3:
        raise ValueError(f"{file.path}: velocity has shape {velocity.shape}, need (sample, time, x, y, channel)")
    found: dict[str, Stored] = {}
    table: tuple[tuple[str, tuple[str, ...], Role, str], ...] = (
        ("velocity", ("sample", "time"), "state", "velocity"),
        ("particles", ("sample", "time"), "state", "concentration of particles"),
        ("force", ("sample",), "coefficient", "force"),
    )
    for name, lead, role, words in table:
        axes = (*lead, *space_names(dim), "channel")
        found[name] = stored(file, name, [array_of(file, name)], axes, role, long_name=words)
    lengths = sizes(file, found)
    samples, steps = lengths["sample"], lengths["time"]
    times = file.read(array_of(file, "t").name).astype(np.float64)
    if times.shape != (samples, steps):
        raise ValueError(f"{file.path}: t has shape {times.shape}, need ({samples}, {steps})")
    last = _one(file.attributes().get("latestIndex", steps - 1))
    if isinstance(last, int) and last + 1 < steps:
        if last < 0:
            raise ValueError(f"{file.path}: attribute latestIndex is {last}, no frame of it was written")
        notes.append(f"latestIndex is {last}: {last + 1} of {steps} instants were written, the others are left out")
        found = {name: _shortened(variable, last + 1) for name, variable in found.items()}
        times = times[:, : last + 1]
    return _Content(found, (), times)


def _shortened(variable: Stored, steps: int) -> Stored:
    info = variable.info
    return variable if info.steps is None else replace(variable, info=replace(info, steps=steps))


def _per_seed(file: StoredFile, split: str | None, notes: list[str]) -> _Content:
    seeds = _seeds(file, split)
    arrays = [array_of(file, f"{seed}/data") for seed in seeds]
    for array in arrays[1:]:
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"{file.path}: group {array.name.partition('/')[0]} has data of shape {array.shape}, group {seeds[0]} of shape "
                f"{arrays[0].shape}; need all alike"
            )
    dim = len(arrays[0].shape) - 2
    if not 1 <= dim <= 3:
        raise ValueError(f"{file.path}: {arrays[0].name} has shape {arrays[0].shape}, need (time, x[, y[, z]], channel)")
    axes = ("time", *space_names(dim), "channel")
    variable = stored(file, "data", arrays, axes, "state", long_name="solution")
    coordinates = tuple(_line(file, f"{seeds[0]}/grid/{name}") for name in space_names(dim))
    times = _times(file, f"{seeds[0]}/grid/t", arrays[0].shape[0], notes)
    return _Content({"data": variable}, coordinates, times, seeds[0])


def _seeds(file: StoredFile, split: str | None) -> list[str]:
    """Names of the groups of a split, in the order in which the published programs sort them."""
    seeds = sorted(file.hdf5.children(""))
    if split is None:
        return seeds
    if split not in ("train", "test"):
        raise ValueError(f"{file.path}: got split {split!r}, it holds train, test")
    border = int(len(seeds) * (1 - _TEST))
    chosen = seeds[:border] if split == "train" else seeds[border:]
    if not chosen:
        raise ValueError(f"{file.path}: of {len(seeds)} groups none is in the split {split}")
    return chosen


def _coordinates(file: StoredFile, dim: int) -> tuple[npt.NDArray[np.generic], ...]:
    return tuple(_line(file, f"{name}-coordinate") for name in space_names(dim))


def _line(file: StoredFile, name: str) -> npt.NDArray[np.generic]:
    """Numbers along a line."""
    array = array_of(file, name)
    if len(array.shape) != 1 or array.dtype.kind not in "fiu":
        raise ValueError(f"{file.path}: {name} is {array.dtype} of shape {array.shape}, need numbers along one axis")
    return file.read(name)


def _times(file: StoredFile, name: str, steps: int, notes: list[str]) -> npt.NDArray[np.float64]:
    """Of the instants; the generators of PDEBench write one more than there are frames."""
    times = _line(file, name).astype(np.float64)
    if len(times) not in (steps, steps + 1):
        raise ValueError(f"{file.path}: {name} has {len(times)} values for {steps} instants, need as many, or one more")
    if len(times) == steps + 1:
        notes.append(f"{name} has {steps + 1} values for {steps} instants; the last, {times[-1]:g}, belongs to none")
    return times[:steps]


def _domain(file: StoredFile, content: _Content, lengths: Mapping[str, int], notes: list[str]) -> Domain | None:
    if not content.coordinates:
        notes.append("the file does not say on which grid its fields lie; give `domain` where that matters")
        return None
    for name, points in zip(space_names(len(content.coordinates)), content.coordinates, strict=True):
        if len(points) != lengths[name]:
            raise ValueError(
                f"{file.path}: coordinate {name} has {len(points)} values, the fields {lengths[name]} points along {name}"
            )
    sides: list[Condition] = ["open"] * len(content.coordinates)
    return domain_of(file, content.coordinates, sides, notes)


def _arrays(file: StoredFile, content: _Content) -> dict[str, StoredArray]:
    names = [name for found in content.variables.values() for name in found.source.arrays]
    return {name: file.hdf5.arrays[name] for name in names}


def _one(value: object) -> object:
    """A number that is stored as a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _parameters(file: StoredFile) -> list[tuple[str, tuple[VariableInfo, Given]]]:
    """Numbers of the equation, which all samples of a file share."""
    attributes = file.attributes()
    found = {name: _one(attributes.get(name)) for name in _PARAMETERS}
    numbers = [(name, value) for name, value in found.items() if isinstance(value, int | float)]
    return [
        (name, constant(file, name, np.array([[value]], np.float64), long_name=_PARAMETERS[name])) for name, value in numbers
    ]


def _attributes(file: StoredFile, content: _Content, notes: list[str]) -> dict[str, object]:
    """Those of the file, with the settings of the run as a table where they are one."""
    found = dict(file.attributes())
    text = file.attributes(content.settings).get("config")
    if not isinstance(text, str):
        return found
    import yaml

    found["config"] = text
    try:
        found["config"] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        notes.append(f"attribute config is no YAML ({str(error).splitlines()[0]}), kept as text")
    return found


__all__ = ["describe", "read", "recognises", "splits"]
