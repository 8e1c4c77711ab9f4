"""Where a search for cycles begins: states of orbits of the network, around them, and around the kinks of its hidden units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear

RANDOM = 512
"""Random states from which orbits begin, for each replica."""

STEPS = 100
"""Of those orbits; of some instants the states are kept."""

FAR = 1e3
"""Orbits are left where they are so many sizes away."""


@dataclass(frozen=True)
class Pool:
    """States to begin from.

    Args:
        states: of every kind.
        size: the largest component of a typical state of each replica.
        random: draws from it, on the CPU so that all devices draw the same.
    """

    states: Float[Tensor, "replica pool state"]
    size: Float[Tensor, "replica"]
    random: torch.Generator

    @classmethod
    def of(cls, network: PiecewiseLinear, starts: Tensor | None, seed: int) -> Pool:
        """Of a network in float64 and the states that matter, if any are known.

        Raises:
            ValueError: starts of another shape or not finite.
        """
        random = torch.Generator().manual_seed(seed)
        spread = _size_of_kinks(network)
        shape = (network.replicas, RANDOM, network.states)
        noise = torch.randn(shape, generator=random, dtype=torch.float64)
        scale = 10 ** (2 * torch.rand(shape[:2], generator=random, dtype=torch.float64) - 1)
        wide = (noise * scale.unsqueeze(-1)).to(network.weight) * spread[:, None, None]
        states = [wide]
        if starts is not None:
            if starts.ndim != 3 or starts.shape[::2] != shape[::2] or not starts.shape[1]:
                raise ValueError(f"starts: got shape {tuple(starts.shape)}, need ({shape[0]}, at least 1, {shape[2]})")
            if not bool(starts.isfinite().all()):
                raise ValueError("starts: got a value that is not finite, need finite ones")
            given = starts.to(network.weight)
            chosen = torch.randint(given.shape[1], (RANDOM,), generator=random).to(given.device)
            states += [given[:, chosen]] * 2
            spread = given.abs().amax(-1).median(1).values.clamp_min(torch.finfo(torch.float64).tiny)
        z = torch.cat(states, 1)
        kept = [z]
        limit = FAR * spread[:, None, None]
        for t in range(STEPS):
            after = network(z)
            z = torch.where((after.abs() <= limit).all(-1, keepdim=True), after, z)
            if t % 10 == 0 or t > STEPS - 6:
                kept.append(z)
        pool = torch.cat(kept, 1)
        return cls(pool, pool.abs().amax(-1).median(1).values, random)

    def draw(self, count: int) -> Float[Tensor, "replica count state"]:
        """States of the pool, half of them moved by a thousandth to once their size."""
        replicas, _, state = self.states.shape
        index = torch.randint(self.states.shape[1], (replicas, count), generator=self.random).to(self.states.device)
        z = self.states.gather(1, index.unsqueeze(-1).expand(-1, -1, state))
        noise = torch.randn(replicas, count, state, generator=self.random, dtype=torch.float64)
        amount = 10 ** (-3 * torch.rand(replicas, count, 1, generator=self.random, dtype=torch.float64))
        moved = torch.rand(replicas, count, 1, generator=self.random) < 0.5
        return z + torch.where(moved, noise * amount, 0).to(z) * self.size[:, None, None]


def seeds(network: PiecewiseLinear, pool: Pool, count: int, order: int) -> Float[Tensor, "replica count order state"]:
    """Sequences of states to begin from: orbits, those orbits of several that come back nearest, and states in any order."""
    if order == 1:
        return pool.draw(count).unsqueeze(2)
    returning = count // 3
    loose = count // 3
    straight = count - loose - returning
    z = [pool.draw(straight + 4 * returning)]
    for _ in range(order):
        z.append(network(z[-1]))
    orbits = torch.stack(z, 2)
    some = orbits[:, straight:]
    gap = (some[:, :, -1] - some[:, :, 0]).abs().amax(-1).nan_to_num(torch.inf)
    nearest = gap.argsort(1)[:, :returning, None, None].expand(-1, -1, *some.shape[2:])
    disordered = pool.draw(loose * order).unflatten(1, (loose, order))
    return torch.cat([orbits[:, :straight, :-1], some.gather(1, nearest)[:, :, :-1], disordered], 1)


def _size_of_kinks(network: PiecewiseLinear) -> Float[Tensor, "replica"]:
    """A typical distance of the kinks of hidden units from 0, or of the shift; 1 where all are 0."""
    lengths = torch.ones_like(network.offset) if network.inner is None else network.inner.norm(dim=-1)
    kinks = torch.cat([(bound - network.offset) / lengths for bound in (network.lower, network.upper)], 1).abs()
    kinks = torch.where(kinks.isfinite() & (kinks > 0), kinks, torch.nan).nanmedian(1).values
    shift = network.shift.abs().amax(1)
    size = torch.fmax(kinks, shift)
    return torch.where(size > 0, size, 1)


__all__ = ["Pool", "seeds"]
