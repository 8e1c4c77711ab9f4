"""Relative errors of answers at points, (function, point, channel), by the plain sum over points.

The two are in use side by side in the field and differ by half and more for the same answers: the mean gives every function
the same weight, the global one gives large functions more.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def relative_l2_of_functions(
    prediction: Float[Tensor, "function point channel"], truth: Float[Tensor, "function point channel"]
) -> Float[Tensor, "function"]:
    """||prediction - truth|| / ||truth|| of each function, over points and channels; inf where the truth is zero.

    Raises:
        ValueError: the two shapes differ.
    """
    _check(prediction, truth)
    size = truth.flatten(1).norm(dim=1)
    return torch.where(size == 0, torch.inf, (prediction - truth).flatten(1).norm(dim=1) / size)


def mean_relative_l2(
    prediction: Float[Tensor, "function point channel"], truth: Float[Tensor, "function point channel"]
) -> Float[Tensor, ""]:
    """Mean over the functions of `relative_l2_of_functions`."""
    return relative_l2_of_functions(prediction, truth).mean()


def global_relative_l2(
    prediction: Float[Tensor, "function point channel"], truth: Float[Tensor, "function point channel"]
) -> Float[Tensor, ""]:
    """||prediction - truth|| / ||truth|| over all functions, points and channels at once; inf where the truth is zero.

    Raises:
        ValueError: the two shapes differ.
    """
    _check(prediction, truth)
    size = truth.norm()
    return torch.where(size == 0, torch.inf, (prediction - truth).norm() / size)


def _check(prediction: Tensor, truth: Tensor) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction: got shape {tuple(prediction.shape)}, the truth has {tuple(truth.shape)}")


__all__ = ["global_relative_l2", "mean_relative_l2", "relative_l2_of_functions"]
