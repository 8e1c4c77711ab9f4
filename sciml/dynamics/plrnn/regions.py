"""Linear regions of piecewise-linear networks: patterns of hidden units, and the affine map of each region."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear, along

DIGITS = 39
"""Hidden units that one number names: 3^39 < 2^63."""


def patterns(network: PiecewiseLinear, z: Float[Tensor, "replica *batch state"]) -> Int8[Tensor, "replica *batch hidden"]:
    """-1, 0 or 1 for each hidden unit: below its bounds, between them (both included) or above."""
    u = network.hidden(z)
    return (u > along(network.upper, u)).to(torch.int8) - (u < along(network.lower, u)).to(torch.int8)


def affine_maps(
    network: PiecewiseLinear, pattern: Int8[Tensor, "replica *batch hidden"]
) -> tuple[Float[Tensor, "replica *batch state state"], Float[Tensor, "replica *batch state"]]:
    """J and c of z' = J z + c in the region of a pattern, whether or not there is a state with that pattern.

    J = A + W D V and c = W (D b + bounds of the other units) + h, D = 1 for units between their bounds. A pattern that puts
    a unit beyond an infinite bound gives a c that is not finite.
    """
    batch = pattern.shape[1:-1]
    rows = pattern.reshape(len(pattern), batch.numel(), pattern.shape[-1])
    follows = rows == 0
    held = torch.where(rows < 0, network.lower.unsqueeze(1), network.upper.unsqueeze(1))
    constants = torch.where(follows, network.offset.unsqueeze(1), held) @ network.weight.mT + network.shift.unsqueeze(1)
    slopes = follows.to(network.weight.dtype)
    if network.inner is None:
        matrices = network.weight.unsqueeze(1) * slopes.unsqueeze(2)
    else:
        # Each hidden unit adds its own matrix, so that all maps are one product of the patterns with those.
        each = network.weight.mT.unsqueeze(-1) * network.inner.unsqueeze(-2)
        matrices = (slopes @ each.flatten(2)).unflatten(2, each.shape[2:])
    matrices = matrices + torch.diag_embed(network.decay).unsqueeze(1)
    return matrices.unflatten(1, batch), constants.unflatten(1, batch)


def numbered(pattern: Int8[Tensor, "state hidden"]) -> Int64[Tensor, "state"]:
    """The same number for the same pattern and for no other: digits in base 3, many at a time."""
    number = torch.zeros(len(pattern), dtype=torch.int64, device=pattern.device)
    for some in pattern.long().split(DIGITS, 1):
        powers = 3 ** torch.arange(some.shape[1], device=some.device)
        code = torch.unique((some + 1) @ powers, return_inverse=True)[1]
        number = torch.unique(number * (int(code.max()) + 1) + code, return_inverse=True)[1]
    return number


__all__ = ["affine_maps", "numbered", "patterns"]
