"""Derivatives of operators by the coordinates of the points, of any order, in forward mode.

The points of a Cartesian layout are the same for all functions, and so are the derivatives of the basis: of a sum of products
only the basis is differentiated, at the cost of the trunk, whatever the number of functions,

    D G(u)(y) = Σ_k b_k(u) D t_k(y) + D o(y).

Each derivative is one more tangent beside the values (`torch.func.jvp`): what the zero-coordinate shift of Leng, Shankar &
Thiyagalingam (J. Comput. Phys. 505 (2024) 112904) reaches by reverse mode, without its dummy sums. Other operators are
differentiated whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.operators.deeponet.factorised import Factorised, combined

Order = tuple[int, ...]
"""By which coordinates, one after the other: () is the value, (1,) once by the second, (0, 0) twice by the first."""


def derivatives(
    model: nn.Module, u: object, y: Float[Tensor, "*points coordinate"], orders: Sequence[Order]
) -> tuple[Float[Tensor, "function point channel"], ...]:
    """Derivatives of the answers by the coordinates of their points, which the weights may be trained through.

    Args:
        y: (point, coordinate) for all functions or (function, point, coordinate).
        orders: of each that is asked for.
    Raises:
        ValueError: an order beyond the coordinates, or none.
    """
    for order in orders:
        if any(not 0 <= axis < y.shape[-1] for axis in order):
            raise ValueError(f"orders: got {order}, the points have coordinates 0 to {y.shape[-1] - 1}")
    if not orders:
        raise ValueError("orders: got none, need at least one, such as (0,)")
    if not isinstance(model, Factorised):
        return along(lambda points: model(u, points), y, orders)
    b = model.encode(u)
    bases, offsets = along(model.basis, y, orders), along(model.offset, y, orders)
    return tuple(combined(b, t) + o for t, o in zip(bases, offsets, strict=True))


def along(function: Callable[[Tensor], Tensor], y: Tensor, orders: Sequence[Order]) -> tuple[Tensor, ...]:
    """Derivatives of a function of points that treats each by itself; what one needs on the way serves the others."""
    chains = [order for order in orders if not any(_begins(other, order) for other in orders)]
    found: dict[Order, Tensor] = {}
    for chain in chains:
        for i, value in enumerate(_along(function, y, chain)):
            found.setdefault(chain[:i], value)
    return tuple(found[order] for order in orders)


def _along(function: Callable[[Tensor], Tensor], y: Tensor, chain: Order) -> list[Tensor]:
    """The function, and its derivatives by the first, the first two, ... of the chain."""
    if not chain:
        return [function(y)]
    *rest, axis = chain
    direction = torch.zeros_like(y)
    direction[..., axis] = 1

    def before(points: Tensor) -> tuple[Tensor, ...]:
        return tuple(_along(function, points, tuple(rest)))

    values, slopes = torch.func.jvp(before, (y,), (direction,))[:2]
    return [*values, slopes[-1]]


def _begins(longer: Order, order: Order) -> bool:
    return len(longer) > len(order) and longer[: len(order)] == order


__all__ = ["Order", "along", "derivatives"]
