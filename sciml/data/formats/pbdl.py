"""HDF5 of PBDL, the physics-based deep learning data of TUM: `sims/sim<i>` (time, channel, *space), one per sample.

Attributes of `sims`: `Fields Scheme`, a letter per channel where a repeated letter is a vector (`VVdp`), `Fields` with their
names, `Constants`, whose values are attributes of each simulation, `Dt`, and maybe `Domain Extent` and `Boundary Conditions`.
Simulations may differ in length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import array_of, constant, stored
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, Given, Source, VariableInfo, space_names
from sciml.numerics.domain import Axis, Condition, Domain

_HOME = "sims"


def recognises(file: StoredFile) -> bool:
    """Whether it is HDF5 with a group `sims` that has a scheme of fields, or simulations by number.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if not file.is_hdf5 or _HOME not in file.hdf5.groups:
        return False
    return "Fields Scheme" in file.attributes(_HOME) or bool(_numbers(file))


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: attributes are missing or contradict the arrays, or simulations differ in channels or grid.
        OSError: HDF5 cannot read it.
    """
    arrays = [array_of(file, f"{_HOME}/sim{number}") for number in _numbers(file)]
    if not arrays:
        versions = [path for path in file.hdf5.groups if re.fullmatch(r"sims/sim\d+", path)]
        what = f"{versions[0]} is a group (an array per frame)" if versions else f"no array {_HOME}/sim0"
        raise ValueError(f"{file.path}: {what}, need simulations {_HOME}/sim0, ... of shape (time, channel, *space)")
    _check_alike(file, arrays)
    notes: list[str] = []
    axes = ("time", "channel", *space_names(len(arrays[0].shape) - 2))
    longest = max(arrays, key=lambda array: array.shape[0])
    whole = stored(file, "sims", [longest], axes, "state")
    names = tuple(array.name for array in arrays)
    variables: dict[str, VariableInfo] = {}
    sources: dict[str, tuple[Source | Given, ...]] = {}
    for name, parts in _fields(file, arrays[0].shape[1]).items():
        channels = sum(part.stop - part.start for part in parts)
        variables[name] = replace(whole.info, name=name, long_name=name, shape=(channels, *whole.info.shape[1:]))
        sources[name] = tuple(Source(names, axes, part) for part in parts)
    for name, (info, given) in _constants(file, arrays).items():
        if name in variables:
            raise ValueError(f"{file.path}: {name} is a field and a constant, need different names")
        variables[name], sources[name] = info, (given,)
    steps = np.array([array.shape[0] for array in arrays], np.int64)
    return Description(
        variables,
        len(arrays),
        _domain(file, arrays[0].shape[2:], notes),
        dict(file.attributes()) | dict(file.attributes(_HOME)),
        arrays={array.name: array for array in arrays},
        sources=sources,
        steps=None if (steps == steps[0]).all() else steps,
        times=_times(file, steps, notes),
        notes=tuple(notes),
    )


def _numbers(file: StoredFile) -> list[int]:
    """Of the simulations, in order."""
    found = (re.fullmatch(r"sims/sim(0|[1-9]\d*)", name) for name in file.hdf5.arrays)
    return sorted(int(match[1]) for match in found if match)


def _check_alike(file: StoredFile, arrays: Sequence[StoredArray]) -> None:
    first = arrays[0]
    for array in arrays:
        if len(array.shape) < 3 or not all(array.shape):
            raise ValueError(f"{file.path}: {array.name} has shape {array.shape}, need (time, channel, *space)")
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            raise ValueError(
                f"{file.path}: {array.name} is {array.dtype} of shape {array.shape}, {first.name} {first.dtype} of shape "
                f"{first.shape}; need the same channels and grid, give simulations on other grids a file of their own"
            )


def _texts(value: object) -> list[str]:
    """An attribute that is a list of names, or one."""
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _fields(file: StoredFile, channels: int) -> dict[str, list[slice]]:
    """Names of the fields, and which channels they are."""
    attributes = file.attributes(_HOME)
    if "Fields Scheme" not in attributes:
        raise ValueError(f"{file.path}: {_HOME} has no attribute Fields Scheme, need a letter per channel, such as VVdp")
    scheme = str(attributes["Fields Scheme"])
    if len(scheme) != channels:
        raise ValueError(
            f"{file.path}: Fields Scheme is {scheme!r}, the simulations have {channels} channels, need a letter for each"
        )
    letters = list(dict.fromkeys(scheme))
    given = _texts(attributes.get("Fields", letters))
    if len(given) not in (channels, len(letters)):
        raise ValueError(f"{file.path}: Fields is {given}, need a name for each channel of {scheme!r} or for each letter")
    found: dict[str, list[slice]] = {}
    for place, letter in enumerate(letters):
        at = [i for i, other in enumerate(scheme) if other == letter]
        words = [given[i] for i in at] if len(given) == channels else [given[place]]
        name = words[0] if len(words) == 1 else _beginning(words) or letter
        if name in found:
            raise ValueError(f"{file.path}: two fields are called {name!r} by Fields {given} and Fields Scheme {scheme!r}")
        breaks = [0, *(i for i in range(1, len(at)) if at[i] != at[i - 1] + 1), len(at)]
        found[name] = [slice(at[a], at[b - 1] + 1) for a, b in itertools.pairwise(breaks)]
    return found


def _beginning(words: Sequence[str]) -> str:
    """What all of them begin with: `Velocity` of `Velocity X` and `Velocity Y`."""
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    return "".join(letters[0] for letters in same).rstrip(" _-")


def _constants(file: StoredFile, arrays: Sequence[StoredArray]) -> dict[str, tuple[VariableInfo, Given]]:
    found = {}
    names = file.attributes(_HOME).get("Constants", [])
    for name in _texts(names):
        rows = []
        for array in arrays:
            value = file.attributes(array.name).get(name)
            numbers = value if isinstance(value, list) else [value]
            if not numbers or not all(isinstance(one, bool | int | float) for one in numbers):
                raise ValueError(f"{file.path}: {array.name} has {name} = {value!r}, which Constants names; need a number")
            rows.append(numbers)
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"{file.path}: constant {name} has {min(map(len, rows))} to {max(map(len, rows))} numbers per simulation"
            )
        found[name] = constant(file, name, np.array(rows, np.float64))  # whatever each file took for its own
    return found


def _times(file: StoredFile, steps: npt.NDArray[np.int64], notes: list[str]) -> npt.NDArray[np.float64] | None:
    step = file.attributes(_HOME).get("Dt")
    step = step[0] if isinstance(step, list) and len(step) == 1 else step
    if not isinstance(step, int | float) or not 0 < step < float("inf"):
        notes.append(f"the file does not say its times (Dt is {step!r})")
        return None
    notes.append("times are counted from 0 in steps of Dt")
    times = float(step) * np.arange(int(steps.max()), dtype=np.float64)
    if (steps == steps[0]).all():
        return times
    return np.where(np.arange(len(times)) < steps[:, None], times, np.nan)


def _domain(file: StoredFile, grid: tuple[int, ...], notes: list[str]) -> Domain | None:
    """From the extent, where the file has one; its points are taken as centres of cells."""
    attributes = file.attributes(_HOME)
    extent = attributes.get("Domain Extent")
    given = list(extent) if isinstance(extent, list) else [extent] * len(grid)
    lengths = [float(n) for n in given if isinstance(n, int | float) and 0 < n < float("inf")]
    if not len(given) == len(lengths) == len(grid) or min(grid) < 2:
        notes.append(f"the file does not say on which grid its fields lie (Domain Extent is {extent!r}); give `domain`")
        return None
    notes.append("the file does not say where in its cells the points lie; they are taken as the centres")
    sides = _sides(attributes, len(grid))
    return Domain(tuple(Axis(length, n, (side, side), "cells") for length, n, side in zip(lengths, grid, sides, strict=True)))


def _sides(attributes: Mapping[str, object], dim: int) -> list[Condition]:
    """Periodic where the file says so of both sides of an axis, else open."""
    said = [one.strip().lower() for one in _texts(attributes.get("Boundary Conditions", []))]
    order = [one.strip().lower() for one in _texts(attributes.get("Boundary Conditions Order", []))]
    if said and all(one == "periodic" for one in said):
        return ["periodic"] * dim
    sides: list[Condition] = []
    for name in space_names(dim):
        here = [one for one, place in zip(said, order, strict=False) if place.split(" ")[0] == name]
        sides.append("periodic" if here and all(one == "periodic" for one in here) else "open")
    return sides


__all__ = ["describe", "read", "recognises", "splits"]
