"""Training by the equation: residuals and sides as objectives, beside data or without.

Source: Wang, Wang & Perdikaris, Sci. Adv. 7 (2021) eabi8605.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.operators.deeponet.derivatives import Order, derivatives

Points = Callable[[Batch], Tensor]
"""Makes the points of a batch, (point, coordinate) for all functions or (function, point, coordinate)."""

Equation = Callable[[Mapping[Order, Tensor], Tensor, Batch], Float[Tensor, "function point channel"]]
"""(derivatives by order, points, batch) -> what should be zero, (function, point, channel)."""


@dataclass(frozen=True)
class Residual:
    """Mean square of what an equation leaves of the answers.

    Args:
        equation: from the derivatives that `orders` names, each (function, point, channel), the points and the batch, to
            something of that shape.
        points: where; a fixed tensor as `lambda batch: y`, or drawn anew.
        orders: of the derivatives, see `derivatives`.
        inputs: variables, one for each input function.
    """

    equation: Equation
    points: Points
    orders: Sequence[Order]
    inputs: tuple[str, ...]

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        y = self.points(batch)
        u = tuple(batch[name] for name in self.inputs)
        found = derivatives(model, u[0] if len(u) == 1 else u, y, self.orders)
        left = self.equation(dict(zip(self.orders, found, strict=True)), y, batch)
        if left.shape != found[0].shape:
            raise ValueError(
                f"equation: gave shape {tuple(left.shape)}, the answers have {tuple(found[0].shape)}; need the same"
            )
        return left.square().mean()


@dataclass(frozen=True)
class Boundary:
    """Mean square of the distance from given values, on sides or at the start.

    Args:
        values: (points, batch) -> (function, point, channel), axes of size 1 spread over them, or a number; another shape is
            a ValueError in the call.
        points, inputs: see `Residual`.
    """

    values: Callable[[Tensor, Batch], Tensor | float]
    points: Points
    inputs: tuple[str, ...]

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        y = self.points(batch)
        u = tuple(batch[name] for name in self.inputs)
        answers, values = model(u[0] if len(u) == 1 else u, y), self.values(y, batch)
        if isinstance(values, Tensor) and not _spreads_over(values, answers):
            raise ValueError(
                f"values: gave shape {tuple(values.shape)}, the answers have {tuple(answers.shape)}; "
                "need (function, point, channel), axes of size 1 spread over them, or a number"
            )
        return (answers - values).square().mean()


def _spreads_over(values: Tensor, answers: Tensor) -> bool:
    if values.ndim == 0:
        return True
    return values.ndim == answers.ndim and all(n in (1, m) for n, m in zip(values.shape, answers.shape, strict=True))


def drawn(count: int, low: Sequence[float], high: Sequence[float]) -> Points:
    """Points for all functions, uniform in a box, new in every step; in the precision of the first variable of floats.

    Raises:
        ValueError: no point, or sides that are not one below the other; in the call, a batch without floats.
    """
    if count < 1 or len(low) != len(high) or any(not a <= b for a, b in zip(low, high, strict=True)):
        raise ValueError(f"count, low, high: got {count}, {tuple(low)}, {tuple(high)}, need at least one point and low <= high")

    def points(batch: Batch) -> Tensor:
        like = next((value for value in batch.values() if value.is_floating_point()), None)
        if like is None:
            raise ValueError(f"batch: got {', '.join(batch) or 'no variable'}, need a variable of floats")
        start, stop = torch.tensor(low), torch.tensor(high)
        return (start + (stop - start) * torch.rand(count, len(low))).to(like)

    return points


__all__ = ["Boundary", "Equation", "Points", "Residual", "drawn"]
