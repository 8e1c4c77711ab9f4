"""Finite volumes of second order for conservation laws, q_t + Σ_i f_i(q)_{x_i} = 0, on the cells of a Domain.

Values at faces come from limited slopes inside the cells (MUSCL: van Leer, J. Comput. Phys. 32 (1979) 101), time steps keep
the total variation (Shu & Osher, J. Comput. Phys. 77 (1988) 439). What flows through a face leaves one cell and enters the
next, so sums over all cells change by what flows through the sides alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Domain

Flux = Callable[[Tensor, Tensor, int], Tensor]
"""(left, right, axis) -> flux along `axis` through the faces between them."""


def limited_slope(back: Float[Tensor, "*cells"], ahead: Float[Tensor, "*cells"]) -> Float[Tensor, "*cells"]:
    """The mean of two differences, at most twice the smaller one, and 0 where they differ in sign (monotonised central).

    Source: van Leer, J. Comput. Phys. 23 (1977) 276.
    """
    bound = 2 * torch.minimum(back.abs(), ahead.abs())
    mean = (back + ahead) / 2
    return torch.where(back * ahead > 0, torch.clamp(mean, -bound, bound), 0.0)


def face_values(
    values: Float[Tensor, "sample channel *space"], domain: Domain, axis: int
) -> tuple[Float[Tensor, "sample channel *faces"], Float[Tensor, "sample channel *faces"]]:
    """Values just before and just behind every face across `axis`, one face more than there are cells.

    Beyond a `periodic` side lie the cells of the other end, beyond an `open` one two copies of the last cell.

    Raises:
        ValueError: other sides, or points that are no cells.
    """
    dim, n = axis - domain.dim, domain.shape[axis]
    cells = torch.cat([*_beyond(values, domain, axis, first=True), values, *_beyond(values, domain, axis, first=False)], dim)
    steps = cells.diff(dim=dim)
    half = limited_slope(steps.narrow(dim, 0, n + 2), steps.narrow(dim, 1, n + 2)) / 2
    left = cells.narrow(dim, 1, n + 1) + half.narrow(dim, 0, n + 1)
    right = cells.narrow(dim, 2, n + 1) - half.narrow(dim, 1, n + 1)
    return left, right


def outflow(values: Float[Tensor, "sample channel *space"], flux: Flux, domain: Domain) -> Float[Tensor, "sample kept *space"]:
    """Σ_i (flux through the far face - flux through the near face) / spacing: the divergence of the flux in every cell.

    Args:
        values: of which limited slopes are taken; `flux` turns them into fluxes of what is conserved.
    """
    total = None
    for axis, spacing in enumerate(domain.spacing):
        change = flux(*face_values(values, domain, axis), axis).diff(dim=axis - domain.dim) / spacing
        total = change if total is None else total + change
    assert total is not None  # a Domain has axes
    return total


def advance(
    state: Float[Tensor, "sample channel *space"], rate: Callable[[Tensor], Tensor], step: float, steps: int
) -> Float[Tensor, "sample channel *space"]:
    """`steps` steps of Heun's method, q_t = rate(q): second order, and no new extrema where an Euler step makes none."""
    for _ in range(steps):
        trial = state + step * rate(state)
        state = (state + trial + step * rate(trial)) / 2
    return state


def _beyond(values: Tensor, domain: Domain, axis: int, *, first: bool) -> list[Tensor]:
    """The two cells beyond a side, in the order of the axis."""
    line, dim = domain.axes[axis], axis - domain.dim
    side = line.sides[0 if first else 1]
    if side == "periodic":
        return [values.narrow(dim, line.points - 2 if first else 0, 2)]
    if side != "open" or line.layout != "cells":
        raise ValueError(f"domain: got {domain}, finite volumes need open or periodic sides, open ones with layout cells")
    return [values.narrow(dim, 0 if first else line.points - 1, 1)] * 2


__all__ = ["Flux", "advance", "face_values", "limited_slope", "outflow"]
