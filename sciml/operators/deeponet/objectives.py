"""What training of operators between functions and points minimises: errors by prediction, by Gram matrices, by coefficients.

For G(u)(y) = Σ_k b_k(u) t_k(y) and N points that all functions share, the distance from the truth s needs no prediction:

    Σ_n (Σ_k b_k t_k(y_n) - s_n)² = bᵀ (TᵀT) b - 2 b · Tᵀ s + |s|²

with T the basis at the points. That is two products of functions x points x terms in a step, forward and backward, instead of
three, and no tensor of functions x points beside the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sciml.data.batch import MASK, Batch, joined
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.factorised import Basis, Coefficients, Factorised

RESOLVED = 1e-3
"""Relative residual below which, in float32, errors are taken by prediction; the sums of the Gram form are in float64."""

_AT_ONCE = 128
"""Functions whose truths are turned to float64 together."""


@dataclass(frozen=True)
class FunctionsAtPoints:
    """How a batch becomes input functions, points and answers.

    Args:
        inputs: variables, one for each input function; several go to the model as a tuple.
        targets: variables, joined along the channels in this order.
        points: name of the variable that holds the points, (sample, point, coordinate), of each sample its own; or the grid,
            the same for all, on which the targets are fields; their instants, where they have some, are channels.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    points: str | Domain

    def __post_init__(self) -> None:
        if not self.inputs or not self.targets:
            raise ValueError(f"inputs, targets: got {self.inputs}, {self.targets}, need at least one variable of each")

    def __call__(self, batch: Batch) -> tuple[Tensor | tuple[Tensor, ...], Tensor, Float[Tensor, "function point channel"]]:
        """(u, y, s) of a batch; y is (point, coordinate) on a grid, else (function, point, coordinate).

        Raises:
            ValueError: a variable that the batch does not have, targets that do not lie at the points, or that the batch masks:
                these losses count every value.
        """
        for name in (f"{target}{MASK}" for target in self.targets):
            if name in batch and not bool(batch[name].all()):
                raise ValueError(
                    f"{name}: {int((~batch[name]).sum())} values of the batch are masked, and errors at points count every "
                    "value; open the stream with on_bad='skip'"
                )
        for name in (*self.inputs, *self.targets, *([self.points] if isinstance(self.points, str) else [])):
            if name not in batch:
                raise ValueError(f"variable {name}: not in the batch, which has {', '.join(batch)}")
        u = tuple(batch[name] for name in self.inputs)
        parts = [batch[name] for name in self.targets]
        if isinstance(self.points, str):
            y = batch[self.points]
            wanted = y.shape[:2]
        else:
            y = _on(self.points, parts[0].dtype, parts[0].device)
            fields = joined(batch, self.targets, self.points.shape)  # instants of a window are channels
            return (u[0] if len(u) == 1 else u), y, fields.flatten(2).movedim(1, 2)
        for name, values in zip(self.targets, parts, strict=True):
            if values.ndim != 3 or values.shape[:2] != wanted:
                raise ValueError(f"variable {name}: got values {tuple(values.shape)}, the points are {tuple(y.shape)}")
        return (u[0] if len(u) == 1 else u), y, parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def weights(self, like: Tensor) -> Float[Tensor, "point"] | None:
        """Quadrature weights of the points over their sum; None where each function has points of its own."""
        if isinstance(self.points, str):
            return None
        return _weights(self.points, like.dtype, like.device)

    def on_grid(self, like: Tensor) -> Float[Tensor, "point"]:
        """The same where there must be some; a ValueError where each function has points of its own."""
        weights = self.weights(like)
        if weights is None:
            raise ValueError(f"points: got {self.points!r}, of each function its own; this loss needs a grid")
        return weights


@dataclass(frozen=True)
class SquaredError:
    """Mean over functions, points and channels of (prediction - truth)².

    Args:
        reading: of a batch.
        gram: without a prediction, see the head of this module; in float32, below a relative residual of 1e-3, by prediction
            all the same.
        points: so many points, drawn anew in every step, the same for all functions; None for all of them.
    """

    reading: FunctionsAtPoints
    gram: bool = False
    points: int | None = None

    def __post_init__(self) -> None:
        _check_points(self.points)

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        u, y, s, _ = _some_points(self.points, *self.reading(batch), None)
        if not self.gram:
            return functional.mse_loss(_like(model(u, y), s), s)
        gap = _by_gram(model, u, y, s)
        if s.dtype == torch.float32 and bool(gap.detach().sum() < RESOLVED**2 * s.square().sum()):
            return functional.mse_loss(_like(model(u, y), s), s)
        return gap.sum().to(s.dtype) / s.numel()


@dataclass(frozen=True)
class RelativeError:
    """Mean over the functions of ||prediction - truth|| / ||truth||, by the quadrature of the grid where the points have one.

    The gradient is that of a root: it does not fade for functions that are small or nearly met. See `SquaredError`.
    """

    reading: FunctionsAtPoints
    gram: bool = False
    points: int | None = None

    def __post_init__(self) -> None:
        _check_points(self.points)

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        u, y, s = self.reading(batch)
        u, y, s, weights = _some_points(self.points, u, y, s, self.reading.weights(s))
        root = torch.ones_like(s[0, :, :1]) if weights is None else weights.sqrt()[:, None]
        truth = s * root
        size = truth.square().sum((1, 2))
        gap = _by_gram(model, u, y, truth, root).to(s.dtype) if self.gram else None
        # The root makes as much of a function that is nearly met as of the others: each needs its digits.
        if gap is None or (s.dtype == torch.float32 and bool((gap.detach() < RESOLVED**2 * size).any())):
            gap = (_like(model(u, y), s) * root - truth).square().sum((1, 2))
        return (gap.clamp(min=torch.finfo(s.dtype).tiny) / size).sqrt().mean()


@dataclass(frozen=True)
class CoefficientError:
    """Mean over the functions of the squared distance from the best that the basis can do, over that of the truth.

    The truth is projected on the basis by the quadrature of the grid, once per step; the branch is compared with the
    coefficients. What the basis cannot represent does not count, and no gradient reaches the basis: for a basis that is fixed,
    as of `PODDeepONet` and in the second of two steps, where it costs a third of a step by prediction.

    Args:
        reading: with a grid.
    Raises:
        ValueError: a model that is not a sum of products.
    """

    reading: FunctionsAtPoints

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        u, y, s = self.reading(batch)
        factorised, weights = needed(model, y, s.shape[2]), self.reading.on_grid(s)
        b = factorised.encode(u)
        with torch.no_grad():
            t, rest = factorised.basis(y), s - factorised.offset(y)
            best, gram = projected(t, rest, weights, shared=factorised.shares_coefficients)
        gap = b - best
        size = (rest.square() * weights[:, None]).sum((1, 2))
        return (torch.einsum("fck,ckl,fcl->f", gap, gram, gap) / size).mean()


@dataclass(frozen=True)
class Sum:
    """A weighted sum of objectives: `Sum((1.0, supervised), (0.1, residual))`.

    Args:
        terms: (weight, objective); an objective is any callable (model, batch) -> scalar.
    """

    terms: tuple[tuple[float, object], ...] = field(default=())

    def __init__(self, *terms: tuple[float, object]) -> None:
        if not terms or not all(len(term) == 2 and callable(term[1]) for term in terms):
            raise ValueError(f"terms: got {terms}, need at least one pair (weight, objective)")
        object.__setattr__(self, "terms", terms)

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        parts = [weight * objective(model, batch) for weight, objective in self.terms]  # pyright: ignore[reportCallIssue]
        return torch.stack(parts).sum()


def coordinates(domain: Domain) -> Float[Tensor, "point coordinate"]:
    """Of the points of a grid, float64, in the order in which a field is flattened."""
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*domain.coordinates(), indexing="ij")], -1)


@lru_cache(maxsize=16)
def _on(domain: Domain, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "point coordinate"]:
    with torch.inference_mode(False):
        return coordinates(domain).to(device, dtype)


@lru_cache(maxsize=16)
def _weights(domain: Domain, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "point"]:
    with torch.inference_mode(False):
        weights = domain.weights().flatten().double()
        return (weights / weights.sum()).to(device, dtype)


def squared_distance(b: Coefficients, t: Basis, s: Float[Tensor, "function point channel"]) -> Float[Tensor, "function"]:
    """Σ over points and channels of (Σ_k b_k t_k - s)², by Gram matrices; all products and sums in float64.

    Rounding of 6e-8 in float32 products would be 6 % of what is left of their difference at a relative residual of 1e-3.

    Args:
        t: (point, channel or 1, term), at points that all functions share.
    """
    if t.shape[1] == 1:  # outputs share the basis, or there is one: each output of each function is a row
        rows, columns, truth = b.flatten(0, 1)[None], t[:, 0][None], s.movedim(2, 1).flatten(0, 1)[None]
    elif b.shape[1] == 1:  # outputs share the coefficients: each output at each point is a column
        rows, columns, truth = b.movedim(1, 0), t.flatten(0, 1)[None], s.flatten(1)[None]
    else:
        rows, columns, truth = b.movedim(1, 0), t.movedim(1, 0), s.movedim(2, 0)
    rows, columns = rows.double(), columns.double()
    product, size = _Product.apply(truth, columns)
    products = (rows * (rows @ (columns.mT @ columns) - 2 * product)).sum(-1)
    return (products + size).unflatten(1, (len(b), -1)).sum((0, 2))


class _Product(torch.autograd.Function):
    """truth @ columns and the squares of the rows of the truth, in float64 by some rows at a time: no wide copy of the truth.

    The gradient by the columns is a product in the precision of the truth: it is one term of a gradient, where rounding counts
    once, not squared. There is none by the truth.
    """

    @staticmethod
    def forward(ctx: Any, truth: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(truth)
        product = columns.new_empty(*truth.shape[:-1], columns.shape[-1])
        size = columns.new_empty(truth.shape[:-1])
        for start in range(0, truth.shape[1], _AT_ONCE):
            some = truth[:, start : start + _AT_ONCE].double()
            product[:, start : start + _AT_ONCE] = some @ columns
            size[:, start : start + _AT_ONCE] = torch.linalg.vector_norm(some, dim=-1).square()
        ctx.mark_non_differentiable(size)
        return product, size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (truth,) = ctx.saved_tensors
        return None, (truth.mT @ gradient.to(truth.dtype)).double()


def projected(
    t: Basis, s: Float[Tensor, "function point channel"], weights: Float[Tensor, "point"], *, shared: bool = False
) -> tuple[Coefficients, Float[Tensor, "gram_channel term term"]]:
    """The coefficients for which the basis is nearest to s in the norm of the weights, and the Gram matrices of the basis.

    Args:
        shared: whether all channels have the same coefficients.
    """
    if t.shape[1] not in (1, s.shape[2]):
        raise ValueError(f"t: got {t.shape[1]} channels of the basis for {s.shape[2]} of the truth")
    if shared:  # each channel at each point is a point
        weights = weights.repeat_interleave(s.shape[2])
        return projected(t.flatten(0, 1)[:, None], s.flatten(1)[..., None], weights)
    basis = t.expand(-1, s.shape[2], -1).movedim(1, 0).double()
    weighted = basis * weights.double()[:, None]
    gram = weighted.mT @ basis
    right = torch.einsum("fnc,cnk->cfk", s.double(), weighted)
    # A basis may hold functions that are nearly combinations of others: the least coefficients that do.
    best = right @ torch.linalg.pinv(gram, hermitian=True, rtol=1e-12)
    return best.movedim(0, 1).to(s), gram.to(s)


def _by_gram(
    model: nn.Module, u: object, y: Tensor, s: Float[Tensor, "function point channel"], root: Tensor | None = None
) -> Float[Tensor, "function"]:
    """Σ over points and channels, per function, in float64; with roots of weights s is multiplied by them already."""
    factorised = needed(model, y, s.shape[2])
    b, t = with_offset(factorised.encode(u), factorised.basis(y), factorised.offset(y))
    return squared_distance(b, t if root is None else t * root[..., None], s)


def with_offset(b: Coefficients, t: Basis, offset: Float[Tensor, "point channel"]) -> tuple[Tensor, Tensor]:
    """One more term, the offset, whose coefficient is one: its gradient costs no tensor of functions x points."""
    t = torch.cat([t.expand(-1, offset.shape[1], -1), offset[..., None]], -1)
    return torch.cat([b, torch.ones_like(b[..., :1])], -1), t


def needed(model: nn.Module, y: Tensor, channels: int) -> Factorised:
    """The model, where it is a sum of products of as many outputs and all functions share the points; else a ValueError."""
    if not isinstance(model, Factorised):
        raise ValueError(
            f"model: {type(model).__name__} is not a sum of products of functions of u and of y, which this loss needs; "
            "take the loss by prediction"
        )
    if y.ndim != 2:
        raise ValueError(f"points: got {tuple(y.shape)}, of each function its own; this loss needs the same points for all")
    if model.channels != channels:
        raise ValueError(f"model: has {model.channels} outputs per point, the truth has {channels}")
    return model


def _some_points(
    count: int | None, u: object, y: Tensor, s: Tensor, weights: Tensor | None
) -> tuple[object, Tensor, Tensor, Tensor | None]:
    """A part of the points, the same for all functions."""
    if count is None or count >= y.shape[-2]:
        return u, y, s, weights
    chosen = torch.randperm(y.shape[-2])[:count].to(y.device)
    return u, y.index_select(-2, chosen), s.index_select(1, chosen), None if weights is None else weights[chosen]


def _check_points(count: int | None) -> None:
    if count is not None and count < 1:
        raise ValueError(f"points: got {count}, need at least 1, or None for all")


def _like(prediction: Tensor, s: Tensor) -> Tensor:
    if prediction.shape != s.shape:
        raise ValueError(f"model: gave shape {tuple(prediction.shape)}, the truth has {tuple(s.shape)}")
    return prediction


__all__ = [
    "CoefficientError",
    "FunctionsAtPoints",
    "RelativeError",
    "SquaredError",
    "Sum",
    "coordinates",
    "needed",
    "projected",
    "squared_distance",
]
