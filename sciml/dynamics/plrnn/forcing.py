"""What a piecewise-linear network is trained by: generalized teacher forcing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.dynamics.plrnn.rollout import Engine, Forcing, rollout
from sciml.dynamics.plrnn.strength import Constant, Strength
from sciml.dynamics.replicas import keep_apart, mean_of_finite, mean_squares, windows

Scalar = Float[Tensor, ""]


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
        deal = partial(windows, batch, replicas=model.replicas, training=model.training, least=3)
        x, good = deal(self.series, model.observed)
        x = model.standardised(x)
        network, observation = model.piecewise_linear(), model.observation
        targets = observation.targets(x[:, :, 1:-1])
        strength = self._rule(model, network, targets) * observation.forced()
        if good is not None:
            strength = strength * good[:, :, 1:-1].all(-1, keepdim=True)
        drive = None
        if self.inputs is not None:
            drive = model.drive(deal(self.inputs, model.inputs)[0][:, :, :-1])
        start, steps = observation.start(x[:, :, 0]), x.shape[2] - 1
        states = rollout(network, start, steps, forcing=Forcing(targets, strength), drive=drive, engine=self.engine)
        if self.warm_up >= steps:
            raise ValueError(f"warm_up: got {self.warm_up}, need less than the {steps} steps of a window")
        gaps = (observation(states) - x[:, :, 1:])[:, :, self.warm_up :]
        if good is not None:
            good = (good[:, :, 1:] & good[:, :, :1].all(-1, keepdim=True))[:, :, self.warm_up :]
        found = mean_squares(gaps, good)
        if self.latent_penalty:
            found = found + self.latent_penalty * model.penalty()
        if self.observation_penalty:
            found = found + self.observation_penalty * observation.penalty()
        return found


__all__ = ["GeneralizedTeacherForcing"]
