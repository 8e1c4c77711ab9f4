"""-div(a grad u) = f on the nodes of a rectangle, by conjugate gradients with a multigrid preconditioner, batched.

No matrix is stored: an operator is a handful of flat tensors, and every step a multiply-add over the whole batch. The method is
black-box multigrid (Dendy 1982, https://doi.org/10.1016/0021-9991(82)90057-2): coarse grids of every second node, interpolation
that follows the coefficient, Galerkin coarse operators, and Gauss-Seidel smoothing in two colours (five points) or four (nine
points), reversed on the way up so that the cycle is symmetric. Ours differs in two things: the Krylov method runs on the black
nodes alone, and an axis with much the larger spacing is not coarsened until the other has caught up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from sciml.numerics.diffusion import CoefficientAt, DiffusionOperator, FaceMean, diffusion_operator
from sciml.numerics.domain import Domain
from sciml.numerics.stencils import (
    PHASES,
    Offset,
    Phase,
    Phased,
    PhasedStencil,
    Stencil,
    Sum,
    Weights,
    coarse_phases,
    coarse_view,
    galerkin,
    interpolation,
    join,
    split,
    split_stencil,
)

DENSE_NODES = 40  # a grid of at most so many nodes is solved by its inverse matrix
REFINEMENTS = 3  # how often a solve goes on from the true residual, when rounding made that larger than the updated one
RED, BLACK = slice(0, 2), slice(2, 4)  # in PHASES


@dataclass(frozen=True)
class Solution:
    """What `solve_diffusion` found.

    `iterations` counts preconditioned steps, `residual` is the true norm of f - A u over that of f, each per sample.
    """

    u: Float[Tensor, "batch rows columns"]
    iterations: Int[Tensor, "batch"]
    residual: Float[Tensor, "batch"]


@torch.no_grad()
def solve_diffusion(
    coefficient: Float[Tensor, "batch coefficient_rows coefficient_columns"],
    source: Float[Tensor, "batch rows columns"],
    domain: Domain,
    *,
    coefficient_at: CoefficientAt = "nodes",
    face_mean: FaceMean = "arithmetic",
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> Solution:
    """Solve -div(a grad u) = f with u = 0 on `dirichlet` walls and no flux through `neumann` walls.

    About 10 iterations for Darcy coefficients on any grid; memory for about 40 fields. The samples of a batch do not touch each
    other: each takes its own number of iterations and is left alone from then on. With `neumann` on all sides the solution
    with mean zero is returned. Gradients are not tracked.

    Args:
        coefficient, coefficient_at, face_mean: a and its means, see `diffusion_operator`.
        source: f at the nodes, float64; what it holds on `dirichlet` walls is not used.
        tolerance: the largest relative residual allowed, in L2 over the nodes off `dirichlet` walls. Rounding of u alone leaves
            about 1e-16 max(a) |u| / (h² |f|), which is 3e-11 on 513 x 513 nodes with a contrast of 1e4.
        max_iterations: of any one sample.
    Raises:
        ValueError: an argument is not as above, or `neumann` is on all sides and the integral of the source is not zero.
        ArithmeticError: a sample did not reach the tolerance; the message says what it reached.
    """
    operator = diffusion_operator(coefficient, domain, coefficient_at=coefficient_at, face_mean=face_mean)
    operator.check(source, "source")
    size = operator.norm(source)
    _check_source(source, size, operator, tolerance)
    multigrid = Multigrid(operator)
    u, residual = torch.zeros_like(source), source
    reached, iterations = torch.full_like(size, torch.inf), torch.zeros_like(size, dtype=torch.int64)
    for goal in (tolerance, *[tolerance / 4] * REFINEMENTS):
        change, steps = _conjugate_gradients(multigrid, residual, goal * size, max_iterations - iterations)
        if operator.singular:
            change = change - domain.mean(change)[:, None, None]
        u, iterations = u + change, iterations + steps
        reached = operator.relative_residual(u, source)
        if bool((reached <= tolerance).all()):
            return Solution(u, iterations, reached)
        # A sample that is done has the source zero from here on, and so the change zero.
        residual = torch.where((reached <= tolerance)[:, None, None], 0.0, source - operator.apply(u))
    worst = int(reached.nan_to_num(torch.inf).argmax())
    floor = torch.finfo(u.dtype).eps / 2 * operator.norm(operator.diagonal() * u) / size
    raise ArithmeticError(
        f"solve_diffusion: sample {worst} reached a relative residual of {reached[worst]:.1e} in {iterations[worst]} of "
        f"{max_iterations} iterations, need {tolerance:.1e}; the rounding of u alone leaves about {floor[worst]:.0e}"
    )


class Multigrid:
    """One symmetric V-cycle for a DiffusionOperator, on the black half of the nodes.

    On a chessboard the five-point operator couples red nodes to black ones only. So the red unknowns can be eliminated exactly,
    and the Krylov method carries the black half alone. Fields are integrated over the control volumes (K = volumes x A) and
    split into phases, of which the first two are red.
    """

    def __init__(self, operator: DiffusionOperator) -> None:
        self.operator = operator
        self.levels: list[Level] = []
        stencil, shape, spacing = _stencil(operator), operator.domain.shape, operator.domain.spacing
        while not self.levels or stencil.diagonal[0].numel() > DENSE_NODES:
            step = _coarsening(shape, spacing)
            phased = split_stencil(stencil)
            weights = interpolation(phased, step)
            self.levels.append(Level(phased, weights, step, self.levels[-1] if self.levels else None))
            stencil = galerkin(phased, weights, step)
            shape = (-(-shape[0] // step[0]), -(-shape[1] // step[1]))
            spacing = (spacing[0] * step[0], spacing[1] * step[1])
        self._inverse = _inverse(stencil, shape if operator.singular else None)

    def split(self, field: Float[Tensor, "batch rows columns"]) -> Phased:
        """The phases of a field, zero on `dirichlet` walls."""
        rows, columns = field.shape[1:]
        return split(pad(torch.where(self.operator.free, field, 0.0), (0, columns % 2, 0, rows % 2)))

    def join(self, phases: Phased) -> Float[Tensor, "batch rows columns"]:
        """The inverse of `split`."""
        rows, columns = self.operator.domain.shape
        stencil = self.levels[0].stencil
        return join(phases, stencil.batch, stencil.rows, stencil.columns)[:, :rows, :columns]

    def cycle(self) -> None:
        """Make the finest level's `solution` from its `source`, which must be zero at the red nodes."""
        for level in self.levels:
            level.descend()
        last = self.levels[-1]
        source, solution = (frame.view(len(frame), -1, 1) for frame in (last.coarse_source, last.coarse_solution))
        torch.matmul(self._inverse, source, out=solution)
        for level in reversed(self.levels):
            level.ascend()


class Level:
    """A grid of the hierarchy, its working space, and its part of the cycle on the way down and on the way up."""

    def __init__(self, stencil: PhasedStencil, weights: Weights, step: Offset, above: Level | None) -> None:
        self.stencil = stencil
        self.solution, self.source, residual, correction = (torch.zeros_like(stencil.diagonal) for _ in range(4))
        self._inverses = stencil.diagonal.reciprocal().unbind()
        colour, coarse = _colours(stencil), coarse_phases(step)
        known = 0 if above else 1  # the finest source is zero in colour 0, so a sweep from zero leaves zero there
        # The last colour has no residual after the sweep down, and the sweep up renews it before using it.
        early = [p for p in PHASES if colour[p] < max(colour.values())]
        between = [p for p in early if p not in coarse]

        def part(field: Tensor, p: Phase) -> Tensor:
            return field[PHASES.index(p)]

        def renewed(p: Phase, among: Sequence[Phase] = PHASES) -> Sum:
            return Sum(part(self.solution, p), part(self.source, p), stencil.neighbour_products(p, self.solution, among))

        def left(p: Phase) -> Sum:  # the residual: neighbours of later colours were zero when p was renewed, and are not now
            later = [q for q in PHASES if colour[q] > colour[p]]
            return Sum(part(residual, p), None, stencil.neighbour_products(p, self.solution, later))

        def restricted(p: Phase) -> Sum:
            start = part(residual, p) if p in early else None
            return Sum(part(residual, p), start, stencil.restriction_products(p, weights, residual, between))

        def corrected(p: Phase) -> Sum:
            return Sum(part(self.solution, p), part(self.solution, p), stencil.interpolation_products(p, weights, correction))

        self._sweep_down = [renewed(p, [q for q in PHASES if known <= colour[q] < colour[p]]) for p in PHASES]
        self._to_coarse = [*map(left, early), *map(restricted, coarse)]
        self._from_coarse = [*map(corrected, early)]
        self._sweep_up = [*map(renewed, PHASES)]

        grid = (stencil.batch, stencil.rows, stencil.columns)
        shape = (2, stencil.batch, 2 * stencil.rows // step[0], 2 * stencil.columns // step[1])
        self.coarse_source, self.coarse_solution = stencil.diagonal.new_empty(shape)
        self._gathered = [(coarse_view(self.coarse_source, p, step), part(residual, p).view(grid)) for p in coarse]
        self._scattered = [(part(correction, p).view(grid), coarse_view(self.coarse_solution, p, step)) for p in coarse]
        self._loaded = _paired(self.source, above.coarse_source, grid) if above else []
        self._stored = _paired(self.solution, above.coarse_solution, grid) if above else []

    def descend(self) -> None:
        """Smooth from zero, and bring the residual to the coarse grid."""
        for phase, nodes in self._loaded:
            phase.copy_(nodes)
        for renew, inverse in zip(self._sweep_down, self._inverses, strict=True):
            renew().mul_(inverse)
        for collect in self._to_coarse:
            collect()
        for coarse, phase in self._gathered:
            coarse.copy_(phase)

    def ascend(self) -> None:
        """Correct from the coarse grid, and smooth in reverse order."""
        for phase, coarse in self._scattered:
            phase.copy_(coarse)
        for correct in self._from_coarse:
            correct()
        self.relax(reversed(range(len(PHASES))))
        for phase, nodes in self._stored:
            nodes.copy_(phase)

    def relax(self, numbers: Iterable[int]) -> None:
        """Solve the equations of one phase after another for its unknowns."""
        for number in numbers:
            self._sweep_up[number]().mul_(self._inverses[number])


def _paired(phases: Phased, frame: Tensor, grid: tuple[int, int, int]) -> list[tuple[Tensor, Tensor]]:
    """Each phase with its nodes in a field, which may lack the last row and column, where these are padding."""
    pairs = []
    for (i, j), phase in zip(PHASES, phases, strict=True):
        nodes = frame[:, i::2, j::2]
        pairs.append((phase.view(grid)[:, : nodes.shape[1], : nodes.shape[2]], nodes))
    return pairs


def _conjugate_gradients(
    multigrid: Multigrid,
    source: Float[Tensor, "batch rows columns"],
    goal: Float[Tensor, "batch"],
    budget: Int[Tensor, "batch"],
) -> tuple[Float[Tensor, "batch rows columns"], Int[Tensor, "batch"]]:
    """From zero until the norm of the residual is at most `goal`, for each sample on its own."""
    finest, stencil, volumes = multigrid.levels[0], multigrid.levels[0].stencil, multigrid.operator.volumes
    by_sample = (2, stencil.batch, -1)
    diagonal = stencil.diagonal[BLACK].view(by_sample)
    residual, proposal = finest.source[BLACK].view(by_sample), finest.solution[BLACK].view(by_sample)
    density = multigrid.split((1 / volumes).expand_as(source))[BLACK].view(by_sample)
    solution, direction, response, image, scratch = (torch.zeros_like(diagonal) for _ in range(5))
    from_red = [
        Sum(target, None, stencil.neighbour_products(phase, finest.solution, PHASES[RED]))
        for target, phase in zip(image.view(2, -1), PHASES[BLACK], strict=True)
    ]

    def apply() -> None:  # image = K proposal at the black nodes; at the red ones it is zero
        for gather in from_red:
            gather()
        torch.sub(torch.mul(diagonal, proposal, out=scratch), image, out=image)

    def inner(x: Tensor, y: Tensor) -> Tensor:
        return torch.mul(x, y, out=scratch).sum(-1).sum(0)

    # Eliminate the red unknowns: they are solved for here and at the end, and have no residual in between.
    whole = multigrid.split(source * volumes)
    finest.source.copy_(whole)
    finest.solution.zero_()
    finest.relax((0, 1))
    apply()
    residual -= image
    finest.source[RED] = 0.0

    iterations, before = torch.zeros_like(budget), torch.full_like(goal, torch.inf)
    while True:
        active = (inner(residual, residual * density).sqrt() > goal) & (iterations < budget)
        if not bool(active.any()):
            break
        iterations += active
        multigrid.cycle()
        apply()
        # A sample that is done moves no more: both numbers are zero.
        gain = inner(residual, proposal)
        keep = torch.where(active, gain / before, 0.0)[:, None]
        torch.addcmul(proposal, keep, direction, out=direction)
        torch.addcmul(image, keep, response, out=response)  # K direction
        step = torch.where(active, gain / inner(direction, response), 0.0)[:, None]
        solution.addcmul_(step, direction)
        residual.addcmul_(step, response, value=-1)
        before = gain

    finest.source.copy_(whole)
    proposal.copy_(solution)
    finest.relax((0, 1))
    return multigrid.join(finest.solution), iterations


def _stencil(operator: DiffusionOperator) -> Stencil:
    """K = volumes x A on the unknowns."""
    free, diagonal = operator.free, operator.diagonal() * operator.volumes
    down, right = torch.zeros_like(diagonal), torch.zeros_like(diagonal)
    down[:, :-1] = operator.down * (free[:-1] & free[1:])
    right[:, :, :-1] = operator.right * (free[:, :-1] & free[:, 1:])
    return Stencil(torch.where(free, diagonal, 1.0), {(1, 0): down, (0, 1): right})


def _coarsening(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Offset:
    """The step to the next coarser grid along each axis, 2 or 1.

    Where the spacings differ much, point smoothing works along the smaller one only: it alone is coarsened while it can be.
    """
    down, right = (1 if spacing[k] > 2**0.5 * spacing[1 - k] and shape[1 - k] > 2 else 2 for k in (0, 1))
    return down, right


def _colours(stencil: PhasedStencil) -> dict[Phase, int]:
    """The order of renewal. Phases of one colour are not coupled: with nine points each has its own, with five every two."""
    nine = any(down and right for _, (down, right) in stencil.couplings)
    return {phase: number if nine else number // 2 for number, phase in enumerate(PHASES)}


def _inverse(stencil: Stencil, null: tuple[int, ...] | None) -> Float[Tensor, "batch node node"]:
    """The inverse matrix. An operator that maps constants on the first `null` rows and columns to zero is made regular."""
    matrix = stencil.dense()
    if null is not None:
        constant = stencil.diagonal.new_zeros(stencil.diagonal.shape[1:])
        constant[: null[0], : null[1]] = 1.0
        scale = stencil.diagonal.mean((1, 2)) / constant.sum()
        matrix += scale[:, None, None] * constant.flatten().outer(constant.flatten())
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise ArithmeticError(
            f"coefficient: an operator made from sample {int(failed.argmax())} is not positive in float64, need less contrast"
        )
    return torch.cholesky_inverse(factor)


def _check_source(source: Tensor, size: Tensor, operator: DiffusionOperator, tolerance: float) -> None:
    good = source.isfinite().flatten(1).all(1)
    if not bool(good.all()):
        raise ValueError(f"source: got a value that is not finite in sample {int(good.int().argmin())}, need finite numbers")
    if operator.singular:
        mean = operator.domain.mean(source)
        excess = mean.abs() * operator.domain.volume**0.5 - 0.1 * tolerance * size
        if bool((excess > 0).any()):
            sample = int(excess.argmax())
            raise ValueError(
                f"source: got mean {mean[sample].item():.1e} in sample {sample}, need 0, as every side is neumann; "
                "subtract domain.mean(source)"
            )
