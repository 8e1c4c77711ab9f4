"""The numbers on the pages of docs/problems that no test asserts: errors at the published settings, and what a sample costs.

python benchmarks/problems.py [--quick] [--out docs/results/problems.json]

1. Helmholtz: how near the resonances are, what a finer grid changes, what float32 wave speeds change.
2. Burgers and Kuramoto-Sivashinsky: errors at the published settings for several steps.
3. The sets of DeepONet: errors against finer solutions, and how many inputs are drawn again.
4. Processor time per sample of the cards: draw, solve, residual and validation, without storage.

One thread. Poisson and Navier-Stokes have benchmarks of their own.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from _report import Figure, print_table, report
from helmholtz import sparse
from scipy.sparse.linalg import eigsh
from torch import Tensor

from sciml.generation.card import find_card, read_card
from sciml.generation.samples import make_samples
from sciml.numerics.block_elimination import BlockElimination
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems import burgers, diffusion_reaction_source, kuramoto_sivashinsky
from sciml.problems.helmholtz import Helmholtz
from sciml.problems.ordinary_differential import OrdinaryDifferential, decay, pendulum
from sciml.problems.problem import relative_distance

SEED = 20264020
CARDS = (
    "helmholtz",
    "burgers",
    "burgers-script",
    "burgers-in-time",
    "kuramoto-sivashinsky",
    "antiderivative",
    "ode-nonlinear",
    "gravity-pendulum",
    "diffusion-reaction-source",
    "advection-deeponet-i",
    "advection-deeponet-iii",
    "poisson-conductance",
    "poisson-obstacles-mini",
    "poisson-obstacles",
    "poisson-obstacles-3d",
    "smoke-plume",
)
LINE = Domain.box((1.0,), (100,), "open")


def square(points: int) -> Domain:
    return Domain.box((1.0, 1.0), (points, points), "neumann")


def resonances(quick: bool) -> list[Figure]:
    """Of the discrete equation on 101 x 101 nodes: how many lie below the frequency, how far the nearest is."""
    problem, still, domain, count = Helmholtz(), Helmholtz(frequency=1e-6), square(101), 4 if quick else 40
    c = problem.draw(domain, Seeds(SEED, range(count)))["c"]
    below, near = [], []
    for one in c.split(1):
        matrix, stiff = (p.system(one[:, 0], domain)[0] for p in (problem, still))
        # Negative eigenvalues of a matrix are those of its pivot blocks (Haynsworth 1968).
        below.append(sum(int((torch.linalg.eigvalsh(block) < 0).sum()) for block in BlockElimination(matrix).inverses))
        stiffness = sparse(stiff)
        mass = (stiffness - sparse(matrix)) / problem.frequency**2
        squares = eigsh(stiffness, 2, mass, sigma=problem.frequency**2, return_eigenvectors=False)
        near.append(min(abs(math.sqrt(value) / problem.frequency - 1) for value in squares))
    title = f"distance of the nearest resonance from the frequency, in parts of it, least of {count}"
    peer = f"at most {max(near):.1e}; {min(below)} to {max(below)} resonances lie below"
    return [Figure(title, min(near), 1e-5, peer, better="higher")]


def finer_grids(quick: bool) -> list[Figure]:
    """Helmholtz samples on the published grid and on twice as many intervals, beside four times as many."""
    problem, grids, spent = Helmholtz(), [101, 201, 401], 0.0
    found: list[Tensor] = []
    for points in grids:
        domain = square(points)
        c = problem.draw(domain, Seeds(SEED, range(1 if quick else 3)))
        begin = time.process_time()
        u = problem.solve(c, domain)["u"]
        spent = (time.process_time() - begin) / len(u)
        found.append(u[..., :: (points - 1) // 100, :: (points - 1) // 100])
    figures = [Figure("processor seconds per sample of Helmholtz on 401² nodes", spent, 20.0)]
    for points, u in zip(grids[:-1], found, strict=False):
        gaps = relative_distance(u, found[-1])
        title = f"relative L2 distance of Helmholtz on {points}² nodes from 401², largest of {len(gaps)}"
        figures.append(Figure(title, float(gaps.max()), 1.0, f"least {float(gaps.min()):.2f}"))
    return figures


def single_speed() -> list[Figure]:
    """What float32 wave speeds change in the answer."""
    problem, domain = Helmholtz(), square(101)
    c = problem.draw(domain, Seeds(SEED, range(6)))["c"]
    rounded, u = (problem.solve({"c": speed}, domain)["u"] for speed in (c.float().double(), c))
    gap = float(relative_distance(rounded, u).max())
    return [Figure("relative L2 change of Helmholtz by float32 wave speeds, largest of 6", gap, 1e-4)]


def burgers_steps(quick: bool) -> list[Figure]:
    """Distance from the solution of Hopf and Cole at time 1 on the published 8192 points."""
    domain, samples = Domain.box((1.0,), (8192,), "periodic"), 2 if quick else 8
    figures: list[Figure] = []
    for viscosity, halvings in ((0.1, (0.02, 0.01, 0.005, 0.0025)), (0.001, (0.002, 0.001, 0.0005, 0.00025))):
        errors = []
        for step in halvings[:3] if quick else halvings:
            problem = burgers.published(viscosity, step)
            a = problem.draw(domain, Seeds(SEED, range(samples)))["a"]
            errors.append(float(problem.flow.error(a[:, 0], problem.solve({"a": a}, domain)["u"][:, 0], domain, 1.0).max()))
        _print_steps(f"Burgers, viscosity {viscosity}, largest distance from Hopf-Cole of {samples}", halvings, errors)
        step = burgers.published(viscosity).flow.step
        title = f"distance of Burgers from Hopf-Cole at viscosity {viscosity}, step {step}, largest of {samples}"
        figures.append(Figure(title, errors[halvings.index(step)], 5e-7))
    return figures


def chaotic_steps(quick: bool) -> list[Figure]:
    """Kuramoto-Sivashinsky on the published grid, 10 units of time from a state on the attractor."""
    domain, samples = Domain.box((64.0,), (256,), "periodic"), 4 if quick else 16
    first = kuramoto_sivashinsky.published().draw(domain, Seeds(SEED, range(samples)))

    def end(step: float) -> Tensor:
        problem = replace(kuramoto_sivashinsky.published(), times=(0.0, 10.0), step=step)
        return problem.solve(first, domain)["u"][:, 1]

    finest, steps = end(0.0025), (0.1, 0.05, 0.025)
    errors = [float(relative_distance(end(step), finest).median()) for step in steps]
    _print_steps(f"Kuramoto-Sivashinsky after 10 units of time, median of {samples}", steps, errors)
    return [Figure(f"error of Kuramoto-Sivashinsky after 10 units of time, step 0.025, median of {samples}", errors[-1], 1e-6)]


def _print_steps(title: str, steps: Iterable[float], errors: Sequence[float]) -> None:
    print(title)
    orders = ["", *(f"{math.log2(a / b):.2f}" for a, b in pairwise(errors))]
    print_table(("step", "error", "order"), [(f"{h:g}", f"{e:.1e}", o) for h, e, o in zip(steps, errors, orders, strict=False)])


def operator_sets(quick: bool) -> list[Figure]:
    """The equations of DeepONet's sets against half the step, with their residuals, or against more sines."""
    figures, count = [_redrawn(2000 if quick else 20_000)], 400 if quick else 4000
    for name, problem in (("s' = -s² + u", decay()), ("the pendulum", pendulum())):
        given = problem.draw(LINE, Seeds(SEED, range(count)))
        answers = problem.solve(given, LINE)
        gap = float((answers["s"] - problem.halved().solve(given, LINE)["s"]).abs().max())
        residual = float(problem.residual(given | answers, LINE).max())
        figures.append(Figure(f"change of {name} by half the step, largest of {count}", gap, 1e-8, f"residual {residual:.0e}"))
    problem, count = diffusion_reaction_source.published(), 10 if quick else 100
    given = problem.draw(LINE, Seeds(SEED, range(count)))
    finer = replace(problem, modes=600, step=problem.step / 8)
    gap = float((problem.solve(given, LINE)["s"] - finer.solve(given, LINE)["s"]).abs().max())
    title = f"change of diffusion and reaction by 600 sines and an eighth of the step, largest of {count}"
    return [*figures, Figure(title, gap, 1e-8)]


def _redrawn(count: int) -> Figure:
    problem: OrdinaryDifferential = decay()
    again = 0
    for start in range(0, count, 1000):
        seeds = Seeds(SEED, range(start, start + 1000))
        first = problem.law.values(problem.law.draw(seeds), LINE.coordinates()[0])
        again += int((problem.draw(LINE, seeds)["u"][:, 0] - first).abs().amax(1).gt(1e-9).sum())
    return Figure(f"inputs of s' = -s² + u that are drawn again, of {count}", again, count / 100)


def costs(quick: bool) -> list[Figure]:
    """Of a block after a first one, which makes tables; of small blocks several."""
    figures: list[Figure] = []
    for name in CARDS:
        card = read_card(find_card(name))
        problem, block = card.make_problem(), card.storage.block
        if quick and card.seconds * block > 1:
            continue
        make_samples(card, problem, range(block))
        blocks = max(1, min(10, round(2 / (card.seconds * block))), 4 if block == 1 else 1)
        begin = time.process_time()
        for number in range(1, blocks + 1):
            make_samples(card, problem, range(number * block, (number + 1) * block))
        spent = (time.process_time() - begin) / (blocks * block)
        peer = f"the card says {card.seconds * 1e3:g} ms"
        figures.append(Figure(f"processor ms per sample of {name}", spent * 1e3, round(3e3 * card.seconds, 4), peer))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples, about a minute")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of grids that are coarse, as published
        figures = resonances(given.quick) + finer_grids(given.quick) + single_speed()
        figures += burgers_steps(given.quick) + chaotic_steps(given.quick) + operator_sets(given.quick) + costs(given.quick)
    return report(figures, "problems", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
