"""Krylov methods for symmetric positive operators, batched over samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

LinearMap = Callable[[Tensor], Tensor]

REFINEMENTS = 3  # how often a solve goes on from the true residual, when rounding made that larger than the updated one


@dataclass(frozen=True)
class KrylovSolution:
    """What `conjugate_gradients` found, per sample: the solution, the steps it took, the norm of b - A x over that of b."""

    solution: Float[Tensor, "batch *space"]
    iterations: Int[Tensor, "batch"]
    residual: Float[Tensor, "batch"]


@torch.no_grad()
def conjugate_gradients(
    apply: LinearMap,
    source: Float[Tensor, "batch *space"],
    *,
    precondition: LinearMap | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 1000,
) -> KrylovSolution:
    """A x = b for symmetric positive A, from x = 0, by preconditioned conjugate gradients.

    The samples of a batch do not touch each other: a sample that has arrived is left alone, so its answer does not depend on
    its neighbours. Ends on the true residual, not on the updated one. Gradients are not tracked.

    Args:
        apply: A, a linear map of fields like `source`, symmetric and positive per sample; semidefinite where b is in its range.
        source: b.
        precondition: about A⁻¹, a fixed linear map, symmetric and positive per sample. It may give back the same storage
            in every call, not that of its argument.
        tolerance: the largest norm of b - A x over that of b.
        max_iterations: of any one sample. A sample that has not arrived by then, or for which A proves not to be positive,
            is given back as far as it came; `residual` says how far.

    Source: Saad, Iterative Methods for Sparse Linear Systems (2003), algorithm 9.1.
    """
    size = _norm(source)
    x, residual, reached = torch.zeros_like(source), source, torch.where(size == 0, 0.0, 1.0)
    iterations = torch.zeros(len(source), dtype=torch.int64, device=source.device)
    for goal in (tolerance, *[tolerance / 4] * REFINEMENTS):
        budget = torch.where(reached > tolerance, max_iterations - iterations, 0)
        change, steps = _from_zero(apply, precondition or torch.clone, residual, goal * size, budget)
        x, iterations = x + change, iterations + steps
        residual = source - apply(x)
        reached = torch.where(size == 0, 0.0, _norm(residual) / size)
        if bool((reached <= tolerance).all()) or not bool((steps > 0).any()):
            break
    return KrylovSolution(x, iterations, reached)


def _from_zero(
    apply: LinearMap, precondition: LinearMap, source: Tensor, goal: Tensor, budget: Tensor
) -> tuple[Tensor, Tensor]:
    """Until the updated residual is at most `goal` or the budget is spent, for each sample on its own."""
    r, x, p = source.clone(), torch.zeros_like(source), torch.zeros_like(source)
    iterations, before = torch.zeros_like(budget), torch.full_like(goal, torch.inf)
    positive = torch.ones_like(budget, dtype=torch.bool)
    while True:
        active = (_norm(r) > goal) & (iterations < budget) & positive
        if not bool(active.any()):
            return x, iterations
        iterations += active
        z = precondition(r)
        gain = _inner(r, z)
        # A sample that has arrived moves no more: both numbers are zero.
        p.mul_(_column(torch.where(active, gain / before, 0.0), p)).add_(z)
        image = apply(p)
        curvature = _inner(p, image)
        positive = positive & ~(active & ~((curvature > 0) & (gain > 0)))
        step = _column(torch.where(active & positive, gain / curvature, 0.0), p)
        x.addcmul_(step, p)
        r.addcmul_(step, image, value=-1)
        before = gain


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).flatten(1).sum(1)


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (like.ndim - 1))


__all__ = ["KrylovSolution", "LinearMap", "conjugate_gradients"]
