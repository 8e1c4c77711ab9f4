"""Lyapunov exponents of piecewise-linear networks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.numerics.lyapunov import LyapunovSpectrum, lyapunov_spectrum


def lyapunov_exponents(
    network: PiecewiseLinear,
    start: Float[Tensor, "replica *batch state"],
    *,
    steps: int,
    transient: int,
    every: int = 10,
    dt: float = 1.0,
    exponents: int | None = None,
) -> LyapunovSpectrum:
    """The spectrum of every orbit of every replica, in float64; see `lyapunov_spectrum` for the arguments.

    Args:
        start: initial states.
        dt: time of one step; exponents are per unit of it.
    Returns:
        exponents (replica, *batch, k); NaN for an orbit that runs away.
    Raises:
        ValueError: a start of another shape, and as `lyapunov_spectrum`.
    """
    if start.ndim < 2 or start.shape[0] != network.replicas or start.shape[-1] != network.states:
        raise ValueError(f"start: got shape {tuple(start.shape)}, need ({network.replicas}, ..., {network.states})")
    network = network.detached().to(torch.float64)

    def tangent(z: Tensor, frame: Tensor) -> Tensor:
        return network.jacobian(z) @ frame

    return lyapunov_spectrum(
        network, tangent, start.double(), steps=steps, transient=transient, every=every, dt=dt, exponents=exponents
    )


__all__ = ["lyapunov_exponents"]
