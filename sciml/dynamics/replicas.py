"""What is common to models of many replicas: windows dealt out among them, one number made of their errors, inputs checked."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.data.batch import MASK

Windows = Float[Tensor, "replica sequence time value"]
Good = Bool[Tensor, "replica sequence time value"]


def windows(
    batch: Mapping[str, Tensor], name: str, size: int, replicas: int, *, training: bool, least: int = 2
) -> tuple[Windows, Good | None]:
    """A variable of a batch, dealt out among the replicas, and which of its values are good, where the batch tells.

    In training each replica gets windows of its own; what is left over nobody sees, and fewer windows than replicas are seen
    by all. In evaluation all replicas see all windows.

    Args:
        size: how many numbers an instant has.
        least: how many instants a window must have.
    Raises:
        ValueError: no such variable, or another shape than (window, at least `least` instants, size).
    """
    if name not in batch:
        raise ValueError(f"batch: got {', '.join(batch)}, need {name}; tell the objective which variable it is")
    x = batch[name]
    if x.ndim != 3 or x.shape[2] != size or x.shape[1] < least:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, need (window, at least {least} instants, {size})")
    good = batch.get(f"{name}{MASK}")
    each = len(x) // replicas if training else 0

    def dealt(values: Tensor) -> Tensor:
        return values[: each * replicas].unflatten(0, (replicas, each)) if each else values.expand(replicas, *values.shape)

    return dealt(x), None if good is None else dealt(good)


def mean_squares(gaps: Windows, counted: Good | None) -> Float[Tensor, "replica"]:
    """Mean of the squares of each replica over the values that count, or over all; 0 where none does."""
    squares = gaps.square()
    if counted is None:
        return squares.flatten(1).mean(1)
    counts = counted.to(gaps.dtype)
    return (squares * counts).flatten(1).sum(1) / counts.flatten(1).sum(1).clamp(min=1)


def mean_of_finite(errors: Float[Tensor, "replica"]) -> Float[Tensor, ""]:
    """The value is the mean over the replicas whose errors are finite, the gradient that of their sum.

    So every replica trains as it would alone. Not a number where no replica is left.
    """
    good = errors.detach().isfinite()
    counted = torch.where(good, errors, 0).sum()
    value = counted.detach() / good.sum()
    return value + (counted - counted.detach())


def keep_apart(model: nn.Module) -> None:
    """From now on a replica whose gradient is not finite takes no part in a step, and leaves the others alone.

    Every weight that wants a gradient must have the replicas as its first axis.
    """
    for weight in model.parameters():
        if weight.requires_grad and not getattr(weight, "_backward_hooks", None):
            weight.register_hook(_finite_replicas)


def _finite_replicas(gradient: Tensor) -> Tensor:
    finite = gradient.flatten(1).sum(1).isfinite()
    return torch.where(finite.view(-1, *[1] * (gradient.ndim - 1)), gradient, 0)


def check_forecast(series: Tensor, steps: int, *, replicas: int, observed: int, dtype: torch.dtype) -> None:
    """Raise a ValueError unless a model of these sizes and this precision can go on from the series."""
    if series.ndim != 4 or series.shape[0] != replicas or series.shape[2] < 1 or series.shape[3] != observed:
        wanted = f"({replicas} replicas, sequence, at least 1 instant, {observed})"
        raise ValueError(f"series: got shape {tuple(series.shape)}, need {wanted}")
    if series.dtype != dtype:
        raise ValueError(f"series: got {series.dtype}, the model is {dtype}; convert one of them")
    if steps < 1:
        raise ValueError(f"steps: got {steps}, need at least 1")


class Affine(nn.Module):
    """y = W x + b, with weights of its own for every replica.

    Both are drawn uniformly from ±bound.

    Args:
        bound: 1 / √inputs if not given.
    """

    def __init__(self, inputs: int, outputs: int, replicas: int, *, bias: bool = True, bound: float | None = None) -> None:
        super().__init__()
        self.inputs, self.outputs, self.replicas = inputs, outputs, replicas
        self.bound = 1 / math.sqrt(inputs) if bound is None else bound
        self.weight = nn.Parameter(torch.empty(replicas, outputs, inputs).uniform_(-self.bound, self.bound))
        self.bias = nn.Parameter(torch.empty(replicas, outputs).uniform_(-self.bound, self.bound)) if bias else None

    def forward(self, x: Float[Tensor, "replica *batch input"]) -> Float[Tensor, "replica *batch output"]:
        """For every vector of every replica."""
        rows = x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])
        if self.bias is None:
            y = torch.bmm(rows, self.weight.mT)
        else:
            y = torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight.mT)
        return y.view(*x.shape[:-1], self.outputs)


__all__ = ["Affine", "check_forecast", "keep_apart", "mean_of_finite", "mean_squares", "windows"]
