"""The best linear map from a function to answers at points, in closed form: what a network has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.factorised import Basis, Coefficients, Factorised
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.networks import before_last, last_linear


class LinearOperator(Fixed, Factorised):
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
        if any(not a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"y: got points from {low} to {high}, need a box with an extent in every coordinate")
        found = PrincipalComponents.of(u, count=components, least=1e-7)
        p = _with_one(found(u.double()))
        t = polynomials(points, low, high, degree)
        weights = bilinear_least_squares(p, t, truth)
        return cls(found, weights, low, high, degree)

    @property
    def shares_coefficients(self) -> bool:
        return False

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


def bilinear_least_squares(
    p: Float[Tensor, "function row"], t: Float[Tensor, "*points term"], s: Float[Tensor, "function point channel"]
) -> Float[Tensor, "channel row term"]:
    """W for which Σ_ij p_i W_cij t_j is nearest to s, over all functions and points.

    Args:
        t: (point, term) for all functions, or (function, point, term).
    Raises:
        ValueError: fewer answers than unknowns.
    """
    unknowns = p.shape[1] * t.shape[-1]
    if s[..., 0].numel() < unknowns:
        raise ValueError(f"s: got {s[..., 0].numel()} answers for {unknowns} unknowns; take fewer components or degrees")
    if t.ndim == 2:
        left, right = torch.linalg.pinv(p, rtol=1e-12), torch.linalg.pinv(t, rtol=1e-12)
        return torch.einsum("if,fnc,jn->cij", left, s, right)
    design = (p[:, None, :, None] * t[:, :, None, :]).flatten(2).flatten(0, 1)
    solution = torch.linalg.lstsq(design, s.flatten(0, 1), driver="gelsd", rcond=1e-13).solution
    return solution.T.unflatten(1, (p.shape[1], t.shape[-1]))


def solve_last_layer(
    model: DeepONet,
    u: Float[Tensor, "function *numbers"],
    y: Float[Tensor, "*points coordinate"],
    s: Float[Tensor, "function point channel"],
) -> None:
    """Set the last layer of the branch to that of least squares, all other weights as they are: no step finds better.

    The answer is linear in this layer. Take the model to float64 before, and go on by `polish` after.

    Args:
        y: (point, coordinate) for all functions, or (function, point, coordinate).
    Raises:
        ValueError: several outputs, a branch that does not end in a linear layer, a model that is not in float64, or fewer
            answers than unknowns.
    """
    layer = last_linear(model.branch)
    if layer is None or model.channels > 1:
        raise ValueError("model: need one output and a branch that ends in a linear layer, to solve for it")
    if layer.weight.dtype != torch.float64:
        raise ValueError(f"model: got {layer.weight.dtype}, need float64; call model.double() before")
    with torch.no_grad():
        h = before_last(model.branch, u)
        p = h if layer.bias is None else _with_one(h)
        t = model.outputs.scaled("branch", model.basis(y)[..., 0, :])
        (weights,) = bilinear_least_squares(p, t, s - model.offset(y))
        layer.weight.copy_(weights[: h.shape[1]].T)
        if layer.bias is not None:
            layer.bias.copy_(weights[-1])


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


__all__ = ["LinearOperator", "bilinear_least_squares", "polynomials", "solve_last_layer"]
