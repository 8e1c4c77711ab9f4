"""Cycles planted in networks: how many a search finds, how exactly, and how long it takes.

python benchmarks/cycles.py [--quick] [--out docs/results/cycles.json]

100 networks of two states and ten hidden units, clipped and not, with a cycle of each order from 1 to 10 on one of ten of them;
W and h are the smallest that send each state of the cycle to the next. Whatever other cycles they have is unknown. And the
three fixed points of a network of 50 hidden units that was fitted to one step of Lorenz's equations. One thread.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from _report import Figure, report, seconds
from torch import Tensor

from sciml.dynamics.plrnn.cycles import Cycle, Search, cycles
from sciml.dynamics.plrnn.fixed_points import fixed_points
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import affine_maps, patterns
from sciml.problems.flows.named import FLOWS

SEED = 20261128
ORDERS = range(1, 11)
HIDDEN = 10
WIDE = Search(slots=512, patience=100)
"""Wider than the search is if not told otherwise, which is given beside it."""

GROWTH = 100.0
"""Most that a planted cycle grows in a turn; stronger ones no search and no orbit meets."""


def planted(order: int, systems: int, clipped: bool) -> tuple[PiecewiseLinear, Tensor]:
    """Networks and a cycle on each, (system, order, 2): turned points near a circle that the map sends round to 1e-9."""
    random = torch.Generator().manual_seed(SEED + 2 * order + clipped)
    draws = 400 * systems

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(draws, *shape, generator=random, dtype=torch.float64)

    inner = torch.randn(draws, HIDDEN, 2, generator=random, dtype=torch.float64)
    offset, decay = uniform(-1.5, 1.5, HIDDEN), uniform(0, 0.9, 2)
    lower = torch.zeros_like(offset)
    upper = uniform(0.5, 2, HIDDEN) if clipped else lower + math.inf
    angle = 2 * math.pi * (torch.arange(order, dtype=torch.float64) / order + uniform(0, 1, 1))
    z = uniform(1, 1.3, order)[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    after = z.roll(-1, 1)
    active = torch.clamp(z @ inner.mT + offset[:, None], lower[:, None], upper[:, None])
    features = torch.cat([active, torch.ones_like(active[..., :1])], -1)
    weight = torch.linalg.pinv(features) @ (after - decay[:, None] * z)
    parts = (decay, weight[:, :-1].mT.contiguous(), weight[:, -1].contiguous(), inner, offset, lower, upper)
    network = PiecewiseLinear(*parts)
    matrices, _ = affine_maps(network, patterns(network, z))
    turn = matrices[:, 0]
    for matrix in matrices[:, 1:].unbind(1):
        turn = matrix @ turn
    good = ((network(z) - after).abs().flatten(1).amax(1) < 1e-9) & (torch.linalg.eigvals(turn).abs().amax(1) < GROWTH)
    kept = good.nonzero().flatten()[:systems]
    return PiecewiseLinear(*(part[kept] for part in parts)), z[kept]


def searched(clipped: bool, systems: int, each: int) -> list[Figure]:
    """Over all orders, `each` systems of each, `systems` in all."""
    made = [planted(order, each, clipped) for order in ORDERS]
    if (number := sum(len(known) for _, known in made)) != systems:
        raise RuntimeError(f"planted: got {number} systems, need {systems}; draw more")
    start = time.process_time()
    plain = [cycles(network, order) for order, (network, _) in zip(ORDERS, made, strict=True)]
    middle = time.process_time()
    wide = [cycles(network, order, search=WIDE) for order, (network, _) in zip(ORDERS, made, strict=True)]
    spent, beside = time.process_time() - middle, middle - start
    truths = [known for _, known in made]
    every = [cycle for of_order in wide for some in of_order for cycle in some]
    less = f"{met(plain, truths) / systems:.2f} by the search as it is if not told otherwise"
    kind = "clipped" if clipped else "unclipped"
    shape = f"{systems} {kind} networks, orders 1 to {ORDERS[-1]}"
    return [
        Figure(f"part of the planted cycles found, {shape}", met(wide, truths) / systems, 1.0, less, better="higher"),
        Figure(f"largest residual, {shape}", max(one.residual for one in every), 1e-8, f"{len(every)} cycles in all"),
        Figure(f"seconds of processor time, {shape}", spent, 600.0, f"{beside:.3g} s by the search as it is"),
    ]


def met(found: list[list[list[Cycle]]], truths: list[Tensor]) -> int:
    """How many of the known cycles are among those found, by order and system."""
    count = 0
    for of_order, known in zip(found, truths, strict=True):
        for some, points in zip(of_order, known, strict=True):
            apart = [float(torch.cdist(cycle.points, points).amin(1).max()) for cycle in some]
            count += min(apart, default=math.inf) < 1e-6
    return count


def lorenz() -> tuple[PiecewiseLinear, Tensor, Tensor]:
    """A network whose W and h are fitted to one step of Lorenz's equations, states to start from, and the three fixed points.

    Both in units of the deviation; V and b are random and fixed.
    """
    flow, random = FLOWS["lorenz"], torch.Generator().manual_seed(SEED)
    scale = torch.tensor(flow.scale, dtype=torch.float64)
    orbit = flow.trajectory(torch.tensor(flow.start, dtype=torch.float64), [i * flow.interval for i in range(10_000)]) / scale
    rest = math.sqrt(72.0)
    points = torch.tensor([[0.0, 0, 0], [rest, rest, 27], [-rest, -rest, 27]], dtype=torch.float64) / scale
    around = points.repeat_interleave(300, 0) + 0.2 * torch.randn(900, 3, generator=random, dtype=torch.float64)
    after = flow.trajectory(around * scale, [0.0, flow.interval])[:, 1] / scale
    now, then = torch.cat([orbit[:-1], around]), torch.cat([orbit[1:], after])
    inner = torch.randn(50, 3, generator=random, dtype=torch.float64)
    through = now[torch.randint(len(now), (50,), generator=random)]
    offset = -(inner * through).sum(1)
    decay = torch.full((3,), 0.9, dtype=torch.float64)
    features = torch.cat([torch.relu(now @ inner.T + offset), torch.ones_like(now[:, :1])], 1)
    weight = torch.linalg.lstsq(features, then - decay * now).solution
    zero = torch.zeros_like(offset)
    parts = (decay, weight[:-1].T, weight[-1], inner, offset, zero, zero + math.inf)
    return PiecewiseLinear(*(part[None].contiguous() for part in parts)), orbit[None, ::100], points


def lorenz_figures(repeats: int) -> list[Figure]:
    network, starts, known = lorenz()
    (found,) = fixed_points(network, starts=starts)
    states = torch.stack([one.point for one in found])
    near = torch.cdist(known, states).amin(1)
    spent = seconds(lambda: fixed_points(network, starts=starts), repeats)
    name = "fixed points of a network of 50 hidden units fitted to Lorenz-63"
    there = float((near < 0.2).sum())
    return [
        Figure(f"{name}: how many of three, to 0.2 deviations", there, 3.0, f"{len(found)} in all", better="higher"),
        Figure(f"{name}: largest residual", max(one.residual for one in found), 1e-8),
        Figure(f"{name}: seconds", spent, 1.0),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one system of each order, one timing")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    per_order = 1 if given.quick else 10
    figures = [
        *lorenz_figures(1 if given.quick else 5),
        *searched(False, per_order * len(ORDERS), per_order),
        *searched(True, per_order * len(ORDERS), per_order),
    ]
    sys.exit(report(figures, "cycles", given.out, seed=SEED))
