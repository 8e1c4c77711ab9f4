"""Orbits as sequences of linear regions: which are visited, how often, and which follows which."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import numbered, patterns

DENSE = 3000
"""Regions up to which the topological entropy is worked out, from a dense matrix."""


@dataclass(frozen=True)
class SymbolicOrbit:
    """An orbit written in regions, numbered 0, 1, ... from the one visited most.

    Args:
        patterns: of the visited regions: -1, 0, 1 for hidden units below, between and above their bounds.
        symbols: the region of each instant.
        visits: instants in each region.
        transitions: how often region i (row) was followed by j, a sparse matrix; i = j included.
    """

    patterns: Int8[Tensor, "region hidden"]
    symbols: Int64[Tensor, "time"]
    visits: Int64[Tensor, "region"]
    transitions: Int64[Tensor, "region region"]

    @property
    def regions(self) -> int:
        """How many were visited."""
        return len(self.visits)

    def markov_entropy(self) -> float:
        """Nats per step of the Markov chain with these transitions: - sum over i, j of p_i p_ij log p_ij.

        p_i is the part of the transitions that leave i. An upper bound of the entropy of the symbols as the orbit gets long.
        """
        (rows, _), counts = self.transitions.indices(), self.transitions.values().double()
        leaving = torch.zeros(self.regions, dtype=torch.float64, device=counts.device).index_add_(0, rows, counts)
        return -float((counts * (counts / leaving[rows]).log()).sum() / counts.sum()) + 0.0

    def topological_entropy(self) -> float:
        """Log of the spectral radius of the graph of transitions, in nats per step: how fast the number of words grows.

        -inf for an orbit that never comes back to a region.

        Raises:
            ValueError: more than 3000 regions.
        """
        if self.regions > DENSE:
            raise ValueError(f"orbit: got {self.regions} regions, need at most {DENSE} for the spectral radius of their graph")
        graph = (self.transitions.to_dense() > 0).double()
        radius = float(torch.linalg.eigvals(graph).abs().max())
        # A graph that has a cycle at all has a radius of at least 1; without one it is 0, up to rounding.
        return math.log(max(radius, 1.0)) if _has_cycle(graph) else -math.inf


@torch.no_grad()
def symbolic_orbits(network: PiecewiseLinear, orbit: Float[Tensor, "replica time state"]) -> list[SymbolicOrbit]:
    """The orbit of each replica in regions, float64.

    Raises:
        ValueError: fewer than two instants, another shape, or a state that is not finite.
    """
    if orbit.ndim != 3 or orbit.shape[::2] != (network.replicas, network.states) or orbit.shape[1] < 2:
        need = f"({network.replicas}, at least 2, {network.states})"
        raise ValueError(f"orbit: got shape {tuple(orbit.shape)}, need {need}")
    if not bool(orbit.isfinite().all()):
        bad = (~orbit.isfinite()).any(-1).nonzero()[0].tolist()
        raise ValueError(f"orbit: got a state that is not finite in replica {bad[0]} at instant {bad[1]}, need finite ones")
    network = network.detached().to(torch.float64)
    return [_symbolic(pattern) for pattern in patterns(network, orbit.double())]


def _symbolic(pattern: Int8[Tensor, "time hidden"]) -> SymbolicOrbit:
    number = numbered(pattern)
    _, symbols, visits = torch.unique(number, return_inverse=True, return_counts=True)
    order = visits.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    symbols, visits = rank[symbols], visits[order]
    first = torch.full_like(visits, len(symbols))
    first.scatter_reduce_(0, symbols, torch.arange(len(symbols), device=symbols.device), "amin")
    pairs, counts = torch.unique(symbols[:-1] * len(visits) + symbols[1:], return_counts=True)
    places = torch.stack([pairs // len(visits), pairs % len(visits)])
    shape = (len(visits), len(visits))
    transitions = torch.sparse_coo_tensor(places, counts, shape, is_coalesced=True, check_invariants=True)
    return SymbolicOrbit(pattern[first], symbols, visits, transitions)


def _has_cycle(graph: Float[Tensor, "region region"]) -> bool:
    """Whether something is left when regions without a successor are taken away again and again."""
    alive = torch.ones(len(graph), dtype=graph.dtype, device=graph.device)
    while True:
        left = ((graph @ alive > 0) & (alive > 0)).to(graph.dtype)
        if bool((left == alive).all()):
            return bool(left.any())
        alive = left


__all__ = ["SymbolicOrbit", "symbolic_orbits"]
