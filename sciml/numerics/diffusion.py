"""-div(a grad u) on the nodes of a rectangle: symmetric five-point finite volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.numerics.domain import Axis, Domain

CoefficientAt = Literal["nodes", "cells"]
FaceMean = Literal["arithmetic", "harmonic"]


@dataclass(frozen=True)
class DiffusionOperator:
    """A u = -div(a grad u), one coefficient per sample. Made by `diffusion_operator`.

    Every node owns the part of the box that is nearest to it, half of a cell on a wall and a quarter in a corner; A u is the
    flux out of that volume over its size. So A is symmetric in the inner product of the Domain, and a `neumann` wall needs no
    special row. Nodes on `dirichlet` walls are not unknowns: A u is zero there, and what `u` holds there is its boundary value.

    `down` and `right` hold the conductance of the link from each node to the next one along the first and the second axis.
    """

    domain: Domain
    volumes: Float[Tensor, "rows columns"]
    free: Bool[Tensor, "rows columns"]
    down: Float[Tensor, "batch rows-1 columns"]
    right: Float[Tensor, "batch rows columns-1"]

    @property
    def singular(self) -> bool:
        """Whether constants are solutions of A u = 0: no wall is `dirichlet`."""
        return all(side == "neumann" for axis in self.domain.axes for side in axis.sides)

    def apply(self, u: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
        """A u at the free nodes, zero on `dirichlet` walls.

        Raises:
            ValueError: shape, dtype or device of `u` is not that of the operator's fields.
        """
        self.check(u, "u")
        down, right = self.down * u.diff(dim=1), self.right * u.diff(dim=2)
        outflow = torch.zeros_like(u)
        outflow[:, :-1] -= down
        outflow[:, 1:] += down
        outflow[:, :, :-1] -= right
        outflow[:, :, 1:] += right
        return torch.where(self.free, outflow / self.volumes, 0.0)

    def diagonal(self) -> Float[Tensor, "batch rows columns"]:
        """What A multiplies the value at each node with, in its own row."""
        total = self.volumes.new_zeros(len(self.down), *self.volumes.shape)
        total[:, :-1] += self.down
        total[:, 1:] += self.down
        total[:, :, :-1] += self.right
        total[:, :, 1:] += self.right
        return total / self.volumes

    def norm(self, field: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch"]:
        """L2 norm over the free nodes, by the quadrature of the Domain."""
        return (torch.where(self.free, field, 0.0).square() * self.volumes).sum((1, 2)).sqrt()

    def relative_residual(
        self, u: Float[Tensor, "batch rows columns"], source: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch"]:
        """Norm of f - A u over the norm of f, over the free nodes; 0 for f = 0 = A u.

        Raises:
            ValueError: shape, dtype or device of `u` or `source` is not that of the operator's fields.
        """
        self.check(source, "source")
        residual = self.norm(source - self.apply(u))
        return torch.where(residual == 0, 0.0, residual / self.norm(source))

    def check(self, field: Tensor, name: str) -> None:
        """Raise a ValueError that names the variable when `field` is not one of the operator's fields."""
        shape = (len(self.down), *self.domain.shape)
        if tuple(field.shape) != shape:
            raise ValueError(f"{name}: got shape {tuple(field.shape)}, need (batch, rows, columns) = {shape}")
        if field.dtype != torch.float64 or field.device != self.down.device:
            raise ValueError(f"{name}: got {field.dtype} on {field.device}, need torch.float64 on {self.down.device}")


def diffusion_operator(
    coefficient: Float[Tensor, "batch coefficient_rows coefficient_columns"],
    domain: Domain,
    *,
    coefficient_at: CoefficientAt = "nodes",
    face_mean: FaceMean = "arithmetic",
) -> DiffusionOperator:
    """The operator -div(a grad u) on the nodes of `domain`.

    Args:
        coefficient: a > 0, float64; at the nodes, or in the cells between them (one row and one column fewer).
        domain: two axes that hold both ends, each side `dirichlet` or `neumann`, at least one node not on a `dirichlet` wall.
        coefficient_at: with `nodes` the coefficient of a link is the mean of the two nodes it joins, with `cells` that of the
            two cells it runs between, or the one cell beside a link on a wall.
        face_mean: which mean. `arithmetic` is what the published Darcy sets were made with.
    Raises:
        ValueError: naming `domain`, `coefficient`, `coefficient_at` or `face_mean` when one is not as above.
    """
    _check_domain(domain)
    for name, given, known in (
        ("coefficient_at", coefficient_at, get_args(CoefficientAt)),
        ("face_mean", face_mean, get_args(FaceMean)),
    ):
        if given not in known:
            raise ValueError(f"{name}: got {given!r}, need one of {', '.join(known)}")
    _check_coefficient(coefficient, tuple(n - (coefficient_at == "cells") for n in domain.shape))
    if coefficient_at == "nodes":
        down, right = _mean(coefficient, 1, face_mean), _mean(coefficient, 2, face_mean)
    else:
        down, right = _mean(_with_edges_repeated(coefficient, 2), 2, face_mean), coefficient
        right = _mean(_with_edges_repeated(coefficient, 1), 1, face_mean)
    (down_step, right_step), (rows, columns) = domain.spacing, (axis.weights().to(coefficient) for axis in domain.axes)
    free_rows, free_columns = (_free(axis).to(coefficient.device) for axis in domain.axes)
    return DiffusionOperator(
        domain,
        rows[:, None] * columns,
        free_rows[:, None] & free_columns,
        down * (columns / down_step),
        right * (rows / right_step)[:, None],
    )


def _mean(a: Tensor, axis: int, kind: FaceMean) -> Tensor:
    """Mean of neighbours along `axis`, one fewer."""
    n = a.shape[axis] - 1
    first, second = a.narrow(axis, 0, n), a.narrow(axis, 1, n)
    return (first + second) / 2 if kind == "arithmetic" else 2 / (1 / first + 1 / second)


def _with_edges_repeated(a: Tensor, axis: int) -> Tensor:
    return torch.cat((a.narrow(axis, 0, 1), a, a.narrow(axis, a.shape[axis] - 1, 1)), axis)


def _free(axis: Axis) -> Tensor:
    free = torch.ones(axis.points, dtype=torch.bool)
    for end, side in zip((0, -1), axis.sides, strict=True):
        free[end] = free[end] & (side != "dirichlet")
    return free


def _check_domain(domain: Domain) -> None:
    if domain.dim != 2:
        raise ValueError(f"domain: got {domain.dim} axes, need 2")
    for axis in domain.axes:
        if axis.layout != "both_ends" or not set(axis.sides) <= {"dirichlet", "neumann"}:
            raise ValueError(
                f"domain: got an axis with layout {axis.layout!r} and sides {axis.sides}, "
                "need both_ends with dirichlet or neumann sides"
            )
        if axis.points <= axis.sides.count("dirichlet"):
            raise ValueError(f"domain: got {axis.points} points between two dirichlet sides, need at least 3")


def _check_coefficient(coefficient: Tensor, grid: tuple[int, ...]) -> None:
    if coefficient.ndim != 3 or tuple(coefficient.shape[1:]) != grid or not len(coefficient):
        raise ValueError(f"coefficient: got shape {tuple(coefficient.shape)}, need (batch, {grid[0]}, {grid[1]})")
    if coefficient.dtype != torch.float64:
        raise ValueError(f"coefficient: got {coefficient.dtype}, need torch.float64")
    good = coefficient.isfinite() & (coefficient > 0)
    if not good.all():
        sample, row, column = (~good).nonzero()[0].tolist()
        value = coefficient[sample, row, column].item()
        raise ValueError(f"coefficient: got {value} in sample {sample} at [{row}, {column}], need positive finite numbers")
