"""The classical Runge-Kutta scheme of fourth order for many systems at once, and what lies between its steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Slope = Callable[[Tensor, Tensor], Tensor]
"""(state, forcing at this instant) -> derivative of the state."""


def forced_path(
    slope: Slope,
    start: Float[Tensor, "sample component"],
    forcing: Float[Tensor, "sample instant"],
    step: float,
) -> tuple[Float[Tensor, "sample step component"], Float[Tensor, "sample step component"]]:
    """States and their derivatives at 0, step, 2 step, ..., for s' = slope(s, u(t)).

    One step uses the forcing at its start, in its middle twice, and at its end (Kutta 1901); the error is O(step⁴).

    Args:
        forcing: u at 0, step / 2, step, ...; an odd number of instants, two for each step and one more.
    Raises:
        ValueError: an even number of instants.
    """
    if forcing.shape[1] % 2 == 0:
        raise ValueError(f"forcing: got {forcing.shape[1]} instants, need an odd number, two for each step and one more")
    state, given = start, forcing.T.contiguous()[..., None].unbind(0)
    states, slopes = [state], [slope(state, given[0])]
    for i in range(0, len(given) - 2, 2):
        first = slopes[-1]
        second = slope(torch.add(state, first, alpha=step / 2), given[i + 1])
        third = slope(torch.add(state, second, alpha=step / 2), given[i + 1])
        fourth = slope(torch.add(state, third, alpha=step), given[i + 2])
        state = torch.add(state, first + 2 * (second + third) + fourth, alpha=step / 6)
        states.append(state)
        slopes.append(slope(state, given[i + 2]))
    return torch.stack(states, 1), torch.stack(slopes, 1)


def hermite(
    states: Float[Tensor, "sample step component"],
    slopes: Float[Tensor, "sample step component"],
    step: float,
    times: Float[Tensor, "sample query"],
) -> Float[Tensor, "sample query component"]:
    """Between the steps, the cubics that have the states and derivatives of both ends; the error is step⁴ / 384 s''''.

    Args:
        times: within [0, the last step].
    """
    place = times / step
    left = place.detach().floor().clamp(0, states.shape[1] - 2)
    index = left.long()[..., None].expand(*times.shape, states.shape[2])
    s0, s1, d0, d1 = (v.gather(1, i) for v in (states, slopes) for i in (index, index + 1))
    r = (place - left)[..., None]
    rise = s1 - s0
    # s0 + r rise + r (1 - r) (...): exact at both ends.
    return s0 + r * rise + r * (1 - r) * ((1 - r) * (step * d0 - rise) - r * (step * d1 - rise))


def advanced(
    rate: Callable[[Tensor], Tensor], state: Float[Tensor, "*state"], step: float | Tensor, count: int
) -> Float[Tensor, "*state"]:
    """The state after `count` steps of s' = rate(s); the error is O(step⁴).

    Products and sums are taken one by one, none fused with another: these round alike on every processor and wherever a number
    lies within a tensor, so that a sample does not depend on those beside it, not even where the system is chaotic.

    Args:
        step: one for all, or a tensor that broadcasts against the state.
    """
    half, sixth = step / 2, step / 6
    for _ in range(count):
        first = rate(state)
        second = rate(state + half * first)
        third = rate(state + half * second)
        fourth = rate(state + step * third)
        state = state + sixth * (first + 2 * (second + third) + fourth)
    return state


__all__ = ["Slope", "advanced", "forced_path", "hermite"]
