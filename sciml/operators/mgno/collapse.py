"""MgNO for inference on one grid: weights that stay, and the coarse levels of every cycle as one dense matrix."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from math import prod
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.numerics.ghosts import Grid
from sciml.operators.mgno.cycle import CycleLevel, MultigridCycle, Smoothing

if TYPE_CHECKING:
    from sciml.operators.mgno.model import MgNO


class DenseLevels(nn.Module):
    """A level of a cycle and the coarser ones as matrices, one from the right-hand side alone and one from a solution too."""

    def __init__(self, cycle: MultigridCycle, grids: Sequence[Grid], depth: int) -> None:
        super().__init__()
        smooth = cast(Smoothing, cast(CycleLevel, cycle.levels[depth]).before.steps[0]).smooth.weight
        channels, sources = smooth.shape[:2]
        space = tuple(line.points for line in grids[depth])
        self.shape = (channels, *space)
        for name, given in (("from_zero", 0), ("from_solution", channels)):
            total = (given + sources) * prod(space)
            unit = torch.eye(total, dtype=smooth.dtype, device=smooth.device)
            columns = torch.cat((unit, unit.new_zeros(1, total))).unflatten(1, (given + sources, *space))
            u, f = columns.split([given, sources], 1)
            with torch.no_grad():
                rows = cycle.solve(u if given else None, f, grids, depth).flatten(1)
            self.register_buffer(name, rows[:-1] - rows[-1])
            self.register_buffer(f"{name}_constant", rows[-1].clone())

    def forward(
        self, u: Float[Tensor, "batch channels *space"] | None, f: Float[Tensor, "batch sources *space"]
    ) -> Float[Tensor, "batch channels *space"]:
        given = f.flatten(1) if u is None else torch.cat((u, f), 1).flatten(1)
        name = "from_zero" if u is None else "from_solution"
        return torch.addmm(self.get_buffer(f"{name}_constant"), given, self.get_buffer(name)).unflatten(1, self.shape)


class CollapsedMgNO(nn.Module):
    """What `MgNO.collapse` makes: the same operator on one grid, without gradients.

    Raises:
        ValueError: on call, an input on another grid.
    """

    def __init__(self, model: MgNO, shape: Sequence[int], points: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.model = deepcopy(model).eval().requires_grad_(False)
        grids = self.model.grids(self.shape)
        for cycle in self.model.cycles:
            cast(MultigridCycle, cycle).collapse(grids, points)

    @torch.no_grad()
    def forward(self, u: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        if tuple(u.shape[2:]) != self.shape:
            raise ValueError(f"u: got shape {tuple(u.shape)}, this model was collapsed for grid {self.shape}")
        return self.model(u)


__all__ = ["CollapsedMgNO", "DenseLevels"]
