"""Navier-Stokes by exponential time differencing against the published scheme at its own step, and whole trajectories.

python benchmarks/navier_stokes.py [--quick] [--out docs/results/navier_stokes.json]

One thread. The peer is the published scheme from its description, as a plain loop: the vorticity in the spectrum of rfft2,
transport as u · ∇w with five transforms a step, Crank-Nicolson diffusion, explicit Euler for the rest, 2/3 dealiasing, step
1e-4. Its time is that of a stretch, scaled to a unit of time. On a GPU, where there is one, whole trajectories are made.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from _report import Figure, print_table, report
from torch import Tensor

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.vorticity import SpectralFlow
from sciml.problems.navier_stokes import NavierStokes, published

SEED = 20264009
STEP, PUBLISHED_STEP = 0.02, 1e-4  # on 64² points
TRAJECTORIES, BATCH = 1000, 100  # of the figure on a GPU, of which BATCH are measured


def square(points: int) -> Domain:
    return Domain.box((1.0, 1.0), (points, points), "periodic")


def draw(problem: NavierStokes, points: int, samples: int) -> Tensor:
    return problem.draw(square(points), Seeds(SEED, range(samples)))["w"][:, 0, 0]


def ours(problem: NavierStokes, w: Tensor) -> Callable[[float, float], Tensor]:
    """Advances what it returned before; the first call takes the given field."""
    domain = square(w.shape[-1])
    flow, forcing = SpectralFlow(problem.flow, domain, w), problem.forcing.on(domain).to(w)
    state = w

    def advance(start: float, stop: float) -> Tensor:
        nonlocal state
        state = flow.advance(state, forcing, start, stop)
        return state

    return advance


def peer(problem: NavierStokes, w: Tensor) -> Callable[[int], Tensor]:
    """Advances by so many steps of 1e-4."""
    n, nu, dt = w.shape[-1], problem.flow.viscosity, PUBLISHED_STEP
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    kx, ky = torch.meshgrid(k, k[: n // 2 + 1].abs(), indexing="ij")
    kept = ((kx.abs() <= 2 / 3 * (n // 2)) & (ky.abs() <= 2 / 3 * (n // 2))).to(w)
    laplacian = 4 * math.pi**2 * (kx**2 + ky**2)
    inverse = torch.where(laplacian > 0, 1 / laplacian, 1.0).to(w)
    before, after = (1 - dt / 2 * nu * laplacian).to(w), (1 / (1 + dt / 2 * nu * laplacian)).to(w)
    forcing, spectrum = torch.fft.rfft2(problem.forcing.on(square(n)).to(w)), torch.fft.rfft2(w)
    dx, dy = (2j * math.pi * kx).to(spectrum), (2j * math.pi * ky).to(spectrum)

    def advance(steps: int) -> Tensor:
        nonlocal spectrum
        for _ in range(steps):
            psi = spectrum * inverse
            u, v = torch.fft.irfft2(dy * psi, s=(n, n)), torch.fft.irfft2(-dx * psi, s=(n, n))
            wx, wy = torch.fft.irfft2(dx * spectrum, s=(n, n)), torch.fft.irfft2(dy * spectrum, s=(n, n))
            transport = kept * torch.fft.rfft2(u * wx + v * wy)
            spectrum = (dt * (forcing - transport) + before * spectrum) * after
        return torch.fft.irfft2(spectrum, s=(n, n))

    return advance


def distance(u: Tensor, v: Tensor) -> float:
    """Relative, in L2, of the worst sample."""
    return float(((u - v).double().flatten(1).norm(dim=1) / v.double().flatten(1).norm(dim=1)).max())


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def seconds_per_unit(problem: NavierStokes, w: Tensor, rounds: int) -> tuple[float, float]:
    """Of ours and of the peer, per sample and unit of time: medians of stretches measured in turn."""
    mine, theirs = ours(problem, w), peer(problem, w)
    mine(0.0, 0.1)
    theirs(20)
    stretch, steps = 0.5, 100
    times = [(timed(lambda: mine(0.0, stretch)), timed(lambda: theirs(steps))) for _ in range(rounds)]
    scale = 1 / len(w)
    return median(t for t, _ in times) / stretch * scale, median(t for _, t in times) / (steps * PUBLISHED_STEP) * scale


def against_the_published_scheme(quick: bool) -> list[Figure]:
    problem, samples = published(1e-5, step=STEP, modes=43), 2 if quick else 20
    rows, figures = [], []
    for dtype in (torch.float64, torch.float32):
        mine, theirs = seconds_per_unit(problem, draw(problem, 64, samples).to(dtype), 7 if quick else 25)
        name = str(dtype).removeprefix("torch.")
        rows.append((name, f"{mine * 1e3:.2f}", f"{theirs * 1e3:.0f}", f"{theirs / mine:.1f}"))
        what = f"times faster than the published scheme at its step, 64² to T = 20, viscosity 1e-5, {name}"
        note = f"published scheme {theirs:.3g} s per unit of time, scaled from 100 steps"
        figures.append(Figure(what, theirs / mine, 20.0, note, better="higher"))
    print(f"Milliseconds per sample and unit of time at 64², {samples} samples together, one thread; the peer from 100 steps")
    print_table(("dtype", f"ours, step {STEP:g}", f"published, step {PUBLISHED_STEP:g}", "ratio"), rows)
    return figures + accuracy(problem, min(samples, 4))


def accuracy(problem: NavierStokes, samples: int) -> list[Figure]:
    """Relative L2 distance at T = 1 from a run on the same grid with a tenth of our step."""
    w = draw(problem, 64, samples)
    refined = ours(replace(problem, flow=replace(problem.flow, step=STEP / 10)), w)(0.0, 1.0)
    rows, errors = [], {}
    for dtype in (torch.float64, torch.float32):
        errors[dtype] = distance(ours(problem, w.to(dtype))(0.0, 1.0), refined)
        theirs = distance(peer(problem, w.to(dtype))(round(1 / PUBLISHED_STEP)), refined)
        rows.append((str(dtype).removeprefix("torch."), f"{errors[dtype]:.1e}", f"{theirs:.1e}"))
    print(f"Relative L2 error at T = 1 against a run on the same grid with step {STEP / 10:g}, worst of {samples} samples")
    print_table(("dtype", "ours", "published"), rows)
    note = f"published scheme {rows[0][2]} in float64, {rows[1][2]} in float32"
    return [
        Figure(f"relative L2 error at T = 1, 64², viscosity 1e-5, {row[0]}", error, 1e-3, note)
        for row, error in zip(rows, errors.values(), strict=True)
    ]


def whole_run() -> None:
    """20 units of time on 64² points, all of them measured."""
    problem = published(1e-5, step=STEP, modes=43)
    w = draw(problem, 64, 20)
    run = ours(problem, w)
    total = sum(timed(partial(run, float(t), float(t + 1))) for t in range(20))
    print(f"64² to T = 20, viscosity 1e-5, float64, 20 samples together: {total / 20:.2f} s per trajectory\n")


def large_grid(quick: bool) -> None:
    """What a trajectory of the first published set takes on one core, from a stretch of it."""
    problem, rows = published(1e-3), []
    stretch = 2 * problem.flow.step
    for dtype in (torch.float64, torch.float32):
        for samples in (1, 4):
            run = ours(problem, draw(problem, 256, samples).to(dtype))
            run(0.0, stretch)
            each = median(timed(partial(run, 0.0, stretch)) for _ in range(3 if quick else 9)) / (stretch * samples)
            rows.append((str(dtype).removeprefix("torch."), str(samples), f"{each * problem.times[-1]:.0f}"))
    print("Seconds per trajectory of 256² points, viscosity 1e-3, T = 50, from 2 steps of 5000, one thread")
    print_table(("dtype", "samples together", "seconds"), rows)


def on_the_gpu() -> list[Figure]:
    """Whole trajectories of the first published set, in float32 and float64."""
    problem, figures = published(1e-3), []
    for dtype, target in ((torch.float64, math.inf), (torch.float32, 600.0)):
        w = draw(problem, 256, BATCH).to("cuda", dtype)
        ours(problem, w)(0.0, 0.1)
        run = ours(problem, w)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for first, last in zip(problem.times, problem.times[1:], strict=False):
            run(first, last)
        torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) * TRAJECTORIES / BATCH
        name = str(dtype).removeprefix("torch.")
        what = f"seconds for {TRAJECTORIES} trajectories of 256² points, viscosity 1e-3, T = 50, {name}, from {BATCH} measured"
        print(f"{what}: {seconds:.0f}\n")
        if target < math.inf:
            figures.append(Figure(what, seconds, target, device=torch.cuda.get_device_name()))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples, at most 45 seconds")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        figures = against_the_published_scheme(given.quick)
        if not given.quick:
            whole_run()
        large_grid(given.quick)
        if torch.cuda.is_available():
            figures += on_the_gpu()
    return report(figures, "navier_stokes", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
