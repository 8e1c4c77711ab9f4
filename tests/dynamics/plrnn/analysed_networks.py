"""Networks whose fixed points and cycles are known."""

import math

import torch
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import affine_maps, patterns


def tent(slopes: tuple[float, ...] = (2.0,)) -> PiecewiseLinear:
    """z' = s min(z, 1 - z) = s z - 2 s relu(z - 1/2), a replica for each slope."""
    s = torch.tensor(slopes, dtype=torch.float64)[:, None]
    zero = torch.zeros_like(s)
    return PiecewiseLinear(s, -2 * s[:, None], zero, torch.ones_like(s)[:, None], zero - 0.5, zero, zero + math.inf)


def planted(
    orders: tuple[int, ...], systems: int, *, clipped: bool = False, hidden: int = 10, most: float = 100.0, seed: int = 0
) -> tuple[PiecewiseLinear, list[Tensor]]:
    """Networks of two states and cycles of these orders on them, (system, order, 2); all other cycles are unknown.

    Points near circles are turned on; W and h are the smallest that send each point to the next. Of many networks those
    are kept for which this is exact to 1e-9 and whose cycles grow by less than `most` in a turn.
    """
    g = torch.Generator().manual_seed(seed)
    draws = 400 * systems
    inner = torch.randn(draws, hidden, 2, generator=g, dtype=torch.float64)
    offset = torch.rand(draws, hidden, generator=g, dtype=torch.float64) * 3 - 1.5
    decay = 0.9 * torch.rand(draws, 2, generator=g, dtype=torch.float64)
    upper = torch.full_like(offset, math.inf)
    if clipped:
        upper = 0.5 + 1.5 * torch.rand(draws, hidden, generator=g, dtype=torch.float64)
    lower = torch.zeros_like(offset)
    cycles = []
    for number, order in enumerate(orders):
        angle = 2 * math.pi * torch.arange(order, dtype=torch.float64) / order
        angle = angle + torch.rand(draws, 1, generator=g, dtype=torch.float64) * 2 * math.pi
        radius = (1.0 + number) * (1 + 0.3 * torch.rand(draws, order, generator=g, dtype=torch.float64))
        cycles.append(torch.stack([radius * angle.cos(), radius * angle.sin()], -1))
    z, after = torch.cat(cycles, 1), torch.cat([cycle.roll(-1, 1) for cycle in cycles], 1)
    active = torch.clamp(z @ inner.mT + offset[:, None], lower[:, None], upper[:, None])
    features = torch.cat([active, torch.ones_like(active[..., :1])], -1)
    weight = torch.linalg.pinv(features) @ (after - decay[:, None] * z)
    parts = (decay, weight[:, :-1].mT.contiguous(), weight[:, -1].contiguous(), inner, offset, lower, upper)
    network = PiecewiseLinear(*parts)
    good = (network(z) - after).abs().flatten(1).amax(1) < 1e-9
    for cycle in cycles:
        matrices, _ = affine_maps(network, patterns(network, cycle))
        product = matrices[:, 0]
        for i in range(1, cycle.shape[1]):
            product = matrices[:, i] @ product
        good &= torch.linalg.eigvals(product).abs().amax(1) < most
    kept = good.nonzero().flatten()[:systems]
    return PiecewiseLinear(*(part[kept] for part in parts)), [cycle[kept] for cycle in cycles]
