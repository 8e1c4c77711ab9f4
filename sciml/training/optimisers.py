"""Rules for one step: which optimiser, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn

Schedule = Callable[[int, int], float]
"""(step, steps) -> factor on the learning rate, for step 0 ... steps - 1."""


@runtime_checkable
class Optimiser(Protocol):
    """What `fit` needs of a rule; a class of your own with these is one."""

    @property
    def learning_rate(self) -> float:
        """The largest."""
        ...

    @property
    def schedule(self) -> Schedule:
        """A pure function, so that a run that goes on after a kill takes the same steps."""
        ...

    @property
    def clip(self) -> float | None:
        """Largest norm of the gradient over all weights, of each replica where a model has some; longer ones are shortened."""
        ...

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...


@dataclass(frozen=True)
class Constant:
    """The same learning rate in every step."""

    def __call__(self, step: int, steps: int) -> float:
        return 1.0


@dataclass(frozen=True)
class OneCycle:
    """Up along half a cosine for a part of the steps, then down along another (`torch.optim.lr_scheduler.OneCycleLR`).

    The defaults are those of the published MgNO for Darcy flow, there stepped by epochs: from 1/2 up to 1 in the first 20 %,
    then down to 1/200.

    Args:
        warmup: part of the steps that goes up, from 0 up to but without 1.
        start, end: first and last factor.
    """

    warmup: float = 0.2
    start: float = 1 / 2
    end: float = 1 / 200

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup: got {self.warmup}, need a part of the steps, from 0 up to but without 1")

    def __call__(self, step: int, steps: int) -> float:
        top = max(self.warmup * steps - 1, 0.0)
        if step < top:
            return _cosine(self.start, 1.0, step / top)
        return _cosine(1.0, self.end, (step - top) / max(steps - 1 - top, 1.0))


@dataclass(frozen=True)
class Exponential:
    """From 1 down to `end` by the same factor in every step."""

    end: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.end < float("inf"):
            raise ValueError(f"end: got {self.end}, need a number above 0")

    def __call__(self, step: int, steps: int) -> float:
        return self.end ** (step / steps)


def _cosine(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class Adam:
    """Adam, or AdamW with `decoupled`.

    Args:
        learning_rate: the largest of the schedule.
        weight_decay: added to the gradient, or with `decoupled` taken from the weights themselves.
        betas: decay of the first and second moments per step.
        schedule: `OneCycle()`, `Constant()` or any function (step, steps) -> factor.
        clip: largest norm of the gradient; None leaves it as it is.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decoupled: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = OneCycle()
    clip: float | None = None

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        weights = list(parameters)
        rule = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        # One kernel for all weights; it has none for complex ones, as Fourier layers have.
        fused = not any(w.is_complex() for w in weights) and {w.device.type for w in weights} <= {"cpu", "cuda"}
        return rule(weights, self.learning_rate, betas=self.betas, weight_decay=self.weight_decay, fused=fused)


@dataclass(frozen=True)
class SGD:
    """Plain gradient steps, with `momentum` where asked."""

    learning_rate: float
    momentum: float = 0.0
    schedule: Schedule = Constant()
    clip: float | None = None

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, self.learning_rate, momentum=self.momentum)


__all__ = ["SGD", "Adam", "Constant", "Exponential", "OneCycle", "Optimiser", "Schedule"]
