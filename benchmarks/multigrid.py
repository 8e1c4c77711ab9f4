"""Darcy flow by multigrid-preconditioned conjugate gradients against scipy's sparse LU: iterations, one solve, a set of solves.

python benchmarks/multigrid.py [--quick] [--device cuda] [--out docs/results/multigrid.json]

One thread per process. --device moves our solves only, and leaves out what is asked for on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import scipy.sparse
import torch
from _report import Figure, cores, print_table, report, seconds
from scipy.sparse.linalg import splu
from torch import Tensor

from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.numerics.multigrid import Solution, solve_diffusion
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy import Darcy, rough, smooth, trigonometric

SEED = 20261121
SAMPLES, POINTS, BLOCK = 2000, 64, 50  # of the set of solves; BLOCK samples are solved together


# With the most iterations allowed.
LAWS: dict[str, tuple[Darcy, int]] = {"smooth": (smooth(), 12), "rough": (rough(), 14), "trigonometric": (trigonometric(), 15)}


def square(points: int) -> Domain:
    return Domain.box((1.0, 1.0), (points, points), "dirichlet")


def draw(law: str, points: int, samples: range) -> Tensor:
    return LAWS[law][0].draw(square(points), Seeds(SEED, samples))["a"][:, 0]


def solve(a: Tensor, device: str) -> Solution:
    a = a.to(device)
    return solve_diffusion(a, torch.ones_like(a), square(a.shape[1]))


def matrix(a: np.ndarray) -> scipy.sparse.csc_matrix:
    """Five points on the inner nodes, arithmetic means."""
    n = len(a) - 2
    number = np.arange(n * n).reshape(n, n)
    down, right = (a[1:] + a[:-1])[:, 1:-1] / 2, (a[:, 1:] + a[:, :-1])[1:-1] / 2
    centre = down[1:] + down[:-1] + right[:, 1:] + right[:, :-1]
    link = -np.concatenate((down[1:-1].ravel(), right[:, 1:-1].ravel()))
    first = np.concatenate((number[:-1].ravel(), number[:, :-1].ravel()))
    second = np.concatenate((number[1:].ravel(), number[:, 1:].ravel()))
    rows, columns = np.concatenate((first, second, number.ravel())), np.concatenate((second, first, number.ravel()))
    return scipy.sparse.csc_matrix((np.concatenate((link, link, centre.ravel())) * (n + 1) ** 2, (rows, columns)))


def direct(a: np.ndarray) -> Callable[[], np.ndarray]:
    """Factor and solve, the matrix given."""
    system = matrix(a)
    right = np.ones(len(system.indptr) - 1)
    return lambda: splu(system).solve(right)


def algebraic(a: np.ndarray) -> Callable[[], object] | None:
    """Classical algebraic multigrid with conjugate gradients, the matrix given; None where pyamg is not installed."""
    try:
        import pyamg
    except ImportError:
        return None
    system = matrix(a).tocsr()
    right = np.ones(len(system.indptr) - 1)
    return lambda: pyamg.ruge_stuben_solver(system).solve(right, tol=1e-10, accel="cg")


def iterations(device: str, quick: bool) -> list[Figure]:
    sizes = (64, 65, 129, 257, 421, 512, 513)
    figures, rows = [], []
    for name, (_, bound) in LAWS.items():
        counts = []
        for points in sizes:
            samples = range(2 if quick else 16)
            counts.append([int(solve(draw(name, points, samples[k : k + 1]), device).iterations) for k in samples])
        rows.append((name, *(f"{min(c)}-{max(c)}" for c in counts)))
        worst = max(max(c) for c in counts)
        figures.append(Figure(f"iterations to 1e-10, {name} law, 64² to 513²", worst, bound, "", device))
    print("Iterations of conjugate gradients with one V-cycle, to a relative residual of 1e-10")
    print_table(("law", *(f"{n}²" for n in sizes)), rows)
    return figures


def one_solve(device: str, quick: bool) -> list[Figure]:
    """Time of one rough solve with its set-up, over that of a factorisation."""
    figures, rows = [], []
    for points, samples in ((257, 3 if quick else 9), (513, 1 if quick else 3)):
        ours, theirs, others, gaps = [], [], [], []
        for k in range(samples):
            a = draw("rough", points, range(k, k + 1))
            factorise, coarsen = direct(a[0].numpy()), None if quick else algebraic(a[0].numpy())
            ours.append(seconds(partial(solve, a, device)))
            theirs.append(seconds(factorise, 1))
            others += [seconds(coarsen, 1)] if coarsen else []
            answer, expected = solve(a, device).u[0, 1:-1, 1:-1].flatten().cpu().numpy(), factorise()
            gaps.append(float(np.linalg.norm(answer - expected) / np.linalg.norm(expected)))
        ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
        times = [f"{median(t) * 1e3:.0f}" if t else "not measured" for t in (ours, theirs, others)]
        rows.append((f"{points}²", *times, f"{ratio:.1f}", f"{max(gaps):.0e}"))
        peer = f"scipy splu {times[1]} ms"
        figures.append(Figure(f"times faster than splu, one rough solve at {points}²", ratio, 3.0, peer, device, "higher"))
    print("One rough solve in milliseconds, set-up included, one thread")
    print_table(("grid", "ours", "splu", "pyamg", "ours to splu", "difference"), rows)
    return figures


def published_grid(device: str, quick: bool) -> list[Figure]:
    """Time of a smooth solve on the published grid, several together, over that of a factorisation."""
    together = 5 if quick else 10
    a = draw("smooth", 421, range(together))
    ours = seconds(partial(solve, a, device), 1 if quick else 3) / together
    theirs = median(seconds(direct(one), 1) for one in a[: 1 if quick else 5].numpy())
    print("One smooth solve on 421² in milliseconds, set-up included, one thread")
    print_table((f"ours, {together} together", "splu"), [[f"{t * 1e3:.0f}" for t in (ours, theirs)]])
    peer = f"scipy splu {theirs * 1e3:.0f} ms"
    return [Figure("times faster than splu, one smooth solve at 421²", theirs / ours, 6.0, peer, device, "higher")]


def blocks(device: str) -> None:
    """How long a sample takes by how many are solved together."""
    sizes = (1, 5, 10, 25, 50, 100, 200)
    a = draw("smooth", POINTS, range(max(sizes)))
    times = [seconds(partial(solve, a[:n], device)) / n for n in sizes]
    print(f"Milliseconds per smooth sample at {POINTS}², by samples solved together")
    print_table([str(n) for n in sizes], [[f"{t * 1e3:.2f}" for t in times]])


def two_processes() -> list[Figure]:
    """The wall time of a whole set on two processes: of the solves, and of all that generating it takes."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    halves = [range(SAMPLES // 2), range(SAMPLES // 2, SAMPLES)]
    workers = [context.Process(target=_work, args=(half, barrier, results)) for half in halves]
    for worker in workers:
        worker.start()
    ours, theirs = zip(*[results.get(timeout=300) for _ in workers], strict=True)
    for worker in workers:
        worker.join()
    peer = f"scipy splu {max(theirs):.1f} s"
    card = read_card(find_card("darcy-quick")).changed(samples={"train": SAMPLES - 2, "valid": 1, "test": 1}, resolution=POINTS)
    with TemporaryDirectory() as folder:
        stored = generate(card, folder, workers=2).seconds
    return [
        Figure(f"seconds for {SAMPLES} smooth solves at {POINTS}², two processes, blocks of {BLOCK}", max(ours), 15.0, peer),
        Figure(f"seconds to generate a set of {SAMPLES} smooth samples at {POINTS}², two workers", stored, 20.0, peer),
    ]


def _work(samples: range, barrier: Barrier, results: Queue) -> None:
    torch.set_num_threads(1)
    a = draw("smooth", POINTS, samples)
    solve(a[:BLOCK], "cpu")
    barrier.wait()
    start = time.perf_counter()
    for first in range(0, len(a), BLOCK):
        solve(a[first : first + BLOCK], "cpu")
    ours = time.perf_counter() - start
    some = [direct(one) for one in a[:100].numpy()]
    barrier.wait()
    start = time.perf_counter()
    for reference in some:
        reference()
    results.put((ours, (time.perf_counter() - start) * len(a) / len(some)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples, at most 45 seconds")
    parser.add_argument("--device", default="cpu", help="where our solves run")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = iterations(given.device, given.quick) + one_solve(given.device, given.quick)
    figures += published_grid(given.device, given.quick)
    if not given.quick:
        blocks(given.device)
    if given.device == "cpu" and cores() >= 2:
        figures += two_processes()
    return report(figures, "multigrid", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
