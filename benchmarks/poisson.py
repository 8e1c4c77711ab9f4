"""Poisson's equation around obstacles by aggregation multigrid against scipy's splu and cg, and pyamg: iterations and time.

python benchmarks/poisson.py [--quick] [--device cuda] [--out docs/results/poisson.json]

One thread. --device moves our solves only. Peers get the assembled matrix of the fluid cells for nothing; ours makes its
operator and its grids within the time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import scipy.sparse.linalg
import torch
from _report import Figure, print_table, report, seconds

from sciml.numerics.aggregation import solve_conductance
from sciml.numerics.domain import Domain
from sciml.numerics.krylov import KrylovSolution
from sciml.numerics.random_fields import Seeds
from sciml.problems.poisson import Poisson, conductance, obstacles, smoke
from sciml.problems.problem import Fields

SEED = 20260401
WALLS, OPEN_TOP, HELD = "neumann", ("neumann", "dirichlet"), "dirichlet"
# Name, problem per dimension, sides of the last axis, sides of the others.
CASES: list[tuple[str, dict[int, Poisson], str | tuple[str, str], str]] = [
    ("obstacles, open top", {2: obstacles(modes=32), 3: obstacles(12, 0.15, modes=16)}, OPEN_TOP, WALLS),
    ("obstacles, closed", {2: obstacles(modes=32), 3: obstacles(12, 0.15, modes=16)}, WALLS, WALLS),
    ("lognormal conductance", {2: conductance(modes=32), 3: conductance(modes=16)}, HELD, HELD),
]
BOUNDS = [
    ("splu", "256²", 1.5),
    ("cg", "256²", 3.0),
    ("splu", "512²", 2.0),
    ("splu", "32³", 10.0),
    ("cg", "64³", 3.0),
    ("pyamg", "64³", 3.0),
]
GRIDS = [(2, n) for n in (64, 128, 256, 512)] + [(3, n) for n in (16, 32, 64)]


def box(dim: int, points: int, last: str | tuple[str, str], others: str) -> Domain:
    return Domain.box((1.0,) * dim, (points,) * dim, [*[others] * (dim - 1), last], "cells")


def draw(problem: Poisson, domain: Domain, sample: int, device: str) -> Fields:
    return {name: values.to(device) for name, values in problem.draw(domain, Seeds(SEED, range(sample, sample + 1))).items()}


def solve(problem: Poisson, given: Fields, domain: Domain, tolerance: float = 1e-10) -> KrylovSolution:
    return solve_conductance(problem.operator(given, domain), given["source"][:, 0], tolerance=tolerance)


def iterations(device: str, quick: bool) -> list[Figure]:
    rows, worst = [], 0
    grids = [(dim, n) for dim, n in GRIDS if not quick or n**dim <= 256**2]
    for name, problems, last, others in CASES:
        counts = []
        for dim, points in grids:
            domain = box(dim, points, last, others)
            given = [draw(problems[dim], domain, k, device) for k in range(2 if quick else 8)]
            counts.append([int(solve(problems[dim], one, domain).iterations) for one in given])
        worst = max(worst, *(max(c) for c in counts))
        rows.append((name, *(f"{min(c)}-{max(c)}" for c in counts)))
    print("Iterations of conjugate gradients with one V-cycle, to a relative residual of 1e-10")
    print_table(("case", *(f"{n}{'²³'[dim - 2]}" for dim, n in grids)), rows)
    title = f"iterations to 1e-10, all cases, up to {max(n for d, n in grids if d == 2)}² and {grids[-1][1]}³"
    return [Figure(title, worst, 20, "", device)]


def peers(problem: Poisson, given: Fields, domain: Domain, quick: bool) -> dict[str, tuple[float, np.ndarray] | None]:
    """Seconds and answer of each on the matrix of the fluid; None where it is not there or would take too long."""
    operator = problem.operator(given, domain)
    matrix, f = operator.matrix(0), given["source"][0, 0][operator.fluid[0]].cpu().numpy()
    direct = domain.dim == 2 or (len(f) < 4e4 and not quick)
    found = {
        "splu": timed(lambda: scipy.sparse.linalg.splu(matrix.tocsc()).solve(f)) if direct else None,
        "cg": timed(lambda: scipy.sparse.linalg.cg(matrix, f, rtol=1e-10)[0]),
    }
    try:
        import pyamg
    except ImportError:
        return found | {"pyamg": None}
    return found | {"pyamg": timed(lambda: pyamg.smoothed_aggregation_solver(matrix).solve(f, tol=1e-10, accel="cg"))}


def timed(call: Callable[[], object]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    answer = np.asarray(call())
    return time.perf_counter() - start, answer


def without_pockets(problem: Poisson, domain: Domain, device: str) -> Fields:
    """The first sample in which no fluid is shut in: its matrix is regular."""
    for sample in range(100):
        given = draw(problem, domain, sample, device)
        if bool((problem.operator(given, domain).floating < 0).all()):
            return given
    raise ValueError("samples: got none of 100 without fluid that is shut in, need fewer obstacles")


def one_solve(device: str, quick: bool) -> list[Figure]:
    name, problems, last, others = CASES[0]
    rows, ratios = [], {}
    for dim, points in GRIDS:
        if quick and points**dim > 256**2:
            continue
        grid = f"{points}{'²³'[dim - 2]}"
        domain, problem = box(dim, points, last, others), problems[dim]
        given = without_pockets(problem, domain, device)
        ours = seconds(partial(solve, problem, given, domain), 5)
        answer = solve(problem, given, domain).solution[0][problem.operator(given, domain).fluid[0]].cpu().numpy()
        found = peers(problem, given, domain, quick)
        ratios |= {(peer, grid): pair[0] / ours for peer, pair in found.items() if pair}
        times = [f"{pair[0] * 1e3:.0f}" if pair else "-" for pair in found.values()]
        direct = found["splu"]
        gap = f"{np.linalg.norm(answer - direct[1]) / np.linalg.norm(direct[1]):.0e}" if direct else "-"
        rows.append((grid, f"{ours * 1e3:.0f}", *times, gap))
    print(f"One solve to 1e-10 in milliseconds, {name}, set-up of ours included, one thread")
    print_table(("grid", "ours", "splu", "cg", "pyamg", "ours to splu"), rows)
    return [
        Figure(f"times faster than {peer}, one solve at {grid}", ratios[peer, grid], bound, peer, device, "higher")
        for peer, grid, bound in BOUNDS
        if (peer, grid) in ratios
    ]


def low_accuracy(device: str) -> list[Figure]:
    """64³ with obstacles to 1e-6, what learned solvers are held against; in time of the processor, free of its other guests."""
    problem, domain = obstacles(6, 0.15, modes=16), box(3, 64, WALLS, WALLS)
    times = []
    for sample in range(4):
        given = draw(problem, domain, sample, device)
        start = time.process_time()
        solve(problem, given, domain, 1e-6)
        times.append(time.process_time() - start)
    title = "processor seconds to 1e-6 at 64³ with six obstacles, closed, one thread"
    return [Figure(title, median(times), 0.5, "", device)]


def plumes(device: str, quick: bool) -> None:
    """Seconds per sample of the plume, drawn (simulated, on the CPU) and solved; 8.5 steps in the mean, 16 at most."""
    rows, samples = [], range(2 if quick else 6)
    for dim, points in ((2, 64), (2, 128), (3, 32)) if quick else ((2, 64), (2, 128), (2, 256), (3, 32), (3, 64)):
        problem, domain = smoke(), box(dim, points, WALLS, WALLS)
        start = time.perf_counter()
        scenes = [draw(problem, domain, k, device) for k in samples]
        drawn = (time.perf_counter() - start) / len(samples)
        solved = seconds(partial(solve, problem, scenes[0], domain), 3)
        rows.append((f"{points}{'²³'[dim - 2]}", f"{drawn:.2f}", f"{solved:.3f}"))
    print(f"A plume, mean of {len(samples)} samples: seconds to simulate and to solve")
    print_table(("grid", "simulate", "solve"), rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller grids and fewer samples, at most 45 seconds")
    parser.add_argument("--device", default="cpu", help="where our solves run")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = iterations(given.device, given.quick) + one_solve(given.device, given.quick) + low_accuracy(given.device)
    plumes(given.device, given.quick)
    return report(figures, "poisson", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
