"""MgNO: linear operators between channels of functions, parameterised by a multigrid cycle, with GELU between them.

A layer maps u to GELU(W u + K u + b): W is one multi-channel V-cycle, linear in its input, K a matrix over channels and b a
constant per channel. Source: He, Liu & Xu, "MgNO: Efficient Parameterization of Linear Operators via Multigrid", ICLR 2024.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import Grid, extend, pyramid, zero_on_walls

Cycle = Literal["official", "residual", "full_approximation"]

_convolve = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_convolve_transposed = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_log = logging.getLogger(__name__)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Uniform with the variance that torch gives a convolution of this fan-in."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class LearnedStencil(nn.Module):
    """A 3-point-wide convolution that continues its input beyond the sides as the grid says; `stride=2` restricts."""

    def __init__(self, in_channels: int, out_channels: int, dim: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = _uniform(out_channels, in_channels, *[3] * dim, fan_in=in_channels * 3**dim)

    def forward(self, u: Float[Tensor, "batch in_channels *space"], grid: Grid) -> Float[Tensor, "batch out_channels *coarse"]:
        convolve = _convolve[len(grid)]
        if all(line.zero_ghosts for line in grid) and (self.stride == 1 or not any(line.offset for line in grid)):
            return convolve(u, self.weight, stride=self.stride, padding=1)
        u = extend(u, grid)
        if self.stride > 1:
            for axis, line in enumerate(grid):
                at = axis - len(grid)
                u = u.narrow(at, line.offset, u.shape[at] - line.offset)
        return convolve(u, self.weight, stride=self.stride)


class Prolongation(nn.Module):
    """A transposed convolution from a coarse grid to the next finer one, with ghost points on the coarse grid."""

    def __init__(self, channels: int, dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = _uniform(channels, channels, *[width] * dim, fan_in=channels * width**dim)

    def forward(
        self, u: Float[Tensor, "batch channels *coarse"], coarse: Grid, fine: Grid
    ) -> Float[Tensor, "batch channels *space"]:
        convolve = _convolve_transposed[len(fine)]
        if all(line.zero_ghosts for line in coarse) and not any(line.offset for line in fine):
            added = [f.points - (2 * c.points + self.width - 4) for c, f in zip(coarse, fine, strict=True)]
            u = convolve(u, self.weight, stride=2, padding=1, output_padding=[max(0, a) for a in added])
            starts = [0] * len(fine)
        else:
            u = convolve(extend(u, coarse), self.weight, stride=2)
            starts = [3 - line.offset for line in fine]
        for axis, (start, line) in enumerate(zip(starts, fine, strict=True)):
            u = u.narrow(axis - len(fine), start, line.points)
        return u


class Smoothing(nn.Module):
    """One step u <- u + S(f - A u); from u = 0 it is S f and has no A."""

    def __init__(self, source_channels: int, channels: int, dim: int, from_zero: bool) -> None:
        super().__init__()
        self.apply_operator = None if from_zero else LearnedStencil(channels, source_channels, dim)
        self.smooth = LearnedStencil(source_channels, channels, dim)

    def forward(
        self, u: Float[Tensor, "batch channels *space"] | None, f: Float[Tensor, "batch source_channels *space"], grid: Grid
    ) -> Float[Tensor, "batch channels *space"]:
        if u is None or self.apply_operator is None:
            return zero_on_walls(self.smooth(f, grid), grid)
        return zero_on_walls(u + self.smooth(f - self.apply_operator(u, grid), grid), grid)


class Transfer(nn.Module):
    """What passes between a level and the next coarser one.

    Down, with the solution restricted by Pi and the right-hand side by R:

    - `official` (the authors' code): (Pi u, R f); up: u + P u_coarse.
    - `residual` (the paper's text): (0, R(f - A u)); up: u + P u_coarse.
    - `full_approximation`: (Pi u, R(f - A u) + A_coarse Pi u); up: u + P(u_coarse - Pi u).
    """

    def __init__(self, source_channels: int, channels: int, dim: int, cycle: Cycle, width: int) -> None:
        super().__init__()
        self.cycle = cycle
        self.restrict_source = LearnedStencil(source_channels, source_channels, dim, stride=2)
        self.restrict_solution = None if cycle == "residual" else LearnedStencil(channels, channels, dim, stride=2)
        self.apply_operator = None if cycle == "official" else LearnedStencil(channels, source_channels, dim)
        self.apply_coarse = LearnedStencil(channels, source_channels, dim) if cycle == "full_approximation" else None
        self.prolong = Prolongation(channels, dim, width)

    def down(self, u: Tensor, f: Tensor, fine: Grid, coarse: Grid) -> tuple[Tensor | None, Tensor]:
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
        correction = end - start if self.cycle == "full_approximation" and start is not None else end
        return zero_on_walls(u + self.prolong(correction, coarse, fine), fine)


class Smoother(nn.Module):
    """Some smoothing steps in a row; the first may start from u = 0."""

    def __init__(self, steps: int, source_channels: int, channels: int, dim: int, from_zero: bool) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Smoothing(source_channels, channels, dim, from_zero and i == 0) for i in range(steps))

    def forward(
        self, u: Float[Tensor, "batch channels *space"] | None, f: Float[Tensor, "batch source_channels *space"], grid: Grid
    ) -> Float[Tensor, "batch channels *space"]:
        for step in self.steps:
            u = step(u, f, grid)
        return cast(Tensor, u)


class CycleLevel(nn.Module):
    """What belongs to one level of a cycle: steps before and after, and the transfer to the next coarser level if any."""

    def __init__(self, before: Smoother, transfer: Transfer | None, after: Smoother) -> None:
        super().__init__()
        self.before = before
        self.transfer = transfer
        self.after = after


class VCycle(nn.Module):
    """A multigrid V-cycle with learned stencils: a linear map from functions in `in_channels` to functions in `channels`.

    Args:
        smoothing: per level, finest first, the number of smoothing steps before and after the coarser levels.
        prolongation: width of the prolongation stencils, 3 or 4, or one per transfer.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dim: int,
        *,
        smoothing: Sequence[tuple[int, int]],
        cycle: Cycle,
        prolongation: int | Sequence[int],
    ) -> None:
        super().__init__()
        last = len(smoothing) - 1
        widths = [prolongation] * last if isinstance(prolongation, int) else list(prolongation)
        sizes = (in_channels, channels, dim)
        self.levels = nn.ModuleList(
            CycleLevel(
                Smoother(before, *sizes, from_zero=level == 0 or cycle == "residual"),
                Transfer(*sizes, cycle, widths[level]) if level < last else None,
                Smoother(after, *sizes, from_zero=False),
            )
            for level, (before, after) in enumerate(smoothing)
        )

    def forward(
        self, f: Float[Tensor, "batch in_channels *space"], grids: Sequence[Grid]
    ) -> Float[Tensor, "batch channels *space"]:
        """Apply the cycle on `grids`, as `sciml.numerics.ghosts.pyramid` gives them; levels beyond them are left out."""
        return self._solve(None, f, grids, 0)

    def leave_out(self, depth: int) -> None:
        """Mark the weights of level `depth` and the coarser ones as not to be trained, where no grid will use them."""
        for position, level in enumerate(self.levels):
            if position >= depth:
                level.requires_grad_(False)
            elif position == depth - 1 and (transfer := cast(CycleLevel, level).transfer) is not None:
                transfer.requires_grad_(False)

    def _solve(self, u: Tensor | None, f: Tensor, grids: Sequence[Grid], depth: int) -> Tensor:
        """u improved as a solution of A u = f on grid `depth` and the coarser ones."""
        level = cast(CycleLevel, self.levels[depth])
        better: Tensor = level.before(u, f, grids[depth])
        if level.transfer is not None and depth + 1 < len(grids):
            fine, coarse = grids[depth], grids[depth + 1]
            start, f_coarse = level.transfer.down(better, f, fine, coarse)
            end = self._solve(start, f_coarse, grids, depth + 1)
            better = level.transfer.up(better, start, end, fine, coarse)
        return level.after(better, f, grids[depth])


class MgNO(nn.Module):
    """Multigrid neural operator on the box and the conditions of `domain`, for any number of points from 8 per side.

    The condition of each side holds on every level and in every transfer: functions continue periodically, oddly
    (`dirichlet`), evenly (`neumann`) or by zero (`open`, as in the published Darcy models). The output is zero on points
    that lie on a `dirichlet` side.

    Args:
        in_channels: number of input functions.
        out_channels: number of output functions.
        width: channels of the hidden functions (n in the paper).
        layers: number of hidden layers.
        domain: where the model is trained. Its conditions and layout say what lies beyond the sides, its numbers of points how
            many levels are in use: on a finer grid no level joins that was never trained. Weights are not scaled with the
            spacing, so a model is accurate on the spacing that it was trained on.
        smoothing: per level, finest first, steps before and after the coarser levels.
        cycle: what is restricted, see `Transfer`.
        prolongation: width of the prolongation stencils, 3 or 4, or one per transfer.
        strict_levels: raise instead of leaving out levels when a grid is too small for all of them.
    Raises:
        ValueError: an argument out of range; on call, an input of the wrong shape.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        layers: int,
        domain: Domain,
        smoothing: Sequence[tuple[int, int]] = ((1, 0),) * 5 + ((2, 0),),
        cycle: Cycle = "official",
        prolongation: int | Sequence[int] = 4,
        strict_levels: bool = False,
    ) -> None:
        super().__init__()
        _check_arguments(in_channels, out_channels, width, layers, domain, smoothing, cycle, prolongation)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.width = width
        self.layers = layers
        self.domain = domain
        self.smoothing = tuple((int(pre), int(post)) for pre, post in smoothing)
        self.cycle: Cycle = cycle
        self.prolongation = prolongation if isinstance(prolongation, int) else tuple(prolongation)
        self.strict_levels = strict_levels
        inputs = [in_channels] + [width] * (layers - 1)
        self.cycles = nn.ModuleList(
            VCycle(n, width, domain.dim, smoothing=self.smoothing, cycle=cycle, prolongation=self.prolongation) for n in inputs
        )
        self._depth = len(pyramid(domain, domain.shape, len(self.smoothing)))
        for cycle_of_layer in self.cycles:
            cast(VCycle, cycle_of_layer).leave_out(self._depth)
        self.pointwise = nn.ModuleList(Pointwise(n, width) for n in inputs)
        self.head = Pointwise(width, out_channels, bias=False)

    def forward(self, u: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        grids = self.grids(self._checked_shape(u))
        for cycle, pointwise in zip(self.cycles, self.pointwise, strict=True):
            u = functional.gelu(cycle(u, grids) + pointwise(u))
        return zero_on_walls(self.head(u), grids[0])

    def grids(self, shape: Sequence[int]) -> list[Grid]:
        """The grids of the cycle for an input of this shape; their number is the number of levels in use.

        Raises:
            ValueError: a side below 8 points, or fewer levels than asked for under `strict_levels`.
        """
        if min(shape) < 8:
            raise ValueError(f"u: got grid {tuple(shape)}, need at least 8 points per side")
        grids = pyramid(self.domain, tuple(shape), self._depth)
        if len(grids) < len(self.smoothing):
            fact = f"{len(grids)} of the {len(self.smoothing)} levels are in use on grid {tuple(shape)}"
            if self.strict_levels:
                why = f"coarse sides need 2 points, and the domain's own grid {self.domain.shape} has room for {self._depth}"
                raise ValueError(f"u: {fact}: {why}; take larger grids, fewer levels, or strict_levels=False")
            if not torch.compiler.is_compiling():
                _say_once(fact)
        return grids

    def _checked_shape(self, u: Tensor) -> tuple[int, ...]:
        if u.ndim != 2 + self.domain.dim or u.shape[1] != self.in_channels:
            need = f"(batch, {self.in_channels}, {', '.join(['points'] * self.domain.dim)})"
            raise ValueError(f"u: got shape {tuple(u.shape)}, need {need}")
        return tuple(u.shape[2:])

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], *, domain: Domain | None = None) -> MgNO:
        """The model that the authors' `MgNO_DC` and `MgNO_DC_smooth` classes hold in `state`, equal on its grid.

        Args:
            state: their `state_dict()`, without the normaliser that some of them carry.
            domain: the unit square with `open` sides if not given, which continues by zero as theirs does, with 256 points a
                side, or 211 for the smooth class. Any other domain keeps the weights and changes what lies beyond the sides.
        Raises:
            ValueError: the weights are not those of such a model.
        """
        from sciml.operators.mgno_official import convert

        arguments, weights = convert(state)
        points = 211 if 3 in arguments["prolongation"] else 256
        model = cls(domain=domain or open_square(points), **arguments)
        wrong = [name for name, weight in model.state_dict().items() if weight.shape != weights[name].shape]
        if wrong:
            raise ValueError(f"state: {wrong[0]} would get shape {tuple(weights[wrong[0]].shape)}; is it another class?")
        model.to(weights["head.weight"].dtype).load_state_dict(weights)
        return model


class Pointwise(nn.Module):
    """A matrix over channels, the same at every point, with a constant per channel."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = _uniform(out_channels, in_channels, fan_in=in_channels)
        self.bias = _uniform(out_channels, fan_in=in_channels) if bias else None

    def forward(self, u: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        dim = u.ndim - 2
        return _convolve[dim](u, self.weight[(...,) + (None,) * dim], self.bias)


@lru_cache(maxsize=256)
def _say_once(fact: str) -> None:
    _log.warning("MgNO: %s", fact)


def _check_arguments(
    in_channels: int,
    out_channels: int,
    width: int,
    layers: int,
    domain: Domain,
    smoothing: Sequence[tuple[int, int]],
    cycle: str,
    prolongation: int | Sequence[int],
) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("width", width), ("layers", layers)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, need at least 1")
    if domain.dim > 3:
        raise ValueError(f"domain: got {domain.dim} dimensions, need 1, 2 or 3")
    if not smoothing or any(len(s) != 2 or s[0] < 1 or s[1] < 0 for s in smoothing):
        raise ValueError(f"smoothing: got {smoothing}, need per level (steps before >= 1, steps after >= 0)")
    if cycle not in ("official", "residual", "full_approximation"):
        raise ValueError(f"cycle: got {cycle!r}, need official, residual or full_approximation")
    widths = [prolongation] if isinstance(prolongation, int) else list(prolongation)
    if any(w not in (3, 4) for w in widths):
        raise ValueError(f"prolongation: got {prolongation}, need widths 3 or 4")
    if not isinstance(prolongation, int) and len(widths) != len(smoothing) - 1:
        raise ValueError(f"prolongation: got {len(widths)} widths, need one per transfer, {len(smoothing) - 1}")


def open_square(points: int) -> Domain:
    """The unit square with nothing known beyond its sides, on the sub-sampled grids of the published Darcy sets."""
    return Domain.box(lengths=(1.0, 1.0), points=(points, points), sides="open", layout="first_end")


def mgno_darcy_rough(domain: Domain | None = None) -> MgNO:
    """The model published for rough Darcy coefficients, 572,661 parameters (He, Liu & Xu 2024, table 7 and code)."""
    return MgNO(1, 1, width=24, layers=4, domain=domain or open_square(256))


def mgno_darcy_multiscale(domain: Domain | None = None) -> MgNO:
    """The model published for multiscale trigonometric Darcy coefficients; the same as for rough ones."""
    return mgno_darcy_rough(domain)


def mgno_darcy_smooth(domain: Domain | None = None) -> MgNO:
    """The model published for smooth Darcy coefficients on 211 points a side, 678,093 parameters (their code)."""
    return MgNO(1, 1, width=24, layers=5, domain=domain or open_square(211), prolongation=(3, 4, 3, 3, 4))


def mgno_pipe(domain: Domain | None = None) -> MgNO:
    """The model published for pipe flow, two inputs, 783,876 parameters (their code)."""
    smoothing = ((1, 0),) * 4 + ((1, 1), (2, 0))
    return MgNO(2, 1, width=24, layers=5, domain=domain or open_square(128), smoothing=smoothing)
