"""What the baselines are trained by: one-step errors of a network that the data drive, and roll-outs drawn towards the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.dynamics.baselines.memory import RecurrentNetwork
from sciml.dynamics.replicas import keep_apart, mean_of_finite, mean_squares, windows

Scalar = Float[Tensor, ""]


@runtime_checkable
class Advancing(Protocol):
    """A model that is a map from one instant of a series to the next."""

    @property
    def replicas(self) -> int: ...
    @property
    def observed(self) -> int: ...
    def advance(self, x: Float[Tensor, "replica sequence observed"]) -> Float[Tensor, "replica sequence observed"]: ...


@dataclass(frozen=True)
class TeacherForced:
    """Mean squared one-step errors of a recurrent network that is driven by the data: truncated back-propagation through time.

    A batch holds whole windows, `stream(..., window=Window(201, 0))` for 200 predictions. The cells begin at zero in each
    and the gradient goes back to its first instant. How replicas share a batch, which value and gradient come out, and what
    becomes of one that blows up is as with `GeneralizedTeacherForcing`.

    Values that the stream masks do not count, and the network is fed its own prediction in their place; a window whose first
    instant misses some does not count.

    Args:
        series: the variable of the batch, (window, instant, observed).
        warm_up: first predictions of a window that do not count, made while the cells are still to be filled.
    """

    series: str = "state"
    warm_up: int = 0

    def __post_init__(self) -> None:
        _check_warm_up(self.warm_up)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        """The mean over the replicas.

        Raises:
            ValueError: a model of another kind, no such variable, another number of values per instant, or windows of no more
                than `warm_up` predictions.
        """
        if not isinstance(model, RecurrentNetwork):
            raise ValueError(f"model: got {type(model).__name__}, need a recurrent network, such as an LSTM")
        if model.training:
            keep_apart(model)
        return mean_of_finite(self.errors(model, batch))

    def errors(self, model: RecurrentNetwork, batch: Batch) -> Float[Tensor, "replica"]:
        """Of each replica."""
        least = self.warm_up + 2
        x, good = windows(batch, self.series, model.observed, model.replicas, training=model.training, least=least)
        found = model(x[:, :, :-1], None if good is None else good[:, :, :-1])
        return _errors(found, x, good, self.warm_up)


@dataclass(frozen=True)
class ForcedRollout:
    """Mean squared error of roll-outs that are drawn towards the data between their steps, by plain differentiation.

    x <- (1 - alpha) x + alpha data before each step but the first; the error is that of x before it is drawn. It trains any
    model with `advance(x)`; `GeneralizedTeacherForcing` is the same for piecewise-linear networks, and faster. A batch holds
    whole windows, which replicas share as there. Masked values do not count, and an instant where one is missing is not drawn;
    a window whose first instant misses some does not count.

    Args:
        alpha: 0 runs free from the first instant, 1 makes all steps from the data.
        series: the variable of the batch, (window, instant, observed).
        warm_up: first steps that do not count.
    """

    alpha: float
    series: str = "state"
    warm_up: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: got {self.alpha}, need a number between 0 and 1")
        _check_warm_up(self.warm_up)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        """The mean over the replicas.

        Raises:
            ValueError: a model without `advance`, no such variable, another number of values per instant, or windows of no more
                than `warm_up` steps.
        """
        if not isinstance(model, Advancing):
            raise ValueError(f"model: got {type(model).__name__}, need one with advance(x), replicas and observed")
        if model.training:
            keep_apart(model)
        return mean_of_finite(self.errors(model, batch, training=model.training))

    def errors(self, model: Advancing, batch: Batch, *, training: bool) -> Float[Tensor, "replica"]:
        """Of each replica."""
        least = self.warm_up + 2
        x, good = windows(batch, self.series, model.observed, model.replicas, training=training, least=least)
        state, found = x[:, :, 0], []
        for t in range(1, x.shape[2]):
            state = model.advance(state)
            found.append(state)
            if t < x.shape[2] - 1:
                pull = self.alpha * (x[:, :, t] - state)
                state = state + (pull if good is None else pull * good[:, :, t].all(-1, keepdim=True))
        return _errors(torch.stack(found, 2), x, good, self.warm_up)


def _errors(found: Tensor, x: Tensor, good: Tensor | None, warm_up: int) -> Float[Tensor, "replica"]:
    """Of what was found for all instants of windows but the first."""
    counted = None if good is None else (good[:, :, 1:] & good[:, :, :1].all(-1, keepdim=True))[:, :, warm_up:]
    return mean_squares((found - x[:, :, 1:])[:, :, warm_up:], counted)


def _check_warm_up(warm_up: int) -> None:
    if warm_up < 0:
        raise ValueError(f"warm_up: got {warm_up}, need 0 or more instants")


__all__ = ["Advancing", "ForcedRollout", "TeacherForced"]
