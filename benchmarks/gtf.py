"""Generalized teacher forcing: sequences per second of each engine, Newton sweeps, and gradients over long sequences.

python benchmarks/gtf.py [--quick] [--device cuda] [--out docs/results/gtf.json]

One thread, float32, noisy Lorenz-63 made here. The peer is a plain PyTorch loop of the published formulas that trains one
replica at a time; no PyTorch implementation of the method is published that could stand in for it. An update is the forward and
backward pass; a sequence is one window of one replica. Newton sweeps and gradients are those of a network trained here, in
float64.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import torch
from _report import Figure, memory_now, memory_peak, print_table, report, seconds
from torch import Tensor

from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.levenberg_marquardt import levenberg_marquardt
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.newton import newton_states
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.rollout import Engine, Forcing, rollout
from sciml.dynamics.plrnn.strength import Bounded, Constant, Kalman, Signal, Strength, matched

SEED = 20261129
REPLICAS, SEQUENCES, ALPHA = 20, 16, 0.1


def half_step(x: Tensor) -> Tensor:
    """Lorenz's equations over 0.005 by the classical Runge-Kutta scheme, (component, *batch)."""

    def slope(x: Tensor) -> Tensor:
        return torch.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    h = 0.005
    k1 = slope(x)
    k2 = slope(x + h / 2 * k1)
    k3 = slope(x + h / 2 * k2)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3))


def orbit(instants: int) -> Tensor:
    """Of Lorenz's equations at intervals of 0.01, on the attractor."""
    x, kept = torch.tensor([1.0, 1.0, 25.0], dtype=torch.float64), []
    for _ in range(instants + 1000):
        x = half_step(half_step(x))
        kept.append(x)
    return torch.stack(kept)[1000:]


def error_of_the_true_map(alpha: float, noise: float = 0.05, steps: int = 60, warm_up: int = 20) -> float:
    """Mean squared error of forecasts by the equations themselves under forcing by noisy data: what no network can beat."""
    x = orbit(20_000)
    mean, scale = x.mean(0), x.std(0)
    seen = windows((x - mean) / scale, 4000, steps)
    seen = seen + noise * torch.randn(seen.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(SEED))
    z, total = seen[:, 0], 0.0
    for t in range(1, steps + 1):
        z = (half_step(half_step((z * scale + mean).T)).T - mean) / scale
        if t > warm_up:
            total += float((z - seen[:, t]).square().mean()) / (steps - warm_up)
        z = (1 - alpha) * z + alpha * seen[:, t]
    return total


def lorenz63(instants: int, noise: float = 0.05) -> Tensor:
    """A standardised orbit with noise."""
    clean = orbit(instants)
    clean = (clean - clean.mean(0)) / clean.std(0)
    return clean + noise * torch.randn(clean.shape, dtype=clean.dtype, generator=torch.Generator().manual_seed(SEED))


def windows(series: Tensor, count: int, steps: int) -> Tensor:
    first = torch.randint(len(series) - steps, (count,), generator=torch.Generator().manual_seed(SEED))
    return series[first[:, None] + torch.arange(steps + 1)]


class PlainNetwork(torch.nn.Module):
    """One clipped shallow PLRNN and the forced loop, from the formulas of the paper."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.A = torch.nn.Parameter(torch.rand(latent))
        self.W1 = torch.nn.Parameter(torch.randn(latent, hidden) * hidden**-0.5)
        self.W2 = torch.nn.Parameter(torch.randn(hidden, latent) * latent**-0.5)
        self.h1 = torch.nn.Parameter(torch.zeros(latent))
        self.h2 = torch.nn.Parameter(torch.randn(hidden) * hidden**-0.5)

    def forward(self, x: Tensor, alpha: float) -> Tensor:
        z, loss = x[:, 0], x.new_zeros(())
        for t in range(1, x.shape[1]):
            u = z @ self.W2.T
            z = self.A * z + (torch.relu(u + self.h2) - torch.relu(u)) @ self.W1.T + self.h1
            loss = loss + (z - x[:, t]).square().mean()
            z = (1 - alpha) * z + alpha * x[:, t]
        return loss / (x.shape[1] - 1)


def plain_update(network: PlainNetwork, x: Tensor) -> None:
    network.zero_grad()
    network(x, ALPHA).backward()


def our_update(model: ShallowPLRNN, objective: GeneralizedTeacherForcing, x: Tensor) -> None:
    model.zero_grad()
    objective(model, {"state": x}).backward()


def rates(latent: int, hidden: int, steps: int, repeats: int, device: str) -> dict[str, float]:
    """Sequences per second, medians of rounds in which each engine has its turn."""
    draw = torch.Generator().manual_seed(SEED)
    x = torch.randn(REPLICAS * SEQUENCES, steps + 1, latent, generator=draw).to(device)
    torch.manual_seed(SEED)
    model, plain = ShallowPLRNN(latent, hidden, replicas=REPLICAS).to(device), PlainNetwork(latent, hidden).to(device)
    engines: tuple[Engine, ...] = ("loop", "fused")
    calls = {
        f"ours, {engine}": partial(our_update, model, GeneralizedTeacherForcing(ALPHA, engine=engine), x) for engine in engines
    }
    calls["plain loop, one replica at a time"] = partial(plain_update, plain, x[:SEQUENCES])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call, 3))
    counts = dict.fromkeys(calls, REPLICAS * SEQUENCES) | {"plain loop, one replica at a time": SEQUENCES}
    return {name: counts[name] / median(times[name]) for name in calls}


def trained(series: Tensor, updates: int, alpha: float | Strength, replicas: int = 1) -> ShallowPLRNN:
    """A network after some updates of Adam on windows of 50 steps, and damped Gauss-Newton steps on windows of 200."""
    torch.manual_seed(SEED)
    model = ShallowPLRNN(3, 50, replicas=replicas)
    objective = GeneralizedTeacherForcing(alpha, warm_up=10)
    rule = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(rule, updates, 1e-5)
    single = series.float()
    for _ in range(updates):
        first = torch.randint(len(series) - 51, (16 * replicas,))
        our_update(model, objective, single[first[:, None] + torch.arange(51)])
        rule.step()
        fall.step()
    windows = series.unfold(0, 201, 160).movedim(-1, 1).double()
    for _ in range(3):
        levenberg_marquardt(model, GeneralizedTeacherForcing(Kalman(), warm_up=40), {"state": windows}, iterations=12)
    return model


def sweeps(network: PiecewiseLinear, series: Tensor, alpha: float, steps: int) -> list[int]:
    """Of Newton's method over `steps` steps; more than one number where it had to cut the trajectory up."""
    counts: list[int] = []
    strength = torch.full((1, 1, 1, 1), alpha, dtype=series.dtype)
    newton_states(network, series[None, None, 0], steps, series[None, None, 1:steps], strength, None, counts=counts)
    return counts


def gradient_sizes(network: PiecewiseLinear, series: Tensor, strength: Tensor) -> tuple[float, float]:
    """log10 of the largest norm of dz_t / dz_1 over t, z_1 the first state that was forced, and of the last."""
    forcing = Forcing(series[None, None, 1:-1], strength)
    states = rollout(network, series[None, None, 0], len(series) - 1, forcing=forcing)
    entered = torch.lerp(states[:, :, :-1], forcing.targets, forcing.strength)
    product, size, sizes = torch.eye(3, dtype=series.dtype), 0.0, []
    left = 1 - strength.expand(1, 1, len(series) - 2, 1)[0, 0, 1:]
    # Before it is forced a state is as far as its gradient ever comes; after that a part of it is left.
    for matrix, part in zip(network.jacobian(entered)[0, 0, :-1], left, strict=True):
        product = matrix @ product
        norm = torch.linalg.matrix_norm(product, 2)
        sizes.append(size + float(norm.log10()))
        product, size = product * part / norm, sizes[-1]
    return max(sizes), sizes[-1]


def parallel_in_time(model: ShallowPLRNN, series: Tensor, steps: int, device: str) -> float:
    """Time of an update by steps over that of one by Newton's method, one sequence."""
    x = series[None, : steps + 1].to(device)
    model = model.to(device=device, dtype=x.dtype)
    objectives = {engine: GeneralizedTeacherForcing(0.05, engine=engine) for engine in ("fused", "newton")}
    times = {engine: seconds(partial(our_update, model, objective, x), 3) for engine, objective in objectives.items()}
    return times["fused"] / times["newton"]


def memory() -> float:
    """MiB by which an update over 10^5 steps by Newton's method raises the peak of this process."""
    torch.manual_seed(SEED)
    model, series = ShallowPLRNN(3, 50), torch.randn(1, 100_001, 3).cumsum(1) / 300
    our_update(model, GeneralizedTeacherForcing(0.1), series[:, :50])  # what is only loaded once
    before = memory_now()
    our_update(model, GeneralizedTeacherForcing(0.1, engine="newton"), series)
    return memory_peak() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, a network trained less, shorter sequences")
    parser.add_argument("--memory", action="store_true", help="only measure memory, in this process")
    parser.add_argument("--device", default="cpu", help="where the engines are timed")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = []
    if given.memory:
        print(memory())
        return 0
    used = float(subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True).stdout)
    text = f"its states are {100_000 * 3 * 4 / 2**20:.1f} MiB, its Jacobians {100_000 * 9 * 4 / 2**20:.1f}"
    figures.append(Figure("peak memory of an update over T = 1e5, parallel in time, MiB", used, 256, text))
    for name, latent, hidden, steps in (("Lorenz-63", 3, 50, 200), ("ECG", 5, 250, 200)):
        found = rates(latent, hidden, steps, 1 if given.quick else 5, given.device)
        print_table(("engine", "sequences/s"), [(engine, f"{rate:.0f}") for engine, rate in found.items()])
        plain, loop, fused = found["plain loop, one replica at a time"], found["ours, loop"], found["ours, fused"]
        shape = f"{name}: M = {latent}, L = {hidden}, T = {steps}, {REPLICAS} replicas, {fused:.0f} sequences/s"
        figures += [
            Figure(
                f"{shape}, over one replica at a time", fused / plain, 10, f"plain loop: {plain:.0f}", given.device, "higher"
            ),
            Figure(f"{shape}, over our batched loop", fused / loop, 2, f"batched loop: {loop:.0f}", given.device, "higher"),
        ]
    strengths = (0.02, 0.05, 0.08, 0.12, 0.2, 0.4, 1.0)
    floors = [(f"{alpha:g}", f"{error_of_the_true_map(alpha):.5f}") for alpha in strengths]
    print_table(("alpha", "error of the true map, noise 0.05² = 0.0025"), floors)
    long = 2_000 if given.quick else 10_000
    clean, noisy = (lorenz63(max(long, 1000 if given.quick else 100_000) + 2, noise) for noise in (0.0, 0.05))
    model = trained(noisy, 500 if given.quick else 10_000, Constant(0.05))
    network = model.double().piecewise_linear().detached()
    torch.manual_seed(SEED)
    fresh = ShallowPLRNN(3, 50).double().piecewise_linear().detached()
    for alpha in (0.05, 0.1, 0.2):
        counts = {name: sweeps(network, series, alpha, long) for name, series in (("clean", clean), ("noisy", noisy))}
        untrained = sweeps(fresh, noisy, alpha, long)
        worst = max(sum(c) for c in counts.values())
        told = f"clean data {counts['clean']}, noisy {counts['noisy']}, at random initialisation {untrained[:5]}"
        figures.append(Figure(f"Newton sweeps, T = {long}, alpha = {alpha}", worst, 6, told))
    some, signal = noisy[: long + 1], Signal(noisy[None, None, 1:long])
    alpha = torch.tensor([0.5], dtype=torch.float64)
    for _ in range(20):  # with memory, as in training
        alpha = 0.7 * alpha + 0.3 * matched(network, signal, alpha)
    rules = {
        f"matched, {float(alpha):.4f}": alpha.view(1, 1, 1, 1),
        "0.05": torch.full((1, 1, 1, 1), 0.05, dtype=torch.float64),
        "Kalman gains": Kalman()(model, signal),
        "bounded": Bounded()(model, signal),
    }
    sizes = {name: gradient_sizes(network, some, strength) for name, strength in rules.items()}
    print_table(
        ("alpha", "log10 of the peak", "at the end"), [(name, f"{a:.1f}", f"{b:.1f}") for name, (a, b) in sizes.items()]
    )
    (peak, end), others = sizes.pop("bounded"), ", ".join(f"{name}: {a:.1f}, {b:.1f}" for name, (a, b) in sizes.items())
    figures += [
        Figure(f"gradients over T = {long}, alpha bounded: log10 of the peak", peak, 3, f"peak, end; {others}"),
        Figure(f"gradients over T = {long}, alpha bounded: log10 at the end", end, -8, better="higher"),
    ]
    ratio = parallel_in_time(model, noisy, long, given.device)
    bound = 100 if given.device.startswith("cuda") else 0
    figures.append(
        Figure(f"parallel in time, T = {long}, speed over steps", ratio, bound, "ours, fused", given.device, "higher")
    )
    return report(figures, "gtf", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
