"""What the measures of attractors ask of a series: one named check, and which generated series stayed finite."""

from __future__ import annotations

from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def check_generated(generated: Tensor, truth: Tensor) -> None:
    """Raise a ValueError unless `generated` (*replica, time, state) can be held against `truth` (time, state)."""
    check_truth(truth)
    if generated.ndim < 2 or generated.shape[-1] != truth.shape[-1] or generated.shape[-2] < 1:
        need = f"(*replica, time, {truth.shape[-1]}) with a time, as the truth is {tuple(truth.shape)}"
        raise ValueError(f"generated: got shape {tuple(generated.shape)}, need {need}")
    if not generated.dtype.is_floating_point or generated.device != truth.device:
        got = f"{generated.dtype} on {generated.device}"
        raise ValueError(f"generated: got {got}, need floating point on {truth.device}, where the truth is")


def check_truth(truth: Tensor, least: int = 2, name: str = "truth") -> None:
    """Raise a ValueError unless `truth` is (time, state), of at least so many instants, and finite."""
    if truth.ndim != 2 or truth.shape[0] < least or truth.shape[1] < 1:
        raise ValueError(f"{name}: got shape {tuple(truth.shape)}, need (time, state) with at least {least} instants")
    if not truth.dtype.is_floating_point:
        raise ValueError(f"{name}: got {truth.dtype}, need floating point")
    if not bool(torch.isfinite(truth).all()):
        bad = int((~torch.isfinite(truth)).any(-1).nonzero()[0])
        raise ValueError(f"{name}: got {truth[bad].tolist()} at instant {bad}, need finite values")


def check_moves(truth: Tensor) -> None:
    """Raise a ValueError when a component of `truth` never changes: it has no range and no spectrum."""
    still = (truth.amax(0) == truth.amin(0)).nonzero()
    if len(still):
        raise ValueError(f"truth: component {int(still[0])} is constant, need components that change; leave it out")


def replicas(series: Float[Tensor, "*replica time state"]) -> Float[Tensor, "all time state"]:
    """The same series with one leading axis."""
    return series.reshape(prod(series.shape[:-2]), *series.shape[-2:])


def finite(series: Float[Tensor, "*replica time state"]) -> Bool[Tensor, "*replica"]:
    """Which replicas have no NaN and no infinite value."""
    return torch.isfinite(series).flatten(-2).all(-1)


__all__ = ["check_generated", "check_moves", "check_truth", "finite", "replicas"]
