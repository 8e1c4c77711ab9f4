"""The steps of a trajectory one after the other in place, and its gradient worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear

NUMBERS = 200_000
"""Activities of hidden units that are kept at once on the way back; they stay in the cache of a processor."""

Parts = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None]
"""Gradients with respect to decay, weight, shift, inner, offset, lower and upper."""


def fused_states(
    network: PiecewiseLinear,
    start: Float[Tensor, "replica sequence state"],
    steps: int,
    targets: Float[Tensor, "replica sequence between state"] | None,
    strength: Tensor | None,
    drive: Float[Tensor, "replica sequence step state"] | None,
) -> Float[Tensor, "replica sequence step state"]:
    """States after 1 ... `steps` steps. Four calls a step: two products, a clamp, a forcing."""
    replicas, sequences, size = start.shape
    width = network.weight.shape[2]
    # One product makes the next state from a row of active units, state and one; its tail feeds the hidden units.
    row = start.new_empty(replicas, sequences, width + size + 1)
    row[..., -1] = 1
    active, z, tail = row[..., :width], row[..., width : width + size], row[..., width:]
    outer = torch.cat([network.weight.mT, torch.diag_embed(network.decay), network.shift.unsqueeze(1)], 1)
    inner = None if network.inner is None else torch.cat([network.inner.mT, network.offset.unsqueeze(1)], 1)
    lower, upper, offset = network.lower.unsqueeze(1), network.upper.unsqueeze(1), network.offset.unsqueeze(1)
    states = start.new_empty(replicas, steps, sequences, size)
    u, after = start.new_empty(replicas, sequences, width), torch.empty_like(start)
    drawn = None if targets is None else targets.transpose(1, 2)
    amounts = None if strength is None or drawn is None else _each(strength.transpose(1, 2), steps - 1)
    z.copy_(start)
    for t in range(steps):
        if inner is None:
            torch.add(z, offset, out=u)
        else:
            torch.bmm(tail, inner, out=u)
        torch.clamp(u, lower, upper, out=active)
        torch.bmm(row, outer, out=after)
        if drive is not None:
            after += drive[:, :, t]
        states[:, t] = after
        if t + 1 == steps:
            break
        if drawn is None or amounts is None:
            z.copy_(after)
        else:
            torch.lerp(after, drawn[:, t], amounts[t], out=z)
    return states.transpose(1, 2)


def fused_back(
    network: PiecewiseLinear,
    entered: Float[Tensor, "replica sequence step state"],
    strength: Tensor | None,
    grad: Float[Tensor, "replica sequence step state"],
) -> tuple[Float[Tensor, "replica sequence step state"], Float[Tensor, "replica sequence state"], Parts]:
    """Gradients with respect to each state, the start and the parts of the network.

    Args:
        entered: what each step started from.
        grad: with respect to each state by itself.
    """
    replicas, sequences, steps, size = entered.shape
    given, asked = entered.transpose(1, 2).contiguous(), grad.transpose(1, 2)
    kept = None if strength is None else _each((1 - strength).transpose(1, 2), steps - 1)
    after, decay = torch.empty_like(given), network.decay.unsqueeze(1)
    # Results of products are contiguous, or torch works them out one replica after the other.
    before, above = given.new_zeros(replicas, sequences, size), given.new_empty(replicas, sequences, size)
    hidden = given.new_empty(replicas, sequences, network.weight.shape[2])
    parts, chunk = None, max(1, NUMBERS // hidden.numel())
    for last in range(steps, 0, -chunk):
        first = max(0, last - chunk)
        rows = _Rows.of(network, given[:, first:last].reshape(replicas, -1, size))
        reached = rows.slopes.view(replicas, last - first, sequences, -1)
        for t in range(last - 1, first - 1, -1):
            i = t - first
            if kept is None or t + 1 == steps:
                torch.add(asked[:, t], before, out=above)
            else:
                torch.addcmul(asked[:, t], before, kept[t], out=above)
            torch.bmm(above, network.weight, out=hidden)
            reached[:, i] *= hidden
            after[:, t] = above
            torch.mul(above, decay, out=before)
            if network.inner is None:
                before += reached[:, i]
            else:
                before.baddbmm_(reached[:, i], network.inner)
        here = _gradients(network, rows, after[:, first:last].reshape(replicas, -1, size), reached.flatten(1, 2))
        parts = here if parts is None else _sums(parts, here)
    assert parts is not None
    return after.transpose(1, 2), before, parts


def gradients(
    network: PiecewiseLinear,
    entered: Float[Tensor, "replica sequence step state"],
    after: Float[Tensor, "replica sequence step state"],
) -> Parts:
    """With respect to the parts of the network, from those with respect to each state."""
    replicas, sequences, steps, size = entered.shape
    chunk = max(1, NUMBERS // (replicas * sequences * network.weight.shape[2]))
    parts = None
    for first in range(0, steps, chunk):
        states, above = (x[:, :, first : first + chunk].reshape(replicas, -1, size) for x in (entered, after))
        rows = _Rows.of(network, states)
        here = _gradients(network, rows, above, rows.slopes.mul_(torch.bmm(above, network.weight)))
        parts = here if parts is None else _sums(parts, here)
    assert parts is not None
    return parts


@dataclass(frozen=True)
class _Rows:
    """States of some instants, one row each, and what the hidden units make of them.

    Args:
        u: what the units are given.
        active: what they give.
        slopes: 1 where they follow their input, else 0.
    """

    states: Tensor
    u: Tensor
    active: Tensor
    slopes: Tensor

    @classmethod
    def of(cls, network: PiecewiseLinear, states: Tensor) -> _Rows:
        u = network.hidden(states)
        active = torch.clamp(u, network.lower.unsqueeze(1), network.upper.unsqueeze(1))
        return cls(states, u, active, torch.eq(u, active, out=torch.empty_like(u)))


def _gradients(network: PiecewiseLinear, rows: _Rows, after: Tensor, reached: Tensor) -> Parts:
    """With respect to the parts.

    Args:
        after: the gradient with respect to what the rows became.
        reached: to what the hidden units were given.
    """
    ones = after.new_ones(len(after), 1, after.shape[1])  # sums over rows are products, the fastest way to read them once
    lower = upper = None
    if network.upper.requires_grad or network.lower.requires_grad:
        hidden = torch.bmm(after, network.weight)
        lower, upper = (
            torch.bmm(ones, compare(rows.u, bound.unsqueeze(1), out=torch.empty_like(rows.u)).mul_(hidden)).squeeze(1)
            if bound.requires_grad
            else None
            for compare, bound in ((torch.lt, network.lower), (torch.gt, network.upper))
        )
    return (
        (after * rows.states).sum(1),
        torch.bmm(after.mT, rows.active),
        after.sum(1),
        None if network.inner is None else torch.bmm(reached.mT, rows.states),
        torch.bmm(ones, reached).squeeze(1),
        lower,
        upper,
    )


def _sums(first: Parts, second: Parts) -> Parts:
    return tuple(None if a is None or b is None else a + b for a, b in zip(first, second, strict=True))  # pyright: ignore[reportReturnType]


def _each(values: Tensor, count: int) -> list[Tensor]:
    """Of each instant, along axis 1, which may have length 1 for all."""
    return [values[:, 0]] * count if values.shape[1] == 1 else list(values.unbind(1))


__all__ = ["NUMBERS", "Parts", "fused_back", "fused_states", "gradients"]
