"""The last digits: quasi-Newton steps in float64 on all samples at once, where a model and its set are small."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from sciml.data.batch import Batch
from sciml.training.objectives import Objective


@dataclass(frozen=True)
class Polished:
    """What came of it.

    Args:
        first, last: the objective before and after.
        evaluations: of objective and gradient.
    """

    first: float
    last: float
    evaluations: int


def polish(model: nn.Module, objective: Objective, batch: Batch, *, evaluations: int, memory: int = 50) -> Polished:
    """Take a model to float64 and on by L-BFGS with the line search of Wolfe until the evaluations are spent, in place.

    For objectives without chance, on one batch that holds every sample. The model stays in float64, in which alone the small
    differences exist that the last steps live on.

    Args:
        batch: all samples, in float64.
        evaluations: how often objective and gradient may be computed.
        memory: steps that make up the curvature.
    Raises:
        ValueError: a batch in another precision, or an objective that is not finite at the start.
    """
    for name, values in batch.items():
        if values.is_floating_point() and values.dtype != torch.float64:
            raise ValueError(f"variable {name}: got {values.dtype}, need float64; open the stream with dtype=torch.float64")
    model.double()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    rule = torch.optim.LBFGS(
        weights,
        max_iter=evaluations,
        max_eval=evaluations,
        history_size=memory,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    losses: list[float] = []
    best = (math.inf, [weight.detach().clone() for weight in weights])

    def evaluated() -> torch.Tensor:
        nonlocal best
        rule.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        losses.append(float(loss.detach()))
        if losses[-1] < best[0]:
            best = (losses[-1], [weight.detach().clone() for weight in weights])
        return loss

    rule.step(evaluated)  # pyright: ignore[reportArgumentType]
    if not math.isfinite(losses[0]):
        raise ValueError(f"objective: got {losses[0]} at the start, need a finite number")
    # The line search ends where it likes; what was found on the way is kept.
    with torch.no_grad():
        for weight, value in zip(weights, best[1], strict=True):
            weight.copy_(value)
    rule.zero_grad()
    return Polished(losses[0], best[0], len(losses))


__all__ = ["Polished", "polish"]
