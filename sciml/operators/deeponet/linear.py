"""The best linear map from a function to answers at points, in closed form: what a network has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.factorised import Basis, Coefficients, Factorised


class LinearOperator(Factorised):
    """G(u)(y)_c = Σ_ij W_cij p_i(u) T_j(y): p principal components of the inputs and 1, T products of Chebyshev polynomials.

    Args:
        components: of the inputs.
        weights: (channel, component and 1, polynomial).
        low, high: sides of the box that the polynomials are laid on, per coordinate.
        degree: of the polynomials in each coordinate.
    """

    def __init__(
        self,
        components: PrincipalComponents,
        weights: Float[Tensor, "channel row polynomial"],
        low: Sequence[float],
        high: Sequence[float],
        degree: int,
    ) -> None:
        super().__init__()
        self.channels = weights.shape[0]
        self.low, self.high, self.degree = tuple(low), tuple(high), degree
        self.components = components
        self.register_buffer("weights", weights, persistent=False)

    @classmethod
    def of(
        cls,
        u: Float[Tensor, "function *numbers"],
        y: Float[Tensor, "*points coordinate"],
        s: Float[Tensor, "function point channel"],
        *,
        components: int = 20,
        degree: int = 15,
    ) -> LinearOperator:
        """Least squares over all functions and points, in float64.

        Args:
            y: (point, coordinate) for all functions, or (function, point, coordinate).
            components: at most so many.
            degree: of the polynomials in each coordinate.
        Raises:
            ValueError: fewer answers than unknowns.
        """
        points, truth = y.double(), s.double()
        low, high = points.flatten(0, -2).amin(0).tolist(), points.flatten(0, -2).amax(0).tolist()
        found = PrincipalComponents.of(u, count=components, least=1e-7)
        p = _with_one(found(u.double()))
        t = polynomials(points, low, high, degree)
        unknowns = p.shape[1] * t.shape[-1]
        if truth[..., 0].numel() < unknowns:
            raise ValueError(
                f"s: got {truth[..., 0].numel()} answers for {unknowns} unknowns; take fewer components or degrees"
            )
        if points.ndim == 2:
            left, right = torch.linalg.pinv(p, rtol=1e-12), torch.linalg.pinv(t, rtol=1e-12)
            weights = torch.einsum("if,fnc,jn->cij", left, truth, right)
        else:
            design = (p[:, None, :, None] * t[:, :, None, :]).flatten(2).flatten(0, 1)
            solution = torch.linalg.lstsq(design, truth.flatten(0, 1), driver="gelsd", rcond=1e-13).solution
            weights = solution.T.unflatten(1, (p.shape[1], t.shape[-1]))
        return cls(found, weights, low, high, degree)

    def encode(self, u: object) -> Coefficients:
        """(function, channel, polynomial)."""
        assert isinstance(u, Tensor)
        p = _with_one(self.components(u))
        return torch.einsum("fi,cij->fcj", p, self.get_buffer("weights").to(p))

    def basis(self, y: Float[Tensor, "*points coordinate"]) -> Basis:
        return polynomials(y, self.low, self.high, self.degree)[..., None, :]

    def offset(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points channel"]:
        return torch.zeros_like(y[..., :1]).expand(*y.shape[:-1], self.channels)

    def in_other_order(self, u: object, y: Float[Tensor, "point coordinate"]) -> None:
        """None: the map is one product."""


def polynomials(
    y: Float[Tensor, "*points coordinate"], low: Sequence[float], high: Sequence[float], degree: int
) -> Float[Tensor, "*points polynomial"]:
    """Products of the Chebyshev polynomials up to a degree in each coordinate, on a box."""
    product = torch.ones_like(y[..., :1])
    for axis, (start, stop) in enumerate(zip(low, high, strict=True)):
        x = 2 * (y[..., axis] - start) / (stop - start) - 1
        terms = [torch.ones_like(x), x]
        for _ in range(2, degree + 1):
            terms.append(2 * x * terms[-1] - terms[-2])
        product = (product[..., :, None] * torch.stack(terms[: degree + 1], -1)[..., None, :]).flatten(-2)
    return product


def _with_one(p: Float[Tensor, "function component"]) -> Float[Tensor, "function row"]:
    return torch.cat([p, torch.ones_like(p[:, :1])], 1)


__all__ = ["LinearOperator", "polynomials"]
