"""A neural ordinary differential equation, solved by the classical Runge-Kutta scheme."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.replicas import Affine, check_forecast
from sciml.numerics.checks import check_count, check_positive
from sciml.numerics.runge_kutta import advanced


class NeuralODE(nn.Module):
    """x' = f(x), f a network with tanh between its layers; from one instant to the next by steps of fourth order.

    Chen, Rubanova, Bettencourt & Duvenaud, NeurIPS 2018. Train it by `ForcedRollout`.

    Args:
        observed: numbers per instant of a series.
        hidden: numbers per hidden layer.
        depth: hidden layers.
        step: time between two instants of a series; the unit in which the equation's time is measured is free.
        substeps: of the scheme between two instants.
        replicas: how many are trained together; all parameters have them as first axis.
    Raises:
        ValueError: a size below 1, or a step that is not positive.
    """

    def __init__(
        self, observed: int, hidden: int, depth: int = 1, *, step: float = 1.0, substeps: int = 1, replicas: int = 1
    ) -> None:
        super().__init__()
        check_count(observed=observed, hidden=hidden, depth=depth, substeps=substeps, replicas=replicas)
        check_positive(step=step)
        self.observed, self.hidden, self.depth, self.replicas = observed, hidden, depth, replicas
        self.step, self.substeps = step, substeps
        sizes = [observed, *[hidden] * depth, observed]
        self.layers = nn.ModuleList(Affine(a, b, replicas) for a, b in pairwise(sizes))

    def rate(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch observed"]:
        """f(x), in units of x per unit of `step`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.tanh(layer(x))
        return last(x)

    def advance(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch observed"]:
        """The next instant."""
        return advanced(self.rate, x, self.step / self.substeps, self.substeps)

    def forward(
        self, x: Float[Tensor, "replica sequence observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The `steps` instants that follow x."""
        found = []
        for _ in range(steps):
            x = self.advance(x)
            found.append(x)
        return torch.stack(found, 2)

    @property
    def context(self) -> int:
        """One: the last instant is all that it starts from."""
        return 1

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The instants that follow the series, without a gradient.

        Raises:
            ValueError: another number of replicas or of values per instant, an empty series, another precision, or
                fewer than one step.
        """
        check_forecast(series, steps, replicas=self.replicas, observed=self.observed, dtype=next(self.parameters()).dtype)
        with torch.no_grad():
            return self(series[:, :, -1], steps)


__all__ = ["NeuralODE"]
