"""The training engine beside a bare loop, and under fire: python benchmarks/engine.py [--quick].

Both loops take the same steps of the same model, Linear(8, 8) in batches of 16 with Adam, on the same stream, in one thread.
What `fit` adds to a step is its overhead. Then: what `import sciml` takes beyond `import torch`; and, unless --quick, a run
that is killed 100 times and must end in the weights of one that was left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _report import Figure, report
from torch import Tensor, nn

from sciml.data.stream import Batch, Stream, stream
from sciml.training.checkpoint import read_checkpoint
from sciml.training.fit import fit
from sciml.training.optimisers import Adam

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "engine.json"
SEED, STEPS = 20261121, 8000
TRUNK = "import sciml.cli, sciml.data.stream, sciml.training.fit, sciml.training.evaluate, sciml.operators.mgno"


class Small(nn.Module):
    """Little work per step, so that what surrounds it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, a: Tensor) -> Tensor:
        return self.layer(a)


def squared_gap(model: nn.Module, batch: Batch) -> Tensor:
    return (model(batch["x"]) - batch["y"]).square().mean()


def random_set(path: Path, number: int) -> Path:
    """Inputs and answers on 8 points, which have nothing to do with each other."""
    generator = torch.Generator().manual_seed(0)
    torch.save({name: torch.randn(number, 8, generator=generator) for name in ("x", "y")}, path)
    return path


def bare(samples: Stream, steps: int) -> None:
    """The loop that everybody writes."""
    model = Small()
    optimiser = Adam().build(model.parameters())
    batches = samples.endless()
    for _ in range(steps):
        batch, _ = next(batches)
        squared_gap(model, batch).backward()
        optimiser.step()
        optimiser.zero_grad()


def plain(samples: Stream, steps: int) -> None:
    """`fit` with everything off that can be."""
    fit(Small(), squared_gap, samples, steps=steps, every=steps)


def full(samples: Stream, steps: int) -> None:
    """`fit` with average, clipping, logs and checkpoints on."""
    with tempfile.TemporaryDirectory() as out:
        fit(Small(), squared_gap, samples, steps=steps, every=steps // 2, ema=0.99, optimiser=Adam(clip=1.0), out=out)


def per_step(way: Callable[[Stream, int], None], samples: Stream, steps: int) -> float:
    """Microseconds of this process's own time, which on an idle machine is the time that passes."""
    before = time.process_time()
    way(samples, steps)
    return 1e6 * (time.process_time() - before) / steps


def overhead(rounds: int) -> Figure:
    """Rounds of all three in turn, short, so that what else the machine does falls on all alike."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        samples = stream(random_set(Path(folder) / "set.pt", 1600), batch_size=16)
        for way in (bare, plain, full):
            way(samples, 50)
        times = [[per_step(way, samples, 500) for way in (bare, plain, full)] for _ in range(rounds)]
    loop, added, added_by_all = median(t[0] for t in times), *(median(t[k] - t[0] for t in times) for k in (1, 2))
    peer = f"bare loop {loop:.0f}; with average, clipping, and a log line and checkpoint in 250 steps {added_by_all:.0f} more"
    return Figure("overhead of fit per step, µs", added, 25, peer)


def import_time(repeats: int) -> Figure:
    def seconds_of(statement: str) -> float:
        program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

    statements = ("import torch", "import torch, sciml", f"import torch; {TRUNK}")
    times = [[seconds_of(statement) for statement in statements] for _ in range(repeats)]
    alone = median(row[0] for row in times)
    package, trunk = (median(row[k] - row[0] for row in times) for k in (1, 2))
    peer = f"import torch {alone:.2f}; all of stream, fit, evaluate and MgNO {trunk:.2f} more"
    return Figure("import sciml beyond import torch, s", package, 0.3, peer)


class Noisy(nn.Module):
    """Draws random numbers in every step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        first, last = (nn.Conv1d(*channels, 3, padding=1) for channels in ((1, width), (width, 1)))
        self.layers = nn.Sequential(first, nn.GELU(), nn.Dropout(0.2), last)

    def forward(self, a: Tensor) -> Tensor:
        return self.layers(a)


def noisy_run(folder: Path, out: str) -> None:
    """The run that is killed, as a program of its own."""
    torch.manual_seed(0)
    train, valid = stream(folder / "set.pt", batch_size=16, seed=1).split(validation=20)
    rule, written = Adam(clip=1.0), folder / out
    fit(Noisy(8), squared_gap, train, steps=STEPS, every=8, validation=valid, ema=0.9, optimiser=rule, out=written)


def killed(kills: int) -> Figure:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        random_set(folder / "set.pt", 200)

        def start(out: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, __file__, "--run", temporary, out]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        began = time.perf_counter()
        start("whole").wait()
        longest = (time.perf_counter() - began) / (2 * kills)
        last, times, lands = folder / "killed" / "last.pt", random.Random(SEED), []
        while len(lands) < kills:
            before = last.stat().st_mtime_ns if last.exists() else 0
            with start("killed") as process:
                while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
                    time.sleep(0.001)
                time.sleep(times.uniform(0, longest))
                process.kill()
            lands.append(_state(last)["progress"]["step"])
        start("killed").wait()
        whole, broken = _state(folder / "whole" / "last.pt")["weights"], _state(last)["weights"]
        different = sum(not torch.equal(whole[name], broken[name]) for name in whole)
    peer = f"SIGKILL after steps {lands[0]} ... {lands[-1]} of {STEPS}, {len(set(lands))} different ones"
    return Figure(f"weight tensors of {len(whole)} that differ after {kills} kills", different, 0, peer)


def _state(path: Path) -> Mapping[str, Any]:
    training = read_checkpoint(path).training
    return {} if training is None else training["state"]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="at most 45 seconds, no kills; writes no results")
    arguments.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    if asked.run:
        noisy_run(Path(asked.run[0]), asked.run[1])
        return 0
    figures = [overhead(31), import_time(3)] if asked.quick else [overhead(151), import_time(9), killed(100)]
    return report(figures, "engine", None if asked.quick else RESULTS, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
