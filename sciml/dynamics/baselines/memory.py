"""Recurrent networks that are driven by a series and predict its next instant: long expressive memory and LSTM.

Every parameter has a leading axis of replicas, seeds that do not see each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.dynamics.replicas import Affine, check_forecast
from sciml.numerics.checks import check_count, check_positive

Cells = Float[Tensor, "replica sequence hidden"]
State = tuple[Cells, Cells]
"""What is seen of the cells, and what is not."""


class RecurrentNetwork(nn.Module, ABC):
    """A network whose cells see one instant of a series after the other, and a linear readout of the next one.

    The cells begin at zero.

    Args:
        observed: numbers per instant of a series.
        hidden: h, cells of each kind.
        context: instants that it wants to see before it goes on by itself.
        replicas: how many are trained together.
    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, observed: int, hidden: int, context: int, replicas: int) -> None:
        super().__init__()
        check_count(observed=observed, hidden=hidden, context=context, replicas=replicas)
        self.observed, self.hidden, self.context, self.replicas = observed, hidden, context, replicas
        self.readout = Affine(hidden, observed, replicas, bound=hidden**-0.5)

    @abstractmethod
    def drive(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch drive"]:
        """What the cells get of instants."""

    @abstractmethod
    def remember(self, state: State, drive: Float[Tensor, "replica sequence drive"]) -> State:
        """The cells after one more instant."""

    def forward(
        self,
        series: Float[Tensor, "replica sequence time observed"],
        good: Bool[Tensor, "replica sequence time observed"] | None = None,
    ) -> Float[Tensor, "replica sequence time observed"]:
        """What the network expects to follow each instant of the series.

        Args:
            good: False where a value of the series is missing; after the first instant its own prediction stands in for it.
        """
        state, seen = self._start(series), []
        if good is None:
            for drive in self.drive(series).unbind(2):
                state = self.remember(state, drive)
                seen.append(state[0])
            return self.readout(torch.stack(seen, 2))
        x = series[:, :, 0]
        for t in range(series.shape[2]):
            x = torch.where(good[:, :, t], series[:, :, t], x)
            state = self.remember(state, self.drive(x))
            x = self.readout(state[0])
            seen.append(x)
        return torch.stack(seen, 2)

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The instants that follow the series: driven by it first, then by what it predicts. Without a gradient.

        Raises:
            ValueError: another number of replicas or of values per instant, an empty series, another precision, or
                fewer than one step.
        """
        check_forecast(series, steps, replicas=self.replicas, observed=self.observed, dtype=self.readout.weight.dtype)
        with torch.no_grad():
            state = self._start(series)
            for x in series.unbind(2):
                state = self.remember(state, self.drive(x))
            predictions = [self.readout(state[0])]
            while len(predictions) < steps:
                state = self.remember(state, self.drive(predictions[-1]))
                predictions.append(self.readout(state[0]))
            return torch.stack(predictions, 2)

    def _start(self, series: Tensor) -> State:
        zero = series.new_zeros(*series.shape[:2], self.hidden)
        return zero, zero


class LongExpressiveMemory(RecurrentNetwork):
    """LEM, a discretised system of two times (Rusch, Mishra, Erichson & Mahoney, ICLR 2022).

    d1 = Δt σ(W1 y + V1 x + b1), d2 = Δt σ(W2 y + V2 x + b2), then
    z <- (1 - d1) z + d1 tanh(Wz y + Vz x + bz) and y <- (1 - d2) y + d2 tanh(Wy z + Vy x + by), σ the logistic function; y
    is seen. While Δt <= 1 no cell leaves [-1, 1]. The products with the cells and with x have biases of their own, one more
    than the formulas need, and all weights begin uniformly in ±1/√h, as published.

    Args:
        step: Δt, the longest time that a cell goes on in one instant.
        context, replicas: see `RecurrentNetwork`.
    Raises:
        ValueError: a size below 1, or a step that is not positive.
    """

    def __init__(self, observed: int, hidden: int, *, step: float = 1.0, context: int = 100, replicas: int = 1) -> None:
        super().__init__(observed, hidden, context, replicas)
        check_positive(step=step)
        self.step = step
        bound = hidden**-0.5
        self.from_series = Affine(observed, 4 * hidden, replicas, bound=bound)
        self.from_seen = Affine(hidden, 3 * hidden, replicas, bound=bound)
        self.from_unseen = Affine(hidden, hidden, replicas, bound=bound)

    def drive(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch drive"]:
        """V x + b of d1, d2, z and y."""
        return self.from_series(x)

    def remember(self, state: State, drive: Float[Tensor, "replica sequence drive"]) -> State:
        """y and z after one more instant."""
        y, z = state
        gates, drive_z, drive_y = drive.split([2 * self.hidden, self.hidden, self.hidden], -1)
        gates_of_y, z_of_y = self.from_seen(y).split([2 * self.hidden, self.hidden], -1)
        d1, d2 = (self.step * torch.sigmoid(gates + gates_of_y)).chunk(2, -1)
        z = torch.lerp(z, torch.tanh(drive_z + z_of_y), d1)
        y = torch.lerp(y, torch.tanh(drive_y + self.from_unseen(z)), d2)
        return y, z


class LSTM(RecurrentNetwork):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), with forget gates and one bias per gate.

    i, f, o = σ(W h + V x + b), g = tanh(W h + V x + b), c <- f c + i g, h <- o tanh(c); h is seen. All weights begin uniformly
    in ±1/√h, as those of `torch.nn.LSTM`, whose order of gates i, f, g, o this has.

    Args:
        context, replicas: see `RecurrentNetwork`.
    """

    def __init__(self, observed: int, hidden: int, *, context: int = 100, replicas: int = 1) -> None:
        super().__init__(observed, hidden, context, replicas)
        bound = hidden**-0.5
        self.from_series = Affine(observed, 4 * hidden, replicas, bound=bound)
        self.from_cells = Affine(hidden, 4 * hidden, replicas, bias=False, bound=bound)

    def drive(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch drive"]:
        """V x + b of the gates."""
        return self.from_series(x)

    def remember(self, state: State, drive: Float[Tensor, "replica sequence drive"]) -> State:
        """h and c after one more instant."""
        h, c = state
        entered, forget, change, shown = (drive + self.from_cells(h)).chunk(4, -1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(entered) * torch.tanh(change)
        return torch.sigmoid(shown) * torch.tanh(c), c


__all__ = ["LSTM", "LongExpressiveMemory", "RecurrentNetwork"]
