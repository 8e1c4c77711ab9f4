"""netCDF with the conventions CF, version 3 (by SciPy) and 4 (HDF5), through xarray; axes are known by the names of dimensions.

`sample`, `member`, `ensemble`, `realization`, `run` and `batch` are samples, `time` is time, `channel` and `component` are
channels, `particle` particles, and `x`, `y`, `z`, `lon`, `lat`, `lev` and their kin space, in the order in which they stand in
the file. The attribute `role` says the role of a variable; without it what changes in time is a state, what lies on a grid a
coefficient, and all else a parameter. Packed values (`scale_factor`, `add_offset`) are unpacked, missing ones (`_FillValue`)
are NaN; what is neither and lies in HDF5 is read by position.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, constant, sizes, stored
from sciml.data.formats.grids import domain_of_coordinates, unit_box
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside
from sciml.data.variables import Description, Given, VariableInfo, space_names
from sciml.numerics.domain import Condition, Domain
from sciml.numerics.roles import ROLES, Role

_CLASSIC = (b"CDF\x01", b"CDF\x02")
_LARGE = b"CDF\x05"
_AXES = {
    "sample": ("sample", "samples", "member", "ensemble", "realization", "realisation", "run", "batch"),
    "time": ("time", "t"),
    "channel": ("channel", "channels", "component"),
    "particle": ("particle", "particles"),
}
_SPACE = (
    *("x", "y", "z", "xc", "yc", "zc", "nx", "ny", "nz", "i", "j", "k", "lon", "longitude", "lat", "latitude", "rlon", "rlat"),
    *("lev", "level", "height", "depth", "altitude", "plev", "pressure_level", "layer", "easting", "northing"),
)
_ENCODED = ("scale_factor", "add_offset", "missing_value", "_Unsigned", "dtype")
_SECONDS = {
    "second": 1,
    "sec": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "hr": 3600,
    "h": 3600,
    "day": 86400,
    "d": 86400,
}
_HELPERS = ("bounds", "grid_mapping", "ancillary_variables", "climatology", "cell_measures")


def recognises(file: StoredFile) -> bool:
    """Whether it begins as netCDF 3 does, or is HDF5 that netCDF 4 or xarray wrote; not what is of our own layout.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if file.head.startswith((*_CLASSIC, _LARGE)):
        return True
    if not file.is_hdf5 or {"complete", "variables"} <= file.attributes().keys():
        return False
    tree = file.hdf5
    if "_NCProperties" in file.attributes():
        return True
    return any("_Netcdf4Dimid" in said or "_Netcdf4Coordinates" in said for said in tree.attributes.values())


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: dimensions of unknown meaning, two that mean the same, or variables that do not fit each other.
        OSError: it cannot be read, as when it is truncated.
    """
    if file.head.startswith(_LARGE):
        raise ValueError(
            f"{file.path}: is netCDF of the kind 64-bit data (CDF-5), need netCDF 4: nccopy -k netCDF-4 makes it so"
        )
    notes: list[str] = []
    with _opened(file.path) as data:
        names = _variables(data, notes)
        if not names:
            raise ValueError(f"{file.path}: holds no fields, there are {', '.join(map(str, data.variables)) or 'none'}")
        meaning = _meanings(file.path, data, names, notes)
        found: dict[str, Stored] = {}
        numbers: dict[str, tuple[VariableInfo, Given]] = {}
        grid = tuple(int(data.sizes[dim]) for dim in _space(meaning))
        for name in names:
            variable = data.variables[name]
            if not variable.dims:
                numbers[name] = constant(
                    file, name, np.asarray(variable.values).reshape(1, 1), long_name=_words(name, variable)
                )
            else:
                found[name] = _variable(file, data, name, meaning, grid, notes)
        domain = _domain(data, _space(meaning), notes) if any(one.info.grid is not None for one in found.values()) else None
        lengths = sizes(file, found)
        times = _times(file, data, meaning, notes) if "time" in lengths else None
        attributes = {str(key): _plain(value) for key, value in data.attrs.items()}
    if "sample" not in lengths:
        notes.append("no dimension of samples; the file is one sample")
    if file.is_hdf5 and file.hdf5.groups:
        notes.append(f"left out: what lies in the groups {', '.join(file.hdf5.groups[:8])}")
    return Description(
        {name: variable.info for name, variable in found.items()} | {name: info for name, (info, _) in numbers.items()},
        lengths.get("sample", 1),
        domain,
        attributes,
        arrays={name: variable.array for name, variable in found.items()},
        sources={name: (variable.source,) for name, variable in found.items()}
        | {name: (given,) for name, (_, given) in numbers.items()},
        times=times,
        notes=tuple(dict.fromkeys(notes)),
    )


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of a variable, unpacked; the last few files stay open.

    Raises:
        ValueError: no such variable, or the box leaves it.
        OSError: it cannot be read.
    """
    with _opened(path) as data:
        if array not in data.variables:
            raise ValueError(f"{path}: no array {array!r}")
        variable = data.variables[array]
        check_inside(f"{path}: array {array}", tuple(variable.shape), box)
        values = np.asarray(variable[box.slices].values)
        return np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(box.counts)


# What is a variable, and what its dimensions mean.


def _variables(data: Any, notes: list[str]) -> list[str]:
    """Names of what is neither a coordinate nor a helper such as the bounds of cells."""
    helpers: set[str] = set()
    for variable in data.variables.values():
        for key in _HELPERS:
            said = str({**variable.attrs, **variable.encoding}.get(key, ""))
            helpers |= {part for part in said.split() if not part.endswith(":")}
    found, left = [], []
    for name, variable in data.data_vars.items():
        if name in helpers:
            left.append(str(name))
        elif variable.dtype.kind not in "fiubc" or not all(variable.shape):
            left.append(f"{name} ({variable.dtype} of shape {variable.shape})")
        else:
            found.append(str(name))
    if left:
        notes.append(f"left out: {', '.join(left)}, which hold no fields")
    return found


def _meanings(path: Path, data: Any, names: list[str], notes: list[str]) -> dict[str, str]:
    """What each dimension is: `sample`, `time`, `channel`, `particle`, `x`, `y`, `z`, ..., or `-` for one to drop."""
    dims = list(dict.fromkeys(str(dim) for name in names for dim in data.variables[name].dims))
    meaning: dict[str, str] = {}
    space: list[str] = []
    unknown: list[str] = []
    for dim in dims:
        length, kind = int(data.sizes[dim]), _kind(data, dim)
        if kind == "space" and length > 1:
            space.append(dim)
        elif kind in ("space", "") and length == 1:
            meaning[dim] = "-"
            notes.append(f"dimension {dim} has length 1 and is dropped")
        elif kind:
            meaning[dim] = kind
        else:
            unknown.append(dim)
    if unknown:
        raise ValueError(
            f"{path}: cannot tell what the dimensions {', '.join(unknown)} mean. {_remedy(data, names, unknown[0])}"
        )
    if len(space) > 8:
        raise ValueError(f"{path}: dimensions {', '.join(space)} would be {len(space)} axes of space, need at most 8")
    meaning |= dict(zip(_ordered(data, names, space), space_names(len(space)), strict=True))
    for name in names:
        dims_of = [str(dim) for dim in data.variables[name].dims]
        kinds = [meaning[dim] for dim in dims_of]
        for kind in kinds:
            if kind not in ("-", "channel") and kinds.count(kind) > 1:
                same = [dim for dim in dims_of if meaning[dim] == kind]
                raise ValueError(
                    f"{path}: variable {name}: dimensions {', '.join(same)} would all be {kind}. "
                    + _remedy(data, names, same[-1])
                )
    for kind in ("sample", "time"):
        same = [dim for dim, one in meaning.items() if one == kind]
        if len(same) > 1:
            raise ValueError(f"{path}: dimensions {', '.join(same)} would all be {kind}. {_remedy(data, names, same[-1])}")
    return meaning


def _kind(data: Any, dim: str) -> str:
    """What a dimension is by its name, or by what its coordinate says; empty where neither is known."""
    name = dim.lower()
    for kind, known in _AXES.items():
        if name in known or (kind in ("channel", "particle") and name.endswith(f"_{kind}")):
            return kind
    if name.endswith("_component"):
        return "channel"
    if name in _SPACE or re.fullmatch(r"x\d", name):
        return "space"
    if dim in data.variables:
        axis = str(data.variables[dim].attrs.get("axis", "")).upper()
        return {"T": "time", "X": "space", "Y": "space", "Z": "space"}.get(axis, "")
    return ""


def _ordered(data: Any, names: list[str], space: list[str]) -> list[str]:
    """Dimensions of space in the order of the variable with most of them, or of the largest such, then those it lacks."""
    most = max(names, key=lambda name: (sum(dim in space for dim in data.variables[name].dims), data.variables[name].size))
    first = [str(dim) for dim in data.variables[most].dims if dim in space]
    return [*first, *(dim for dim in space if dim not in first)]


def _space(meaning: Mapping[str, str]) -> list[str]:
    """The dimensions of space: that of x, of y, ..."""
    by_axis = {axis: dim for dim, axis in meaning.items()}
    return [by_axis[axis] for axis in space_names(8) if axis in by_axis]


def _remedy(data: Any, names: list[str], dim: str) -> str:
    shapes = ", ".join(f"{name} ({', '.join(map(str, data.variables[name].dims))})" for name in names[:8])
    return (
        f"It holds {shapes}. Rename them to sample, time, channel, x, y, z, such as "
        f'xarray.open_dataset(path).rename({{"{dim}": "x"}}).to_netcdf(new); '
        "or of netCDF 4 say what the arrays mean in a `mapping`"
    )


# One variable.


def _variable(
    file: StoredFile, data: Any, name: str, meaning: Mapping[str, str], grid: tuple[int, ...], notes: list[str]
) -> Stored:
    variable = data.variables[name]
    axes = tuple(meaning[str(dim)] for dim in variable.dims)
    lies_in_space = any(axis in space_names(8) for axis in axes)
    role = variable.attrs.get("role")
    if role is not None and role not in ROLES:
        raise ValueError(
            f"{file.path}: variable {name} has role {role!r}, need an attribute role with one of {', '.join(ROLES)}"
        )
    usual = "state" if "time" in axes else "coefficient" if lies_in_space or "particle" in axes else "parameter"
    if lies_in_space and (missing := [dim for dim in _space(meaning) if dim not in variable.dims]):
        notes.append(f"variable {name} has no dimension {', '.join(missing)} and is the same along it")
    return stored(
        file,
        name,
        [_array(file, name, variable)],
        axes,
        cast(Role, role or usual),
        grid=grid if lies_in_space else (),
        units=str(variable.attrs.get("units", "1")),
        long_name=_words(name, variable),
    )


def _words(name: str, variable: Any) -> str:
    return str(variable.attrs.get("long_name", variable.attrs.get("standard_name", name)))


def _array(file: StoredFile, name: str, variable: Any) -> StoredArray:
    """The array in HDF5 itself, where its values need no decoding."""
    if file.is_hdf5 and name in file.hdf5.arrays:
        array, said = file.hdf5.arrays[name], file.attributes(name)
        same = array.shape == tuple(variable.shape) and array.dtype.newbyteorder("=") == variable.dtype.newbyteorder("=")
        if same and not any(key in said for key in _ENCODED) and _only_nan(said.get("_FillValue")):
            return array if not isinstance(array.layout, Elsewhere) else _elsewhere(name, variable, array.layout.reason)
    return _elsewhere(name, variable, "packed by the conventions CF" if file.is_hdf5 else "netCDF 3")


def _elsewhere(name: str, variable: Any, reason: str) -> StoredArray:
    return StoredArray(name, tuple(int(n) for n in variable.shape), variable.dtype.newbyteorder("="), Elsewhere(reason))


def _only_nan(fill: object) -> bool:
    """Whether a fill value changes nothing: none, or NaN itself."""
    values = fill if isinstance(fill, list) else [fill]
    return all(value is None or (isinstance(value, float) and value != value) for value in values)


# Coordinates.


def _times(file: StoredFile, data: Any, meaning: Mapping[str, str], notes: list[str]) -> npt.NDArray[np.float64] | None:
    """In the units of the file; dates as seconds since the one that the units name."""
    dim = next(dim for dim, kind in meaning.items() if kind == "time")
    if dim not in data.variables:
        notes.append("the file does not say its times")
        return None
    variable = data.variables[dim]
    values = np.asarray(variable.values)
    if values.dtype.kind not in "fiu":
        notes.append(f"the file does not say its times in numbers ({dim} is {values.dtype})")
        return None
    times, units = values.astype(np.float64), str(variable.attrs.get("units", ""))
    match = re.match(r"\s*([A-Za-z]+?)s?\s+since\s+(.+)", units)
    if match and match[1].lower() in _SECONDS:
        notes.append(f"times are seconds since {match[2].strip()}")
        return times * _SECONDS[match[1].lower()]
    if units:
        notes.append(f"times are in {units}")
    return times


def _domain(data: Any, space: list[str], notes: list[str]) -> Domain:
    lengths = [int(data.sizes[dim]) for dim in space]
    coordinates = [np.asarray(data.variables[dim].values) for dim in space if dim in data.variables]
    missing = [dim for dim in space if dim not in data.variables]
    if missing:
        return unit_box(lengths, f"dimension {', '.join(missing)} has no coordinates", notes)
    sides: list[Condition] = ["open"] * len(space)
    return domain_of_coordinates(coordinates, sides, notes)


def _plain(value: Any) -> object:
    """An attribute as a value of Python."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


# The library.


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file in xarray; what goes wrong inside is told as an error of this file."""
    try:
        with _kept.use(path) as data, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield data
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file takes the libraries through any of their own mistakes
        if str(error).startswith(str(path)):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{path}: cannot be read as netCDF, {why}; it is truncated or damaged, copy it again") from error


def _library(path: Path, _: str) -> Any:
    import xarray

    with path.open("rb") as file:
        engine = "scipy" if file.read(4) in _CLASSIC else "h5netcdf"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Times stay numbers: dates of other calendars than ours are none of NumPy.
        return xarray.open_dataset(path, engine=engine, decode_times=False, decode_timedelta=False, cache=False)


_kept: Kept[Any] = Kept(_library, most=4, close=lambda data: data.close())

__all__ = ["describe", "read", "recognises", "splits"]
