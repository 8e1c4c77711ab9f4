"""Training steps of ours beside DeepXDE (PyTorch backend): same networks, same data, same optimiser.

python benchmarks/deeponet.py [--quick] [--device cuda] [--out docs/results/deeponet.json]

1. Data: the shape of the fair comparison's Burgers case, 1,000 functions at 128 sensors and 128 points, full batch; and that of
   the extrapolation study's Poisson case, 1,000 functions at 5,082 points, where the loss by Gram matrices pays.
2. Equation: diffusion-reaction s_t = D s_xx - k s² + v, 50 functions and 4,000 points a step, residual, sides and start; beside
   DeepXDE's aligned class and its class with the zero-coordinate shift.

Each case runs in a process of its own, in turns, and tells seconds per step, from runs of two lengths so that start and end
cost nothing, and the memory it needs above that of the libraries. The peer comes with the extra `compare`. Then the memory of
answers at 10^8 points, which are made and answered in pieces.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _report import Figure, memory_now, memory_peak, report

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.factorised import in_pieces
from sciml.operators.deeponet.networks import MLP, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError, Sum
from sciml.operators.deeponet.physics import Boundary, Residual

SEED = 0
RATE = 1e-3
FUNCTIONS, POINTS, SENSORS = 1000, 128, 128
BATCH, COLLOCATION, SIDE, START, EQUATION_SENSORS = 50, 4000, 200, 100, 50
DIFFUSION, REACTION = 0.01, 0.01
POINTS_OF_PREDICTION = 10**8


def burgers_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Functions, points and answers of the shape of the set; the values do not matter for time."""
    generator = np.random.default_rng(SEED)
    x = np.linspace(0, 1, POINTS, endpoint=False)[:, None]
    amplitude = generator.standard_normal((FUNCTIONS, 8)) / (1 + np.arange(8)) ** 2
    waves = np.sin(2 * np.pi * (x + 0.1) * (1 + np.arange(8)))
    u = amplitude @ waves.T
    return u.astype(np.float32), x.astype(np.float32), (u * np.abs(u)).astype(np.float32)


def collocation() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (x, t) inside, on the sides and at the start."""
    generator = np.random.default_rng(SEED)
    inside = generator.random((COLLOCATION, 2))
    side = np.stack([generator.integers(0, 2, SIDE), generator.random(SIDE)], 1)
    start = np.stack([generator.random(START), np.zeros(START)], 1)
    return tuple(points.astype(np.float32) for points in (inside, side, start))  # pyright: ignore[reportReturnType]


def ours_with_data(device: str) -> Callable[[int], None]:
    u, _, s = (torch.from_numpy(values).to(device) for values in burgers_data())
    line = Domain.box((1.0,), (POINTS,), "periodic", "first_end")
    torch.manual_seed(SEED)
    trunk = Chain([PeriodicFeatures((1.0,), waves=2), MLP((4, 128, 128, 128), "tanh", last_activation=True)])
    model = DeepONet(MLP((SENSORS, 128, 128, 128, 128), "tanh"), trunk).to(device)
    objective = SquaredError(FunctionsAtPoints(("u",), ("s",), line))
    return stepping(model, objective, {"u": u, "s": s[:, None]})


def poisson_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `burgers_data`, 66 x 77 points of the unit square."""
    generator = np.random.default_rng(SEED)
    u = generator.standard_normal((FUNCTIONS, 101))
    x, y = np.meshgrid(np.linspace(0, 1, 66), np.linspace(0, 1, 77), indexing="ij")
    waves = np.stack([np.sin(np.pi * (k + 1) * x) * y for k in range(4)]).reshape(4, -1)
    points = np.stack([x.ravel(), y.ravel()], 1)
    return u.astype(np.float32), points.astype(np.float32), (u[:, :4] @ waves).astype(np.float32)


def ours_with_many_points(device: str, gram: bool) -> Callable[[int], None]:
    u, _, s = (torch.from_numpy(values).to(device) for values in poisson_data())
    square = Domain.box((1.0, 1.0), (66, 77), "dirichlet", "both_ends")
    torch.manual_seed(SEED)
    model = DeepONet(MLP((101, 100, 100, 100), "relu"), MLP((2, 100, 100, 100), "relu", last_activation=True)).to(device)
    objective = SquaredError(FunctionsAtPoints(("u",), ("s",), square), gram=gram)
    return stepping(model, objective, {"u": u, "s": s.view(FUNCTIONS, 1, 66, 77)})


def ours_with_equation(device: str) -> Callable[[int], None]:
    inside, side, start = (torch.from_numpy(points).to(device) for points in collocation())
    torch.manual_seed(SEED)
    widths = 128, 128, 128
    model = DeepONet(MLP((EQUATION_SENSORS, *widths), "tanh"), MLP((2, *widths), "tanh", last_activation=True)).to(device)
    places = np.linspace(0, 1, EQUATION_SENSORS)
    v = smooth_functions(places)
    at_points = smooth_functions(collocation()[0][:, 0])
    batch = {"v": torch.from_numpy(v).to(device), "source": torch.from_numpy(at_points).to(device)[..., None]}
    equation = Residual(
        lambda d, y, batch: d[(1,)] - DIFFUSION * d[(0, 0)] + REACTION * d[()].square() - batch["source"],
        lambda batch: inside,
        ((), (1,), (0, 0)),
        ("v",),
    )
    sides = Boundary(lambda y, batch: 0.0, lambda batch: side, ("v",))
    first = Boundary(lambda y, batch: 0.0, lambda batch: start, ("v",))
    return stepping(model, Sum((1.0, equation), (1.0, sides), (1.0, first)), batch)


def smooth_functions(x: np.ndarray) -> np.ndarray:
    """(BATCH, len(x)), the same functions wherever they are asked for."""
    generator = np.random.default_rng(SEED)
    amplitude = generator.standard_normal((BATCH, 6)) / (1 + np.arange(6))
    return (amplitude @ np.sin(np.pi * np.outer(1 + np.arange(6), x) + np.arange(6)[:, None])).astype(np.float32)


def at_many_points(device: str) -> Callable[[int], None]:
    """Ten functions at POINTS_OF_PREDICTION points, of whose answers nothing is kept."""
    torch.manual_seed(SEED)
    model = DeepONet(MLP((101, 40, 40), "relu"), MLP((2, 40, 40), "relu", last_activation=True)).to(device)
    u, piece = torch.randn(10, 101, device=device), 2**16
    count = -(-POINTS_OF_PREDICTION // piece)

    def run(steps: int) -> None:
        for _ in range(steps):
            total = torch.zeros((), device=device)
            for answers in in_pieces(model, u, (torch.rand(piece, 2, device=device) for _ in range(count))):
                total += answers.sum()

    return run


def stepping(
    model: torch.nn.Module, objective: Callable[..., torch.Tensor], batch: dict[str, torch.Tensor]
) -> Callable[[int], None]:
    """So many steps of Adam, as `fit` takes them."""
    rule = torch.optim.Adam(model.parameters(), RATE, fused=True)

    def run(steps: int) -> None:
        loss = torch.zeros(())
        for _ in range(steps):
            loss = objective(model, batch)
            loss.backward()
            rule.step()
            rule.zero_grad()
        if loss.is_cuda:
            torch.cuda.synchronize()

    return run


def deepxde_with_data(device: str) -> Callable[[int], None]:
    dde: Any = import_module("deepxde")

    u, x, s = burgers_data()
    data = dde.data.TripleCartesianProd(X_train=(u, x), y_train=s, X_test=(u[:2], x), y_test=s[:2])
    net = dde.nn.DeepONetCartesianProd([SENSORS, 128, 128, 128, 128], [4, 128, 128, 128], "tanh", "Glorot normal")

    def periodic(y: torch.Tensor) -> torch.Tensor:
        phase = 2 * math.pi * y
        return torch.cat([torch.cos(phase), torch.sin(phase), torch.cos(2 * phase), torch.sin(2 * phase)], 1)

    net.apply_feature_transform(periodic)
    return deepxde_stepping(dde.Model(data, net))


def deepxde_with_many_points(device: str) -> Callable[[int], None]:
    dde: Any = import_module("deepxde")
    u, x, s = poisson_data()
    data = dde.data.TripleCartesianProd(X_train=(u, x), y_train=s, X_test=(u[:2], x), y_test=s[:2])
    net = dde.nn.DeepONetCartesianProd([101, 100, 100, 100], [2, 100, 100, 100], "relu", "Glorot normal")
    return deepxde_stepping(dde.Model(data, net))


def deepxde_with_equation(device: str, shifted: bool) -> Callable[[int], None]:
    dde: Any = import_module("deepxde")

    def aligned(x: Any, y: Any, v: Any) -> Any:
        slope, curvature = dde.grad.jacobian(y, x, j=1), dde.grad.hessian(y, x, j=0)
        return slope - DIFFUSION * curvature + REACTION * y**2 - v

    def by_shift(parameters: Any, y: Any, v: Any) -> Any:
        lazy = dde.zcs.LazyGrad(parameters, y)
        return lazy.compute((0, 1)) - DIFFUSION * lazy.compute((2, 0)) + REACTION * y**2 - v

    inside = dde.geometry.GeometryXTime(dde.geometry.Interval(0, 1), dde.geometry.TimeDomain(0, 1))
    sides = dde.icbc.DirichletBC(inside, lambda _: 0, lambda _, on_boundary: on_boundary)
    start = dde.icbc.IC(inside, lambda _: 0, lambda _, on_initial: on_initial)
    counts = {"num_domain": COLLOCATION, "num_boundary": SIDE, "num_initial": START, "num_test": 20}
    equation = dde.data.TimePDE(inside, by_shift if shifted else aligned, [sides, start], **counts)
    kind = dde.zcs.PDEOperatorCartesianProd if shifted else dde.data.PDEOperatorCartesianProd
    places = np.linspace(0, 1, EQUATION_SENSORS)[:, None]
    data = kind(equation, dde.data.GRF(length_scale=0.2), places, 200, function_variables=[0], num_test=2, batch_size=BATCH)
    widths = [128, 128, 128]
    net = dde.nn.DeepONetCartesianProd([EQUATION_SENSORS, *widths], [2, *widths], "tanh", "Glorot normal")
    return deepxde_stepping((dde.zcs.Model if shifted else dde.Model)(data, net))


def deepxde_stepping(model: Any) -> Callable[[int], None]:
    model.compile("adam", lr=RATE, verbose=0)
    return lambda steps: model.train(iterations=steps, display_every=10**9, verbose=0)


CASES: dict[str, Callable[[str], Callable[[int], None]]] = {
    "data, ours": ours_with_data,
    "data, DeepXDE": deepxde_with_data,
    "many points, ours by Gram matrices": lambda device: ours_with_many_points(device, True),
    "many points, ours by prediction": lambda device: ours_with_many_points(device, False),
    "many points, DeepXDE": deepxde_with_many_points,
    "equation, ours": ours_with_equation,
    "equation, DeepXDE aligned": lambda device: deepxde_with_equation(device, False),
    "equation, DeepXDE zero-coordinate shift": lambda device: deepxde_with_equation(device, True),
}


PREDICTION = "10^8 points"


def measured_once(device: str) -> dict[str, float]:
    """Seconds and MiB of the answers at 10^8 points, in this process."""
    run = at_many_points(device)
    before, begin = memory_now(device), time.perf_counter()
    run(1)
    return {"step": time.perf_counter() - begin, "memory": memory_peak(device) - before}


def measure(case: str, device: str, seconds: float) -> dict[str, float]:
    """Seconds per step and MiB of memory, in this process."""
    run = CASES[case](device)
    before = memory_now(device)
    run(1)
    begin = time.perf_counter()
    run(2)
    few = max(2, round(seconds / 4 / max((time.perf_counter() - begin) / 2, 1e-4)))
    slopes = []
    for _ in range(3):
        times = []
        for steps in (few, 2 * few):
            begin = time.perf_counter()
            run(steps)
            times.append(time.perf_counter() - begin)
        slopes.append((times[1] - times[0]) / few)
    return {"step": median(slopes), "memory": memory_peak(device) - before}


def in_process(case: str, device: str, seconds: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case, "--device", device, "--seconds", str(seconds)]
    done = subprocess.run(command, env={**os.environ, "DDE_BACKEND": "pytorch"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def bound(device: str) -> float:
    """Seconds of a step on the Burgers shape if it were its matrix products alone, at the speed of one of them here."""
    left, right = torch.randn(FUNCTIONS, 128, device=device), torch.randn(128, 128, device=device)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(200):
            left @ right
        if device != "cpu":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / 200)
    # Three layers of the branch and the product with the basis: forward, by the weights and, but for the first, by the inputs.
    return median(times) * (4 + 4 + 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs, once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", choices=(*CASES, PREDICTION), help="measure this one here and print it as JSON")
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    if given.case:
        alone = measured_once(given.device) if given.case == PREDICTION else measure(given.case, given.device, given.seconds)
        print(json.dumps(alone))
        return 0
    rounds, seconds = (1, 0.7) if given.quick else (3, 4.0)
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(rounds):
        for case in CASES:
            found[case].append(in_process(case, given.device, seconds))
    step = {case: median(one["step"] for one in each) for case, each in found.items()}
    memory = {case: median(one["memory"] for one in each) for case, each in found.items()}
    for case in CASES:
        print(f"{case:42} {step[case] * 1e3:9.2f} ms per step {memory[case]:9.0f} MiB")
    ours, aligned, shifted = (
        step[f"equation, {name}"] for name in ("ours", "DeepXDE aligned", "DeepXDE zero-coordinate shift")
    )
    peer, dense = step["data, DeepXDE"], step["many points, DeepXDE"]
    gpu = given.device != "cpu"
    text = f"{peer * 1e3:.2f} ms a step; products alone bound it at {bound(given.device) * 1e3:.2f} ms"
    figures = [
        Figure("steps/s of DeepXDE, Burgers shape", peer / step["data, ours"], 5.0 if gpu else 1.3, text),
        Figure(
            "steps/s of DeepXDE, 5,082 points, by Gram matrices",
            dense / step["many points, ours by Gram matrices"],
            1.0,
            f"{dense * 1e3:.1f} ms a step, ours by prediction {step['many points, ours by prediction'] * 1e3:.1f} ms",
        ),
        Figure("steps/s of DeepXDE's aligned class, equation", aligned / ours, 10.0, f"{aligned * 1e3:.1f} ms a step"),
        Figure("steps/s of its zero-coordinate shift, equation", shifted / ours, 1.0, f"{shifted * 1e3:.1f} ms a step"),
    ]
    figures = [Figure(f.figure, f.value, f.target, f.peer, given.device, "higher") for f in figures]
    part = memory["equation, ours"] / memory["equation, DeepXDE aligned"]
    text = f"{memory['equation, ours']:.0f} of {memory['equation, DeepXDE aligned']:.0f} MiB"
    figures.append(Figure("memory of DeepXDE's aligned class, equation", part, 0.2, text, given.device))
    many = in_process(PREDICTION, given.device, seconds)
    text = f"ten functions, {many['step']:.0f} s; the answers alone are {10 * 4 * POINTS_OF_PREDICTION / 2**20:,.0f} MiB"
    figures.append(Figure("MiB for answers at 10^8 points", many["memory"], 256, text, given.device))
    return report(figures, "deeponet", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
