"""Where a search for cycles begins: states of orbits of the network, around them, and around the kinks of its hidden units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import numbered, patterns

RANDOM = 512
"""Random states from which orbits begin, for each replica."""

STEPS = 100
"""Of those orbits; of some instants the states are kept."""

FAR = 100.0
"""Orbits begin again when they are so many sizes away, so that those that run away do not fill the pool."""


@dataclass(frozen=True)
class Pool:
    """States to begin from.

    Args:
        states: of every kind.
        order: numbers of the states, by the region they lie in.
        even: of the states in that order, the sum of their weights so far, every region as heavy as another.
        among: of each state, where the states of the region that it is mapped to begin and end in `order`.
        size: the largest component of a typical state of each replica.
        random: draws from it, on the CPU so that all devices draw the same.
    """

    states: Float[Tensor, "replica pool state"]
    order: Int64[Tensor, "replica pool"]
    even: Float[Tensor, "replica pool"]
    among: Int64[Tensor, "replica pool 2"]
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
        begun = torch.cat(states, 1)
        z, kept = begun, [begun]
        limit = FAR * spread[:, None, None]
        for t in range(STEPS):
            after = network(z)
            z = torch.where((after.abs() <= limit).all(-1, keepdim=True), after, begun)
            if t % 10 == 0 or t > STEPS - 6:
                kept.append(z)
        pool = torch.cat(kept, 1)
        order, even, among = _by_region(network, pool)
        return cls(pool, order, even, among, pool.abs().amax(-1).median(1).values, random)

    def draw(self, count: int) -> Float[Tensor, "replica count state"]:
        """States of the pool, half of them moved by a thousandth to once their size."""
        replicas, _, state = self.states.shape
        index = self._indices(count)
        z = self.states.gather(1, index.unsqueeze(-1).expand(-1, -1, state))
        noise = torch.randn(replicas, count, state, generator=self.random, dtype=torch.float64)
        amount = 10 ** (-3 * torch.rand(replicas, count, 1, generator=self.random, dtype=torch.float64))
        moved = torch.rand(replicas, count, 1, generator=self.random) < 0.5
        return z + torch.where(moved, noise * amount, 0).to(z) * self.size[:, None, None]

    def _indices(self, count: int) -> Int64[Tensor, "replica count"]:
        """Half of any state, half of any region: regions that are small or seldom met have cycles too."""
        replicas, pool, _ = self.states.shape
        half = count // 2
        part = torch.rand(replicas, half, generator=self.random, dtype=torch.float64).to(self.even) * self.even[:, -1:]
        rare = self.order.gather(1, torch.searchsorted(self.even, part).clamp_(max=pool - 1))
        plain = torch.randint(pool, (replicas, count - half), generator=self.random).to(self.order)
        index = torch.cat([plain, rare], 1)
        return index[:, torch.randperm(count, generator=self.random).to(index.device)]

    def walks(self, count: int, steps: int) -> Float[Tensor, "replica count step state"]:
        """Sequences of states, each in the region that the one before is mapped to, where the pool has one there.

        Of four times as many those that end where they began come first.
        """
        replicas, pool, state = self.states.shape
        index = [self._indices(4 * count)]
        for _ in range(steps):
            first, end = self.among.gather(1, index[-1].unsqueeze(-1).expand(-1, -1, 2)).unbind(-1)
            part = torch.rand(first.shape, generator=self.random, dtype=torch.float64).to(self.states)
            place = torch.where(end > first, first + (part * (end - first)).long(), (part * pool).long())
            index.append(self.order.gather(1, place))
        begins = self.among.gather(1, index[-2].unsqueeze(-1).expand(-1, -1, 2))
        rank = torch.empty_like(self.order).scatter_(1, self.order, torch.arange(pool).to(self.order).expand(replicas, -1))
        place = rank.gather(1, index[0])
        opened = ((place < begins[..., 0]) | (place >= begins[..., 1])).to(torch.int8)
        best = opened.argsort(dim=1, stable=True)[:, :count]
        chosen = torch.stack([one.gather(1, best) for one in index[:-1]], 2)
        return self.states.gather(1, chosen.flatten(1).unsqueeze(-1).expand(-1, -1, state)).unflatten(1, (count, steps))


def seeds(network: PiecewiseLinear, pool: Pool, count: int, order: int) -> Float[Tensor, "replica count order state"]:
    """Sequences of states to begin from, a quarter each.

    Orbits; those orbits of several that come back nearest; walks from region to region; states in any order.
    """
    if order == 1:
        return pool.draw(count).unsqueeze(2)
    returning = loose = walking = count // 4
    straight = count - loose - returning - walking
    z = [pool.draw(straight + 4 * returning)]
    for _ in range(order):
        z.append(network(z[-1]))
    orbits = torch.stack(z, 2)
    some = orbits[:, straight:]
    gap = (some[:, :, -1] - some[:, :, 0]).abs().amax(-1).nan_to_num(torch.inf)
    nearest = gap.argsort(1)[:, :returning, None, None].expand(-1, -1, *some.shape[2:])
    disordered = pool.draw(loose * order).unflatten(1, (loose, order))
    walks = pool.walks(walking, order)
    return torch.cat([orbits[:, :straight, :-1], some.gather(1, nearest)[:, :, :-1], walks, disordered], 1)


def _by_region(network: PiecewiseLinear, pool: Float[Tensor, "replica pool state"]) -> tuple[Tensor, Tensor, Tensor]:
    """`order`, `even` and `among` of a pool."""
    both = patterns(network, torch.cat([pool, network(pool)], 1))
    here, there = torch.stack([numbered(pattern) for pattern in both]).chunk(2, 1)
    codes, order = here.sort(dim=1, stable=True)
    codes, there = codes.contiguous(), there.contiguous()

    def places(of: Tensor) -> Tensor:
        return torch.stack([torch.searchsorted(codes, of, right=right) for right in (False, True)], -1)

    counts = places(codes).diff(dim=-1).squeeze(-1)
    return order, counts.double().reciprocal().cumsum(1), places(there)


def _size_of_kinks(network: PiecewiseLinear) -> Float[Tensor, "replica"]:
    """A typical distance of the kinks of hidden units from 0, or of the shift; 1 where all are 0."""
    lengths = torch.ones_like(network.offset) if network.inner is None else network.inner.norm(dim=-1)
    kinks = torch.cat([(bound - network.offset) / lengths for bound in (network.lower, network.upper)], 1).abs()
    kinks = torch.where(kinks.isfinite() & (kinks > 0), kinks, torch.nan).nanmedian(1).values
    shift = network.shift.abs().amax(1)
    size = torch.fmax(kinks, shift)
    return torch.where(size > 0, size, 1)


__all__ = ["Pool", "seeds"]
