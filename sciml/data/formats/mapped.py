"""HDF5 of any kind, where the user says what its arrays mean.

A mapping has a table per variable: the array, what its axes are in stored order, and the role. As a file:

    time = "t"                                 # optional: the array of times, (time,) or (sample, time)

    [velocity]
    array = "fields/u"
    axes  = ["sample", "time", "x", "y", "channel"]
    role  = "state"                            # input, coefficient, parameter, target or state
    units = "m/s"                              # optional, as is long_name

Axes are `sample`, `time`, `particle`, `channel`, `x`, `y`, `z`, `x3`, ... and `-` for an axis of length 1 to drop.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, array_of, listed, sizes, stored
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, check_axes, space_names
from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES, Role

_KEYS = ("array", "axes", "role", "units", "long_name")


@dataclass(frozen=True)
class Mapped:
    """What one array of a file means.

    Args:
        array: its name, with the groups before it.
        axes: in stored order: `sample`, `time`, `particle`, `channel`, `x`, `y`, `z`, `x3`, ..., `-` for one to drop.
    Raises:
        ValueError: an unknown role or axis, or an axis twice.
    """

    array: str
    axes: tuple[str, ...]
    role: Role
    units: str = "1"
    long_name: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role: got {self.role!r}, need one of {', '.join(ROLES)}")
        check_axes(self.axes)
        space = [axis for axis in self.axes if axis in space_names(8)]
        if sorted(space) != sorted(space_names(len(space))):
            raise ValueError(f"axes: got {', '.join(space)} for space, need {', '.join(space_names(len(space)))}")


def describe_mapped(file: StoredFile, mapping: Mapping[str, Mapped], *, time: str | None = None) -> Description:
    """What a mapping makes of an HDF5 file.

    Args:
        mapping: by the names that the variables shall have, in the order of a batch.
        time: the array with the times, (time,) or (sample, time).
    Raises:
        ValueError: an array is not there or does not fit its axes, or the arrays do not fit each other.
        OSError: HDF5 cannot read the file.
    """
    if not mapping:
        raise ValueError(f"{file.path}: got a mapping without variables, need at least one")
    found = {name: _variable(file, name, meant) for name, meant in mapping.items()}
    lengths, times = sizes(file, found), None
    if time is not None:
        check_times(file, array_of(file, time), lengths)
        times = file.read(time)
    return description_of(found, lengths, file.attributes(), times=times)


def description_of(
    found: Mapping[str, Stored],
    lengths: Mapping[str, int],
    attributes: Mapping[str, object],
    *,
    identity: str | None = None,
    times: npt.NDArray[np.generic] | None = None,
) -> Description:
    """What mapped variables make of a file of any kind.

    Args:
        lengths: of their axes, see `sizes`.
        attributes, identity, times: see `Description`.
    """
    return Description(
        {name: variable.info for name, variable in found.items()},
        lengths.get("sample", 1),
        None,
        attributes,
        identity,
        arrays={variable.array.name: variable.array for variable in found.values()},
        sources={name: (variable.source,) for name, variable in found.items()},
        times=None if times is None else times.astype(np.float64),
        notes=_notes(found, lengths),
    )


def check_times(file: StoredFile, array: StoredArray, lengths: Mapping[str, int]) -> None:
    """Whether an array can be the times of instants.

    Args:
        lengths: of the axes of the variables, see `sizes`.
    Raises:
        ValueError: nothing changes in time, or the array has another shape or no numbers.
    """
    if "time" not in lengths:
        raise ValueError(f"{file.path}: got the times {array.name}, but no variable of the mapping has an axis of time")
    samples, instants = lengths.get("sample", 1), lengths["time"]
    if array.shape not in ((instants,), (samples, instants)) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{file.path}: times {array.name} are {array.dtype} of shape {array.shape}, need numbers of shape ({instants},) or "
            f"({samples}, {instants})"
        )


def mapping_of(given: object) -> Mapping[str, Mapped]:
    """A mapping as a caller may give it: as it is, or the path of a TOML file.

    Raises:
        ValueError: it is neither, or an entry is no `Mapped`; see `read_mapping`.
        OSError: the file cannot be read.
    """
    if isinstance(given, str | Path):
        return read_mapping(Path(given).expanduser())
    example = 'Mapped("fields/u", ("sample", "time", "x"), "state")'
    if not isinstance(given, Mapping):
        raise ValueError(
            f"mapping: got {given!r}, need a Mapped for every variable, such as {{'u': {example}}}, or a TOML file"
        )
    for name, meant in given.items():
        if not isinstance(meant, Mapped):
            raise ValueError(f"mapping: variable {name} is {meant!r}, need a Mapped, such as {example}")
    return cast("Mapping[str, Mapped]", given)


def read_mapping(path: Path) -> Mapping[str, Mapped]:
    """The variables of a mapping in a TOML file, and under `time` the array of times where the file names one.

    Raises:
        ValueError: it is no TOML, a key is missing or unknown, or a value is not possible.
        OSError: it cannot be read.
    """
    found = _toml(path)
    if _is_domain(found.get("domain")):
        del found["domain"]
    time = found.pop("time") if isinstance(found.get("time"), str) else None
    if not found:
        raise ValueError(f"{path}: holds no variable, need a table for each, such as [u] with array, axes and role")
    mapping = {name: _mapped(path, name, table) for name, table in found.items()}
    return mapping if time is None else {**mapping, "time": Mapped(str(time), ("time",), "parameter")}


def domain_in_mapping(path: Path) -> Domain | None:
    """The domain of the fields, where the TOML file of a mapping has a table `domain` with lengths, points and sides.

    Raises:
        ValueError: it is no TOML, or the domain is not possible.
        OSError: it cannot be read.
    """
    table = _toml(path).get("domain")
    if not isinstance(table, Mapping) or not _is_domain(table):
        return None
    try:
        return Domain.from_dict(table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: domain: {error}") from error


def _is_domain(table: object) -> bool:
    """Not a variable of that name, which has an array."""
    return isinstance(table, Mapping) and "array" not in table


def how_to_map(file: StoredFile) -> str:
    """An error for an HDF5 file of no known format: what stands in it, and what would make it one."""
    arrays = {
        name: array for name, array in file.hdf5.arrays.items() if file.attributes(name).get("CLASS") != "DIMENSION_SCALE"
    }
    at_root = [name for name in arrays if "/" not in name]
    roles = ", ".join(ROLES)
    where = f"{file.path}: is HDF5 of no known format"
    if not arrays:
        return f"{where} and holds no variable, need data sets (sample, channel, *space), each with an attribute role: {roles}"
    largest = max(arrays.values(), key=lambda array: array.bytes)
    axes = _guessed(largest)
    name = at_root[0] if at_root else largest.name
    role = file.attributes(name).get("role")
    quoted = ", ".join(f'"{axis}"' for axis in axes)
    return (
        f"{where}. It holds {listed(arrays)}. Say what they mean. In the file: variable {name} has role {role!r}, need an "
        f"attribute role with one of {roles}. Or in a mapping, such as "
        f'mapping={{"u": Mapped({largest.name!r}, {axes!r}, "state")}}, or in a TOML file: '
        f'u = {{ array = "{largest.name}", axes = [{quoted}], role = "state" }}'
    )


def _guessed(array: StoredArray) -> tuple[str, ...]:
    """Axes to begin with, for an array with so many."""
    n = len(array.shape)
    return (
        (("sample",), ("sample", "channel"), ("sample", "time", "x"))[n - 1]
        if 0 < n < 4
        else (("sample", "time", "channel", *space_names(n - 3)) if n else ())
    )


def _variable(file: StoredFile, name: str, meant: Mapped) -> Stored:
    if meant.array not in file.hdf5.arrays:
        try:
            array_of(file, meant.array)
        except ValueError as error:
            raise ValueError(f"{error}, and the mapping names it for {name}") from None
    array = file.hdf5.arrays[meant.array]
    return stored(file, name, [array], meant.axes, meant.role, units=meant.units, long_name=meant.long_name)


def _notes(found: Mapping[str, Stored], lengths: Mapping[str, int]) -> tuple[str, ...]:
    shared = [name for name, variable in found.items() if "sample" in lengths and "sample" not in variable.source.axes]
    if not shared:
        return ()
    return (f"all samples share {', '.join(shared)}, as the mapping names no axis of samples there",)


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no TOML, {error}") from None


def _mapped(path: Path, name: str, table: object) -> Mapped:
    if not isinstance(table, dict):
        raise ValueError(f"{path}: key {name} is {table!r}, need a table with array, axes and role")
    given = cast("dict[str, object]", table)
    if unknown := sorted(given.keys() - set(_KEYS)):
        raise ValueError(f"{path}: variable {name} has the unknown key {unknown[0]!r}, there are {', '.join(_KEYS)}")
    if missing := [key for key in _KEYS[:3] if key not in given]:
        raise ValueError(f"{path}: variable {name} lacks the key {missing[0]!r}, need array, axes and role")
    axes = given["axes"]
    if not isinstance(axes, list) or not all(isinstance(axis, str) for axis in axes):
        raise ValueError(f"{path}: variable {name} has axes {axes!r}, need a list of names")
    for key in ("array", "role", "units", "long_name"):
        if not isinstance(given.get(key, ""), str):
            raise ValueError(f"{path}: variable {name} has {key} {given[key]!r}, need text")
    if given["role"] not in ROLES:
        raise ValueError(f"{path}: variable {name} has role {given['role']!r}, need one of {', '.join(ROLES)}")
    units, long_name = str(given.get("units", "1")), str(given.get("long_name", ""))
    try:
        return Mapped(str(given["array"]), tuple(axes), cast(Role, given["role"]), units, long_name)
    except ValueError as error:
        raise ValueError(f"{path}: variable {name}, {error}") from None


__all__ = [
    "Mapped",
    "check_times",
    "describe_mapped",
    "description_of",
    "domain_in_mapping",
    "how_to_map",
    "mapping_of",
    "read",
    "read_mapping",
]
