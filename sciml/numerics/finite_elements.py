"""Bilinear finite elements (Q1) on the nodes of a rectangle, a coefficient per sample, integrals by 3 x 3 Gauss points.

The basis functions are products of hats in either direction, so every integral over an element factors into one table per axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Axis, Domain

# On [0, 1]: exact for polynomials of degree 5.
_POINTS = (0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15))
_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


@dataclass(frozen=True)
class ElementMatrix:
    """A symmetric matrix over the nodes that couples each to its eight neighbours. Made by `stiffness` and `mass`.

    (A u)(node) = centre u(node) + sum of coupling times u over the neighbours. `down` and `right` hold the coupling of each
    node to the next one along the first and the second axis, `cross` that of both diagonals of an element: for products of
    hats they are the same.
    """

    centre: Float[Tensor, "batch rows columns"]
    down: Float[Tensor, "batch rows-1 columns"]
    right: Float[Tensor, "batch rows columns-1"]
    cross: Float[Tensor, "batch rows-1 columns-1"]

    def apply(self, u: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
        """A u.

        Raises:
            ValueError: `u` is not on the nodes of this matrix.
        """
        if u.shape[1:] != self.centre.shape[1:]:
            raise ValueError(f"u: got shape {tuple(u.shape)}, its last axes must be {tuple(self.centre.shape[1:])}")
        product = self.centre * u
        product[:, :-1] += self.down * u[:, 1:]
        product[:, 1:] += self.down * u[:, :-1]
        product[:, :, :-1] += self.right * u[:, :, 1:]
        product[:, :, 1:] += self.right * u[:, :, :-1]
        product[:, :-1, :-1] += self.cross * u[:, 1:, 1:]
        product[:, 1:, 1:] += self.cross * u[:, :-1, :-1]
        product[:, :-1, 1:] += self.cross * u[:, 1:, :-1]
        product[:, 1:, :-1] += self.cross * u[:, :-1, 1:]
        return product

    def relative_residual(
        self, u: Float[Tensor, "batch rows columns"], load: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch"]:
        """Norm of f - A u over that of f, as vectors."""
        return (load - self.apply(u)).flatten(1).norm(dim=1) / load.flatten(1).norm(dim=1)

    def __sub__(self, other: ElementMatrix) -> ElementMatrix:
        return ElementMatrix(
            self.centre - other.centre, self.down - other.down, self.right - other.right, self.cross - other.cross
        )

    def transposed(self) -> ElementMatrix:
        """The same matrix with the two axes of the grid exchanged."""
        return ElementMatrix(self.centre.mT, self.right.mT, self.down.mT, self.cross.mT)

    def detached(self) -> ElementMatrix:
        """Without gradients."""
        return ElementMatrix(self.centre.detach(), self.down.detach(), self.right.detach(), self.cross.detach())

    def split(self, samples: int) -> list[ElementMatrix]:
        """The matrices of so many samples at a time."""
        parts = (part.split(samples) for part in (self.centre, self.down, self.right, self.cross))
        return [ElementMatrix(*part) for part in zip(*parts, strict=True)]


def gauss_points(axis: Axis) -> Float[Tensor, "gauss"]:
    """Three per element, 3 (points - 1) in all, float64."""
    starts = axis.coordinates()[:-1, None]
    return (starts + axis.spacing * torch.tensor(_POINTS, dtype=torch.float64)).flatten()


def mass(coefficient: Float[Tensor, "batch gauss_rows gauss_columns"], domain: Domain) -> ElementMatrix:
    """Integrals of c v w over the box, for all pairs of basis functions v, w.

    Args:
        coefficient: c at the Gauss points, see `gauss_points`.
    Raises:
        ValueError: `domain` is not a rectangle that holds both ends, or the coefficient does not fit it.
    """
    rows, columns = _checked(coefficient, domain)
    return _assembled(_integrals(coefficient, _values(rows), _values(columns)))


def stiffness(coefficient: Float[Tensor, "batch gauss_rows gauss_columns"], domain: Domain) -> ElementMatrix:
    """Integrals of c (grad v . grad w) over the box, for all pairs of basis functions v, w; arguments as for `mass`."""
    rows, columns = _checked(coefficient, domain)
    along_rows = _integrals(coefficient, _slopes(rows), _values(columns))
    return _assembled(along_rows + _integrals(coefficient, _values(rows), _slopes(columns)))


def edge_load(axis: Axis, knots: Sequence[float], values: Sequence[float]) -> Float[Tensor, "points"]:
    """Integrals of g times each hat along an axis, exact; g runs straight from knot to knot and is zero outside them.

    Args:
        knots: growing coordinates; two that are equal make a jump.
        values: of g at the knots.
    Raises:
        ValueError: fewer than two knots, knots that do not grow, or another number of values.
    """
    if len(knots) < 2 or len(knots) != len(values) or list(knots) != sorted(knots):
        raise ValueError(f"knots: got {list(knots)} and {len(values)} values, need two or more that grow, a value for each")
    nodes = axis.coordinates()
    total = torch.zeros_like(nodes)
    for (left, right), (first, last) in zip(pairwise(knots), pairwise(values), strict=True):
        if left == right:
            continue
        inside = nodes[(nodes > left) & (nodes < right)]
        cuts = torch.cat((nodes.new_tensor([left]), inside, nodes.new_tensor([right])))
        g = first + (last - first) * (cuts - left) / (right - left)
        hats = (1 - (cuts[:, None] - nodes).abs() / axis.spacing).clamp(min=0)
        g, length = g[:, None], cuts.diff()[:, None]
        # Both are straight between cuts.
        pieces = hats[:-1] * (2 * g[:-1] + g[1:]) + hats[1:] * (g[:-1] + 2 * g[1:])
        total += (length / 6 * pieces).sum(0)
    return total


def _checked(coefficient: Tensor, domain: Domain) -> tuple[Axis, Axis]:
    if domain.dim != 2 or any(axis.layout != "both_ends" for axis in domain.axes):
        raise ValueError(f"domain: got {domain}, need two axes that hold both ends")
    grid = tuple(3 * (n - 1) for n in domain.shape)
    if coefficient.ndim != 3 or tuple(coefficient.shape[1:]) != grid:
        raise ValueError(f"coefficient: got shape {tuple(coefficient.shape)}, need (batch, {grid[0]}, {grid[1]}) Gauss points")
    rows, columns = domain.axes
    return rows, columns


def _values(axis: Axis) -> Tensor:
    """By Gauss point: weight times the products of the two hats of an element, first with first, first with second, second with
    second."""
    t, weight = (torch.tensor(table, dtype=torch.float64) for table in (_POINTS, _WEIGHTS))
    return axis.spacing * weight[:, None] * torch.stack(((1 - t).square(), t * (1 - t), t.square()), 1)


def _slopes(axis: Axis) -> Tensor:
    """The same of the derivatives of the two hats."""
    weight = torch.tensor(_WEIGHTS, dtype=torch.float64)
    return weight[:, None] * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64) / axis.spacing


def _integrals(coefficient: Tensor, rows: Tensor, columns: Tensor) -> Float[Tensor, "pair pair batch down right"]:
    batch, down, right = coefficient.shape
    c = coefficient.view(batch, down // 3, 3, right // 3, 3) @ columns.to(coefficient)
    return torch.einsum("bigjq,gp->pqbij", c, rows.to(coefficient))


def _assembled(elements: Float[Tensor, "pair pair batch down right"]) -> ElementMatrix:
    """Add what the elements say of each pair of nodes."""
    _, _, batch, down, right = elements.shape
    centre = elements.new_zeros(batch, down + 1, right + 1)
    centre[:, :-1, :-1] += elements[0, 0]
    centre[:, :-1, 1:] += elements[0, 2]
    centre[:, 1:, :-1] += elements[2, 0]
    centre[:, 1:, 1:] += elements[2, 2]
    downward, rightward = elements.new_zeros(batch, down, right + 1), elements.new_zeros(batch, down + 1, right)
    downward[:, :, :-1] += elements[1, 0]
    downward[:, :, 1:] += elements[1, 2]
    rightward[:, :-1] += elements[0, 1]
    rightward[:, 1:] += elements[2, 1]
    return ElementMatrix(centre, downward, rightward, elements[1, 1])
