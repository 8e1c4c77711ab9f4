"""The published models that are tied to one grid: Navier-Stokes and Helmholtz, with LayerNorm in or after their cycles.

They exist to evaluate and to continue the authors' weights. LayerNorm makes them nonlinear in every cycle and bound to one
number of points; their prolongations ignore the sides. Train an `MgNO` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import Grid, Line, pyramid
from sciml.operators.mgno.cycle import CycleLevel, MultigridCycle, Transfer
from sciml.operators.mgno.official import CLASSES, Facts, Head, Kind, load, read, write
from sciml.operators.mgno.stencils import LearnedStencil, Pointwise, Prolongation

POINTS = {"navier_stokes": 64, "helmholtz": 101, "helmholtz_2": 101}
"""Per side, of the grids of their code."""


class UnpaddedRestriction(LearnedStencil):
    """With nothing beyond the sides: n points become (n - 3) // 2 + 1."""

    def forward(self, u: Float[Tensor, "batch in_channels *space"], grid: Grid) -> Float[Tensor, "batch out_channels *coarse"]:
        return functional.conv2d(u, self.weight, stride=2)


class PlainProlongation(Prolongation):
    """Without ghost points, whatever the sides: the padding of a transposed convolution takes points away instead."""

    padding = 1

    def forward(
        self, u: Float[Tensor, "batch in_channels *coarse"], coarse: Grid, fine: Grid
    ) -> Float[Tensor, "batch out_channels *space"]:
        return functional.conv_transpose2d(u, self.weight, stride=2, padding=self.padding)


class UnpaddedProlongation(PlainProlongation):
    """With all points of the transposed convolution."""

    padding = 0


class PublishedMgNO(nn.Module):
    """One of the authors' classes `MgNO_NS`, `MgNO_helm` and `MgNO_helm2`, as their code evaluates it, on its grid alone.

    Args:
        kind: which class.
        in_channels: number of input functions.
        width: channels of the hidden functions; of the finest level where they grow.
        layers: number of hidden layers.
        smoothing: per level, finest first, steps before and after the coarser levels.
        prolongation: width of the stencils per transfer.
        stencil_bias: whether the stencils of the smoothing add constants.
        last: the last layer.
        points: per side of the square grid.
    Raises:
        ValueError: a kind without LayerNorm, or levels for which the grid has no room; on call, an input of another shape.
    """

    def __init__(
        self,
        kind: Kind,
        in_channels: int,
        *,
        width: int,
        layers: int,
        smoothing: Sequence[tuple[int, int]],
        prolongation: Sequence[int],
        stencil_bias: bool,
        last: Head,
        points: int,
    ) -> None:
        super().__init__()
        if kind not in POINTS:
            raise ValueError(f"kind: got {kind!r}, need one of {', '.join(POINTS)}")
        self.kind: Kind = kind
        self.in_channels = in_channels
        self.width = width
        self.layers = layers
        self.smoothing = tuple(smoothing)
        self.prolongation = tuple(prolongation)
        self.stencil_bias = stencil_bias
        self.last: Head = last
        self.points = points
        self.grids = _grids(kind, points, len(smoothing))
        self.cycles = nn.ModuleList(self._cycle(width if i else in_channels, width) for i in range(layers))
        per_layer = CLASSES[kind].norms == "layer"
        self.norms = nn.ModuleList(nn.LayerNorm([width, points, points]) for _ in range(layers if per_layer else 0))
        self.head = self._cycle(width, 1) if last == "cycle" else Pointwise(width, 1, bias=last == "matrix_with_bias")

    def forward(self, u: Float[Tensor, "batch in_channels x y"]) -> Float[Tensor, "batch 1 x y"]:
        if u.shape[1:] != (self.in_channels, self.points, self.points):
            need = f"(batch, {self.in_channels}, {self.points}, {self.points})"
            raise ValueError(f"u: got shape {tuple(u.shape)}, need {need}: LayerNorm ties this model to its grid")
        given = u
        for layer, cycle in enumerate(self.cycles):
            u = cycle(u, self.grids)
            u = functional.gelu(self.norms[layer](u) if self.norms else u)
        answer = self.head(u, self.grids) if isinstance(self.head, MultigridCycle) else self.head(u)
        return answer + given if self.kind == "navier_stokes" else answer

    def _cycle(self, in_channels: int, channels: int) -> MultigridCycle:
        theirs = CLASSES[self.kind]
        cycle = MultigridCycle(
            in_channels,
            [channels * (level + 1 if theirs.growing else 1) for level in range(len(self.smoothing))],
            2,
            smoothing=self.smoothing,
            cycle="official",
            prolongation=self.prolongation,
            stencil_bias=self.stencil_bias,
        )
        for level, grid in enumerate(self.grids[:-1]):
            transfer = cast(Transfer, cast(CycleLevel, cycle.levels[level]).transfer)
            coarse, fine = transfer.prolong.weight.shape[:2]
            sources = transfer.restrict_source.weight.shape[:2]
            if self.kind == "navier_stokes":
                transfer.prolong = PlainProlongation(coarse, fine, 2, self.prolongation[level])
            else:
                transfer.prolong = UnpaddedProlongation(coarse, fine, 2, self.prolongation[level])
                transfer.restrict_solution = UnpaddedRestriction(fine, coarse, 2, stride=2)
                transfer.restrict_source = UnpaddedRestriction(sources[1], sources[0], 2, stride=2)
            if "prolongation" in theirs.norms:
                affine = theirs.norms == "prolongations" or level == 0
                transfer.normalise = nn.LayerNorm([fine, *(line.points for line in grid)], elementwise_affine=affine)
        return cycle

    def to_official(self) -> dict[str, Tensor]:
        """A `state_dict` for the authors' class."""
        return write(self.state_dict(), self._facts())

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], kind: str) -> PublishedMgNO:
        """The model that their class holds in `state`.

        Raises:
            ValueError: the weights are not those of such a model.
        """
        facts, weights = read(state, kind)
        norm = next((w for name, w in weights.items() if "norm" in name), None)
        model = cls(
            facts.kind,
            facts.in_channels,
            width=facts.width,
            layers=facts.layers,
            smoothing=facts.smoothing,
            prolongation=facts.prolongation,
            stencil_bias=facts.stencil_bias,
            last=facts.head,
            points=POINTS[facts.kind] if norm is None else norm.shape[-1],
        )
        load(model, weights)
        return model

    def _facts(self) -> Facts:
        return Facts(
            self.kind,
            self.in_channels,
            self.width,
            self.layers,
            self.smoothing,
            self.prolongation,
            self.stencil_bias,
            self.last,
        )


def _grids(kind: Kind, points: int, levels: int) -> list[Grid]:
    if kind == "navier_stokes":
        ring = Domain.box((1.0, 1.0), (points, points), "periodic")
        grids = pyramid(ring, ring.shape, levels)
    else:
        # Stencils reflect about the outermost points; transfers read no further than these.
        sizes = [points]
        while len(sizes) < levels and sizes[-1] >= 3:
            sizes.append((sizes[-1] - 3) // 2 + 1)
        grids = [(Line(n, ("neumann", "neumann"), (0.0, 0.0)),) * 2 for n in sizes]
    if len(grids) < levels or grids[-1][0].points < 2:
        raise ValueError(f"smoothing: got {levels} levels, {points} points per side have no room for so many")
    return grids


__all__ = ["POINTS", "PublishedMgNO"]
