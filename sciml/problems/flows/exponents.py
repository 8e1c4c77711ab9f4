"""Lyapunov exponents of flows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_positive
from sciml.numerics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from sciml.numerics.runge_kutta import advanced
from sciml.problems.flows.flow import Flow, Parameters

_SHIFT = 1e-5  # of a tangent vector, in sizes of the attractor: what it leaves out and what rounding adds are both near 1e-10


def flow_exponents(
    flow: Flow,
    start: Float[Tensor, "*lead dim"],
    *,
    steps: int,
    transient: int,
    step: float | None = None,
    every: int = 10,
    parameters: Parameters | None = None,
) -> LyapunovSpectrum:
    """All Lyapunov exponents per unit of time along the orbits from `start`, by the classical Runge-Kutta scheme.

    One of an orbit that does not end at a fixed point is 0, and all together are the mean of the divergence along it. Tangent
    vectors are carried by central differences of a whole step, which is far faster here than forward-mode derivatives.

    Args:
        start: on the attractor, float64.
        steps: that count, a multiple of `every`; see `lyapunov_spectrum`.
        step: in time; that of the flow if not given. The exponents allow a few times more.
        parameters: instead of the published ones, numbers or tensors that broadcast against (*lead).
    Raises:
        ValueError: as `lyapunov_spectrum` and `Flow.slope`, or states that are not float64.
    """
    flow.slope(start, parameters)  # its checks
    if start.dtype != torch.float64:
        raise ValueError(f"start: got {start.dtype}, differences need torch.float64")
    length = flow.step if step is None else step
    check_positive(step=length)
    rate, shift = flow.rate(flow.settled(parameters)), _SHIFT * max(flow.scale)

    def advance(states: Tensor) -> Tensor:
        return advanced(rate, states.movedim(-1, 0), length, 1).movedim(0, -1)

    def tangent(states: Tensor, frame: Tensor) -> Tensor:
        along = shift * frame.movedim(-1, 0)
        up, down = advance(torch.stack([states + along, states - along]))
        return ((up - down) / (2 * shift)).movedim(0, -1)

    return lyapunov_spectrum(advance, tangent, start, steps=steps, transient=transient, every=every, dt=length)


__all__ = ["flow_exponents"]
