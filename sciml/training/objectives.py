"""What training minimises, given a model and a batch: the mean relative error of the predicted fields.

An objective is any callable `objective(model, batch) -> scalar` that is a mean over the samples of the batch; a lambda is one.
Those here are what every model between fields shares; one that a method needs for itself lives beside that method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.stream import Batch
from sciml.metrics.fields import relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain

Scalar = Float[Tensor, ""]
Objective = Callable[[nn.Module, Batch], Scalar]


def joined(batch: Batch, names: Sequence[str]) -> Float[Tensor, "batch channel *space"]:
    """Several variables of a batch as one tensor, channels one after the other in the order of `names`.

    Raises:
        ValueError: a name that the batch does not have.
    """
    for name in names:
        if name not in batch:
            raise ValueError(f"variable {name}: not in the batch, which has {', '.join(batch)}")
    if len(names) == 1:
        return batch[names[0]]
    return torch.cat([batch[name] for name in names], dim=1)


@dataclass(frozen=True)
class RelativeL2:
    """Mean over the batch of `relative_l2`: the model maps the inputs, joined along the channels, to the targets."""

    domain: Domain
    inputs: tuple[str, ...]
    targets: tuple[str, ...]

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_l2(*_answers(self, model, batch), self.domain).mean()


@dataclass(frozen=True)
class RelativeH1:
    """Mean over the batch of `relative_h1`, function and gradient by the quadrature of the domain."""

    domain: Domain
    inputs: tuple[str, ...]
    targets: tuple[str, ...]

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_h1(*_answers(self, model, batch), self.domain).mean()


@dataclass(frozen=True)
class RelativeH1Spectral:
    """Mean over the batch of `relative_h1_spectral`, the objective and the H1 of the MgNO paper."""

    domain: Domain
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    scale: float = 1.0
    cutoff: int = 20

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_h1_spectral(*_answers(self, model, batch), self.domain, self.scale, self.cutoff).mean()


def _answers(
    objective: RelativeL2 | RelativeH1 | RelativeH1Spectral, model: nn.Module, batch: Batch
) -> tuple[Float[Tensor, "batch channel *space"], Float[Tensor, "batch channel *space"]]:
    """(prediction, truth)."""
    return model(joined(batch, objective.inputs)), joined(batch, objective.targets)


__all__ = ["Batch", "Objective", "RelativeH1", "RelativeH1Spectral", "RelativeL2", "Scalar", "joined"]
