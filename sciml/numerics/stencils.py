"""Nine-point operators split by parity: interpolation that follows the operator, and Galerkin coarse operators.

The nodes of a grid with an even number of rows and of columns fall into four *phases*, by the parity of row and column. A phase
is one flat tensor over (sample, row pair, column pair), and the neighbour of a node at a given offset lies in another phase, a
constant number of places further on. So every product below is one multiply-add of long contiguous tensors over the whole
batch. Places at the rim, whose neighbour would lie outside, need no care: their coupling is zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

Offset = tuple[int, int]
Phase = tuple[int, int]
Phased = Float[Tensor, "phase place"]  # in the order of PHASES; place: (sample, row pair, column pair), flattened
Weights = dict[Phase, dict[Offset, Float[Tensor, "place"]]]
Shifted = tuple[Tensor, int]  # a flat tensor, read so many places further on
Product = tuple[Shifted, Shifted]

PHASES: tuple[Phase, ...] = ((0, 0), (1, 1), (0, 1), (1, 0))  # the first two are the red nodes of a chessboard
FORWARD: tuple[Offset, ...] = ((0, 1), (1, 0), (1, 1), (1, -1))  # each pair of neighbours once


@dataclass(frozen=True)
class Stencil:
    """A symmetric operator on a grid: (K u)(x) = diagonal(x) u(x) - sum of coupling(x, y) u(y) over the neighbours y.

    `couplings[offset]` holds at x the coupling of x and x + offset, for offsets in FORWARD; it must be zero where x + offset
    is not on the grid. A node that is no unknown has diagonal 1 and no couplings.
    """

    diagonal: Float[Tensor, "batch rows columns"]
    couplings: dict[Offset, Float[Tensor, "batch rows columns"]]

    def dense(self) -> Float[Tensor, "batch node node"]:
        """The matrix, nodes row by row."""
        batch, rows, columns = self.diagonal.shape
        n = rows * columns
        matrix = torch.diag_embed(self.diagonal.reshape(batch, n))
        for (down, right), coupling in self.couplings.items():
            shift = down * columns + right
            if shift < n:
                inside = coupling.reshape(batch, n)[:, : n - shift]
                matrix.diagonal(shift, 1, 2).sub_(inside)
                matrix.diagonal(-shift, 1, 2).sub_(inside)
        return matrix


@dataclass(frozen=True)
class PhasedStencil:
    """A Stencil split by parity; `couplings[phase, offset]` belongs to the nodes of that phase."""

    batch: int
    rows: int  # of one phase
    columns: int
    diagonal: Phased
    couplings: dict[tuple[Phase, Offset], Float[Tensor, "place"]]

    def distance(self, phase: Phase, offset: Offset) -> int:
        """From the place of a node of `phase` to the place, in the neighbour's phase, of the node at `offset`."""
        return (phase[0] + offset[0]) // 2 * self.columns + (phase[1] + offset[1]) // 2

    def neighbours(self, phase: Phase) -> Iterator[tuple[Offset, Tensor, int]]:
        """Offset, coupling, and how far the coupling's place is from the node's."""
        for offset in FORWARD:
            if (phase, offset) in self.couplings:
                yield offset, self.couplings[phase, offset], 0
            back, other = (-offset[0], -offset[1]), phase_at(phase, (-offset[0], -offset[1]))
            if (other, offset) in self.couplings:
                yield back, self.couplings[other, offset], self.distance(phase, back)

    def neighbour_products(self, phase: Phase, field: Phased, among: Sequence[Phase] = PHASES) -> list[Product]:
        """Coupling times field, for each neighbour of a node of `phase` that is in one of the phases `among`."""
        return [
            ((coupling, shift), (field[PHASES.index(other)], self.distance(phase, offset)))
            for offset, coupling, shift in self.neighbours(phase)
            if (other := phase_at(phase, offset)) in among
        ]

    def interpolation_products(self, phase: Phase, weights: Weights, field: Phased) -> list[Product]:
        """Weight times field, for each coarse node that a node of `phase` is interpolated from."""
        return [
            ((weight, 0), (field[PHASES.index(phase_at(phase, offset))], self.distance(phase, offset)))
            for offset, weight in weights[phase].items()
        ]

    def restriction_products(self, phase: Phase, weights: Weights, field: Phased, among: Sequence[Phase]) -> list[Product]:
        """The transpose: weight times field, for each node in the phases `among` that a coarse node of `phase` goes to."""
        return [
            ((weight, -self.distance(other, offset)), (field[PHASES.index(other)], -self.distance(other, offset)))
            for other in among
            for offset, weight in weights[other].items()
            if phase_at(other, offset) == phase
        ]


class Sum:
    """target = start + a sum of products, to be taken many times: the views of the flat tensors are made once.

    `start` None stands for zero. At least one product must not be shifted, or there must be none.
    """

    def __init__(self, target: Tensor, start: Tensor | None, products: Sequence[Product]) -> None:
        terms = sorted((overlap((target, 0), *product) for product in products), key=lambda term: -len(term[0]))
        self.target, self._start, self._first, self._rest = target, start, terms[:1], terms[1:]

    def __call__(self) -> Tensor:
        for _, x, y in self._first:
            if self._start is None:
                torch.mul(x, y, out=self.target)
            else:
                torch.addcmul(self._start, x, y, out=self.target)
        if not self._first:
            self.target.zero_() if self._start is None else self.target.copy_(self._start)
        for part, x, y in self._rest:
            part.addcmul_(x, y)
        return self.target


def phase_at(phase: Phase, offset: Offset) -> Phase:
    """The phase of the neighbour at `offset` of a node of `phase`."""
    return (phase[0] + offset[0]) % 2, (phase[1] + offset[1]) % 2


def split(field: Float[Tensor, "batch rows columns"]) -> Phased:
    """The four phases of a field with an even number of rows and columns."""
    return torch.stack([field[:, i::2, j::2].reshape(-1) for i, j in PHASES])


def join(phases: Phased, batch: int, rows: int, columns: int) -> Float[Tensor, "batch all_rows all_columns"]:
    """The inverse of `split`; `rows` and `columns` are those of one phase."""
    field = phases.new_empty(batch, 2 * rows, 2 * columns)
    for (i, j), phase in zip(PHASES, phases, strict=True):
        field[:, i::2, j::2] = phase.view(batch, rows, columns)
    return field


def split_stencil(stencil: Stencil) -> PhasedStencil:
    """Split by parity, after padding to an even number of rows and columns with nodes that are no unknowns."""
    batch, rows, columns = stencil.diagonal.shape
    odd = (0, columns % 2, 0, rows % 2)
    couplings: dict[tuple[Phase, Offset], Tensor] = {}
    for offset, coupling in stencil.couplings.items():
        couplings |= {(phase, offset): c for phase, c in zip(PHASES, split(pad(coupling, odd)), strict=True)}
    diagonal = split(pad(stencil.diagonal, odd, value=1.0))
    return PhasedStencil(batch, (rows + 1) // 2, (columns + 1) // 2, diagonal, couplings)


def coarse_phases(step: Offset) -> list[Phase]:
    """The phases that make up the coarse grid: every second node along an axis whose step is 2, every node along the other."""
    return [p for p in PHASES if p[0] % step[0] == 0 and p[1] % step[1] == 0]


def interpolation(fine: PhasedStencil, step: Offset) -> Weights:
    """Weights of the coarse nodes, by their offset, in the nodes of each phase (black-box multigrid, Dendy 1982).

    Between two coarse nodes the operator is summed across their line, as if the solution did not vary along the other axis;
    in the middle of four the operator's own equation is solved. So a flux continuous across jumps of the coefficient is
    interpolated as such, and constants are kept wherever the operator keeps them.
    """
    one = fine.diagonal.new_ones(1).expand(fine.diagonal.shape[1])
    weights: Weights = {phase: {(0, 0): one} for phase in coarse_phases(step)}
    middle = [p for p in PHASES if p[0] % step[0] and p[1] % step[1]]
    for phase in PHASES:
        if phase not in weights and phase not in middle:
            weights[phase] = _across(fine, phase, 0 if phase[0] % step[0] else 1)
    for phase in middle:
        centre = fine.diagonal[PHASES.index(phase)]
        weights[phase] = {offset: w / centre for offset, w in _neighbour_sum(fine, phase, weights).items()}
    return weights


def galerkin(fine: PhasedStencil, weights: Weights, step: Offset) -> Stencil:
    """The coarse operator P' K P on the grid of every `step`-th node, P being the interpolation `weights`."""
    kept = [(0, 0), *((down * step[0], right * step[1]) for down, right in FORWARD)]
    coarse = coarse_phases(step)
    entries = {(p, offset): torch.zeros_like(fine.diagonal[0]) for p in coarse for offset in kept}
    for phase, diagonal in zip(PHASES, fine.diagonal, strict=True):
        if phase[0] % step[0] and phase[1] % step[1]:
            continue  # in the middle of four K P is zero: that is how its weights were made
        image = _neighbour_sum(fine, phase, weights, kept if phase in coarse else None)
        for offset, w in weights[phase].items():  # image = K P, with the sign of a coupling
            image[offset].addcmul_(diagonal, w, value=-1)
        for start, w in weights[phase].items():
            back = -fine.distance(phase, start)
            for end, value in image.items():
                offset = (end[0] - start[0], end[1] - start[1])
                if offset in kept:
                    add_product(entries[phase_at(phase, start), offset], (w, back), (value, back))
    frames = {offset: _coarse_frame(fine, step, {p: entries[p, offset] for p in coarse}) for offset in kept}
    return Stencil(-frames[0, 0], {o: frames[k] for o, k in zip(FORWARD, kept[1:], strict=True)})


def add_product(total: Tensor, first: Shifted, second: Shifted) -> None:
    """Add to `total`, at every place, the product of two tensors read some places further on."""
    target, *factors = overlap((total, 0), first, second)
    target.addcmul_(*factors)


def overlap(*shifted: Shifted) -> list[Tensor]:
    """Views of flat tensors, each read `shift` places further on, over the places where all of them exist."""
    shifts = [shift for _, shift in shifted]
    low = max(0, -min(shifts))
    length = max(0, len(shifted[0][0]) - max(0, *shifts) - low)
    return [tensor[low + shift : low + shift + length] for tensor, shift in shifted]


def _across(fine: PhasedStencil, phase: Phase, axis: int) -> dict[Offset, Tensor]:
    """Weights of the coarse nodes before and after a node along `axis`."""
    sums = {side: torch.zeros_like(fine.diagonal[0]) for side in (-1, 0, 1)}
    for offset, coupling, shift in fine.neighbours(phase):
        target, addend = overlap((sums[offset[axis]], 0), (coupling, shift))
        target += addend
    centre = fine.diagonal[PHASES.index(phase)] - sums[0]
    ahead = (1, 0) if axis == 0 else (0, 1)
    return {(-ahead[0], -ahead[1]): sums[-1] / centre, ahead: sums[1] / centre}


def _neighbour_sum(
    fine: PhasedStencil, phase: Phase, weights: Weights, kept: list[Offset] | None = None
) -> dict[Offset, Tensor]:
    """What the neighbours of a node hold, by coarse node: couplings times `weights`, over the neighbours that have weights."""
    sums: dict[Offset, Tensor] = {offset: torch.zeros_like(fine.diagonal[0]) for offset in (kept or ())}
    for step, coupling, shift in fine.neighbours(phase):
        for offset, w in weights.get(phase_at(phase, step), {}).items():
            target = (step[0] + offset[0], step[1] + offset[1])
            if kept is None or target in kept:
                sums.setdefault(target, torch.zeros_like(coupling))
                add_product(sums[target], (coupling, shift), (w, fine.distance(phase, step)))
    return sums


def _coarse_frame(fine: PhasedStencil, step: Offset, phases: dict[Phase, Tensor]) -> Tensor:
    """The coarse field that consists of these phases of the fine grid."""
    shape = (fine.batch, fine.rows * 2 // step[0], fine.columns * 2 // step[1])
    frame = fine.diagonal.new_empty(shape)
    for phase, values in phases.items():
        coarse_view(frame, phase, step).copy_(values.view(fine.batch, fine.rows, fine.columns))
    return frame


def coarse_view(frame: Tensor, phase: Phase, step: Offset) -> Tensor:
    """The part of a coarse field that belongs to one phase of the fine grid."""
    return frame[:, phase[0] :: 3 - step[0], phase[1] :: 3 - step[1]]
