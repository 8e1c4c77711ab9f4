"""Multigrid by aggregation of cells for -div(c grad p) with obstacles, matrix-free and batched, as a preconditioner.

Two neighbours along each axis make one cell of the next coarser grid, and the conductance between two such cells is that of
the faces between them, times the ratio of the distances. On cells of one size this is half of the Galerkin product with
piecewise constant interpolation: the over-correction of Braess (1995, https://doi.org/10.1007/BF02238234), and for constant c
the operator of the coarser grid itself. Obstacles need no care: where nothing passes, the sum is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from sciml.numerics.conductance import ConductanceOperator
from sciml.numerics.domain import Domain
from sciml.numerics.krylov import KrylovSolution, LinearMap, conjugate_gradients

DENSE_CELLS = 32  # a grid of at most so many cells is solved by its inverse matrix
# Two steps p += ω (f - A p) / diagonal. The eigenvalues of A / diagonal are at most 2; these are Chebyshev's for [1/2, 2].
RELAXATIONS = (1 / (1.25 + 0.75 * 0.5**0.5), 1 / (1.25 - 0.75 * 0.5**0.5))


def solve_conductance(
    operator: ConductanceOperator,
    source: Float[Tensor, "batch *space"],
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 500,
) -> KrylovSolution:
    """Solve -div(c grad p) = f by conjugate gradients with one multigrid cycle per step.

    Over each floating component (see `ConductanceOperator`) the solution with mean zero is given, in obstacles zero. The
    solution has derivatives by the source and the conductances, each at the cost of one more solve.

    Args:
        source: f; what it holds in obstacles is not used. Over each floating component its mean must be zero, else there is
            no answer: `operator.balanced(source)` is the nearest source that has one.
        tolerance: the largest relative residual allowed, over the fluid. Rounding of p alone leaves about
            eps max(c) |p| / (h² |f|).
        max_iterations: of any one sample.
    Raises:
        ValueError: a source of another shape, with values that are not finite, or not balanced.
        ArithmeticError: a sample did not reach the tolerance; the message says what it reached.
    """
    fixed = replace(operator, faces=tuple(face.detach() for face in operator.faces))
    answer = _solve(fixed, _checked(fixed, source.detach(), tolerance), tolerance, max_iterations)
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in (source, *operator.faces)):
        return answer
    residual = source - operator.apply(answer.solution)
    change = _Inverse.apply(residual, lambda f: _solve(fixed, fixed.balanced(f), tolerance, max_iterations).solution)
    return replace(answer, solution=answer.solution + change)


class _Inverse(torch.autograd.Function):
    """A⁻¹ of a residual that is zero within the tolerance, as a map to be differentiated: A is its own transpose."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, solve: LinearMap) -> Tensor:
        ctx.solve = solve
        return torch.zeros_like(residual)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.solve(gradients[0]), None


@torch.no_grad()
def _solve(operator: ConductanceOperator, source: Tensor, tolerance: float, max_iterations: int) -> KrylovSolution:
    # Some room for the rounding of the last step, which moves the answer by a constant.
    goal = 0.9 * tolerance
    apply, cycle = Level.of(operator).apply, AggregationMultigrid(operator)
    found = conjugate_gradients(apply, source, precondition=cycle, tolerance=goal, max_iterations=max_iterations)
    worst = int(found.residual.nan_to_num(torch.inf).argmax())
    if not found.residual[worst] <= tolerance:
        floor = torch.finfo(source.dtype).eps / 2 * operator.norm(operator.diagonal() * found.solution) / operator.norm(source)
        raise ArithmeticError(
            f"solve_conductance: sample {worst} reached a relative residual of {found.residual[worst]:.1e} in "
            f"{found.iterations[worst]} of {max_iterations} iterations, need {goal:.1e}; "
            f"the rounding of p alone leaves about {floor[worst]:.0e}"
        )
    p = operator.balanced(found.solution)
    return KrylovSolution(p, found.iterations, operator.relative_residual(p, source))


def _checked(operator: ConductanceOperator, source: Tensor, tolerance: float) -> Tensor:
    """The source, zero in obstacles and its means, which are rounding, removed."""
    operator.check(source, "source")
    good = (source.isfinite() | ~operator.fluid).flatten(1).all(1)
    if not bool(good.all()):
        raise ValueError(f"source: got a value that is not finite in sample {int(good.int().argmin())}, need finite numbers")
    balanced = operator.balanced(source)
    share = operator.norm(source - balanced) / operator.norm(source)
    if bool((share > 0.1 * tolerance).any()):
        worst = int(share.nan_to_num(0).argmax())
        raise ValueError(
            f"source: in sample {worst} a share of {share[worst]:.1e} is constant over fluid that touches no dirichlet side, "
            "need 0 there; take operator.balanced(source)"
        )
    return balanced


@dataclass(frozen=True)
class Level:
    """A on one grid, times the volume of its cells in cells of the finest.

    `steps` says how many cells along each axis make one of the next grid, 2 or 1.
    """

    faces: tuple[Float[Tensor, "batch ..."], ...]
    periodic: tuple[bool, ...]
    diagonal: Float[Tensor, "batch *space"]
    inverse_diagonal: Float[Tensor, "batch *space"]
    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, operator: ConductanceOperator) -> Level:
        diagonal = operator.diagonal()
        periodic = tuple(axis.sides[0] == "periodic" for axis in operator.domain.axes)
        return cls(operator.faces, periodic, diagonal, torch.where(diagonal > 0, 1 / diagonal, 0.0))

    def to(self, dtype: torch.dtype) -> Level:
        faces = tuple(face.to(dtype) for face in self.faces)
        return replace(self, faces=faces, diagonal=self.diagonal.to(dtype), inverse_diagonal=self.inverse_diagonal.to(dtype))

    def subtract(self, p: Float[Tensor, "batch *space"], rest: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch *space"]:
        """rest -= A p, in place."""
        rest.addcmul_(self.diagonal, p, value=-1)
        for at, (face, periodic) in enumerate(zip(self.faces, self.periodic, strict=True), start=1):
            n = p.shape[at]
            between = face.narrow(at, 1, n - 1)
            rest.narrow(at, 0, n - 1).addcmul_(between, p.narrow(at, 1, n - 1))
            rest.narrow(at, 1, n - 1).addcmul_(between, p.narrow(at, 0, n - 1))
            if periodic:
                seam = face.narrow(at, 0, 1)
                rest.narrow(at, 0, 1).addcmul_(seam, p.narrow(at, n - 1, 1))
                rest.narrow(at, n - 1, 1).addcmul_(seam, p.narrow(at, 0, 1))
        return rest

    def apply(self, p: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch *space"]:
        """A p, in fewer passes over memory than that of the operator, which sums fluxes."""
        return self.subtract(p, torch.zeros_like(p)).neg_()

    def relax(self, p: Tensor, source: Tensor) -> None:
        """Two sweeps, in place. They are polynomials in A, so the cycle is symmetric without reversing them."""
        for weight in RELAXATIONS:
            p.addcmul_(self.inverse_diagonal, self.subtract(p, source.clone()), value=weight)


class AggregationMultigrid:
    """One symmetric, positive V-cycle for a ConductanceOperator: an approximate inverse to call with a residual.

    The cycle works in float32 if not told otherwise, in half the time: it need not be exact, only linear, and that it is to
    seven digits. Conductances and residuals are scaled to 1 before.
    """

    def __init__(self, operator: ConductanceOperator, dtype: torch.dtype = torch.float32) -> None:
        domain = operator.domain
        self._size = _largest(operator.diagonal())
        level = Level.of(replace(operator, faces=tuple(face / self._size for face in operator.faces)))
        widths = [torch.full((axis.points,), axis.spacing, dtype=torch.float64) for axis in domain.axes]
        self.dtype, self.levels = dtype, []
        while level.diagonal[0].numel() > DENSE_CELLS:
            level = replace(level, steps=_steps(widths))
            self.levels.append(level.to(dtype))
            level, widths = _coarser(level, widths, domain)
        self._inverse = _pseudo_inverse(level).to(dtype)

    @torch.no_grad()
    def __call__(self, residual: Float[Tensor, "batch *space"]) -> Float[Tensor, "batch *space"]:
        """About A⁻¹ r. Zero where A is: in obstacles."""
        size = _largest(residual)
        return self._cycle(0, (residual / size).to(self.dtype)).to(residual.dtype) * (size / self._size)

    def _cycle(self, number: int, source: Tensor) -> Tensor:
        if number == len(self.levels):
            return (self._inverse @ source.flatten(1)[..., None]).reshape(source.shape)
        level = self.levels[number]
        p = source * level.inverse_diagonal * RELAXATIONS[0]
        p.addcmul_(level.inverse_diagonal, level.subtract(p, source.clone()), value=RELAXATIONS[1])
        coarse = _join(level.subtract(p, source.clone()), level.steps)
        _add_split(p, self._cycle(number + 1, coarse), level.steps)
        level.relax(p, source)
        return p


def _largest(field: Tensor) -> Tensor:
    """The largest absolute value of each sample, 1 where all are zero, to divide the field by."""
    largest = field.flatten(1).abs().amax(1)
    return torch.where(largest > 0, largest, 1.0).reshape(-1, *[1] * (field.ndim - 1))


def _steps(widths: Sequence[Tensor]) -> tuple[int, ...]:
    """Along which axes cells are joined: those along which they are narrow, as relaxation works along these alone."""
    narrow = min((float(w[0]) for w in widths if len(w) > 1), default=0.0)
    return tuple(2 if len(w) > 1 and float(w[0]) < 1.5 * narrow else 1 for w in widths)


def _coarser(fine: Level, widths: Sequence[Tensor], domain: Domain) -> tuple[Level, list[Tensor]]:
    """The next level, and the widths of its cells along each axis."""
    joined = [_join(w[None], (step,))[0] for w, step in zip(widths, fine.steps, strict=True)]
    faces = []
    for k, (face, periodic, step) in enumerate(zip(fine.faces, fine.periodic, fine.steps, strict=True)):
        kept = (torch.arange(len(joined[k]) + 1) * step).clamp(max=len(widths[k]))
        ratio = _distances(widths[k], periodic)[kept] / _distances(joined[k], periodic)
        face = face.index_select(k + 1, kept.to(face.device)) * ratio.to(face).reshape(-1, *[1] * (domain.dim - 1 - k))
        faces.append(_join(face, tuple(1 if j == k else other for j, other in enumerate(fine.steps))))
    coarse = ConductanceOperator(domain, tuple(faces), _join(fine.diagonal, fine.steps) > 0)
    return Level.of(coarse), joined


def _distances(widths: Tensor, periodic: bool) -> Tensor:
    """Between the centres on both sides of each face; from the outermost centres to the sides."""
    around = torch.cat((widths[-1:], widths, widths[:1])) if periodic else pad(widths, (1, 1))
    return (around[1:] + around[:-1]) / 2


def _join(field: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Sums over the cells that are joined; the last of an odd number stays alone."""
    for at, step in enumerate(steps, start=1):
        n = field.shape[at]
        if step == 2:
            first = field.narrow(at, 0, n - n % 2).unflatten(at, (n // 2, 2))
            total = first.select(at + 1, 0) + first.select(at + 1, 1)
            field = torch.cat((total, field.narrow(at, n - 1, 1)), at) if n % 2 else total
    return field


def _add_split(field: Tensor, coarse: Tensor, steps: tuple[int, ...]) -> None:
    """field += the value of the joined cell that a cell is in, in place."""
    for at, step in enumerate(steps, start=1):
        if step == 2:
            coarse = coarse.repeat_interleave(2, at).narrow(at, 0, field.shape[at])
    field += coarse


def _pseudo_inverse(level: Level) -> Float[Tensor, "batch cell cell"]:
    """Of the matrix on the coarsest grid, where constants over fluid that floats, and obstacles, have eigenvalue zero."""
    batch, shape = len(level.diagonal), level.diagonal.shape[1:]
    n = shape.numel()
    ones = torch.eye(n).to(level.diagonal).reshape(n, *shape)
    columns = [level.subtract(one.expand_as(level.diagonal), torch.zeros_like(level.diagonal)) for one in ones]
    matrix = -torch.stack(columns, -1).reshape(batch, n, n)
    return torch.linalg.pinv(matrix, rtol=1e-12, hermitian=True)


__all__ = ["AggregationMultigrid", "solve_conductance"]
