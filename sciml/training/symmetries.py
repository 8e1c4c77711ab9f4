"""Symmetries of a square law: an objective on randomly transposed and reflected copies of each batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.training.objectives import Batch, Objective, Scalar


@dataclass(frozen=True)
class SquareSymmetries:
    """`objective` on the batch after one random symmetry of the square, the same for all its fields.

    Right where the law of the inputs and the equation do not change when the axes are exchanged, and with `reflections` when
    an axis is turned round. On grids that hold one end only, a reflection moves the points: leave it off there. The
    choice is made by torch's generator of random numbers on the CPU, so an interrupted run repeats it.

    Args:
        reflections: whether axes are also turned round: eight symmetries instead of two.
    """

    objective: Objective
    reflections: bool = False

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        """The objective on the moved batch.

        Raises:
            ValueError: a variable is no field over a square grid.
        """
        transpose, first, second = (torch.rand(3) < 0.5).tolist()
        turned = [axis for axis, turn in ((-2, first), (-1, second)) if turn and self.reflections]
        return self.objective(model, {name: _moved(field, name, transpose, turned) for name, field in batch.items()})


def _moved(
    field: Float[Tensor, "batch channel *space"], name: str, transpose: bool, turned: list[int]
) -> Float[Tensor, "batch channel *space"]:
    if field.ndim != 4 or field.shape[-1] != field.shape[-2]:
        raise ValueError(f"{name}: got shape {tuple(field.shape)}, symmetries of the square need (batch, channel, n, n)")
    field = field.transpose(-1, -2) if transpose else field
    return field.flip(turned) if turned else field
