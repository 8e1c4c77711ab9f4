"""Linear regression on more instants than fit into memory, in float64 and without squaring the condition number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Reduced:
    """All that least squares ask of features F and targets Y: min |Y - F W|² = min |right - matrix W|² + constant.

    Args:
        matrix: triangular, with as many rows as features, or as instants where these are fewer.
        count: instants.
    """

    matrix: Float[Tensor, "*batch row feature"]
    right: Float[Tensor, "*batch row target"]
    count: int

    def scaled(self) -> tuple[Reduced, Float[Tensor, "*batch feature"]]:
        """The same for features divided by their root mean squares, and these; of a feature that is zero it is 1."""
        scale = self.matrix.square().sum(-2).div(self.count).sqrt()
        scale = torch.where(scale > 0, scale, 1)
        return Reduced(self.matrix / scale.unsqueeze(-2), self.right, self.count), scale

    def ridged(self, ridge: float) -> Reduced:
        """With ridge · |W|² added to the mean of the squares over the instants."""
        if ridge == 0:
            return self
        features = self.matrix.shape[-1]
        eye = torch.eye(features, dtype=self.matrix.dtype, device=self.matrix.device)
        more = ((ridge * self.count) ** 0.5 * eye).expand(*self.matrix.shape[:-2], -1, -1)
        whole = torch.cat([self.matrix, more], -2)
        right = torch.cat([self.right, self.right.new_zeros(*more.shape[:-1], self.right.shape[-1])], -2)
        return _triangle([whole, right], self.count)

    def solution(self) -> Float[Tensor, "*batch feature target"]:
        """W.

        Raises:
            ValueError: fewer instants than features, or features that depend on each other.
        """
        rows, features = self.matrix.shape[-2:]
        if rows < features:
            raise ValueError(f"series: got {self.count} instants to fit {features} features to, need more, or ridge > 0")
        pivots = torch.diagonal(self.matrix, dim1=-2, dim2=-1).abs()
        least = features * torch.finfo(self.matrix.dtype).eps * torch.linalg.vector_norm(self.matrix, dim=-2)
        if bool((pivots <= least).any()):
            dependent = int((pivots <= least).sum(-1).max())
            raise ValueError(f"series: {dependent} of {features} features depend on the others on it, need ridge > 0")
        return torch.linalg.solve_triangular(self.matrix, self.right, upper=True)


def reduced(blocks: Iterable[tuple[Tensor, Tensor]]) -> Reduced:
    """From blocks of features, (*batch, instant, feature), and targets, (*batch, instant, target), one after the other.

    Each is joined to what came of those before by a QR factorisation. Blocks of a few times as many instants as features are
    the quickest.

    Raises:
        ValueError: no blocks.
    """
    left: Reduced | None = None
    for features, targets in blocks:
        parts = [features, targets]
        count = features.shape[-2]
        if left is not None:
            parts = [torch.cat([a, b], -2) for a, b in zip((left.matrix, left.right), parts, strict=True)]
            count += left.count
        left = _triangle(parts, count)
    if left is None:
        raise ValueError("blocks: got none, need at least one")
    return left


def thresholded(problem: Reduced, threshold: Float[Tensor, "feature"], *, passes: int = 20) -> Float[Tensor, "feature target"]:
    """Least squares in which coefficients below `threshold` are set to zero and the others found anew, until none is left.

    Sequentially thresholded least squares of Brunton, Proctor & Kutz, PNAS 113 (2016) 3932, here on the triangle alone.

    Args:
        passes: at most so many.
    Raises:
        ValueError: see `solution`.
    """
    weight = problem.solution()
    kept = torch.ones_like(weight, dtype=torch.bool)
    for _ in range(passes):
        keep = kept & (weight.abs() >= threshold[:, None])
        if bool((keep == kept).all()):
            break
        kept, weight = keep, torch.zeros_like(weight)
        for target in range(weight.shape[1]):
            active = keep[:, target]
            if bool(active.any()):
                few = _triangle([problem.matrix[:, active], problem.right[:, target : target + 1]], problem.count)
                weight[active, target] = few.solution()[:, 0]
    return weight


def _triangle(parts: Sequence[Tensor], count: int) -> Reduced:
    features = parts[0].shape[-1]
    factor = torch.linalg.qr(torch.cat(list(parts), -1), mode="r").R[..., :features, :]
    return Reduced(factor[..., :features], factor[..., features:], count)


__all__ = ["Reduced", "reduced", "thresholded"]
