"""All cycles of a given order of piecewise-linear networks: states that come back after so many steps.

In a sequence of linear regions the cycle is the solution of a linear system. Where its states lie in other regions than those
it was solved for ("virtual"), the search goes on from their regions; it is Newton's method, which ends exactly.
Fixed points are cycles of order 1 (see `fixed_points`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int8
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import affine_maps, patterns
from sciml.dynamics.plrnn.starts import Pool, seeds
from sciml.numerics.checks import check_count

ACCURATE = 1e-10
"""A cycle closes when its residual is so small beside its states (or those of the pool)."""

SAME = 1e-7
"""States nearer than this, relative to their size, are one state."""

AGE = 20
"""Sweeps after which a candidate that found nothing begins elsewhere."""

NUMBERS = 20_000_000
"""Entries of matrices that are held at a time."""


@dataclass(frozen=True)
class Cycle:
    """States that follow each other, the last one by the first.

    Args:
        points: from the one whose first component is least, float64.
        patterns: -1, 0, 1 for hidden units below, between and above their bounds.
        eigenvalues: of the derivative of one turn, J_k ... J_1, the largest first. Of a cycle with a state on the border of
            two regions, those of one side.
        stable: all eigenvalues are less than 1 in size.
        residual: largest difference between the map of a state and the next state.
    """

    points: Float[Tensor, "order state"]
    patterns: Int8[Tensor, "order hidden"]
    eigenvalues: Complex[Tensor, "state"]
    stable: bool
    residual: float

    @property
    def order(self) -> int:
        """Steps of one turn."""
        return len(self.points)


@dataclass(frozen=True)
class Search:
    """How long and how widely to look.

    Args:
        slots: candidates followed at once, for each replica.
        sweeps: Newton steps of each slot, at most; a slot that ends begins again from another start.
        patience: sweeps without a new cycle in any replica after which the search ends.
        seed: of the starts.
    Raises:
        ValueError: a number below 1.
    """

    slots: int = 256
    sweeps: int = 400
    patience: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(slots=self.slots, sweeps=self.sweeps, patience=self.patience)


SEARCH = Search()
"""As far as it looks if not told otherwise."""


@torch.no_grad()
def cycles(
    network: PiecewiseLinear,
    order: int,
    *,
    starts: Float[Tensor, "replica start state"] | None = None,
    search: Search = SEARCH,
) -> list[list[Cycle]]:
    """The cycles of minimal period `order` that a search finds, for each replica, sorted by their first state.

    Starts are states of the network's own orbits, `starts`, states around them, and states around the kinks of the hidden
    units; half of them with the orbit that follows, the others with states in any order. Cycles without isolated states, where
    1 is an eigenvalue, are passed over. A search can miss a cycle; `every_cycle` cannot, for few hidden units.

    Args:
        network: worked on in float64.
        starts: states that matter, such as those of the data.
    Raises:
        ValueError: an order below 1, or starts of another shape or not finite.

    Source: the virtual solutions are those of Eisenmann, Monfared, Göring & Durstewitz, NeurIPS 2023 (SCYFI).
    """
    check_count(order=order)
    network = network.detached().to(torch.float64)
    pool = Pool.of(network, starts, search.seed)
    found = Found.empty(network, order, pool.size)
    at_once = max(1, NUMBERS // (network.replicas * order * max(network.states**2, network.weight.shape[2])))
    slots, sweeps, patience = search.slots, search.sweeps, search.patience
    if slots > at_once:
        more = -(-slots // at_once)
        slots, sweeps, patience = at_once, sweeps * more, patience * more
    orbits = seeds(network, pool, slots, order)
    before = orbits.new_full((2, *orbits[:, :, 0].shape), math.nan)
    age = torch.zeros(orbits.shape[:2], dtype=torch.int64, device=orbits.device)
    idle = 0
    for _ in range(sweeps):
        orbits = closed(network, orbits)
        ended = found.closing(orbits)
        idle = 0 if found.add(orbits, ended) else idle + 1
        if idle >= patience:
            break
        first, age = orbits[:, :, 0], age + 1
        again = (first == before[1]).all(-1)  # two sequences of regions that point to each other
        ended = ended | again | (age >= AGE) | ~torch.isfinite(orbits).flatten(2).all(-1)
        before = torch.stack([first, before[0]])
        orbits = torch.where(ended[:, :, None, None], seeds(network, pool, slots, order), orbits)
        age = torch.where(ended, 0, age)
    return found.cycles()


@torch.no_grad()
def every_cycle(network: PiecewiseLinear, order: int, *, most: int = 4_000_000) -> list[list[Cycle]]:
    """All isolated cycles of minimal period `order`, by trying every sequence of patterns: for few hidden units.

    A unit has as many patterns as it has finite bounds, and one more. With L rectifiers there are 2^(L order) sequences.

    Raises:
        ValueError: an order below 1, or more than `most` sequences.
    """
    check_count(order=order)
    network = network.detached().to(torch.float64)
    sides = [
        [0] + [-1] * bool(low.isfinite().any()) + [1] * bool(high.isfinite().any())
        for low, high in zip(network.lower.unbind(1), network.upper.unbind(1), strict=True)
    ]
    number = math.prod(len(side) for side in sides)
    if number**order > most:
        raise ValueError(f"order: got {order} with {number} patterns, need at most {most} sequences; use the search")
    grid = torch.cartesian_prod(*(torch.tensor(side, dtype=torch.int8) for side in sides)).view(number, len(sides))
    grid = grid.to(network.weight.device)
    found = Found.empty(network, order, Pool.of(network, None, 0).size)
    for numbers in torch.arange(number**order, device=grid.device).split(1 << 14):
        digits = torch.stack([numbers // number**i % number for i in range(order)], 1)
        orbits = solved(*affine_maps(network, grid[digits].expand(network.replicas, -1, -1, -1)))
        found.add(orbits, found.closing(orbits))
    return found.cycles()


def closed(network: PiecewiseLinear, orbits: Float[Tensor, "replica slot order state"]) -> Tensor:
    """The cycles of the regions that these states lie in, one Newton step; not finite where there is none."""
    return solved(*affine_maps(network, patterns(network, orbits)))


def solved(
    matrices: Float[Tensor, "replica slot order state state"], constants: Float[Tensor, "replica slot order state"]
) -> Float[Tensor, "replica slot order state"]:
    """States with z_{i+1} = J_i z_i + c_i and the first after the last; not finite where the system is singular."""
    order = constants.shape[2]
    product, rest = matrices[:, :, 0], constants[:, :, 0].unsqueeze(-1)
    for i in range(1, order):
        product, rest = matrices[:, :, i] @ product, matrices[:, :, i] @ rest + constants[:, :, i].unsqueeze(-1)
    eye = torch.eye(constants.shape[3], dtype=constants.dtype, device=constants.device)
    z, info = torch.linalg.solve_ex(eye - product, rest)
    z = torch.where((info == 0)[..., None, None], z, math.nan)
    points = [z]
    for i in range(order - 1):
        points.append(matrices[:, :, i] @ points[-1] + constants[:, :, i].unsqueeze(-1))
    return torch.stack(points, 2).squeeze(-1)


@dataclass
class Found:
    """Cycles met so far.

    Args:
        size: of the states that matter, for each replica; it scales what is small.
        points: of the cycles of each replica, (cycle, order, state).
    """

    network: PiecewiseLinear
    order: int
    size: Float[Tensor, "replica"]
    points: list[Tensor] = field(default_factory=list)

    @classmethod
    def empty(cls, network: PiecewiseLinear, order: int, size: Float[Tensor, "replica"]) -> Found:
        none = network.weight.new_empty(0, order, network.states)
        return cls(network, order, size, [none] * network.replicas)

    def closing(self, orbits: Float[Tensor, "replica slot order state"]) -> Tensor:
        """Which of them are cycles of the network, (replica, slot).

        A continuous map has the residual 0 just where each state lies in its region, and rounding at a border does no harm.
        """
        return self._gaps(orbits) <= ACCURATE * self._scales(orbits)

    def add(self, orbits: Float[Tensor, "replica slot order state"], good: Tensor) -> bool:
        """Whether one of the good ones is new. Those of a smaller period are left out."""
        for divisor in range(1, self.order):
            if self.order % divisor == 0:
                apart = (orbits[:, :, divisor] - orbits[:, :, 0]).abs().amax(-1)
                good = good & (apart > SAME * self._scales(orbits))
        new = False
        for replica in good.any(1).nonzero().flatten().tolist():
            some, size = orbits[replica, good[replica]], self.size[replica]
            while len(some := some[~_among(some[:, 0], self.points[replica], size)]):
                self.points[replica] = torch.cat([self.points[replica], some[:1]])
                some, new = some[1:], True
        return new

    def cycles(self) -> list[list[Cycle]]:
        """For each replica, sorted by their first state."""
        return [self._described(self.network.replica(i), points) for i, points in enumerate(self.points)]

    def _described(self, network: PiecewiseLinear, points: Tensor) -> list[Cycle]:
        if not len(points):
            return []
        points = _polished(network, points)
        turn = points[:, :, 0].argmin(1, keepdim=True)
        turned = (turn + torch.arange(self.order, device=points.device)) % self.order
        points = points.gather(1, turned.unsqueeze(-1).expand_as(points))
        points = points[points[:, 0, 0].argsort(stable=True)]
        codes = patterns(network, points[None])
        product = _product(affine_maps(network, codes)[0][0])
        values = torch.linalg.eigvals(product)
        gaps = (network(points[None])[0] - points.roll(-1, 1)).abs().flatten(1).amax(1)
        made = []
        for orbit, code, value, gap in zip(points, codes[0], values, gaps, strict=True):
            value = value[value.abs().argsort(descending=True, stable=True)]
            made.append(Cycle(orbit, code, value, bool(value[0].abs() < 1), float(gap)))
        return made

    def _gaps(self, orbits: Tensor) -> Tensor:
        return (self.network(orbits) - orbits.roll(-1, 2)).abs().flatten(2).amax(2)

    def _scales(self, orbits: Tensor) -> Tensor:
        return torch.maximum(orbits.abs().flatten(2).amax(2), self.size.unsqueeze(1))


def _among(states: Float[Tensor, "new state"], known: Float[Tensor, "cycle order state"], size: Tensor) -> Tensor:
    """Which states are one of a known cycle; a state belongs to one cycle only, so one state tells."""
    every = known.flatten(0, 1)
    if not len(every):
        return torch.zeros(len(states), dtype=torch.bool, device=states.device)
    apart = (states.unsqueeze(1) - every).abs().amax(-1)
    return (apart <= SAME * torch.maximum(every.abs().amax(-1), size)).any(1)


def _product(matrices: Float[Tensor, "cycle order state state"]) -> Float[Tensor, "cycle state state"]:
    product = matrices[:, 0]
    for matrix in matrices[:, 1:].unbind(1):
        product = matrix @ product
    return product


def _polished(network: PiecewiseLinear, points: Float[Tensor, "cycle order state"]) -> Float[Tensor, "cycle order state"]:
    """Solved once more, for all states together: products of strongly unstable regions lose digits, this does not."""
    count, order, state = points.shape
    if order == 1 or count * (order * state) ** 2 > NUMBERS:
        return points
    matrices, constants = (part[0] for part in affine_maps(network, patterns(network, points[None])))
    system = matrices.new_zeros(count, order, state, order, state)
    eye = torch.eye(state, dtype=points.dtype, device=points.device)
    for i in range(order):
        system[:, i, :, i] -= matrices[:, i]
        system[:, i, :, (i + 1) % order] += eye
    again, info = torch.linalg.solve_ex(system.flatten(3).flatten(1, 2), constants.flatten(1))
    again = again.view_as(points)

    def gap(z: Tensor) -> Tensor:
        return (network(z[None])[0] - z.roll(-1, 1)).abs().flatten(1).amax(1)

    better = (info == 0) & (gap(again) < gap(points))
    return torch.where(better[:, None, None], again, points)


__all__ = ["SEARCH", "Cycle", "Search", "cycles", "every_cycle"]
