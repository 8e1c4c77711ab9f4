"""From stored arrays and the meaning of their axes to variables: what all formats share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sciml.data.formats.grids import domain_of_coordinates
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.variables import Description, Given, Source, VariableInfo, space_names
from sciml.numerics.domain import Condition, Domain
from sciml.numerics.roles import Role


@dataclass(frozen=True)
class Stored:
    """A variable and where it lies.

    Args:
        info: what a batch knows of it.
        source: the arrays, and what their axes mean.
        array: one of them; they are alike.
    """

    info: VariableInfo
    source: Source
    array: StoredArray


def array_of(file: StoredFile, name: str) -> StoredArray:
    """An array of an HDF5 file.

    Raises:
        ValueError: there is none of this name, or its values are no numbers.
    """
    tree = file.hdf5
    if name in tree.unreadable:
        raise ValueError(f"{file.path}: array {name} has values of type {tree.unreadable[name]}, need numbers")
    if name not in tree.arrays:
        raise ValueError(f"{file.path}: has no array {name!r}, there are {listed(tree.arrays)}")
    return tree.arrays[name]


def stored(
    file: StoredFile,
    name: str,
    arrays: Sequence[StoredArray],
    axes: tuple[str, ...],
    role: Role,
    *,
    grid: tuple[int, ...] = (),
    units: str = "1",
    long_name: str = "",
) -> Stored:
    """A variable from arrays of one shape, one that samples share or one per sample.

    Args:
        axes: of the arrays, in stored order, as in `Source`.
        grid: points along the axes of space; needed where an array is the same along one of them and has no axis for it.
    Raises:
        ValueError: the shape does not fit the axes or the grid, or values are no numbers.
    """
    first = arrays[0]
    where = f"{file.path}: variable {name}"
    if len(first.shape) != len(axes):
        raise ValueError(f"{where} has shape {first.shape} (array {first.name}), need {described(axes)}")
    for axis, size in zip(axes, first.shape, strict=True):
        if axis == "-" and size != 1:
            raise ValueError(f"{where} has shape {first.shape} (array {first.name}), need 1 along the axis to drop")
    for array in arrays[1:]:
        if array.shape != first.shape or array.dtype != first.dtype:
            raise ValueError(
                f"{where}: array {array.name} is {array.dtype} of shape {array.shape}, {first.name} {first.dtype} of shape "
                f"{first.shape}; need all alike"
            )
    length = dict(zip(axes, first.shape, strict=True))
    space = tuple(length.get(axis, n) for axis, n in zip(space_names(len(grid)), grid, strict=True)) or tuple(
        length[axis] for axis in space_names(8) if axis in length
    )
    if grid and space != grid:
        raise ValueError(f"{where} has shape {first.shape}, that is a grid of {space}; the grid of the file is {grid}")
    channels = int(np.prod([n for axis, n in zip(axes, first.shape, strict=True) if axis == "channel"], dtype=np.int64))
    particles = "particle" in axes
    shape = (length["particle"], channels) if particles else (channels, *space)
    try:
        source = Source(tuple(array.name for array in arrays), axes)
        dtype = torch_type(where, first.dtype)
        info = VariableInfo(name, role, units, long_name or name, shape, dtype, length.get("time"), particles)
    except ValueError as error:
        raise error if str(error).startswith(str(file.path)) else ValueError(f"{file.path}: {error}") from None
    return Stored(info, source, first)


def constant(file: StoredFile, name: str, values: npt.ArrayLike, *, long_name: str = "") -> tuple[VariableInfo, Given]:
    """A parameter, from values that are there: (sample, channel), or (1, channel) where samples share them.

    Raises:
        ValueError: they are no numbers.
    """
    array = np.asarray(values)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    dtype = torch_type(f"{file.path}: parameter {name}", array.dtype)
    return VariableInfo(name, "parameter", "1", long_name or name, (array.shape[1],), dtype), Given(array)


def domain_of(
    file: StoredFile, coordinates: Sequence[npt.NDArray[np.generic]], conditions: Sequence[Condition], notes: list[str]
) -> Domain:
    """As `domain_of_coordinates`, with the file named in errors.

    Raises:
        ValueError: an axis with fewer than 2 points.
    """
    try:
        return domain_of_coordinates(coordinates, conditions, notes)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None


def sizes(file: StoredFile, variables: Mapping[str, Stored]) -> dict[str, int]:
    """Lengths of the axes `sample`, `time`, `x`, ...; a length per sample array counts as samples.

    Raises:
        ValueError: two variables differ.
    """
    found: dict[str, dict[str, int]] = {}
    for name, variable in variables.items():
        for axis, size in zip(variable.source.axes, variable.array.shape, strict=True):
            if axis not in ("channel", "particle", "-"):
                found.setdefault(axis, {})[name] = size
        if len(variable.source.arrays) > 1:
            found.setdefault("sample", {})[name] = len(variable.source.arrays)
    words = {"sample": "samples", "time": "instants"}
    for axis, by_name in found.items():
        if len(set(by_name.values())) > 1:
            raise ValueError(f"{file.path}: variables differ in {words.get(axis, f'points along {axis}')}, {by_name}")
    return {axis: next(iter(by_name.values())) for axis, by_name in found.items()}


def pair_described(
    found: Mapping[str, Stored],
    numbers: Mapping[str, tuple[VariableInfo, Given]],
    samples: int,
    *,
    identity: str | None,
    notes: Sequence[str],
) -> Description:
    """What a file holds that is a pair of arrays with numbers beside them, and says nothing else."""
    return Description(
        {name: variable.info for name, variable in found.items()} | {name: info for name, (info, _) in numbers.items()},
        samples,
        None,
        {},
        identity,
        arrays={name: variable.array for name, variable in found.items()},
        sources={name: (variable.source,) for name, variable in found.items()}
        | {name: (given,) for name, (_, given) in numbers.items()},
        notes=tuple(notes),
    )


def torch_type(where: str, dtype: np.dtype[np.generic]) -> torch.dtype:
    """As torch has it, in the byte order of this machine.

    Raises:
        ValueError: torch has no such numbers.
    """
    try:
        return torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype
    except TypeError:
        raise ValueError(f"{where} has values of type {dtype}, need numbers") from None


def listed(arrays: Mapping[str, StoredArray], most: int = 12) -> str:
    """Names and shapes, for an error."""
    words = [f"{name} {array.shape}" for name, array in arrays.items()]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "") if words else "none"


def described(axes: Sequence[str]) -> str:
    """Axes in words, for an error."""
    return f"({', '.join(axes)}{',' * (len(axes) == 1)})"


__all__ = ["Stored", "array_of", "constant", "described", "domain_of", "listed", "sizes", "stored", "torch_type"]
