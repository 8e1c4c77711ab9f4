"""A stream in memory and two models, for the tests of training; and the runs that are killed, as a program of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace

import torch
from torch import nn

from sciml.data.variables import VariableInfo
from sciml.numerics.domain import Domain
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam

DOMAIN = Domain.box((1.0,), (8,), "periodic")


class MemoryStream:
    """The interface that `fit` asks for, with nothing of `sciml.data.stream` in it: samples in stored order, over and over."""

    def __init__(self, batch: Mapping[str, torch.Tensor], batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        self.batch = dict(batch)
        self.batch_size, self.rank, self.ranks = batch_size, rank, ranks
        self.inputs, self.targets = ("a",), ("u",)
        self.device = torch.device("cpu")
        info = {n: VariableInfo(n, "input", "m", n, tuple(v.shape[1:]), v.dtype) for n, v in batch.items()}
        self.set = SimpleNamespace(variables=info, domain=DOMAIN)
        self.position = 0

    def info(self, name: str) -> VariableInfo:
        return self.set.variables[name]

    def __len__(self) -> int:
        return len(self.batch["a"])

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, len(self), self.batch_size):
            yield {name: values[start : start + self.batch_size] for name, values in self.batch.items()}

    def endless(self) -> Iterator[tuple[dict[str, torch.Tensor], float]]:
        while True:
            start, stop = self.position, min(self.position + self.batch_size, len(self))
            rows = range(start, stop)[self.rank :: self.ranks]
            self.position = stop % len(self)
            picked = list(rows) or [start]
            yield {n: v[picked] for n, v in self.batch.items()}, len(rows) * self.ranks / (stop - start)

    def state_dict(self) -> dict[str, object]:
        return {"position": self.position, "fingerprint": "memory"}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        self.position = int(str(state["position"]))


def samples(number: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(number, 1, 8, generator=generator, dtype=torch.float64)
    return {"a": a.to(dtype), "u": (a.roll(1, -1) - 0.5 * a + 0.1 * a**2).to(dtype)}


class Pointwise(nn.Module):
    """u = weight a + shift: two weights, so that steps can be taken by hand."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__()
        self.weight = weight
        self.w = nn.Parameter(torch.tensor([weight, 0.0], dtype=torch.float64))

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.w[0] * a + self.w[1]


class DropoutNet(nn.Module):
    """Draws random numbers in every step."""

    def __init__(self, width: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 3, padding=1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.BatchNorm1d(width),
            nn.Conv1d(width, 1, 3, padding=1),
        )

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.layers(a)


def dropout_run(out: str | None, steps: int = 120, model: nn.Module | None = None) -> nn.Module:
    """Everything on that a state must hold: dropout, batch norm, moments, schedule, average, validation, uneven batches."""
    torch.manual_seed(7)
    torch.set_num_threads(1)
    model = model or DropoutNet(6)
    train, valid = MemoryStream(samples(37, 0, torch.float32), 8), MemoryStream(samples(11, 1, torch.float32), 4)
    objective, rule = RelativeL2(DOMAIN, ("a",), ("u",)), Adam(3e-3, clip=1.0)
    return fit(
        model, objective, train, steps=steps, validation=valid, optimiser=rule, out=out, every=9, ema=0.9, accumulate=2
    ).model


if __name__ == "__main__":
    dropout_run(sys.argv[1], steps=int(sys.argv[2]))
