"""Our own layout, and any HDF5 that says as much: every variable says its `role`.

Fields are (sample, [time,] channel, *space), numbers in time (sample, time, channel), parameters (sample, channel), particles
(sample, [time,] particle, component). The attribute `time_varying` = 1 says that there is an axis of time, `layout` what the
axes are: `field` (also if it is not there), `series` or `particles`. Times are `time` (time,), or where samples differ `times`
(sample, time) padded with NaN; `steps` (sample,) says how many instants each has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, array_of, sizes, stored
from sciml.data.storage.arrays import StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, VariableInfo, coordinate_names, space_names
from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES, Role

# What xarray and netCDF call a dimension that has no values.
_NO_VALUES = "This is a netCDF dimension but not a netCDF variable"
_LAYOUTS = ("field", "series", "particles")


def recognises(file: StoredFile) -> bool:
    """Whether it says that it is complete, or what role an array at its root has, and the axes can be only ours.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if not file.is_hdf5:
        return False
    root = _at_root(file)
    named = [name for name in root if "role" in file.attributes(name)]
    if "complete" in file.attributes() or not named:
        return "complete" in file.attributes()
    netcdf = "_NCProperties" in file.attributes() or any("_Netcdf4Dimid" in file.attributes(name) for name in root)
    return not netcdf or all(_has_our_axes(file, name) for name in named)


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: a variable without a role, variables that disagree on samples, instants or grid, times that do not fit, or a
            file that says it is incomplete.
        OSError: HDF5 cannot read it, as when it is truncated.
    """
    attributes = file.attributes()
    if _one(attributes.get("complete", 1)) != 1:
        raise ValueError(f"{file.path}: attribute complete is {attributes['complete']!r}, the file was not finished")
    names = [name for name in _at_root(file) if _is_variable(file, name)]
    if not names:
        raise ValueError(f"{file.path}: holds no variable, need data sets (sample, channel, *space) with a role")
    found = {name: _variable(file, name) for name in names}
    domain = _domain(file)
    for variable in found.values():
        info = variable.info
        if domain is not None and info.grid is not None and info.grid != domain.shape:
            raise ValueError(
                f"{file.path}: variable {info.name} has shape {info.shape} per sample, the domain of the file {domain.shape}"
            )
    lengths = sizes(file, found)
    order = _order(file, {name: variable.info for name, variable in found.items()})
    steps = _steps(file, lengths)
    return Description(
        {name: found[name].info for name in order},
        lengths["sample"],
        domain,
        attributes,
        arrays={name: found[name].array for name in order},
        sources={name: (found[name].source,) for name in order},
        steps=steps,
        times=_times(file, lengths, steps),
    )


def _at_root(file: StoredFile) -> list[str]:
    """Names of the arrays outside of groups, of whatever type."""
    tree = file.hdf5
    unreadable = [name for name in tree.unreadable if name in tree.attributes]  # links have none
    return sorted(name for name in (*tree.arrays, *unreadable) if "/" not in name)


def _has_our_axes(file: StoredFile, name: str) -> bool:
    """Whether a variable of a netCDF file has its own axis of channels, says if it changes in time, and is not packed."""
    said = file.attributes(name)
    own = any(_is_scale(file, f"{name}_{kind}") for kind in ("channel", "component"))
    timed = _is_scale(file, "time") and "time_varying" not in said
    fill = np.asarray(said.get("_FillValue", np.nan))
    packed = {"scale_factor", "add_offset"} & said.keys() or fill.dtype.kind != "f" or not np.isnan(fill).all()
    return own and not timed and not packed


def _is_scale(file: StoredFile, name: str) -> bool:
    return file.attributes(name).get("CLASS") == "DIMENSION_SCALE"


def _is_variable(file: StoredFile, name: str) -> bool:
    """Whether it is no coordinate and no part of the time grid."""
    attributes = file.attributes(name)
    helps = name in ("time", "times") or attributes.get("about") == "steps"
    return not _is_scale(file, name) and ("role" in attributes or not helps)


def _variable(file: StoredFile, name: str) -> Stored:
    attributes = file.attributes(name)
    role = attributes.get("role")
    if role not in ROLES:
        raise ValueError(
            f"{file.path}: variable {name} has role {role!r}, need an attribute role with one of {', '.join(ROLES)}"
        )
    array = array_of(file, name)
    if attributes.get("dtype") == "bool" and array.dtype.itemsize == 1:  # how netCDF keeps truth values
        array = replace(array, dtype=np.dtype(np.bool_))
    units, long_name = (str(attributes.get(key, default)) for key, default in (("units", "1"), ("long_name", name)))
    axes = _axes(file, array)
    return stored(file, name, [array], axes, cast(Role, role), units=units, long_name=long_name)


def _one(value: object) -> object:
    """A number or text, which netCDF may keep as a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _axes(file: StoredFile, array: StoredArray) -> tuple[str, ...]:
    """What the axes of a variable are, by its attributes and by how many there are."""
    attributes = file.attributes(array.name)
    layout = _one(attributes.get("layout", "field"))
    if layout not in _LAYOUTS:
        raise ValueError(
            f"{file.path}: variable {array.name} has layout {layout!r}, need one of {', '.join(_LAYOUTS)}, or none"
        )
    timed = layout == "series" or _one(attributes.get("time_varying", 0)) == 1
    lead = ("sample", "time") if timed else ("sample",)
    space = len(array.shape) - len(lead) - 1
    words = {"field": "channel, *space", "series": "channel", "particles": "particle, component"}[str(layout)]
    if space < 0 or (layout == "series" and space) or (layout == "particles" and space != 1) or space > 8:
        raise ValueError(
            f"{file.path}: variable {array.name} has shape {array.shape}, need ({', '.join(lead)}, {words})"
            + ("" if "layout" not in attributes and not timed else f" of layout {layout!r}, time_varying = {int(timed)}")
        )
    return (*lead, "particle", "channel") if layout == "particles" else (*lead, "channel", *space_names(space))


def _steps(file: StoredFile, lengths: Mapping[str, int]) -> npt.NDArray[np.int64] | None:
    """Instants of every sample, where they differ."""
    names = [name for name in _at_root(file) if file.attributes(name).get("about") == "steps"]
    if not names:
        return None
    most, samples = lengths.get("time"), lengths["sample"]
    steps = file.read(array_of(file, names[0]).name)
    if steps.shape != (samples,) or steps.dtype.kind not in "iu":
        raise ValueError(
            f"{file.path}: {names[0]} is {steps.dtype} of shape {steps.shape}, need an integer for each of {samples} samples"
        )
    steps = steps.astype(np.int64)
    bad = np.flatnonzero((steps < 1) | (steps > (most or 0)))
    if len(bad):
        raise ValueError(
            f"{file.path}: {names[0]} is {steps[bad[0]]} for sample {bad[0]}, need 1 to {most or 0}, the instants there are"
        )
    return None if (steps == most).all() else steps


def _times(file: StoredFile, lengths: Mapping[str, int], steps: npt.NDArray[np.int64] | None) -> npt.NDArray[np.float64] | None:
    """Of the instants, shared or per sample, where the file says them."""
    most, samples = lengths.get("time"), lengths["sample"]
    for name, shape in (("times", (samples, most)), ("time", (most,))):
        attributes = file.attributes(name)
        absent = name not in file.hdf5.arrays or str(attributes.get("NAME", "")).startswith(_NO_VALUES)
        if most is None or absent or "role" in attributes:
            continue
        values = file.read(name)
        if values.shape != shape or values.dtype.kind not in "fiu":
            raise ValueError(f"{file.path}: {name} is {values.dtype} of shape {values.shape}, need numbers of shape {shape}")
        times = values.astype(np.float64)
        there = np.isfinite(times)
        needed = np.arange(most) < (np.full(samples, most) if steps is None else steps)[:, None]
        missing = np.argwhere(needed & ~there) if times.ndim == 2 else np.argwhere(~there & needed.any(0))
        if len(missing):
            raise ValueError(f"{file.path}: {name} is not finite at {tuple(missing[0].tolist())}, need a time for each instant")
        return times
    return None


def _order(file: StoredFile, variables: Mapping[str, VariableInfo]) -> list[str]:
    """Names in the order of a batch: as written, or by role and name."""
    attributes = file.attributes()
    by_role = sorted(variables, key=lambda name: (ROLES.index(variables[name].role), name))
    if "variables" not in attributes:
        return by_role
    try:
        written = json.loads(str(attributes["variables"]))
    except (ValueError, RecursionError):
        written = attributes["variables"]
    if not isinstance(written, list) or sorted(map(str, written)) != sorted(variables):
        raise ValueError(f"{file.path}: attribute variables is {written!r}, need a JSON list of what the file holds, {by_role}")
    return [str(name) for name in written]


def _domain(file: StoredFile) -> Domain | None:
    text = file.attributes().get("domain")
    if text is None:
        return None
    try:
        domain = Domain.from_dict(json.loads(str(text)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file.path}: attribute domain: {error}") from error
    # A program that knows coordinates and not our attribute may have moved them.
    for name, points in zip(coordinate_names(file.hdf5.arrays, domain.dim), domain.coordinates(), strict=True):
        for place in {name, name.removesuffix("_coordinate")} & file.hdf5.arrays.keys():
            array = file.hdf5.arrays[place]
            if file.attributes(place).get("CLASS") != "DIMENSION_SCALE" or array.dtype.kind != "f" or len(array.shape) != 1:
                continue
            if array.shape != tuple(points.shape) or not np.allclose(file.read(place), points.numpy(), rtol=1e-9, atol=1e-9):
                raise ValueError(
                    f"{file.path}: coordinates {place} contradict its attribute domain; write one or the other again"
                )
    return domain


__all__ = ["describe", "read", "recognises", "splits"]
