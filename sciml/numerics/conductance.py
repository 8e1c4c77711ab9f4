"""-div(c grad p) on the cells of a box with obstacles, in any dimension: one conductance per face, no matrix.

The marker-and-cell arrangement (Harlow & Welch 1965, https://doi.org/10.1063/1.1761178): p at the centres of cells, c on the
faces between them. A face that nothing passes, of an obstacle or of a wall, has conductance zero and needs no special row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sciml.numerics.domain import Axis, Domain


@dataclass(frozen=True)
class ConductanceOperator:
    """A p = -div(c grad p), one conductance per sample and face. Made by `conductance_operator`, or from faces of your own.

    `faces[k]` holds c / h² on the faces across axis k, one more than there are cells along it. The first and the last are on
    the sides: zero where `neumann`, 2 c / h² where `dirichlet`, as p = 0 half a spacing away, and where `periodic` the same
    face twice. Faces beside a cell that is not `fluid` are zero; such cells are no unknowns, A p is zero there.

    A is symmetric, positive semidefinite, and A p sums to what leaves through the `dirichlet` sides. Fluid that is connected
    and reaches no such side *floats*: p is known there up to a constant, and a source must have mean zero over it.
    """

    domain: Domain
    faces: tuple[Float[Tensor, "batch ..."], ...]
    fluid: Bool[Tensor, "batch *space"]

    def flux(self, p: Float[Tensor, "batch *space"], axis: int) -> Float[Tensor, "batch ..."]:
        """c ∂p/∂x_k / h on the faces across an axis: what A p is the negative difference of.

        Raises:
            ValueError: `p` has not the shape of the operator's fields.
        """
        self.check(p, "p")
        at, n = axis + 1, p.shape[axis + 1]
        if self.domain.axes[axis].sides[0] == "periodic":
            before, behind = p.narrow(at, n - 1, 1), p.narrow(at, 0, 1)
        else:  # p = 0 on dirichlet sides; a neumann side has conductance zero
            before = behind = torch.zeros_like(p.narrow(at, 0, 1))
        return self.faces[axis] * torch.cat((before, p, behind), at).diff(dim=at)

    def apply(self, p: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch *space"]:
        """A p, zero in obstacles.

        Raises:
            ValueError: `p` has not the shape of the operator's fields.
        """
        outflow = torch.zeros_like(p)
        for axis in range(self.domain.dim):
            outflow = outflow - self.flux(p, axis).diff(dim=axis + 1)
        return outflow

    def diagonal(self) -> Float[Tensor, "batch *space"]:
        """What A multiplies the value of each cell with, in its own row; zero in obstacles and in cells that are shut in."""
        total = torch.zeros_like(self.fluid, dtype=self.faces[0].dtype)
        for axis, face in enumerate(self.faces):
            n = face.shape[axis + 1] - 1
            total += face.narrow(axis + 1, 0, n) + face.narrow(axis + 1, 1, n)
        return total

    def norm(self, field: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch"]:
        """L2 norm over the fluid, by the quadrature of the Domain."""
        cell = self.domain.volume / self.domain.weights().numel()
        return torch.where(self.fluid, field, 0.0).flatten(1).norm(dim=1) * cell**0.5

    def relative_residual(
        self, p: Float[Tensor, "batch *space"], source: Float[Tensor, "batch *space"]
    ) -> Float[Tensor, "batch"]:
        """Norm of f - A p over the norm of f, over the fluid; 0 for f = 0 = A p.

        Raises:
            ValueError: `p` or `source` has not the shape of the operator's fields.
        """
        self.check(source, "source")
        residual = self.norm(source - self.apply(p))
        return torch.where(residual == 0, 0.0, residual / self.norm(source))

    @cached_property
    def floating(self) -> Int[Tensor, "batch *space"]:
        """Which floating component a cell belongs to, counted over the whole batch; -1 where p is fixed, and in obstacles."""
        fixed_sides = any("dirichlet" in axis.sides for axis in self.domain.axes)
        if bool(self.fluid.all()):
            batch = len(self.fluid)
            number = torch.full((batch,), -1) if fixed_sides else torch.arange(batch)
            return number.to(self.fluid.device).reshape(-1, *[1] * self.domain.dim).expand(self.fluid.shape)
        component = self._components()
        held = torch.zeros(int(component.max()) + 1, dtype=torch.bool)
        held[component[~self.fluid.cpu()]] = True
        for axis, line in enumerate(self.domain.axes):
            for end, side in zip((0, -1), line.sides, strict=True):
                if side == "dirichlet":
                    held[component.select(axis + 1, end)[self.faces[axis].select(axis + 1, end).cpu() > 0]] = True
        number = torch.where(held, -1, (~held).cumsum(0) - 1)
        return number[component].to(self.fluid.device)

    def _components(self) -> Int[Tensor, "batch *space"]:
        """Cells that are joined by open faces have the same number, counted over the whole batch; on the CPU."""
        cell = torch.arange(self.fluid.numel()).reshape(self.fluid.shape)
        pairs = []
        for axis, (line, face) in enumerate(zip(self.domain.axes, self.faces, strict=True)):
            at, n = axis + 1, line.points
            kept = n if line.sides[0] == "periodic" else n - 1
            is_open = face.narrow(at, 1, kept).cpu() > 0
            pairs.append(torch.stack((cell.narrow(at, 0, kept)[is_open], cell.roll(-1, at).narrow(at, 0, kept)[is_open])))
        first, second = torch.cat(pairs, 1).numpy()
        graph = scipy.sparse.coo_matrix((torch.ones(len(first)).numpy(), (first, second)), shape=(cell.numel(),) * 2)
        return torch.from_numpy(connected_components(graph, directed=False)[1]).long().reshape(cell.shape)

    @cached_property
    def _sizes(self) -> Int[Tensor, "component"]:
        """Number of cells that are not floating, then that of each floating component."""
        return torch.bincount(self.floating.flatten() + 1, minlength=1)

    def balanced(self, field: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch *space"]:
        """`field` with its mean over each floating component removed, and zero in obstacles: a source that has an answer."""
        self.check(field, "field")
        field = torch.where(self.fluid, field, 0.0)
        if len(self._sizes) == 1:
            return field
        number = self.floating + 1
        sums = field.new_zeros(len(self._sizes)).index_add(0, number.flatten(), field.flatten())
        means = sums / self._sizes.clamp(min=1)
        return field - torch.where(number > 0, means[number], 0.0)

    def matrix(self, sample: int) -> scipy.sparse.csr_matrix:
        """A of one sample on its fluid cells in the order of the grid: `matrix(i) @ p[i][fluid[i]] = apply(p)[i][fluid[i]]`."""
        fluid = self.fluid[sample].cpu()
        number = torch.where(fluid, fluid.flatten().cumsum(0).reshape(fluid.shape) - 1, 0)
        diagonal = self.diagonal()[sample].cpu()
        rows, columns, values = [number[fluid]], [number[fluid]], [diagonal[fluid]]
        for axis, (line, faces) in enumerate(zip(self.domain.axes, self.faces, strict=True)):
            kept = line.points if line.sides[0] == "periodic" else line.points - 1
            face = faces[sample].narrow(axis, 1, kept).cpu()
            pair = [(m.narrow(axis, 0, kept))[face > 0] for m in (number, number.roll(-1, axis))]
            for i, j in (pair, pair[::-1]):
                rows, columns, values = [*rows, i], [*columns, j], [*values, -face[face > 0]]
        entries = (torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(columns).numpy()))
        return scipy.sparse.csr_matrix(scipy.sparse.coo_matrix(entries, shape=(int(fluid.sum()),) * 2))

    def check(self, field: Tensor, name: str) -> None:
        """Raise a ValueError that names the variable when `field` has not the shape of the operator's fields."""
        if field.shape != self.fluid.shape:
            raise ValueError(f"{name}: got shape {tuple(field.shape)}, need (batch, *space) = {tuple(self.fluid.shape)}")


def conductance_operator(
    conductance: Float[Tensor, "batch *space"], domain: Domain, obstacle: Bool[Tensor, "batch *space"] | None = None
) -> ConductanceOperator:
    """The operator -div(c grad p) on the cells of `domain`.

    On a face c is the harmonic mean of its two cells, at a side that of the one cell: two resistances in a row. Second order
    where c is smooth.

    Args:
        conductance: c > 0 in every cell; what it holds in obstacles is not used.
        domain: any number of axes of layout `cells`, each side `dirichlet`, `neumann` or `periodic`.
        obstacle: cells that are no unknowns, with nothing passing through their faces; none if not given.
    Raises:
        ValueError: naming `domain`, `conductance` or `obstacle` when one is not as above.
    """
    _check_domain(domain)
    shape = tuple(conductance.shape)
    if len(shape) != domain.dim + 1 or shape[1:] != domain.shape or not shape[0]:
        raise ValueError(f"conductance: got shape {shape}, need (batch, *space) with space {domain.shape}")
    if obstacle is None:
        obstacle = torch.zeros_like(conductance, dtype=torch.bool)
    if obstacle.shape != conductance.shape:
        raise ValueError(f"obstacle: got shape {tuple(obstacle.shape)}, need that of conductance, {shape}")
    good = (conductance.isfinite() & (conductance > 0)) | obstacle
    if not bool(good.all()):
        place = tuple((~good).nonzero()[0].tolist())
        value = float(conductance[place])
        raise ValueError(f"conductance: got {value} in sample {place[0]} at {list(place[1:])}, need positive finite numbers")
    inside = torch.where(obstacle, 1.0, conductance)
    faces = tuple(_faces(inside, ~obstacle, k + 1, axis) for k, axis in enumerate(domain.axes))
    return ConductanceOperator(domain, faces, ~obstacle)


def _faces(c: Tensor, fluid: Tensor, at: int, axis: Axis) -> Tensor:
    """c / h² on the faces across one axis."""
    n = axis.points
    between = _harmonic(c.narrow(at, 0, n - 1), c.narrow(at, 1, n - 1)) * (
        fluid.narrow(at, 0, n - 1) & fluid.narrow(at, 1, n - 1)
    )
    (first, first_open), (last, last_open) = (
        (x.narrow(at, 0, 1), y.narrow(at, 0, 1)) for x, y in ((c, fluid), _last(c, fluid, at))
    )
    if axis.sides[0] == "periodic":
        ends = (_harmonic(first, last) * (first_open & last_open),) * 2
    else:
        weights = [2.0 if side == "dirichlet" else 0.0 for side in axis.sides]
        ends = (first * first_open * weights[0], last * last_open * weights[1])
    return torch.cat((ends[0], between, ends[1]), at) / axis.spacing**2


def _last(c: Tensor, fluid: Tensor, at: int) -> tuple[Tensor, Tensor]:
    n = c.shape[at]
    return c.narrow(at, n - 1, 1), fluid.narrow(at, n - 1, 1)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return 2 / (1 / a + 1 / b)


def _check_domain(domain: Domain) -> None:
    for axis in domain.axes:
        if axis.layout != "cells" or "open" in axis.sides:
            raise ValueError(
                f"domain: got an axis with layout {axis.layout!r} and sides {axis.sides}, "
                "need cells with dirichlet, neumann or periodic sides"
            )


__all__ = ["ConductanceOperator", "conductance_operator"]
