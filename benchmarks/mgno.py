"""MgNO beside a plain implementation of the published layer order: a training step, inference and memory.

python benchmarks/mgno.py [--quick] [--peer nchw|channels_last] [--device cuda] [--out docs/results/mgno.json]

The peer is written here from the description (He, Liu & Xu 2024 and their code): convolutions of torch one after the other,
NCHW. Both have the weights of the published model for rough Darcy coefficients, 572,661 numbers, batches of 8, and equal
answers. Times are medians of alternating calls, ratios those of each pair. Memory is the peak of a process of its own beyond
what it held before, of one training step with `recompute=True`, whose time stands beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from _report import Figure, memory_now, memory_peak, print_table, report
from torch import Tensor
from torch.nn import functional

from sciml.operators.mgno import MgNO, mgno_darcy_rough, open_square

BATCH = 8
SMOOTHING = ((1, 0),) * 5 + ((2, 0),)
CHILD = "peak memory of"
"""First argument of the processes that measure memory."""


def plain(state: dict[str, Tensor], u: Tensor) -> Tensor:
    """The published layers, by the names of their weights, with zero padding."""
    for layer in range(4):
        prefix, f, v, stored = f"conv_list.{layer}.", u, None, []
        for level, (steps, _) in enumerate(SMOOTHING):
            first = 0
            if v is not None:
                v = functional.conv2d(v, state[f"{prefix}layer{level}.0.Pi.weight"], stride=2, padding=1)
                f = functional.conv2d(f, state[f"{prefix}layer{level}.0.R.weight"], stride=2, padding=1)
                first = 1
            for i in range(first, first + steps):
                smooth = state[f"{prefix}layer{level}.{i}.S.weight"]
                if v is None:
                    v = functional.conv2d(f, smooth, padding=1)
                else:
                    residual = f - functional.conv2d(v, state[f"{prefix}layer{level}.{i}.A.weight"], padding=1)
                    v = v + functional.conv2d(residual, smooth, padding=1)
            stored.append(v)
        for level in reversed(range(len(SMOOTHING) - 1)):
            finer = functional.conv_transpose2d(
                stored[level + 1], state[f"{prefix}RTlayers.{level}.weight"], stride=2, padding=1
            )
            stored[level] = stored[level] + finer
        pointwise = functional.conv2d(u, state[f"linear_list.{layer}.weight"], state[f"linear_list.{layer}.bias"])
        u = functional.gelu(stored[0] + pointwise)
    return functional.conv2d(u, state["linear.weight"])


def both(points: int, device: str, recompute: bool = False, layout: str = "nchw") -> tuple[MgNO, dict[str, Tensor], Tensor]:
    """Our model, the peer's weights equal to its own, and an input."""
    torch.manual_seed(0)
    published = mgno_darcy_rough(open_square(points))
    lies = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}[layout]
    given = published.to_official().items()
    state = {n: w.to(device).contiguous(memory_format=lies if w.ndim == 4 else torch.contiguous_format) for n, w in given}
    state = {name: w.requires_grad_() for name, w in state.items()}
    arguments = {"width": 24, "layers": 4, "domain": open_square(points), "recompute": recompute}
    model = MgNO(1, 1, **arguments)
    model.load_state_dict(published.state_dict())
    return model.to(device), state, torch.randn(BATCH, 1, points, points, device=device)


def pairs(peer: Callable[[], object], *ours: Callable[[], object], repeats: int) -> list[list[float]]:
    """Seconds of alternating calls: per repeat the peer's and ours."""

    def seconds(call: Callable[[], object]) -> float:
        begin = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return [[seconds(call) for call in (peer, *ours)] for _ in range(repeats + 2)][2:]


def speed(points: int, device: str, repeats: int, layout: str) -> tuple[list[Figure], list[list[str]]]:
    """Figures of one size, and its lines of the table."""
    model, state, u = both(points, device, layout=layout)
    recomputing = both(points, device, recompute=True)[0]
    fast = model.collapse()
    with torch.no_grad():
        expected = plain(state, u)
        scale = expected.abs().max()
        wrong = max(float((answer - expected).abs().max() / scale) for answer in (model(u), fast(u)))
    weights = list(state.values())

    def step_of_peer() -> object:
        return torch.autograd.grad(plain(state, u).square().mean(), weights)

    def step_of(some: MgNO) -> Callable[[], object]:
        own = [w for w in some.parameters() if w.requires_grad]
        return lambda: torch.autograd.grad(some(u).square().mean(), own)

    def infer(call: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return call(u)

        return run

    training = pairs(step_of_peer, step_of(model), step_of(recomputing), repeats=repeats)
    inference = pairs(infer(lambda v: plain(state, v)), infer(model), infer(fast), repeats=2 * repeats)
    train, again = (median(line[i] / line[0] for line in training) for i in (1, 2))
    eager, collapsed = (median(line[i] / line[0] for line in inference) for i in (1, 2))
    took = [[median(line[i] for line in lines) for i in range(3)] for lines in (training, inference)]
    size = f"{points}^2"
    targets = (0.5, 0.4) if device == "cuda" else (0.75, 0.6)
    figures = [
        Figure(f"training step, {size}, ours over the plain one", train, targets[0], f"{took[0][0]:.3f} s", device),
        Figure(f"inference, collapsed, {size}, ours over the plain one", collapsed, targets[1], f"{took[1][0]:.3f} s", device),
        Figure(f"difference of the answers, {size}, relative to the largest", wrong, 1e-5, device=device),
    ]
    rows = [
        [size, "training step", f"{took[0][0]:.3f}", f"{took[0][1]:.3f}", f"{train:.2f}"],
        [size, "training step, recomputing", f"{took[0][0]:.3f}", f"{took[0][2]:.3f}", f"{again:.2f}"],
        [size, "inference", f"{took[1][0]:.3f}", f"{took[1][1]:.3f}", f"{eager:.2f}"],
        [size, "inference, collapsed", f"{took[1][0]:.3f}", f"{took[1][2]:.3f}", f"{collapsed:.2f}"],
    ]
    return figures, rows


def peak(which: str, points: int, device: str) -> float:
    """MiB that one training step adds, in a process of its own."""
    command = [sys.executable, __file__, CHILD, which, str(points), device]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def measure_peak(which: str, points: int, device: str) -> None:
    """What the process of `peak` does."""
    model, state, u = both(points, device, recompute=which == "recomputing")
    before = memory_now(device)
    if which == "plain":
        torch.autograd.grad(plain(state, u).square().mean(), list(state.values()))
    else:
        model(u).square().mean().backward()
    print(memory_peak(device) - before)


def main(quick: bool, layout: str, device: str, out: Path | None) -> int:
    """Measure, print, keep."""
    sizes, repeats = ((64,), 2) if quick else ((128, 256), 7)
    figures, rows = [], []
    for points in sizes:
        new, lines = speed(points, device, repeats, layout)
        figures += new
        rows += lines
    print_table(["grid", "", "plain, s", "ours, s", "ratio"], rows)
    points = 128 if quick else 512
    used = {which: peak(which, points, device) for which in ("plain", "kept", "recomputing")}
    text = f"plain {used['plain']:.0f} MiB, ours without recomputation {used['kept']:.0f} MiB"
    ratio = used["recomputing"] / used["plain"]
    figures.append(
        Figure(f"peak memory of a training step, {points}^2, recomputing over the plain one", ratio, 0.45, text, device)
    )
    return report(figures, "mgno", out)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        measure_peak(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 x 64 points; the figures are those of the full run")
    parser.add_argument("--peer", default="nchw", choices=("nchw", "channels_last"), help="how the peer's weights lie")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sys.exit(main(given.quick, given.peer, given.device, given.out))
