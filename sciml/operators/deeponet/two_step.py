"""Training in two steps: first the basis, then the coefficients (Lee & Shin, SIAM J. Sci. Comput. 46 (2024) C273).

    fit(model, BasisError(reading), train, ...)          # the trunk alone
    model = orthonormalised(model, domain)
    fit(model, CoefficientError(reading), train, ...)    # the branch alone

In the first step the coefficients of each function are those of least squares, solved for and not trained: a basis is judged by
the best that can be done with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.objectives import FunctionsAtPoints, coordinates, needed

_RIDGE = 1e-8
"""Of the root mean square of the basis: functions that are combinations of others do no harm."""


@dataclass(frozen=True)
class BasisError:
    """Mean over the functions of the squared distance from the best that the basis can do, over that of the truth.

    Args:
        reading: with a grid.
    Raises:
        ValueError: a model that is not a sum of products, or points of each function its own.
    """

    reading: FunctionsAtPoints

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        _, y, s = self.reading(batch)
        factorised = needed(model, y, s.shape[2])
        root = self.reading.on_grid(s).double().sqrt()[:, None]
        rest = ((s - factorised.offset(y)).double() * root).movedim(2, 1)
        basis = (factorised.basis(y).double() * root[..., None]).movedim(1, 0)
        if factorised.shares_coefficients:  # outputs have the same coefficients: each at each point is a point
            basis, rest = basis.flatten(0, 1)[None], rest.flatten(1)[:, None]
        ridge = _RIDGE * basis.detach().square().sum(1).mean().sqrt() * torch.eye(basis.shape[2]).to(basis)
        directions = torch.linalg.qr(torch.cat([basis, ridge.expand(len(basis), -1, -1)], 1)).Q[:, : basis.shape[1]]
        met = torch.einsum("fcn,cnk->fck", rest, directions.expand(rest.shape[1], -1, -1)).square().sum((1, 2))
        size = rest.square().sum((1, 2))
        return ((size - met).clamp(min=0) / size).mean().to(s.dtype)


class Mixed(Fixed):
    """A trunk whose functions are mixed by a fixed matrix, channel by channel.

    Args:
        trunk: from (*points, coordinate) to (*points, number).
        mixing: (channel, term, term).
    """

    def __init__(self, trunk: nn.Module, mixing: Float[Tensor, "channel term term"]) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mixing", mixing, persistent=False)

    def forward(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points number"]:
        mixing = self.get_buffer("mixing").to(y)
        return torch.einsum("...ck,ckl->...cl", self.trunk(y).unflatten(-1, mixing.shape[:2]), mixing).flatten(-2)


def orthonormalised(model: DeepONet, domain: Domain) -> DeepONet:
    """The same branch with a basis of the same span, frozen, orthonormal in the mean of products over the domain.

    Combinations of the trunk's functions that nearly cancel have few digits left; these are kept smaller than 1.

    Raises:
        ValueError: outputs that share the coefficients, or a hard boundary, whose factor is no part of the trunk.
    """
    if model.shares_coefficients or model.boundary is not None:
        raise ValueError(
            "model: need outputs with coefficients of their own and no hard boundary, to make its trunk orthonormal"
        )
    y = coordinates(domain).to(next(model.parameters()))
    weights = domain.weights().flatten().to(y.device, torch.float64)
    root = (weights / weights.sum()).sqrt()[:, None, None]
    with torch.no_grad():
        basis = (model.basis(y).double() * root).movedim(1, 0)
        _, sizes, directions = torch.linalg.svd(basis, full_matrices=False)
        # What is left of the digits of the trunk, where functions cancel; what is beyond stays small instead.
        digits = torch.finfo(next(model.parameters()).dtype).eps ** 0.6
        mixing = directions.mT / sizes.clamp(min=digits * sizes[:, :1])[:, None]
    trunk = Mixed(model.trunk, mixing).requires_grad_(False)
    scale, shift = model.scale, model.shift
    made = DeepONet(model.branch, trunk, channels=model.channels, split=model.split, bias=model.bias, scale=scale, shift=shift)
    made.to(y)  # before the weights come, or they would lose digits
    made.outputs.load_state_dict(model.outputs.state_dict())
    if made.outputs.bias is not None:
        made.outputs.bias.requires_grad_(False)  # coefficients are those of what the offset leaves
    return made


__all__ = ["BasisError", "Mixed", "orthonormalised"]
