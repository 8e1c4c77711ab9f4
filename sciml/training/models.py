"""What training, evaluation and prediction ask of a model before and after they use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode without gradients inside the block; after it, each part in the mode it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Precision of the fields that the model takes: that of its first real weights that want a gradient; None without."""
    return next((w.dtype for w in model.parameters() if w.requires_grad and w.is_floating_point()), None)


def check_dtype(model: nn.Module, given: Tensor) -> None:
    """Raise a ValueError when the trained weights have another precision than the fields that the model is given.

    A model without weights that want a gradient may convert as it likes, and so may one of complex weights alone.
    """
    kept = dtype_of(model)
    if kept is not None and given.is_floating_point() and given.dtype != kept:
        raise ValueError(
            f"model: its weights are {kept}, the stream brings {given.dtype}; open the stream with dtype={kept}, "
            f"or convert the model by model.to({given.dtype})"
        )


__all__ = ["check_dtype", "dtype_of", "in_evaluation"]
