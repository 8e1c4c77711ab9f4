"""Where orbits end: the attractor of each initial state, and samples of orbits while a parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.dynamics.plrnn.cycles import SAME, Cycle, Found, closed
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.numerics.checks import check_count, check_positive

RETURN = 1e-5
"""An orbit that comes back so near, relative to its size, is tried as a cycle."""


@dataclass(frozen=True)
class Basins:
    """Which attractor each initial state goes to.

    Args:
        labels: the number of a cycle in `attractors` of the replica; `bounded` for an orbit that is on no stable cycle; -1 for
            one that ran away.
        attractors: stable cycles that were met, for each replica, by period.
    """

    labels: Int64[Tensor, "replica *grid"]
    attractors: list[list[Cycle]]

    def bounded(self, replica: int) -> int:
        """The label of orbits that stay but are on no stable cycle: chaotic, quasi-periodic, or slower than `steps`."""
        return len(self.attractors[replica])


@torch.no_grad()
def basins(
    network: PiecewiseLinear,
    states: Float[Tensor, "replica *grid state"],
    *,
    steps: int = 1000,
    longest: int = 32,
    far: float = 1e3,
) -> Basins:
    """Iterates every state and says where it ends.

    After `steps` steps the first near return, up to `longest` steps later, is solved for exactly in the regions of the orbit;
    it is an attractor when it is a cycle of the map and stable.

    Args:
        states: such as those of `plane`.
        longest: period of a cycle that is told from an orbit that is only bounded.
        far: an orbit has run away when a component is larger than this times the largest of the initial states, and than that
            times the largest shift.
    Raises:
        ValueError: numbers out of range, or states of another shape or not finite.
    """
    check_count(steps=steps, longest=longest)
    check_positive(far=far)
    if states.ndim < 2 or states.shape[0] != network.replicas or states.shape[-1] != network.states or not states.numel():
        raise ValueError(f"states: got shape {tuple(states.shape)}, need ({network.replicas}, ..., {network.states})")
    if not bool(states.isfinite().all()):
        raise ValueError("states: got a value that is not finite, need finite ones")
    network = network.detached().to(torch.float64)
    z = states.double().flatten(1, -2) if states.ndim > 2 else states.double().unsqueeze(1)
    size = torch.maximum(z.abs().flatten(1).amax(1), network.shift.abs().amax(1)).clamp_min(torch.finfo(z.dtype).tiny)
    z = _settled(network, z, steps, far * size)
    alive = z.isfinite().all(-1)
    period = _periods(network, z, longest, RETURN * size)
    labels = torch.where(alive, 0, -1)
    attractors: list[list[Cycle]] = [[] for _ in range(network.replicas)]
    bounded = alive.clone()
    for order in torch.unique(period[period > 0]).tolist():
        _cycles_of(network, z, (period == order) & alive, order, size, labels, bounded, attractors)
    counts = torch.tensor([len(found) for found in attractors], device=labels.device)
    labels = torch.where(bounded, counts.unsqueeze(1), labels)
    return Basins(labels.view(states.shape[:-1]), attractors)


def _settled(network: PiecewiseLinear, z: Tensor, steps: int, limit: Float[Tensor, "replica"]) -> Tensor:
    """After so many steps; NaN for what ran away."""
    for _ in range(steps):
        z = network(z)
        z = torch.where((z.abs() <= limit[:, None, None]).all(-1, keepdim=True), z, torch.nan)
    return z


def _periods(
    network: PiecewiseLinear, z: Tensor, longest: int, near: Float[Tensor, "replica"]
) -> Int64[Tensor, "replica start"]:
    """Steps to the first near return; 0 where there is none."""
    period, after = torch.zeros(z.shape[:2], dtype=torch.int64, device=z.device), z
    for k in range(1, longest + 1):
        after = network(after)
        back = (after - z).abs().amax(-1) <= near.unsqueeze(1)
        period = torch.where(back & (period == 0), k, period)
    return period


def _cycles_of(
    network: PiecewiseLinear,
    z: Tensor,
    some: Tensor,
    order: int,
    size: Tensor,
    labels: Tensor,
    bounded: Tensor,
    attractors: list[list[Cycle]],
) -> None:
    """Labels of the starts that end on a stable cycle of one order, written in place."""
    for replica in some.any(1).nonzero().flatten().tolist():
        one, index = network.replica(replica), some[replica].nonzero().flatten()
        points = [z[replica, index][None]]
        for _ in range(order - 1):
            points.append(one(points[-1]))
        orbits = closed(one, torch.stack(points, 2))
        found = Found.empty(one, order, size[replica : replica + 1])
        found.add(orbits, found.closing(orbits))
        for cycle in (cycle for cycle in found.cycles()[0] if cycle.stable):
            apart = (orbits[0, :, 0].unsqueeze(1) - cycle.points).abs().amax(-1).amin(1)
            reached = index[apart <= SAME * torch.maximum(cycle.points.abs().max(), size[replica])]
            labels[replica, reached], bounded[replica, reached] = len(attractors[replica]), False
            attractors[replica].append(cycle)


def plane(
    origin: Float[Tensor, "state"],
    axes: tuple[int, int],
    across: Sequence[float],
    up: Sequence[float],
) -> Float[Tensor, "across up state"]:
    """Initial states on a grid of two components, the others those of `origin`, float64.

    Args:
        axes: numbers of the two components.
        across, up: their values.
    Raises:
        ValueError: axes that are equal or not components.
    """
    size = len(origin)
    if axes[0] == axes[1] or not all(0 <= axis < size for axis in axes):
        raise ValueError(f"axes: got {axes}, need two different numbers from 0 to {size - 1}")
    states = origin.double().expand(len(across), len(up), size).clone()
    states[..., axes[0]] = origin.new_tensor(across, dtype=torch.float64).unsqueeze(1)
    states[..., axes[1]] = origin.new_tensor(up, dtype=torch.float64)
    return states


Step = Callable[[Float[Tensor, "replica *batch state"]], Float[Tensor, "replica *batch state"]]


@torch.no_grad()
def orbit_samples(
    step: Step, start: Float[Tensor, "replica *batch state"], *, transient: int, samples: int, every: int = 1
) -> Float[Tensor, "replica *batch sample state"]:
    """States of orbits after a transient: a bifurcation diagram when the replicas are values of a parameter.

    Args:
        step: a network, or the step of a flow whose parameters have the same leading axis.
        every: steps from one sample to the next.
    Returns:
        not finite for orbits that ran away.
    Raises:
        ValueError: a number out of range.
    """
    check_count(0, transient=transient)
    check_count(samples=samples, every=every)
    z, kept = start, []
    for _ in range(transient):
        z = step(z)
    for _ in range(samples):
        for _ in range(every):
            z = step(z)
        kept.append(z)
    return torch.stack(kept, -2)


__all__ = ["Basins", "basins", "orbit_samples", "plane"]
