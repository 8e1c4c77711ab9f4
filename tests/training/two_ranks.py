"""Runs of `fit` that are the same in one process and in several: called by the test, and as a program under torchrun."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sciml.data.stream import stream
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam, Constant, Schedule
from sciml.training.ranks import launched


class ConvNet(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.layers(a)


GRADIENTS: list[torch.Tensor] = []


@dataclass(frozen=True)
class Recorded:
    """Plain steps that leave each gradient in `GRADIENTS`."""

    learning_rate: float = 0.05
    schedule: Schedule = field(default_factory=Constant)
    clip: None = None

    def build(self, parameters):
        weights = list(parameters)
        optimiser = torch.optim.SGD(weights, self.learning_rate)
        optimiser.register_step_pre_hook(lambda *_: GRADIENTS.append(torch.cat([w.grad.flatten() for w in weights]).clone()))
        return optimiser


def write_set(path: Path, number: int) -> Path:
    generator = torch.Generator().manual_seed(number)
    x = torch.randn(number, 6, 5, generator=generator, dtype=torch.float64)
    torch.save({"x": x, "y": x.roll(1, -1) - 0.2 * x**2}, path)
    return path


def steps(path: Path, dtype: torch.dtype, batch_size: int, accumulate: int) -> dict[str, object]:
    """Gradient of the first step, losses of 20 steps and the weights after them."""
    torch.manual_seed(3)
    model = ConvNet(4).to(dtype)
    train = stream(path, batch_size=batch_size, seed=1, dtype=dtype)
    GRADIENTS.clear()
    objective = RelativeL2(train.domain, ("x",), ("y",))
    run = fit(model, objective, train, steps=20, every=1, optimiser=Recorded(), accumulate=accumulate)
    weights = torch.cat([w.detach().flatten() for w in model.parameters()])
    return {"gradient": GRADIENTS[0], "losses": [line["loss"] for line in run.history], "weights": weights}


class Asking:
    """The objective, which in the last process asks the process itself to stop, once."""

    def __init__(self, objective: RelativeL2, rank: int, at: int) -> None:
        self.objective, self.rank, self.left = objective, rank, at

    def __call__(self, model, batch):
        self.left -= 1
        if self.left == 0 and self.rank > 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.objective(model, batch)


def stopped_and_resumed(path: Path, out: Path | None, rank: int, at: int) -> torch.Tensor:
    """Weights after a whole run with everything on; with `at`, SIGTERM comes to one process only at that call."""
    torch.manual_seed(3)
    train = stream(path, batch_size=5, seed=1, dtype=torch.float64)
    train, valid = train.split(validation=7)
    run = {"steps": 20, "every": 6, "ema": 0.5, "accumulate": 2, "optimiser": Adam(0.01, clip=0.1), "out": out}
    objective = Asking(RelativeL2(train.domain, ("x",), ("y",)), rank, at)
    try:
        model = fit(ConvNet(4).double(), objective, train, validation=valid, **run).model
    except SystemExit:
        torch.manual_seed(3)
        train, valid = stream(path, batch_size=5, seed=1, dtype=torch.float64).split(validation=7)
        model = fit(ConvNet(4).double(), objective, train, validation=valid, **run).model
    return torch.cat([w.detach().flatten() for w in model.parameters()])


CASES = [(torch.float32, 8, 1), (torch.float64, 5, 1), (torch.float64, 7, 3), (torch.float64, 1, 1)]


def everything(folder: Path, rank: int = 0) -> dict[str, object]:
    found: dict[str, object] = {str(case): steps(folder / "set.pt", *case) for case in CASES}
    found["whole"] = stopped_and_resumed(folder / "set.pt", None, rank, at=0)
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    with launched("cpu"):
        rank = torch.distributed.get_rank()
        found = everything(folder, rank)
        found["resumed"] = stopped_and_resumed(folder / "set.pt", folder / "run", rank, at=15)
        torch.save(found, folder / f"rank{rank}.pt")
