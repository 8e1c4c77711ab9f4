"""What a piecewise-linear network is trained by: generalized teacher forcing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.dynamics.plrnn.rollout import Engine, Forcing, check_engine, rollout
from sciml.dynamics.plrnn.strength import Constant, Signal, Strength
from sciml.dynamics.replicas import keep_apart, mean_of_finite, mean_squares, windows

Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Task:
    """Windows as a network sees them.

    Args:
        inputs: external, of every step; None where there are none.
        truth: what the observation of every state is compared with.
        counted: where errors count; None where all do.
    """

    start: Float[Tensor, "replica sequence state"]
    forcing: Forcing
    inputs: Float[Tensor, "replica sequence step input"] | None
    truth: Float[Tensor, "replica sequence step observed"]
    counted: Bool[Tensor, "replica sequence step observed"] | None

    def windows(self, first: int, last: int) -> Task:
        """Some of the windows."""
        return self._each(lambda part: part[:, first:last])

    def replica(self, index: int) -> Task:
        """What one replica sees, still with an axis of replicas."""
        return self._each(lambda part: part[index : index + 1])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Task:
        inputs, counted = (None if part is None else change(part) for part in (self.inputs, self.counted))
        targets, strength = self.forcing.targets, self.forcing.strength.expand_as(self.forcing.targets)
        return Task(change(self.start), Forcing(change(targets), change(strength)), inputs, change(self.truth), counted)


@dataclass(frozen=True)
class GeneralizedTeacherForcing:
    """Mean squared error of trajectories that are drawn towards the data between their steps.

    z <- (1 - alpha) z + alpha O⁺(x) before each step but the first; the error is that of O(z) before it is drawn (Hess,
    Monfared, Brenner & Durstewitz, ICML 2023).

    Where the network has units the error is that of standardised series.

    A batch holds whole windows, `stream(..., window=Window(201, 0))` for 200 steps, which are dealt out: each replica trains on
    windows of its own (see `sciml.dynamics.replicas.windows`). In evaluation all replicas see all windows. The value is the
    mean over the replicas whose errors are finite, the gradient that of their sum, so that every replica trains as it would
    alone; one that blows up takes no part in the step.

    Values that the stream masks count neither as errors nor for the forcing, which leaves an instant alone when any of
    its values is missing; a window without its first instant does not count.

    Args:
        alpha: a number, or a rule.
        series: the variable of the batch, (window, instant, observed).
        inputs: the variable of external inputs, (window, instant, input), where the network takes some; that of an instant
            acts on the step away from it.
        warm_up: instants after the first whose errors do not count, while the trajectory forgets the noise of its first state.
        latent_penalty: times the sum of squares of the weights and of 1 - A.
        observation_penalty: times (1 - condition number)² of a linear observation.
        engine: of `rollout`.
    """

    alpha: float | Strength
    series: str = "state"
    inputs: str | None = None
    warm_up: int = 0
    latent_penalty: float = 0.0
    observation_penalty: float = 0.0
    engine: Engine = "fused"

    def __post_init__(self) -> None:
        for name, value in (("latent_penalty", self.latent_penalty), ("observation_penalty", self.observation_penalty)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}: got {value}, need a number that is not negative")
        if self.warm_up < 0:
            raise ValueError(f"warm_up: got {self.warm_up}, need 0 or more instants")
        check_engine(self.engine)
        _ = self._rule

    @property
    def _rule(self) -> Strength:
        return self.alpha if isinstance(self.alpha, Strength) else Constant(self.alpha)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        """The mean over the replicas.

        Raises:
            ValueError: a model of another kind, no such variable, another number of values per instant, or fewer
                than three instants.
        """
        if not isinstance(model, PiecewiseLinearNetwork):
            raise ValueError(f"model: got {type(model).__name__}, need a piecewise-linear network")
        errors = self.errors(model, batch)
        if model.training:
            keep_apart(model)
            model.get_buffer("updates").add_(1)
        return mean_of_finite(errors)

    def errors(self, model: PiecewiseLinearNetwork, batch: Batch) -> Float[Tensor, "replica"]:
        """What is minimised, of each replica."""
        return self.errors_of(model, self.task(model, batch))

    def errors_of(self, model: PiecewiseLinearNetwork, task: Task) -> Float[Tensor, "replica"]:
        """The same on a task at hand."""
        drive = None if task.inputs is None else model.drive(task.inputs)
        steps = task.truth.shape[2]
        states = rollout(model.piecewise_linear(), task.start, steps, forcing=task.forcing, drive=drive, engine=self.engine)
        gaps = (model.observation(states) - task.truth)[:, :, self.warm_up :]
        found = mean_squares(gaps, None if task.counted is None else task.counted[:, :, self.warm_up :])
        if self.latent_penalty:
            found = found + self.latent_penalty * model.penalty()
        if self.observation_penalty:
            found = found + self.observation_penalty * model.observation.penalty()
        return found

    def task(self, model: PiecewiseLinearNetwork, batch: Batch) -> Task:
        """What trajectories start from, are drawn towards and are compared with."""
        deal = partial(windows, batch, replicas=model.replicas, training=model.training, least=3)
        x, good = deal(self.series, model.observed)
        if not x.shape[1]:
            raise ValueError(f"{self.series}: got no window, need at least one")
        if x.dtype != model.decay.dtype:
            raise ValueError(f"{self.series}: got {x.dtype}, the network is {model.decay.dtype}; convert one of them")
        if self.warm_up >= x.shape[2] - 1:
            raise ValueError(f"warm_up: got {self.warm_up}, need less than the {x.shape[2] - 1} steps of a window")
        if self.inputs is None and model.inputs:
            raise ValueError(f"inputs: got None, the network has {model.inputs} of them; say which variable they are")
        x = model.standardised(x)
        inputs = None if self.inputs is None else deal(self.inputs, model.inputs)[0][:, :, :-1]
        observation = model.observation
        start, targets, there, counted = observation.start(x[:, :, 0]), observation.targets(x[:, :, 1:-1]), None, None
        if good is not None:
            there = good[:, :, 1:-1].all(-1)
            targets = _last_good(targets, there)
            counted = good[:, :, 1:] & good[:, :, :1].all(-1, keepdim=True)
        with torch.no_grad():  # of no rule does the gradient count
            drive = None if inputs is None else model.drive(inputs)
            strength = self._rule(model, Signal(targets, drive, there)) * observation.forced()
        if there is not None:
            strength = strength * there.unsqueeze(-1)
        return Task(start, Forcing(targets, strength), inputs, x[:, :, 1:], counted)


def _last_good(targets: Tensor, good: Tensor) -> Tensor:
    """Each instant, or the last before it that is good; the first good one where there is none before."""
    number = torch.arange(targets.shape[2], device=targets.device).expand(good.shape)
    last = torch.where(good, number, -1).cummax(2).values
    first = good.to(torch.uint8).argmax(2, keepdim=True)
    return targets.gather(2, torch.where(last < 0, first, last).unsqueeze(-1).expand_as(targets))


__all__ = ["GeneralizedTeacherForcing", "Task"]
