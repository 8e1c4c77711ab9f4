"""Multigrid cycles with learned stencils: linear maps between channels of functions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from sciml.numerics.ghosts import Grid, zero_on_walls
from sciml.operators.mgno.stencils import LearnedStencil, Prolongation, added

Cycle = Literal["official", "residual", "full_approximation"]


class Smoothing(nn.Module):
    """One step u <- u + S(f - A u); from u = 0 it is S f, and with `from_zero` it has no A."""

    def __init__(self, source_channels: int, channels: int, dim: int, from_zero: bool, bias: bool = False) -> None:
        super().__init__()
        self.apply_operator = None if from_zero else LearnedStencil(channels, source_channels, dim, bias=bias)
        self.smooth = LearnedStencil(source_channels, channels, dim, bias=bias)

    def forward(
        self, u: Float[Tensor, "batch channels *space"] | None, f: Float[Tensor, "batch source_channels *space"], grid: Grid
    ) -> Float[Tensor, "batch channels *space"]:
        if u is None or self.apply_operator is None:
            return zero_on_walls(self.smooth(f, grid), grid)
        return zero_on_walls(added(self.smooth(f - self.apply_operator(u, grid), grid), u), grid)


class Smoother(nn.Module):
    """Some smoothing steps in a row; the first may start from u = 0."""

    def __init__(self, steps: int, source_channels: int, channels: int, dim: int, from_zero: bool, bias: bool = False) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            Smoothing(source_channels, channels, dim, from_zero and i == 0, bias=bias) for i in range(steps)
        )

    def forward(
        self, u: Float[Tensor, "batch channels *space"] | None, f: Float[Tensor, "batch source_channels *space"], grid: Grid
    ) -> Float[Tensor, "batch channels *space"]:
        for step in self.steps:
            u = step(u, f, grid)
        return cast(Tensor, u)


class Transfer(nn.Module):
    """What passes between a level and the next coarser one.

    Down, with the solution restricted by Pi and the right-hand side by R:

    - `official` (the authors' code): (Pi u, R f); up: u + P u_coarse.
    - `residual` (the paper's text): (0, R(f - A u)); up: u + P u_coarse.
    - `full_approximation`: (Pi u, R(f - A u) + A_coarse Pi u); up: u + P(u_coarse - Pi u).

    Args:
        source_channels, channels: of the right-hand side and of the solution, each on the finer and on the coarser level.
        width: of the prolongation stencil, 3 or 4.
    """

    def __init__(
        self,
        source_channels: tuple[int, int],
        channels: tuple[int, int],
        dim: int,
        cycle: Cycle,
        width: int,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.cycle = cycle
        (f_fine, f_coarse), (u_fine, u_coarse) = source_channels, channels
        self.restrict_source = LearnedStencil(f_fine, f_coarse, dim, stride=2)
        self.restrict_solution = None if cycle == "residual" else LearnedStencil(u_fine, u_coarse, dim, stride=2)
        self.apply_operator = None if cycle == "official" else LearnedStencil(u_fine, f_fine, dim, bias=bias)
        full = cycle == "full_approximation"
        self.apply_coarse = LearnedStencil(u_coarse, f_coarse, dim, bias=bias) if full else None
        self.prolong = Prolongation(u_coarse, u_fine, dim, width)
        self.normalise: nn.Module = nn.Identity()  # the published models that need one put it here

    def down(self, u: Tensor, f: Tensor, fine: Grid, coarse: Grid) -> tuple[Tensor | None, Tensor]:
        """Solution, None for zero, and right-hand side on the coarser grid."""
        if self.apply_operator is not None:
            f = f - self.apply_operator(u, fine)
        f = self.restrict_source(f, fine)
        if self.restrict_solution is None:
            return None, f
        u = zero_on_walls(self.restrict_solution(u, fine), coarse)
        if self.apply_coarse is not None:
            f = f + self.apply_coarse(u, coarse)
        return u, f

    def up(self, u: Tensor, start: Tensor | None, end: Tensor, fine: Grid, coarse: Grid) -> Tensor:
        """The solution on the finer grid, corrected by what became of `start` on the coarser one."""
        correction = end - start if self.cycle == "full_approximation" and start is not None else end
        return zero_on_walls(self.normalise(added(self.prolong(correction, coarse, fine), u)), fine)


class CycleLevel(nn.Module):
    """What belongs to one level of a cycle: steps before and after, and the transfer to the next coarser level if any."""

    def __init__(self, before: Smoother, transfer: Transfer | None, after: Smoother) -> None:
        super().__init__()
        self.before = before
        self.transfer = transfer
        self.after = after


class MultigridCycle(nn.Module):
    """A multigrid cycle with learned stencils: a linear map from functions in `in_channels` to functions in `channels[0]`.

    Args:
        channels: per level, finest first, of the solution. Right-hand sides have `in_channels` on the finest level and grow
            in proportion.
        smoothing: per level, the number of smoothing steps before and after the coarser levels; without steps after it is a
            backslash cycle.
        visits: how often a level calls the next coarser one: 1 makes a V-cycle, 2 a W-cycle.
        prolongation: per transfer, the width of its stencil, 3 or 4.
        stencil_bias: whether A and S add constants, which makes the map affine.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        dim: int,
        *,
        smoothing: Sequence[tuple[int, int]],
        cycle: Cycle,
        prolongation: Sequence[int],
        visits: int = 1,
        stencil_bias: bool = False,
    ) -> None:
        super().__init__()
        self.visits = visits
        sources = [-(-in_channels * n // channels[0]) for n in channels]
        last = len(smoothing) - 1

        def smoother(level: int, steps: int, from_zero: bool) -> Smoother:
            return Smoother(steps, sources[level], channels[level], dim, from_zero, bias=stencil_bias)

        def transfer(level: int) -> Transfer | None:
            if level == last:
                return None
            f_pair, u_pair = ((n[level], n[level + 1]) for n in (sources, channels))
            return Transfer(f_pair, u_pair, dim, cycle, prolongation[level], bias=stencil_bias)

        self.dense: nn.Module | None = None  # in place of the levels that are no longer there, see `collapse`
        self.levels = nn.ModuleList(
            CycleLevel(
                smoother(level, before, from_zero=level == 0 or (cycle == "residual" and visits == 1)),
                transfer(level),
                smoother(level, after, from_zero=False),
            )
            for level, (before, after) in enumerate(smoothing)
        )

    def forward(
        self, f: Float[Tensor, "batch in_channels *space"], grids: Sequence[Grid]
    ) -> Float[Tensor, "batch channels *space"]:
        """Apply the cycle on `grids`, as `sciml.numerics.ghosts.pyramid` gives them; levels beyond them are left out."""
        return self.solve(None, f, grids, 0)

    def leave_out(self, depth: int) -> None:
        """Mark the weights of level `depth` and the coarser ones as not to be trained, where no grid will use them."""
        for position, level in enumerate(self.levels):
            if position >= depth:
                level.requires_grad_(False)
            elif position == depth - 1 and (transfer := cast(CycleLevel, level).transfer) is not None:
                transfer.requires_grad_(False)

    def collapse(self, grids: Sequence[Grid], points: int) -> None:
        """Replace the levels of at most `points` points by their matrices, for inference on these grids alone."""
        from sciml.operators.mgno.collapse import DenseLevels

        small = [depth for depth, grid in enumerate(grids) if prod(line.points for line in grid) <= points]
        if small:
            self.dense = DenseLevels(self, grids, small[0])
            self.levels = self.levels[: small[0]]

    def solve(
        self,
        u: Float[Tensor, "batch channels *space"] | None,
        f: Float[Tensor, "batch source_channels *space"],
        grids: Sequence[Grid],
        depth: int,
    ) -> Float[Tensor, "batch channels *space"]:
        """`u`, None for zero, improved as a solution of A u = f on grid `depth` and the coarser ones."""
        if self.dense is not None and depth == len(self.levels):
            return self.dense(u, f)
        level = cast(CycleLevel, self.levels[depth])
        better: Tensor = level.before(u, f, grids[depth])
        if level.transfer is not None and depth + 1 < len(grids):
            fine, coarse = grids[depth], grids[depth + 1]
            start, f_coarse = level.transfer.down(better, f, fine, coarse)
            end = start
            for _ in range(self.visits):
                end = self.solve(end, f_coarse, grids, depth + 1)
            better = level.transfer.up(better, start, cast(Tensor, end), fine, coarse)
        return level.after(better, f, grids[depth])


__all__ = ["Cycle", "CycleLevel", "MultigridCycle", "Smoother", "Smoothing", "Transfer"]
