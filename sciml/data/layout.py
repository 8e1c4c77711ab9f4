"""How a file of ours is laid out: coordinates, attributes, and a place for every variable.

Everything but the values of the variables is written here, by HDF5; uncompressed and in one piece each, so that the values can
be written, and read, by position.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from sciml.data.variables import VariableInfo, coordinate_names, numpy_type, space_names
from sciml.numerics.domain import Domain

PAGE = 4096
"""Larger fields begin on a page, for readers that map the file."""
# How netCDF marks a dimension that has a length and no values.
_NO_VALUES = "This is a netCDF dimension but not a netCDF variable.{:10d}"


@dataclass(frozen=True)
class TimeGrid:
    """The instants of the samples of one file.

    Args:
        times: (time,) where all samples share them, (sample, time) where not, padded with NaN behind the last instant of each;
            None where they are not known.
        steps: how many instants each sample has, (sample,), where samples differ in length.
    """

    times: npt.NDArray[np.float64] | None = None
    steps: npt.NDArray[np.int64] | None = None

    def check(self, samples: int, most: int) -> None:
        """That it is one of so many samples with at most so many instants.

        Raises:
            ValueError: it is not.
        """
        steps = np.full(samples, most, np.int64) if self.steps is None else self.steps
        if steps.shape != (samples,) or (samples and not 1 <= steps.min() <= steps.max() <= most):
            raise ValueError(
                f"steps: got {steps.tolist()[:4]} ..., shape {steps.shape}, need 1 to {most} for {samples} samples"
            )
        if self.times is None:
            return
        counted = np.arange(most) < steps[:, None]
        if self.times.shape not in ((most,), counted.shape):
            raise ValueError(f"times: got shape {self.times.shape}, need ({most},) or {counted.shape}")
        if self.times.ndim == 1 and not np.isfinite(self.times).all():
            raise ValueError(f"times: got {self.times[~np.isfinite(self.times)][0]}, need only finite ones that samples share")
        wrong = np.where(counted, ~np.isfinite(self.times), ~np.isnan(self.times)) if self.times.ndim == 2 else np.zeros((0, 0))
        if wrong.any():
            row, instant = np.argwhere(wrong)[0].tolist()
            raise ValueError(
                f"times: got {self.times[row, instant]} at instant {instant} of sample {row}, which has {steps[row]} instants; "
                "need finite ones, and NaN behind the last"
            )


@dataclass(frozen=True)
class Layout:
    """What one file holds, but for the values.

    Args:
        variables: by name, in the order of a batch.
        samples: the numbers of the samples within the whole set.
        domain: the grid of the fields; None where there are none.
        attributes: what else the file says: text or integers.
        time: the instants; None where no variable changes in time.
    Raises:
        ValueError: as `ShardWriter`.
    """

    variables: Mapping[str, VariableInfo]
    samples: range
    domain: Domain | None
    attributes: Mapping[str, str | int]
    time: TimeGrid | None

    def __post_init__(self) -> None:
        for info in self.variables.values():
            _check_fits(info, self.domain)
        if self.time is not None and self.steps is None:
            raise ValueError("time: got a grid in time, no variable changes in time")
        if self.time is not None and self.steps is not None:
            self.time.check(len(self.samples), self.steps)
        _check_names(self)
        if own := sorted({"domain", "variables", "complete"} & self.attributes.keys()):
            raise ValueError(f"attributes: got {own[0]!r}, which the writer sets; leave it out")

    @property
    def steps(self) -> int | None:
        """How many instants there are; None where no variable changes in time."""
        return _shared("instants", {v.name: v.steps for v in self.variables.values() if v.steps is not None})

    @property
    def particles(self) -> int | None:
        """How many particles there are; None where no variable is of particles."""
        return _shared("particles", {v.name: v.shape[0] for v in self.variables.values() if v.particles})

    def write(self, path: Path) -> dict[str, int]:
        """Write a file with everything but the values; at which byte those of each variable begin.

        Raises:
            OSError: no space, or the folder cannot be written.
        """
        try:
            with h5py.File(path, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as file:
                _coordinates(file, self.samples, self.domain, self.variables)
                if self.steps is not None:
                    _time_axes(file, self.time or TimeGrid(), self.steps)
                if self.particles is not None:
                    _numbered(file, "particle", self.particles, "number of the particle")
                for key, value in self.attributes.items():
                    file.attrs[key] = np.int64(value) if isinstance(value, int) else value
                if self.domain is not None:
                    file.attrs["domain"] = json.dumps(self.domain.to_dict())
                file.attrs["variables"] = json.dumps(list(self.variables))  # HDF5 lists them by name
                file.attrs["complete"] = np.int64(1)
                return {
                    info.name: _field(file, info, len(self.samples), stored_dims(info, self.variables))
                    for info in self.variables.values()
                }
        except RuntimeError as error:  # how h5py reports a file that it could not close
            raise OSError(errno.EIO, str(error)) from error


def stored_dims(info: VariableInfo, variables: Collection[str]) -> tuple[str, ...]:
    """Names of the axes of a variable in a file that holds these variables, the first of them that of the samples."""
    places = dict(zip(space_names(8), coordinate_names(variables, 8), strict=True))
    return ("sample", *(places.get(axis, axis) for axis in info.dims))


def _channel_axis(info: VariableInfo) -> str:
    return f"{info.name}_{'component' if info.particles else 'channel'}"


def _check_fits(info: VariableInfo, domain: Domain | None) -> None:
    stored_type(info)
    if info.grid is not None and domain is None:
        raise ValueError(f"variable {info.name}: got shape {info.shape} per sample and no domain, fields need one")
    if info.grid is not None and domain is not None and info.grid != domain.shape:
        raise ValueError(f"variable {info.name}: got shape {info.shape} per sample, its grid must be {domain.shape}")


def _shared(what: str, counts: Mapping[str, int]) -> int | None:
    """The number that all variables which have one must agree on."""
    if len(set(counts.values())) > 1:
        raise ValueError(f"variables differ in {what}, {dict(counts)}; need as many of all that have any")
    return next(iter(counts.values()), None)


def _check_names(layout: Layout) -> None:
    coordinates = {"sample", *map(_channel_axis, layout.variables.values())}
    if layout.domain is not None:
        coordinates |= set(coordinate_names(layout.variables, layout.domain.dim))
    if layout.steps is not None:
        coordinates |= {"time", "times", "steps"}
    if layout.particles is not None:
        coordinates |= {"particle"}
    for name in layout.variables:
        if name in coordinates:
            raise ValueError(f"variable {name}: a coordinate of the file has this name, take another")


def little_endian(info: VariableInfo) -> np.dtype[np.generic]:
    """The type of the stored values in NumPy."""
    return numpy_type(info.dtype).newbyteorder("<")


def stored_type(info: VariableInfo) -> np.dtype[np.generic]:
    """The same, of a variable that files can hold.

    Raises:
        ValueError: NumPy has no such type, it is complex, or the name of the variable cannot be that of an array.
    """
    if "/" in info.name or not info.name.strip(". "):
        raise ValueError(f"variable {info.name!r}: arrays of a file cannot have this name")
    try:
        dtype = little_endian(info)
    except TypeError:
        dtype = np.dtype(np.complex64)
    if dtype.kind == "c":
        raise ValueError(f"variable {info.name}: got {info.dtype}, need whole or real numbers that NumPy knows")
    return dtype


def _coordinates(file: h5py.File, samples: range, domain: Domain | None, variables: Collection[str]) -> None:
    numbers = file.create_dataset("sample", data=np.arange(samples.start, samples.stop, dtype=np.int64), track_times=False)
    numbers.attrs["long_name"] = "number of the sample within the whole set"
    numbers.make_scale("sample")
    if domain is None:
        return
    places = coordinate_names(variables, domain.dim)
    for place, name, points in zip(places, space_names(domain.dim), domain.coordinates(), strict=True):
        axis = file.create_dataset(place, data=points.numpy(), track_times=False)
        axis.attrs["units"], axis.attrs["long_name"] = "1", f"coordinate along {name}"
        axis.make_scale(name)


def _time_axes(file: h5py.File, grid: TimeGrid, most: int) -> None:
    """`time` with the times that samples share, or as a length alone; then `times` and `steps` of each sample."""
    if grid.times is not None and grid.times.ndim == 1:
        axis = file.create_dataset("time", data=grid.times.astype("<f8"), track_times=False)
        axis.attrs["units"], axis.attrs["long_name"] = "1", "time"
        axis.make_scale("time")
    else:
        axis = file.create_dataset("time", (most,), ">f4", track_times=False)
        axis.make_scale(_NO_VALUES.format(most))
    if grid.times is not None and grid.times.ndim == 2:
        times = file.create_dataset("times", data=grid.times.astype("<f8"), track_times=False)
        times.attrs["units"], times.attrs["long_name"] = "1", "times of the instants of each sample, NaN behind the last"
        times.dims[0].attach_scale(file["sample"])
        times.dims[1].attach_scale(axis)
    if grid.steps is not None:
        steps = file.create_dataset("steps", data=grid.steps.astype("<i8"), track_times=False)
        steps.attrs["about"], steps.attrs["long_name"] = "steps", "how many instants each sample has"
        steps.dims[0].attach_scale(file["sample"])


def _numbered(file: h5py.File, name: str, count: int, long_name: str) -> None:
    """An axis whose coordinate is the number itself."""
    axis = file.create_dataset(name, data=np.arange(count), track_times=False)
    axis.attrs["long_name"] = long_name
    axis.make_scale(name)


def _field(file: h5py.File, info: VariableInfo, samples: int, dims: tuple[str, ...]) -> int:
    """Create a variable whose bytes are written later; where they go."""
    kind = "component" if info.particles else "channel"
    _numbered(file, _channel_axis(info), info.shape[1 if info.particles else 0], f"{kind} of {info.name}")
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    values = h5py.h5t.py_create(little_endian(info), logical=True)
    space = h5py.h5s.create_simple((samples, *info.sample_shape))
    data = h5py.Dataset(h5py.h5d.create(file.id, info.name.encode(), values, space, layout))
    data.attrs["role"], data.attrs["units"], data.attrs["long_name"] = info.role, info.units, info.long_name
    if info.steps is not None or info.particles:
        data.attrs["layout"] = "particles" if info.particles else "series" if info.grid is None else "field"
        data.attrs["time_varying"] = np.int64(info.steps is not None)
    for axis, name in enumerate(dims):
        data.dims[axis].attach_scale(file[name])
    offset = data.id.get_offset()
    if offset is None:
        raise OSError(errno.EIO, f"HDF5 gave no place to variable {info.name}")
    return offset


__all__ = ["PAGE", "Layout", "TimeGrid", "little_endian", "stored_dims"]
