"""Derivatives of operators by the coordinates of the points, of any order, in forward mode.

The points of a Cartesian layout are the same for all functions, and so are the derivatives of the basis: of a sum of products
only the basis is differentiated, at the cost of the trunk, whatever the number of functions,

    D G(u)(y) = Σ_k b_k(u) D t_k(y) + D o(y).

Values and derivatives go through the layers of a trunk together, up to the second order, one product per layer for all of them;
beyond, and through modules of other kinds, each derivative is one more tangent beside the values (`torch.func.jvp`). It is what
the zero-coordinate shift of Leng, Shankar & Thiyagalingam (J. Comput. Phys. 505 (2024) 112904) reaches by reverse mode, without
its dummy sums. Other operators are differentiated whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.operators.deeponet.deeponet import DeepONet, MIONet
from sciml.operators.deeponet.factorised import Factorised, combined
from sciml.operators.deeponet.networks import MLP, Chain, is_plain, slopes
from sciml.operators.deeponet.pod import PODDeepONet

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
        ValueError: an order beyond the coordinates, or none; a basis that is known on a grid only.
    """
    for order in orders:
        if any(not 0 <= axis < y.shape[-1] for axis in order):
            raise ValueError(f"orders: got {order}, the points have coordinates 0 to {y.shape[-1] - 1}")
    if not orders:
        raise ValueError("orders: got none, need at least one, such as (0,)")
    if isinstance(model, PODDeepONet) and any(orders):
        raise ValueError("model: PODDeepONet knows its basis on a grid and is linear between the points; train it on data")
    if not isinstance(model, Factorised):
        return along(lambda points: model(u, points), y, orders)
    b = model.encode(u)
    bases = _of_basis(model, y, orders)
    offsets = along(model.offset, y, orders)
    return tuple(combined(b, t) + o for t, o in zip(bases, offsets, strict=True))


def _of_basis(model: Factorised, y: Tensor, orders: Sequence[Order]) -> tuple[Tensor, ...]:
    """Of a trunk of layers that are known, all orders up to the second together; else one tangent after the other."""
    plain = type(model) in (DeepONet, MIONet)
    if not plain or not isinstance(model, DeepONet | MIONet) or model.boundary is not None or max(map(len, orders)) > 2:
        return along(model.basis, y, orders)
    needed = {order[:length] for order in orders for length in range(len(order) + 1)}
    needed |= {(axis,) for order in needed for axis in order}
    carried = _through(model.trunk, y, None, sorted(needed, key=lambda order: (len(order), order)))
    if carried is None:
        return along(model.basis, y, orders)
    return tuple(model.outputs.basis(carried[order], y) for order in orders)


Jet = dict[Order, Tensor]
"""A value, (), and derivatives of it; of a second derivative also both first ones."""


def _through(network: nn.Module, y: Tensor, jet: Jet | None, orders: Sequence[Order]) -> Jet | None:
    """What a network makes of a jet, or where there is none yet of the points; None where it cannot be told."""
    if is_plain(network, Chain):
        for part in network.modules_in_order:
            jet = _through(part, y, jet, orders)
            if jet is None:
                return None
        return jet
    if is_plain(network, MLP):
        return _through_layers(network, _of_points(y, orders) if jet is None else jet)
    # Features of the points are few; what comes later is not taken apart.
    return dict(zip(orders, along(network, y, orders), strict=True)) if jet is None else None


def _of_points(y: Tensor, orders: Sequence[Order]) -> Jet:
    jet = {order: torch.zeros_like(y) for order in orders}
    jet[()] = y
    for order in orders:
        if len(order) == 1:
            jet[order][..., order[0]] = 1
    return jet


def _through_layers(network: MLP, jet: Jet) -> Jet | None:
    """Faà di Bruno's rule up to the second order; one product per layer for all orders."""
    orders = list(jet)
    parts = [jet[order] for order in orders]
    for i, layer in enumerate(cast("list[nn.Linear]", list(network.layers))):
        # Taken apart once: the gradient of each single part would be as large as all of them.
        mapped = dict(zip(orders, (torch.stack(parts) @ layer.weight.T).unbind(), strict=True))
        if layer.bias is not None:
            mapped[()] = mapped[()] + layer.bias
        if i + 1 == len(network.layers) and not network.last_activation:
            return mapped
        known = slopes(network.activation, mapped[()])
        if known is None:
            return None
        value, slope, curvature = known
        parts = [value]
        for order in orders[1:]:
            part = slope * mapped[order]
            if len(order) == 2 and curvature is not None:
                first, second = (mapped[(axis,)] for axis in order)
                part = torch.addcmul(part, curvature, first * second)
            parts.append(part)
    return dict(zip(orders, parts, strict=True))


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
