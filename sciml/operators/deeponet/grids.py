"""Operators at points as maps between fields, for everything that works on fields: evaluation, prediction, pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.objectives import coordinates


class OnGrid(Fixed):
    """(batch, channel, *sensors) to (batch, channel, *space): an operator asked at all points of a grid.

    The input stays where the sensors of the operator are; the grid of the answers is free.

    Args:
        operator: called as operator(u, y), such as `DeepONet`.
        domain: the grid of the answers.
        inputs: channels of each input function, in the order of the branches, where there are several.
    """

    def __init__(self, operator: nn.Module, domain: Domain, inputs: Sequence[int] | None = None) -> None:
        super().__init__()
        self.operator, self.domain = operator, domain
        self.inputs = None if inputs is None else tuple(inputs)
        self.register_buffer("points", coordinates(domain), persistent=False)

    def forward(self, a: Float[Tensor, "batch in_channel *sensors"]) -> Float[Tensor, "batch channel *space"]:
        """Raises a ValueError where the channels are not those of the input functions, or as the operator does."""
        u: Tensor | tuple[Tensor, ...] = a
        if self.inputs is not None:
            if a.shape[1] != sum(self.inputs):
                raise ValueError(f"a: got {a.shape[1]} channels, the input functions have {self.inputs}")
            u = torch.split(a, list(self.inputs), dim=1)
        answer = self.operator(u, self.get_buffer("points").to(a))
        return answer.movedim(2, 1).unflatten(2, self.domain.shape)


__all__ = ["OnGrid"]
