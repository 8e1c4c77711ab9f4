"""Fields as sums over eigenfunctions of the Laplacian on a box: analysis, synthesis, eigenvalues.

The eigenfunctions are those of `random_fields`: cosines between `neumann` sides, sines between `dirichlet` sides, quarter waves
between unlike ones, both on a periodic axis. On the points of every layout they are orthogonal in the sum with the quadrature
weights, so that n free points hold n amplitudes and analysis is the inverse of synthesis up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Axis, Domain
from sciml.numerics.random_fields import basis_kind, eigenvalues, evaluate_modes


@dataclass(frozen=True, eq=False)
class Eigenfunctions:
    """The eigenfunctions that the grid of a domain tells apart; tables are float64 and cast at use.

    Args:
        synthesis: per axis (points, modes), values of the eigenfunctions at the points.
        analysis: per axis (modes, points), its left inverse.
        eigenvalues: per axis (modes,), of -d²/dx².
    """

    synthesis: tuple[Tensor, ...]
    analysis: tuple[Tensor, ...]
    eigenvalues: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Modes per axis."""
        return tuple(len(values) for values in self.eigenvalues)

    def total(self) -> Float[Tensor, "*modes"]:
        """The eigenvalue of -Δ of every mode."""
        total = self.eigenvalues[0]
        for values in self.eigenvalues[1:]:
            total = total[..., None] + values
        return total

    def amplitudes(self, field: Float[Tensor, "*lead_and_space"]) -> Float[Tensor, "*lead_and_modes"]:
        """Of a field whose last axes are the grid."""
        return _along_axes(field, self.analysis)

    def field(self, amplitudes: Float[Tensor, "*lead_and_modes"]) -> Float[Tensor, "*lead_and_space"]:
        """The inverse of `amplitudes`."""
        return _along_axes(amplitudes, self.synthesis)


@lru_cache(maxsize=8)
def eigenfunctions(domain: Domain) -> Eigenfunctions:
    """Those of a box with `periodic`, `dirichlet` and `neumann` sides, as many per axis as it has free points.

    Raises:
        ValueError: an `open` side.
    """
    with torch.inference_mode(False):
        tables = [_tables(axis) for axis in domain.axes]
        synthesis, analysis, eigenvalues = zip(*tables, strict=True)
        return Eigenfunctions(synthesis, analysis, eigenvalues)


def free_points(axis: Axis) -> int:
    """Points of an axis at which a field is not zero by its sides: as many eigenfunctions does the grid tell apart.

    One less at the centres of an even number of periodic cells, where the highest cosine is zero.
    """
    held = sum(side == "dirichlet" and gap == 0 for side, gap in zip(axis.sides, axis.gaps, strict=True))
    blind = axis.sides[0] == "periodic" and axis.layout == "cells" and axis.points % 2 == 0
    return axis.points - held - blind


def check_modes(domain: Domain, modes: int) -> None:
    """Raise a ValueError where the grid does not tell so many eigenfunctions per axis apart."""
    for place, axis in enumerate(domain.axes):
        free = free_points(axis)
        if free < modes:
            raise ValueError(
                f"domain: got {axis.points} points along axis {place} of {domain}, which hold {free} of the {modes} modes; "
                f"need {axis.points + modes - free}"
            )


def lowest(domain: Domain) -> tuple[Float[Tensor, "*space"], float]:
    """Product of the longest wave along every axis that is not constant, in closed form, and its eigenvalue of -Δ."""
    field, rate = torch.ones(domain.shape, dtype=torch.float64), 0.0
    for axis, x in zip(domain.axes, domain.mesh(), strict=True):
        wave = torch.sin if axis.sides[0] == "dirichlet" else torch.cos
        halves = 2.0 if axis.sides[0] == "periodic" else 1.0 if axis.sides[0] == axis.sides[1] else 0.5
        k = math.pi * halves / axis.length
        field = field * wave(k * (x - axis.origin))
        rate += k**2
    return field, rate


def check_span(basis: Eigenfunctions, field: Float[Tensor, "sample *space"], name: str) -> None:
    """Raise a ValueError where a field is not a sum of the eigenfunctions, such as by values on dirichlet sides."""
    with torch.no_grad():
        left = (basis.field(basis.amplitudes(field)) - field).flatten(1).norm(dim=1)
        size = field.flatten(1).norm(dim=1)
    wrong = torch.nonzero(~(left <= 1e3 * torch.finfo(field.dtype).eps * size))[:, 0]
    if len(wrong):
        sample = int(wrong[0])
        raise ValueError(
            f"{name}: got a field that is no sum of the eigenfunctions of the box, by {float(left[sample] / size[sample]):.1e} "
            f"of its size in sample {sample} of the block; need finite values, zero on dirichlet sides"
        )


def _tables(axis: Axis) -> tuple[Tensor, Tensor, Tensor]:
    modes = free_points(axis)
    values, weights = evaluate_modes(axis, modes), axis.weights()[:, None]
    # The norm in the sum is that of the integral but for the highest mode, which has its extrema or zeros on the points.
    analysis = (values * weights / (values.square() * weights).sum(0)).T
    return values, analysis, eigenvalues(axis, basis_kind(axis), modes)


def _along_axes(field: Tensor, tables: Sequence[Tensor]) -> Tensor:
    for place, table in enumerate(reversed(tables)):
        matrix = table.to(field)
        field = field @ matrix.T if place == 0 else (field.movedim(-1 - place, -1) @ matrix.T).movedim(-1, -1 - place)
    return field


__all__ = ["Eigenfunctions", "check_modes", "check_span", "eigenfunctions", "free_points", "lowest"]
