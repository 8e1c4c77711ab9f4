"""The files of The Well (Ohana et al. 2024): groups `dimensions`, `boundary_conditions`, `scalars`, `t0_fields` to `t2_fields`.

Which axes an array has is said by flags beside it: `sample_varying`, `time_varying` and, per axis of space, `dim_varying`. An
array has no axis where its flag is off; it is the same along that one. Flags and shapes contradict each other in some files and
in the example of the written format itself: then the shape decides, where only one reading of it is possible.

Fields in time are states, fields that stay are coefficients, scalars are parameters. Vectors and tensors are one variable with
a channel per component, tensors by rows. Boundaries are `periodic` where the file says so of both sides; a wall is `open`, as
The Well does not say which condition holds there. What we write as The Well comes back with its own roles (`the_well_roles`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, array_of, constant, described, domain_of, stored
from sciml.data.formats.grids import alike, unit_box
from sciml.data.formats.the_well_roles import ATTRIBUTE, restored
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, Given, Source, VariableInfo, space_names
from sciml.numerics.domain import Condition, Domain
from sciml.numerics.roles import Role

_FIELDS = ("t0_fields", "t1_fields", "t2_fields")


@dataclass(frozen=True)
class _Sizes:
    """How long the axes are that a file speaks of."""

    samples: int
    steps: int
    grid: tuple[int, ...]


def recognises(file: StoredFile) -> bool:
    """Whether it has one of the groups of fields.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    return file.is_hdf5 and any(group in file.hdf5.groups for group in _FIELDS)


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: splits are folders."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: a group, an array or an attribute is missing, or a shape fits neither its flags nor any other reading.
        OSError: HDF5 cannot read it.
    """
    notes: list[str] = []
    names = _names(file, "dimensions", "spatial_dims")
    sizes = _sizes(file, names)
    found: dict[str, tuple[VariableInfo, Source | Given, StoredArray | None]] = {}
    for order, group in enumerate(_FIELDS):
        for name in _members(file, group, notes):
            variable = _field(file, f"{group}/{name}", order, names, sizes, notes)
            _add(file, found, variable.info, variable.source, variable.array)
    if not found:
        raise ValueError(f"{file.path}: holds no field in {', '.join(_FIELDS)}")
    for name in _members(file, "scalars", notes):
        _add(file, found, *_scalar(file, name, sizes, notes))
    for info, given in _attribute_parameters(file, tuple(found)):
        _add(file, found, info, given, None)
    description = Description(
        {name: info for name, (info, _, _) in found.items()},
        sizes.samples,
        _domain(file, names, sizes, notes),
        dict(file.attributes()) | {"boundary_conditions": _boundaries(file)},
        arrays={array.name: array for _, _, array in found.values() if array is not None},
        sources={name: (source,) for name, (_, source, _) in found.items()},
        times=_times(file, sizes),
        notes=tuple(notes),
    )
    ours = file.attributes().get(ATTRIBUTE)
    return description if ours is None else restored(description, ours)


def _add(
    file: StoredFile,
    found: dict[str, tuple[VariableInfo, Source | Given, StoredArray | None]],
    info: VariableInfo,
    source: Source | Given,
    array: StoredArray | None,
) -> None:
    if info.name in found:
        raise ValueError(f"{file.path}: two of its fields or scalars are called {info.name}, need names of their own")
    found[info.name] = info, source, array


def _sizes(file: StoredFile, names: list[str]) -> _Sizes:
    samples = file.attributes().get("n_trajectories")
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise ValueError(f"{file.path}: attribute n_trajectories is {samples!r}, need a whole number from 1 on")
    dims = file.attributes().get("n_spatial_dims", len(names))
    if dims != len(names) or not names:
        raise ValueError(f"{file.path}: attribute n_spatial_dims is {dims!r}, dimensions has {len(names)} ({', '.join(names)})")
    lengths = []
    for name in ("time", *names):
        shape = array_of(file, f"dimensions/{name}").shape
        if not 1 <= len(shape) <= 2 or (len(shape) == 2 and shape[0] != samples):
            raise ValueError(f"{file.path}: dimensions/{name} has shape {shape}, need (n,) or ({samples}, n)")
        lengths.append(shape[-1])
    return _Sizes(samples, lengths[0], tuple(lengths[1:]))


def _names(file: StoredFile, group: str, key: str) -> list[str]:
    """A list of names in an attribute, which may be written as one name."""
    if group not in file.hdf5.groups:
        raise ValueError(f"{file.path}: has no group {group}, there are {', '.join(file.hdf5.groups)}")
    value = file.attributes(group).get(key)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError(f"{file.path}: attribute {key} of {group} is {value!r}, need a list of names")
    return [str(name) for name in value]


def _members(file: StoredFile, group: str, notes: list[str]) -> list[str]:
    """The arrays of a group that count, in the order of channels."""
    if group not in file.hdf5.groups:
        return []
    there = [name for name in file.hdf5.children(group) if f"{group}/{name}" in file.hdf5.arrays]
    if "field_names" not in file.attributes(group):
        if there:
            notes.append(f"{group} has no attribute field_names; its arrays are taken in the order {', '.join(there)}")
        return there
    said = _names(file, group, "field_names")
    if len(set(said)) < len(said):
        raise ValueError(f"{file.path}: attribute field_names of {group} names one twice, {said}")
    if left := [name for name in there if name not in said]:
        notes.append(f"{group} holds {', '.join(left)}, which its field_names leave out; left out here as well")
    return said


def _field(file: StoredFile, path: str, order: int, names: list[str], sizes: _Sizes, notes: list[str]) -> Stored:
    array = array_of(file, path)
    axes = _axes(file, array, order, sizes, notes)
    role: Role = "state" if "time" in axes else "coefficient"
    name = path.rpartition("/")[2]
    parts = ["".join(index) for index in product(names, repeat=order)]
    words = f"{name} ({', '.join(parts)})" if order else name
    return stored(file, name, [array], axes, role, grid=sizes.grid, long_name=words)


def _axes(file: StoredFile, array: StoredArray, order: int, sizes: _Sizes, notes: list[str]) -> tuple[str, ...]:
    """What the axes of an array are: as its flags say, or as its shape says where they contradict it."""
    flags = _flags(file, array.name, len(sizes.grid))
    readings = list(dict.fromkeys(_readings(order, sizes)))
    # Flags first, so that they decide between readings of the same shape.
    if flags is not None:
        for axes, shape in readings:
            if shape == array.shape and _says(axes, len(sizes.grid)) == flags:
                return axes
    fitting = [axes for axes, shape in readings if shape == array.shape]
    if len({_says(axes, len(sizes.grid)) for axes in fitting}) == 1:
        if flags is not None:
            notes.append(
                f"{array.name} has shape {array.shape}, which its flags {_in_words(flags)} contradict; by the shape it is "
                f"{described(fitting[0])}"
            )
        return fitting[0]
    lengths = f"{sizes.samples} samples, {sizes.steps} instants and a grid of {sizes.grid}"
    said = "it has no flags" if flags is None else f"its flags are {_in_words(flags)}"
    why = "several readings are possible" if fitting else "no reading is possible"
    raise ValueError(f"{file.path}: {array.name} has shape {array.shape}, {said}; with {lengths} {why}")


def _readings(order: int, sizes: _Sizes) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Every combination of axes that a field of this order can have, with its shape.

    Tensors may have one axis of D². An axis of space along which a field stays the same may be there with length 1: the loader
    of The Well needs it so, the written format has none.
    """
    dim = len(sizes.grid)
    components = [(dim,) * order, (dim**2,)] if order == 2 else [(dim,) * order]
    names = space_names(dim)
    for sample, time in product((True, False), repeat=2):
        lead = (("sample", sizes.samples),) * sample + (("time", sizes.steps),) * time
        for kinds in product(("varies", "absent", "one"), repeat=dim):
            kept = [(name, n, kind) for name, n, kind in zip(names, sizes.grid, kinds, strict=True) if kind != "absent"]
            space = tuple((name, n) if kind == "varies" else ("-", 1) for name, n, kind in kept)
            for part in components:
                both = (*lead, *space, *(("channel", n) for n in part))
                yield tuple(axis for axis, _ in both), tuple(n for _, n in both)


_Flags = tuple[bool, bool, tuple[bool, ...]]


def _says(axes: tuple[str, ...], dim: int) -> _Flags:
    return "sample" in axes, "time" in axes, tuple(name in axes for name in space_names(dim))


def _flags(file: StoredFile, path: str, dim: int) -> _Flags | None:
    """sample_varying, time_varying and dim_varying of an array; None where one of them is missing."""
    attributes = file.attributes(path)
    sample, time, space = (attributes.get(key) for key in ("sample_varying", "time_varying", "dim_varying"))
    if dim and isinstance(space, bool | int):
        space = [space]
    if sample is None or time is None or (dim and not isinstance(space, list)):
        return None
    varying = tuple(bool(one) for one in space) if dim and isinstance(space, list) else ()
    if len(varying) != dim:
        raise ValueError(f"{file.path}: attribute dim_varying of {path} is {space!r}, need one for each of {dim} dimensions")
    return bool(sample), bool(time), varying


def _in_words(flags: _Flags) -> str:
    return f"(sample_varying {flags[0]}, time_varying {flags[1]}, dim_varying {list(flags[2])})"


def _scalar(
    file: StoredFile, name: str, sizes: _Sizes, notes: list[str]
) -> tuple[VariableInfo, Source | Given, StoredArray | None]:
    """A number per file, sample, instant, or sample and instant."""
    array = array_of(file, f"scalars/{name}")
    if array.shape in ((), (1,)) and not _in_time(file, array, sizes):
        return *constant(file, name, file.read(array.name).reshape(1, 1)), None
    axes = _axes(file, array, 0, _Sizes(sizes.samples, sizes.steps, ()), notes)
    if "time" not in axes:
        return *constant(file, name, file.read(array.name).reshape(-1, 1)), None
    found = stored(file, name, [array], axes, "parameter")
    return found.info, found.source, array


def _in_time(file: StoredFile, array: StoredArray, sizes: _Sizes) -> bool:
    """Whether one value is that of the one instant there is."""
    return array.shape == (1,) and sizes.steps == 1 and bool(file.attributes(array.name).get("time_varying", False))


def _attribute_parameters(file: StoredFile, taken: tuple[str, ...]) -> Iterator[tuple[VariableInfo, Given]]:
    """Parameters of the simulation that stand in the attributes alone."""
    listed = file.attributes().get("simulation_parameters", [])
    for name in listed if isinstance(listed, list) else [listed]:
        value = file.attributes().get(str(name))
        if str(name) not in taken and isinstance(value, int | float):
            yield constant(file, str(name), [[float(value)]])


def _times(file: StoredFile, sizes: _Sizes) -> npt.NDArray[np.float64]:
    values = file.read("dimensions/time")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{file.path}: dimensions/time has values of type {values.dtype}, need numbers")
    times = values.astype(np.float64)
    return times[0] if times.ndim == 2 and alike(times) else times


def _domain(file: StoredFile, names: list[str], sizes: _Sizes, notes: list[str]) -> Domain:
    coordinates = []
    for name in names:
        values = file.read(f"dimensions/{name}")
        if values.ndim == 2 and not alike(values):
            return unit_box(sizes.grid, f"dimensions/{name} differs between samples", notes)
        coordinates.append(values[0] if values.ndim == 2 else values)
    grid_type = file.attributes().get("grid_type", "cartesian")
    if grid_type != "cartesian":
        notes.append(
            f"the grid is {grid_type} in {', '.join(names)}; the domain is the box of these coordinates, its weights "
            "know nothing of their metric"
        )
    periodic = _periodic(file, names, sizes.grid, notes)
    conditions: list[Condition] = ["periodic" if name in periodic else "open" for name in names]
    return domain_of(file, coordinates, conditions, notes)


def _boundaries(file: StoredFile) -> dict[str, dict[str, object]]:
    """Attributes of every boundary condition, by name."""
    groups = [group for group in file.hdf5.groups if group.startswith("boundary_conditions/")]
    return {group.partition("/")[2]: dict(file.attributes(group)) for group in groups}


def _periodic(file: StoredFile, names: list[str], grid: tuple[int, ...], notes: list[str]) -> set[str]:
    """Dimensions that are periodic all along both of their sides."""
    found = set()
    for group, attributes in _boundaries(file).items():
        if str(attributes.get("bc_type", "")).lower() != "periodic":
            continue
        dims = _names(file, f"boundary_conditions/{group}", "associated_dims")
        if unknown := [dim for dim in dims if dim not in names]:
            raise ValueError(f"{file.path}: boundary condition {group} is of {unknown[0]!r}, dimensions are {', '.join(names)}")
        mask = file.read(array_of(file, f"boundary_conditions/{group}/mask").name).astype(bool)
        need = tuple(grid[names.index(dim)] for dim in dims)
        if mask.shape[mask.ndim - len(need) :] != need:
            raise ValueError(f"{file.path}: mask of boundary condition {group} has shape {mask.shape}, need {need} of {dims}")
        for dim in dims:
            sides = np.moveaxis(mask, mask.ndim - len(dims) + dims.index(dim), 0)[[0, -1]]
            if sides.all():
                found.add(dim)
            else:
                notes.append(f"boundary condition {group} does not mark all of both sides of {dim}; {dim} is taken as open")
    return found


__all__ = ["describe", "read", "recognises", "splits"]
