"""MgNO: linear operators between channels of functions, parameterised by a multigrid cycle, with GELU between them.

A layer maps u to GELU(W u + K u + b): W is one multi-channel multigrid cycle, linear in its input, K a matrix over channels and
b a function per channel, by default a constant. Source: He, Liu & Xu, "MgNO: Efficient Parameterization of Linear Operators via
Multigrid", ICLR 2024.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, cast, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import Grid, coarsened, pyramid, zero_on_walls
from sciml.numerics.resolution import inject, interpolate, resample
from sciml.operators.mgno.collapse import CollapsedMgNO
from sciml.operators.mgno.cycle import Cycle, MultigridCycle
from sciml.operators.mgno.official import Facts, Kind, load, read, write
from sciml.operators.mgno.published import POINTS, PublishedMgNO
from sciml.operators.mgno.stencils import BiasField, Pointwise, channels_together, gelu

HELD = 2**24
"""Numbers of a hidden function, over samples, channels and points, that are worked on together where layers are recomputed."""

_log = logging.getLogger(__name__)


class MgNO(nn.Module):
    """Multigrid neural operator on the box and the conditions of `domain`, for any number of points from 8 per side.

    The condition of each side holds on every level and in every transfer: functions continue periodically, oddly
    (`dirichlet`), evenly (`neumann`) or by zero (`open`, as in the published Darcy models). The output, with `increment` what
    is added to the input, is zero on points that lie on a `dirichlet` side.

    Args:
        in_channels: number of input functions.
        out_channels: number of output functions.
        width: channels of the hidden functions (n in the paper), or one number per level, finest first.
        layers: number of hidden layers.
        domain: where the model is trained. Its conditions and layout say what lies beyond the sides, its numbers of points the
            grid that the weights belong to and how many levels are in use. On a grid of half its spacing, a quarter, ...,
            levels without weights come before them: every cycle reads every second point and its output is interpolated. From
            any other grid the input is brought to that of the domain by cubics, and the answer back.
        smoothing: per level, finest first, steps before and after the coarser levels; without steps after, the cycle is a
            backslash cycle.
        cycle: what is restricted, see `sciml.operators.mgno.cycle.Transfer`.
        visits: how often a level calls the next coarser one: 1 makes a V-cycle, 2 a W-cycle.
        prolongation: width of the prolongation stencils, 3 or 4, or one per transfer.
        stencil_bias: whether the stencils of the smoothing add constants, as in the published Navier-Stokes model.
        bias_modes: per side, in the functions b: 1 for constants, more for fields that are smooth sums of so many modes.
        scale: what the output of every cycle is multiplied with: a number, or `learned`, one number per channel. Never a
            statistic of the input, so that a cycle stays linear.
        increment: whether the answer is added to the last `out_channels` of the input, as a step in time.
        recompute: whether training keeps only what enters each layer and computes the rest again, a third more work for less
            than half of the memory; gradients are the same.
        strict_levels: raise instead of leaving out levels when the domain's grid is too small for all of them.
    Raises:
        ValueError: an argument out of range; on call, an input of the wrong shape or precision.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int | Sequence[int],
        layers: int,
        domain: Domain,
        smoothing: Sequence[tuple[int, int]] = ((1, 0),) * 5 + ((2, 0),),
        cycle: Cycle = "official",
        visits: int = 1,
        prolongation: int | Sequence[int] = 4,
        stencil_bias: bool = False,
        bias_modes: int = 1,
        scale: float | Literal["learned"] = 1.0,
        increment: bool = False,
        recompute: bool = False,
        strict_levels: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.width = width if isinstance(width, int) else tuple(width)
        self.layers = layers
        self.domain = domain
        self.smoothing = tuple((int(pre), int(post)) for pre, post in smoothing)
        self.cycle: Cycle = cycle
        self.visits = visits
        self.prolongation = prolongation if isinstance(prolongation, int) else tuple(prolongation)
        self.stencil_bias = stencil_bias
        self.bias_modes = bias_modes
        self.scale = scale
        self.increment = increment
        self.recompute = recompute
        self.strict_levels = strict_levels
        _check_arguments(self)
        levels = len(smoothing)
        channels = [width] * levels if isinstance(width, int) else list(width)
        widths = [prolongation] * (levels - 1) if isinstance(prolongation, int) else list(prolongation)
        inputs = [in_channels] + [channels[0]] * (layers - 1)
        self.cycles = nn.ModuleList(
            MultigridCycle(
                n,
                channels,
                domain.dim,
                smoothing=self.smoothing,
                cycle=cycle,
                prolongation=widths,
                visits=visits,
                stencil_bias=stencil_bias,
            )
            for n in inputs
        )
        self._depth = len(pyramid(domain, domain.shape, levels))
        if self._depth < levels:
            _leave_out(self)
        for cycle_of_layer in self.cycles:
            cast(MultigridCycle, cycle_of_layer).leave_out(self._depth)
        self.pointwise = nn.ModuleList(Pointwise(n, channels[0], bias=bias_modes == 1) for n in inputs)
        self.fields = nn.ModuleList(BiasField(channels[0], bias_modes, domain.dim) for _ in inputs if bias_modes > 1)
        self.scales = nn.Parameter(torch.ones(layers, channels[0])) if scale == "learned" else None
        self.head = Pointwise(channels[0], out_channels, bias=False)

    def forward(self, u: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        given, asked = u, self._grid(self._checked(u))
        worked_on = self._worked_on(asked)
        above, grids = self._levels(worked_on)
        u = channels_together(resample(u, asked, worked_on))
        for layer in range(self.layers):
            recompute = self.recompute and torch.is_grad_enabled()
            u = self._recomputed(layer, u, above, grids) if recompute else self._layer(layer, u, above, grids)
        answer = zero_on_walls(resample(self.head(u), worked_on, asked), asked)
        return answer + given[:, -self.out_channels :] if self.increment else answer

    def _recomputed(self, layer: int, u: Tensor, above: Sequence[Grid], grids: Sequence[Grid]) -> Tensor:
        """The same, of which a gradient keeps only `u`, and works on a few samples at a time."""
        together = max(1, HELD // (self.head.weight.shape[1] * math.prod(u.shape[2:])))
        pieces = [
            cast(Tensor, checkpoint(self._layer, layer, some, above, grids, use_reentrant=False, preserve_rng_state=False))
            for some in u.split(together)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _layer(self, layer: int, u: Tensor, above: Sequence[Grid], grids: Sequence[Grid]) -> Tensor:
        source = u
        for fine, coarse in pairwise([*above, grids[0]]):
            source = inject(source, fine, coarse)
        better = self.cycles[layer](source, grids)
        for coarse, fine in pairwise([grids[0], *reversed(above)]):
            better = interpolate(better, coarse, fine)
        if self.scales is not None:
            better = better * self.scales[layer].view(-1, *[1] * self.domain.dim)
        elif self.scale != 1:
            better = better * self.scale
        better = self.pointwise[layer](u, better)
        if self.bias_modes > 1:
            better = better + self.fields[layer]([*above, grids[0]][0])
        return gelu(better)

    def grids(self, shape: Sequence[int]) -> list[Grid]:
        """The grids of the cycle for an input of this shape: that of the domain and its coarser ones.

        Raises:
            ValueError: a side below 8 points, or another number of sides than the domain has.
        """
        return self._levels(self._worked_on(self._grid(shape)))[1]

    def _grid(self, shape: Sequence[int]) -> Grid:
        if len(shape) != self.domain.dim:
            raise ValueError(f"u: got grid {tuple(shape)}, need {self.domain.dim} sides")
        if min(shape) < 8:
            raise ValueError(f"u: got grid {tuple(shape)}, need at least 8 points per side")
        return pyramid(self.domain, tuple(shape), 1)[0]

    @property
    def _own(self) -> Grid:
        return pyramid(self.domain, self.domain.shape, 1)[0]

    def _worked_on(self, asked: Grid) -> Grid:
        """That grid itself where every second (fourth, ...) point of it is the domain's, else the domain's."""
        return self._own if self._halvings(asked) is None else asked

    def _halvings(self, grid: Grid) -> int | None:
        """How often every second point of it is to be taken to come to the domain's own grid; None if that leads elsewhere."""
        halvings = round(math.log2(grid[0].points / self.domain.shape[0]))
        if halvings < 0:
            return None
        grids = coarsened(grid, halvings + 1)
        return halvings if grids[-1] == self._own and len(grids) == halvings + 1 else None

    def _levels(self, grid: Grid) -> tuple[list[Grid], list[Grid]]:
        """Grids above that of the domain, finest first, and those of the cycle."""
        halvings = self._halvings(grid) or 0
        grids = coarsened(grid, halvings + self._depth)
        return grids[:halvings], grids[halvings:]

    def _checked(self, u: Tensor) -> tuple[int, ...]:
        """The shape of the grid."""
        if u.ndim != 2 + self.domain.dim or u.shape[1] != self.in_channels:
            need = f"(batch, {self.in_channels}, {', '.join(['points'] * self.domain.dim)})"
            raise ValueError(f"u: got shape {tuple(u.shape)}, need {need}")
        weights = self.head.weight.dtype
        if u.dtype != weights and not (torch.is_autocast_enabled(u.device.type) and u.is_floating_point()):
            raise ValueError(f"u: got {u.dtype}, the weights are {weights}; convert one of them")
        return tuple(u.shape[2:])

    def collapse(self, shape: Sequence[int] | None = None, *, points: int = 16) -> CollapsedMgNO:
        """A copy for inference on one grid, equal up to rounding, whose coarse levels are one matrix per layer.

        Args:
            shape: of the grid; that of the domain if not given.
            points: levels of at most so many become the matrix, of (2 width points)² numbers or less. More pays off on a GPU,
                where small convolutions cost their launch.
        Raises:
            ValueError: as on call.
        """
        return CollapsedMgNO(self, self.domain.shape if shape is None else shape, points)

    @overload
    @classmethod
    def from_official(
        cls, state: Mapping[str, Tensor], kind: Literal["darcy", "darcy_smooth"] = "darcy", *, domain: Domain | None = None
    ) -> MgNO: ...
    @overload
    @classmethod
    def from_official(
        cls, state: Mapping[str, Tensor], kind: Literal["navier_stokes", "helmholtz", "helmholtz_2"], *, domain: None = None
    ) -> PublishedMgNO: ...
    @classmethod
    def from_official(
        cls, state: Mapping[str, Tensor], kind: str = "darcy", *, domain: Domain | None = None
    ) -> MgNO | PublishedMgNO:
        """The model that one of the authors' classes holds in `state`, equal on its grid; the inverse of `to_official`.

        Args:
            state: its `state_dict()`, without the normaliser that some of them carry.
            kind: `darcy` (MgNO_DC), `darcy_smooth` (MgNO_DC_smooth), `navier_stokes` (MgNO_NS), `helmholtz` (MgNO_helm) or
                `helmholtz_2` (MgNO_helm2). The last three have LayerNorm in them and come as `PublishedMgNO`, which runs on
                the grid of the weights alone.
            domain: of a Darcy class, the unit square with `open` sides if not given, which continues by zero as theirs does,
                with 256 points a side, or 211 for the smooth class. Any other keeps the weights and changes what lies beyond
                the sides.
        Raises:
            ValueError: the weights are not those of such a model, or a domain for a class that has its own.
        """
        if kind in POINTS:
            if domain is not None:
                raise ValueError(f"domain: got one for {kind}, whose weights are tied to their grid; need None")
            return PublishedMgNO.from_official(state, kind)
        facts, weights = read(state, kind)
        model = cls(
            facts.in_channels,
            weights["head.weight"].shape[0],
            width=facts.width,
            layers=facts.layers,
            domain=domain or open_square(211 if kind == "darcy_smooth" else 256),
            smoothing=facts.smoothing,
            prolongation=facts.prolongation,
            stencil_bias=facts.stencil_bias,
        )
        load(model, weights)
        return model

    def to_official(self) -> dict[str, Tensor]:
        """A `state_dict` for the authors' `MgNO_DC`, or `MgNO_DC_smooth` where that has the same prolongations.

        Raises:
            ValueError: a model that their class cannot express; the message names what differs.
        """
        levels = len(self.smoothing)
        need: dict[str, object] = {
            "cycle": "official",
            "visits": 1,
            "stencil_bias": False,
            "bias_modes": 1,
            "scale": 1.0,
            "increment": False,
            "out_channels": 1,
        }
        for name, value in need.items():
            if getattr(self, name) != value:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, the authors' class can only express {value!r}")
        if (
            not isinstance(self.width, int)
            or self.domain.dim != 2
            or {s for a in self.domain.axes for s in a.sides} != {"open"}
        ):
            raise ValueError("width, domain: the authors' class needs one width, two dimensions and open sides")
        if self._depth < levels:
            raise ValueError(
                f"smoothing: only {self._depth} of {levels} levels are in use, the authors' class runs all of them"
            )
        widths = (self.prolongation,) * (levels - 1) if isinstance(self.prolongation, int) else self.prolongation
        kind: Kind = "darcy" if set(widths) <= {4} else "darcy_smooth"
        facts = Facts(kind, self.in_channels, self.width, self.layers, self.smoothing, widths, False, "matrix")
        return write(self.state_dict(), facts)


def _leave_out(model: MgNO) -> None:
    """Say, or refuse, that the domain has no room for the last levels."""
    fact = f"{model._depth} of the {len(model.smoothing)} levels are in use on grid {model.domain.shape}"
    if model.strict_levels:
        raise ValueError(f"domain: {fact}: need 2 points on a coarse side; take a larger grid or fewer levels")
    _say_once(fact)


@lru_cache(maxsize=256)
def _say_once(fact: str) -> None:
    _log.warning("MgNO: %s", fact)


def _check_arguments(model: MgNO) -> None:
    levels = len(model.smoothing)
    counts = [("in_channels", model.in_channels), ("out_channels", model.out_channels), ("layers", model.layers)]
    counts += [("visits", model.visits), ("bias_modes", model.bias_modes)]
    counts += [("width", n) for n in ([model.width] if isinstance(model.width, int) else model.width)]
    for name, value in counts:
        if value < 1:
            raise ValueError(f"{name}: got {value}, need at least 1")
    if model.domain.dim not in (1, 2, 3):
        raise ValueError(f"domain: got {model.domain.dim} dimensions, need 1, 2 or 3")
    if not model.smoothing or any(len(s) != 2 or s[0] < 1 or s[1] < 0 for s in model.smoothing):
        raise ValueError(f"smoothing: got {model.smoothing}, need per level (steps before >= 1, steps after >= 0)")
    if model.cycle not in ("official", "residual", "full_approximation"):
        raise ValueError(f"cycle: got {model.cycle!r}, need official, residual or full_approximation")
    if not isinstance(model.width, int) and len(model.width) != levels:
        raise ValueError(f"width: got {len(model.width)} numbers, need one or one per level, {levels}")
    widths = [model.prolongation] if isinstance(model.prolongation, int) else model.prolongation
    if any(w not in (3, 4) for w in widths):
        raise ValueError(f"prolongation: got {model.prolongation}, need widths 3 or 4")
    if not isinstance(model.prolongation, int) and len(widths) != levels - 1:
        raise ValueError(f"prolongation: got {len(widths)} widths, need one per transfer, {levels - 1}")
    if isinstance(model.scale, str) and model.scale != "learned":
        raise ValueError(f"scale: got {model.scale!r}, need a number or 'learned'")
    if model.increment and model.out_channels > model.in_channels:
        raise ValueError(f"increment: got {model.out_channels} outputs of {model.in_channels} inputs, need as many inputs")


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
