"""The solution of -div(a grad u) = f as a function of a and f with derivatives: one more solve for all of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.numerics.diffusion import DiffusionOperator, FaceMean, diffusion_operator
from sciml.numerics.domain import Domain
from sciml.numerics.multigrid import solve_diffusion


def diffusion_solution(
    coefficient: Float[Tensor, "batch rows columns"],
    source: Float[Tensor, "batch rows columns"],
    domain: Domain,
    *,
    face_mean: FaceMean = "arithmetic",
    tolerance: float = 1e-10,
) -> Float[Tensor, "batch rows columns"]:
    """`solve_diffusion(...).u` with the coefficient at the nodes, differentiable once.

    With A the operator and f - A(a) u its residual at the solution, du = A⁻¹ d(f - A(a) u), u held fixed on the right. A is
    symmetric in the inner product of the Domain, so a gradient goes back through A⁻¹ by a solve of its own, to the same
    tolerance. Arguments and errors are those of `solve_diffusion`.
    """
    a, f = coefficient.detach(), source.detach()
    u = solve_diffusion(a, f, domain, face_mean=face_mean, tolerance=tolerance).u
    if not (torch.is_grad_enabled() and (coefficient.requires_grad or source.requires_grad)):
        return u
    left_over = source - diffusion_operator(coefficient, domain, face_mean=face_mean).apply(u)
    operator = diffusion_operator(a, domain, face_mean=face_mean)

    def inverse(g: Tensor) -> Tensor:
        return solve_diffusion(a, g, domain, face_mean=face_mean, tolerance=tolerance).u

    return u + _Inverse.apply(left_over, operator, inverse)


class _Inverse(torch.autograd.Function):
    """A⁻¹ of what is zero up to the tolerance: zero, with the derivative of A⁻¹."""

    @staticmethod
    def forward(ctx, left_over: Tensor, operator: DiffusionOperator, inverse) -> Tensor:  # pyright: ignore[reportMissingParameterType]
        ctx.operator, ctx.inverse = operator, inverse
        return torch.zeros_like(left_over)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportMissingParameterType, reportIncompatibleMethodOverride]
        operator: DiffusionOperator = ctx.operator
        density = gradient / operator.volumes
        if operator.singular:  # the solution has mean zero, whatever is added to the source
            density = density - operator.domain.mean(density)[:, None, None]
        return operator.volumes * ctx.inverse(density), None, None
