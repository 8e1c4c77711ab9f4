"""What a file says of its samples: the variables, their roles and units, and the grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES, Role


@dataclass(frozen=True)
class VariableInfo:
    """One variable of a set.

    Args:
        role: `input`, `coefficient` and `parameter` are given, `target` is asked for, `state` is both in turn.
        units: of its values; `1` where there are none.
        long_name: in words.
        shape: of one sample, channels first: (channel, *space), or (channel,) for numbers without a grid.
        dtype: as stored.
    Raises:
        ValueError: an unknown role, or a shape without a channel axis.
    """

    name: str
    role: Role
    units: str
    long_name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"variable {self.name}: got role {self.role!r}, need one of {', '.join(ROLES)}")
        if not self.shape or min(self.shape) < 1:
            raise ValueError(
                f"variable {self.name}: got shape {self.shape} per sample, need a channel axis first and no empty axis"
            )

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of one sample."""
        return (f"{self.name}_channel", *space_names(len(self.shape) - 1))

    @property
    def bytes(self) -> int:
        """Of one sample."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True)
class Description:
    """What one file holds.

    Args:
        variables: by name, in the order of a batch.
        samples: how many.
        domain: the grid of the stored fields; None where the format does not say.
        attributes: everything else the file says of itself.
        identity: changes when the content does; None where the format has no checksums.
    """

    variables: Mapping[str, VariableInfo]
    samples: int
    domain: Domain | None
    attributes: Mapping[str, object]
    identity: str | None = None


def space_names(dim: int) -> tuple[str, ...]:
    """Names of the space axes in files: x, y, z, then x3, x4, ..."""
    return tuple("xyz"[i] if i < 3 else f"x{i}" for i in range(dim))


def coordinate_names(variables: Collection[str], dim: int) -> tuple[str, ...]:
    """Names of the coordinates of the space axes in files: those of the axes, or x_coordinate where a variable is called x."""
    return tuple(f"{name}_coordinate" if name in variables else name for name in space_names(dim))


__all__ = ["Description", "VariableInfo", "coordinate_names", "space_names"]
