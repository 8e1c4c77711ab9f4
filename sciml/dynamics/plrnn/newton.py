"""All instants of a trajectory at once: Newton's method, whose every sweep is one linear recurrence.

A forced trajectory is the root of z_{t+1} - F((1 - a_t) z_t + a_t target_t) = 0 for all t. Linearised at a guess this is a
recurrence x_{t+1} = J_t x_t + b_t, which `affine_scan` solves in parallel. The map is piecewise affine, so once the guess lies
in the right regions the next sweep is exact. Forcing contracts: with it a few sweeps do for any length; without it, in chaos,
sweeps are many, or diverge where the exponents use up the digits (Lim et al. 2024, DEER; Gonzalez et al. 2024; with generalized
teacher forcing Hess, Goetz & Durstewitz 2026).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.plrnn.fused import fused_states
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import affine_maps, patterns
from sciml.numerics.affine_scan import affine_scan

BLOCK = 16_384
"""Most instants solved at once; longer trajectories go block by block, so that memory does not grow."""

SWEEPS = 15
"""Most sweeps of a block before it is cut in two, down to `SHORT` instants, which may take as many sweeps as they are."""

SHORT = 64

WARM = 4
"""Steps that every instant of the first guess is led by the map, under forcing, from the target so many instants before."""


def newton_states(
    network: PiecewiseLinear,
    start: Float[Tensor, "replica sequence state"],
    steps: int,
    targets: Float[Tensor, "replica sequence between state"] | None,
    strength: Tensor | None,
    drive: Float[Tensor, "replica sequence step state"] | None,
    *,
    counts: list[int] | None = None,
) -> Float[Tensor, "replica sequence step state"]:
    """States after 1 ... `steps` steps, from a first guess that a few steps lead to from the targets.

    A sweep is the last when, for each sequence by itself, it leaves every state in the linear region that it was solved for,
    as it is then exact, or changes none by more than 1e-7 (float32: 1e-4) of their median. Where sweeps diverge, the block is
    cut in two; a short one where they still do is worked through step by step. A replica that is not finite, and one that has
    blown up, asks for no sweeps.

    Args:
        targets, strength: of the forcing; None without.
        counts: takes the number of sweeps of each block, those without success included.
    """
    blocks, z = [], start
    first, length = 0, BLOCK
    while first < steps:
        last = min(first + length, steps)
        # The state that enters a block is forced here; within it the first instant is not.
        entry = z
        if first and targets is not None and strength is not None:
            entry = torch.lerp(z, targets[:, :, first - 1], strength.expand_as(targets)[:, :, first - 1])
        inside = None if targets is None else targets[:, :, first : last - 1]
        weight = None if strength is None or targets is None else strength.expand_as(targets)[:, :, first : last - 1]
        driven = None if drive is None else drive[:, :, first:last]
        states, sweeps = _block(network, entry, last - first, inside, weight, driven)
        if counts is not None:
            counts.append(sweeps)
        if states is None and last - first > SHORT:
            length = max((last - first) // 2, SHORT)
            continue
        if states is None:
            states = fused_states(network, entry, last - first, inside, weight, driven)
        blocks.append(states)
        z, first = states[:, :, -1], last
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)


def _block(
    network: PiecewiseLinear,
    start: Tensor,
    steps: int,
    targets: Tensor | None,
    strength: Tensor | None,
    drive: Tensor | None,
) -> tuple[Tensor | None, int]:
    """States and sweeps; no states where it did not converge."""
    begin = network(start, None if drive is None else drive[:, :, 0])
    lost = ~begin.isfinite().all(2)
    # A last state has no target; the start stands in for it until it is made from the one before.
    states = start.unsqueeze(2).expand(-1, -1, steps, -1) if targets is None else torch.cat([targets, start.unsqueeze(2)], 2)
    for _ in range(0 if targets is None else WARM):
        states = network(entering(start, states, targets, strength), drive)
    tolerance = 1e-7 if start.dtype == torch.float64 else 1e-4
    most, sweep, solved = SWEEPS if steps > SHORT else steps + 2, 0, None
    settled = lost
    for sweep in range(1, most + 1):
        regions = patterns(network, entering(start, states, targets, strength)[:, :, 1:])
        if solved is not None and bool((settled | (regions == solved).flatten(2).all(2)).all()):
            return states, sweep - 1
        solved = regions
        # The maps as they are, not from the guess, whose digits may be far from those of the answer.
        matrices, shifts = affine_maps(network, regions)
        if strength is not None and targets is not None:
            shifts = shifts + torch.matmul(matrices, (strength * targets).unsqueeze(-1)).squeeze(-1)
            matrices = matrices * (1 - strength).unsqueeze(-2)
        if drive is not None:
            shifts = shifts + drive[:, :, 1:]
        found = torch.cat([begin.unsqueeze(2), affine_scan(matrices, shifts, begin)], 2)
        change, size = (found - states).abs().amax(3), found.abs().amax(3)
        states = found
        if not bool((lost | size.isfinite().all(2)).all()):
            break
        settled = lost | (change <= tolerance * size.median(2, keepdim=True).values).all(2)
        if bool(settled.all()):
            return states, sweep
    return None, sweep


def entering(
    start: Float[Tensor, "replica sequence state"],
    states: Float[Tensor, "replica sequence step state"],
    targets: Float[Tensor, "replica sequence between state"] | None,
    strength: Tensor | None,
) -> Float[Tensor, "replica sequence step state"]:
    """What each step starts from: the start, then every state but the last, forced."""
    between = states[:, :, :-1]
    if targets is not None and strength is not None:
        between = torch.lerp(between, targets, strength.expand_as(targets))
    return torch.cat([start.unsqueeze(2), between], 2)


def pulled_back(
    network: PiecewiseLinear,
    entered: Float[Tensor, "replica sequence step state"],
    strength: Tensor | None,
    grad: Float[Tensor, "replica sequence step state"],
) -> tuple[Float[Tensor, "replica sequence step state"], Float[Tensor, "replica sequence state"]]:
    """The gradient with respect to each state, and to the start: one linear recurrence back in time, exact.

    Args:
        grad: with respect to each state by itself.
    """
    steps = grad.shape[2]
    blocks, later = [], None
    for last in range(steps, 0, -BLOCK):
        first = max(0, last - BLOCK)
        found = _pulled_back(
            network, entered[:, :, first : last + 1], _part(strength, first, last), grad[:, :, first:last], later
        )
        blocks.append(found)
        later = found[:, :, 0]
    after = torch.cat(blocks[::-1], 2)
    begin = torch.matmul(network.jacobian(entered[:, :, 0]).mT, after[:, :, 0, :, None]).squeeze(-1)
    return after, begin


def _part(strength: Tensor | None, first: int, last: int) -> Tensor | None:
    return strength if strength is None or strength.shape[2] == 1 else strength[:, :, first:last]


def _pulled_back(
    network: PiecewiseLinear, entered: Tensor, strength: Tensor | None, grad: Tensor, later: Tensor | None
) -> Tensor:
    """Of a block: λ_t = grad_t + (1 - a_t) J_tᵀ λ_{t+1}; `later` is λ right after it."""
    steps = grad.shape[2]
    follows = entered[:, :, 1 : steps + 1]  # the steps that states 1 ... enter; the last state of all enters none
    matrices = network.jacobian(follows).mT
    if strength is not None:
        kept = (1 - strength).expand(-1, -1, follows.shape[2], -1) if strength.shape[2] == 1 else 1 - strength
        matrices = matrices * kept.unsqueeze(-1)
    if later is None:
        end, shifts = grad[:, :, -1], grad[:, :, :-1]
        rest = affine_scan(matrices.flip(2), shifts.flip(2), end).flip(2)
        return torch.cat([rest, end.unsqueeze(2)], 2)
    return affine_scan(matrices.flip(2), grad.flip(2), later).flip(2)


__all__ = ["BLOCK", "SHORT", "SWEEPS", "entering", "newton_states", "pulled_back"]
