"""A trajectory of a piecewise-linear network under forcing, and its exact gradient, by one of three engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.plrnn.fused import fused_back, fused_states, gradients
from sciml.dynamics.plrnn.newton import entering, newton_states, pulled_back
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear

Engine = Literal["loop", "fused", "newton"]


@dataclass(frozen=True)
class Forcing:
    """What a trajectory is drawn towards between its steps: z <- (1 - strength) z + strength target.

    Args:
        targets: for the states after the first and before the last, one less than there are steps.
        strength: 0 to 1, broadcast against `targets`; 0 leaves a state alone.
    """

    targets: Float[Tensor, "replica sequence between state"]
    strength: Float[Tensor, "replica #sequence #between #state"]


def check_engine(engine: str) -> None:
    """Raise a ValueError where there is none of this name."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine: got {engine!r}, need one of {', '.join(get_args(Engine))}")


def rollout(
    network: PiecewiseLinear,
    start: Float[Tensor, "replica sequence state"],
    steps: int,
    *,
    forcing: Forcing | None = None,
    drive: Float[Tensor, "replica sequence step state"] | None = None,
    engine: Engine = "fused",
) -> Float[Tensor, "replica sequence step state"]:
    """The states after 1, 2, ... `steps` steps, each before it is forced.

    All engines give the same states and gradients, which reach `network`, `start` and `drive`; the targets get none.

    Args:
        drive: added to each state, from external inputs.
        engine: "loop" is plain automatic differentiation; "fused" runs the same steps in place and works the gradient out
            by hand, several times faster; "newton" solves for all instants at once (see `newton_states`), for long sequences
            on devices that do much in parallel.
    Raises:
        ValueError: fewer than one step, forcing or drive of another length, or no such engine.
    """
    check_engine(engine)
    if steps < 1:
        raise ValueError(f"steps: got {steps}, need at least 1")
    if forcing is not None and forcing.targets.shape[2] != steps - 1:
        raise ValueError(f"forcing.targets: got {forcing.targets.shape[2]} instants, need {steps - 1} for {steps} steps")
    if drive is not None and drive.shape[2] != steps:
        raise ValueError(f"drive: got {drive.shape[2]} instants, need {steps}")
    if engine == "loop":
        return _loop(network, start, steps, forcing, drive)
    targets, strength = (None, None) if forcing is None else (forcing.targets, forcing.strength)
    parts = (network.decay, network.weight, network.shift, network.inner, network.offset, network.lower, network.upper)
    return _Rollout.apply(engine, steps, targets, strength, start, drive, *parts)


def _loop(network: PiecewiseLinear, start: Tensor, steps: int, forcing: Forcing | None, drive: Tensor | None) -> Tensor:
    z, states = start, []
    for t in range(steps):
        if t and forcing is not None:
            strength = forcing.strength.expand_as(forcing.targets)[:, :, t - 1]
            z = z + strength * (forcing.targets[:, :, t - 1] - z)
        z = network(z, None if drive is None else drive[:, :, t])
        states.append(z)
    return torch.stack(states, 2)


class _Rollout(torch.autograd.Function):
    """States by an engine; their gradient from the states alone, by one pass back in time."""

    @staticmethod
    def forward(
        ctx: Any,
        engine: Engine,
        steps: int,
        targets: Tensor | None,
        strength: Tensor | None,
        start: Tensor,
        drive: Tensor | None,
        *parts: Tensor | None,
    ) -> Tensor:
        network = PiecewiseLinear(*parts)  # pyright: ignore[reportArgumentType]
        solve = newton_states if engine == "newton" else fused_states
        states = solve(network, start, steps, targets, strength, drive)
        ctx.engine = engine
        ctx.save_for_backward(start, targets, strength, drive, states, *parts)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        start, targets, strength, drive, states, *parts = ctx.saved_tensors
        network = PiecewiseLinear(*parts)  # pyright: ignore[reportArgumentType]
        entered = entering(start, states, targets, strength)
        if ctx.engine == "newton":
            after, before = pulled_back(network, entered, strength, grad)
            return None, None, None, None, before, None if drive is None else after, *gradients(network, entered, after)
        after, before, of_parts = fused_back(network, entered, strength, grad)
        return None, None, None, None, before, None if drive is None else after, *of_parts


__all__ = ["Engine", "Forcing", "rollout"]
