"""What a file says of its samples: the variables, their roles and units, the grid, the instants, and where the values lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from sciml.data.storage.arrays import StoredArray
from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES, Role


@dataclass(frozen=True)
class VariableInfo:
    """One variable of a set.

    Args:
        role: `input`, `coefficient` and `parameter` are given, `target` is asked for, `state` is both in turn.
        units: of its values; `1` where there are none.
        long_name: in words.
        shape: of one sample at one instant: (channel, *space) of a field, (channel,) of numbers without a grid,
            (particle, component) of particles.
        dtype: as stored, in the byte order of this machine.
        steps: instants per sample, the most where samples differ; None where the variable does not change in time.
        particles: whether `shape` is (particle, component).
    Raises:
        ValueError: an unknown role, a shape without a channel axis, fewer than 1 instant.
    """

    name: str
    role: Role
    units: str
    long_name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    steps: int | None = None
    particles: bool = False

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"variable {self.name}: got role {self.role!r}, need one of {', '.join(ROLES)}")
        if not self.shape or min(self.shape) < 1:
            raise ValueError(
                f"variable {self.name}: got shape {self.shape} per sample, need a channel axis first and no empty axis"
            )
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"variable {self.name}: got {self.steps} instants per sample, need at least 1")
        if self.particles and len(self.shape) != 2:
            raise ValueError(f"variable {self.name}: got shape {self.shape} of particles, need (particle, component)")

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Points per side of a field; None for what has no grid."""
        return None if self.particles or len(self.shape) < 2 else self.shape[1:]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of one sample with all its instants: (time, *shape), or `shape` where it does not change in time."""
        return self.shape if self.steps is None else (self.steps, *self.shape)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of one sample, those of `sample_shape`."""
        time = () if self.steps is None else ("time",)
        if self.particles:
            return (*time, "particle", f"{self.name}_component")
        return (*time, f"{self.name}_channel", *space_names(len(self.shape) - 1))

    @property
    def bytes(self) -> int:
        """Of one sample."""
        return torch.Size(self.sample_shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class Source:
    """Where some channels of a variable lie: arrays in one file, and what each of their axes means.

    Args:
        arrays: names of stored arrays: one that all samples share, or one per sample.
        axes: of an array, in stored order: `sample`, `time`, `particle`, `channel`, and `x`, `y`, `z`, `x3`, ... for space.
            What is missing is the same along that axis and is repeated, but for `channel`: a missing one is one channel.
            `channel` twice are the rows and columns of a tensor, put one after the other. `-` is an axis of length 1 to drop.
        channels: which part of the stored channel axis is meant; all if not given.
    Raises:
        ValueError: an axis named twice or unknown; a `sample` axis in arrays of which there is one per sample.
    """

    arrays: tuple[str, ...]
    axes: tuple[str, ...]
    channels: slice | None = None

    def __post_init__(self) -> None:
        check_axes(self.axes)
        if not self.arrays or (len(self.arrays) > 1 and "sample" in self.axes):
            raise ValueError(
                f"arrays: got {len(self.arrays)} with axes {self.axes}, need one, or one per sample without `sample`"
            )


@dataclass(frozen=True)
class Given:
    """Channels whose values the file gives outside of its arrays, as in attributes.

    Args:
        values: (sample, channel), or (1, channel) where all samples share them.
    """

    values: npt.NDArray[np.generic]


@dataclass(frozen=True)
class Description:
    """What one file holds.

    Args:
        variables: by name, in the order of a batch.
        samples: how many.
        domain: the grid of the stored fields; None where the format does not say.
        attributes: everything else the file says of itself.
        identity: changes when the content does; None where the format has no checksums.
        arrays: the stored arrays that `sources` names, by their names.
        sources: per variable, parts that are put together along the channels.
        steps: instants of every sample where samples differ in length, (sample,); None where they are all alike.
        times: of the instants: (time,) for all samples, or (sample, time), padded with NaN; None where the file does not say.
        first: place of the first sample along the `sample` axes of the arrays.
        notes: what is odd about the file, and what was made of it; one sentence each.
    """

    variables: Mapping[str, VariableInfo]
    samples: int
    domain: Domain | None
    attributes: Mapping[str, object]
    identity: str | None = None
    arrays: Mapping[str, StoredArray] = field(default_factory=dict)
    sources: Mapping[str, tuple[Source | Given, ...]] = field(default_factory=dict)
    steps: npt.NDArray[np.int64] | None = None
    times: npt.NDArray[np.float64] | None = None
    first: int = 0
    notes: tuple[str, ...] = ()


def numpy_type(dtype: torch.dtype) -> np.dtype[np.generic]:
    """The same type in NumPy, in the byte order of this machine.

    Raises:
        TypeError: NumPy has none.
    """
    return np.dtype(str(dtype).removeprefix("torch."))


def check_axes(axes: tuple[str, ...]) -> None:
    """That the axes of an array have names that are known, each once but for `channel` and `-`; see `Source`.

    Raises:
        ValueError: they have not.
    """
    known = ("sample", "time", "particle", "channel", "-", *space_names(8))
    for axis in axes:
        if axis not in known:
            raise ValueError(f"axes: got {axis!r}, need some of {', '.join(known)}")
        if axis != "-" and axes.count(axis) > (2 if axis == "channel" else 1):
            raise ValueError(f"axes: got {axis!r} {axes.count(axis)} times in {axes}, need it once")


def space_names(dim: int) -> tuple[str, ...]:
    """Names of the space axes in files: x, y, z, then x3, x4, ..."""
    return tuple("xyz"[i] if i < 3 else f"x{i}" for i in range(dim))


def coordinate_names(variables: Collection[str], dim: int) -> tuple[str, ...]:
    """Names of the coordinates of the space axes in files: those of the axes, or x_coordinate where a variable is called x."""
    return tuple(f"{name}_coordinate" if name in variables else name for name in space_names(dim))


__all__ = [
    "Description",
    "Given",
    "Source",
    "VariableInfo",
    "check_axes",
    "coordinate_names",
    "numpy_type",
    "space_names",
]
