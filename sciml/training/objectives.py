"""What training minimises, given a model and a batch: the mean relative error of the predicted fields.

An objective is any callable `objective(model, batch) -> scalar` that is a mean over the samples of the batch; a lambda is one.
Those here are what every model between fields shares; one that a method needs for itself lives beside that method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.batch import MASK, Batch, joined
from sciml.metrics.fields import relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain
from sciml.training.streams import check_names, domain_of

Scalar = Float[Tensor, ""]
Objective = Callable[[nn.Module, Batch], Scalar]


@dataclass(frozen=True)
class RelativeL2:
    """Mean over the batch of `relative_l2`: the model maps the inputs, joined along the channels, to the targets.

    Instants count as channels, and numbers are spread over the grid. Where a batch says in `u_mask` which values of a target
    are good, the others count as met, and samples without a good one do not count.

    Args:
        domain: the grid; or several of different shapes, of which every batch has one.
        inputs, targets: names of variables, in the order of the model's channels.
    Raises:
        ValueError: no grid, grids with other numbers of axes, or two of one shape; no inputs or no targets.
    """

    domain: Domain | Sequence[Domain]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_domains(self.domain)
        check_names(self.inputs, self.targets)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_l2(*_answers(self, model, batch)).mean()


@dataclass(frozen=True)
class RelativeH1:
    """Mean over the batch of `relative_h1`, function and gradient by the quadrature of the domain; see `RelativeL2`."""

    domain: Domain | Sequence[Domain]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_domains(self.domain)
        check_names(self.inputs, self.targets)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_h1(*_answers(self, model, batch)).mean()


@dataclass(frozen=True)
class RelativeH1Spectral:
    """Mean over the batch of `relative_h1_spectral`, the objective and the H1 of the MgNO paper; see `RelativeL2`."""

    domain: Domain | Sequence[Domain]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    scale: float = 1.0
    cutoff: int = 20

    def __post_init__(self) -> None:
        _check_domains(self.domain)
        check_names(self.inputs, self.targets)

    def __call__(self, model: nn.Module, batch: Batch) -> Scalar:
        return relative_h1_spectral(*_answers(self, model, batch), self.scale, self.cutoff).mean()


def without_bad(
    prediction: Float[Tensor, "batch channel *space"], batch: Batch, targets: Sequence[str], grid: Sequence[int] | None
) -> Float[Tensor, "batch channel *space"]:
    """The prediction with zeros where the batch says that the truth is not good, and is zero, too."""
    if not all(f"{name}{MASK}" in batch for name in targets):
        return prediction
    good = joined(batch, [f"{name}{MASK}" for name in targets], grid)
    return torch.where(good, prediction, 0)


def _check_domains(given: Domain | Sequence[Domain]) -> None:
    domains = _several(given)
    shapes = sorted(domain.shape for domain in domains)
    if not shapes or len({len(shape) for shape in shapes}) > 1 or any(a == b for a, b in pairwise(shapes)):
        raise ValueError(f"domain: got grids {shapes}, need at least one, no two of one shape, all with as many axes")


def _several(domain: Domain | Sequence[Domain]) -> tuple[Domain, ...]:
    return (domain,) if isinstance(domain, Domain) else tuple(domain)


def _answers(
    objective: RelativeL2 | RelativeH1 | RelativeH1Spectral, model: nn.Module, batch: Batch
) -> tuple[Float[Tensor, "batch channel *space"], Float[Tensor, "batch channel *space"], Domain]:
    """(prediction, truth, the grid of both)."""
    domain = domain_of(batch, objective.targets, _several(objective.domain))
    given, truth = (joined(batch, names, domain.shape) for names in (objective.inputs, objective.targets))
    prediction = without_bad(model(given), batch, objective.targets, domain.shape)
    masks = [batch[f"{name}{MASK}"].flatten(1).any(1) for name in objective.targets if f"{name}{MASK}" in batch]
    asked = torch.stack(masks).any(0) if len(masks) == len(objective.targets) else None
    if asked is not None and not bool(asked.all()) and bool(asked.any()):  # no relative error of what is nothing
        prediction, truth = prediction[asked], truth[asked]
    return prediction, truth, domain


__all__ = ["Batch", "Objective", "RelativeH1", "RelativeH1Spectral", "RelativeL2", "Scalar", "without_bad"]
