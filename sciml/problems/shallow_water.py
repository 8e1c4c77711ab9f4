"""Shallow water over a flat bed after a round dam breaks: h_t + ∇·(h v) = 0, (h v)_t + ∇·(h v vᵀ) + g ∇h²/2 = 0.

Setting: Takamoto et al., "PDEBench", NeurIPS 2022 (arXiv 2210.07182), radial dam break.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import LARGEST, check_positive, check_times, instants
from sciml.numerics.domain import Domain
from sciml.numerics.finite_volumes import advance, outflow
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, restart_residual


@dataclass(frozen=True)
class RadialDam:
    """Water at rest, `inner` high up to a radius from the middle of the box, `outer` high beyond.

    Args:
        radius: range in which it is uniform, in the unit of x.
    """

    radius: tuple[float, float] = (0.3, 0.7)
    inner: float = 2.0
    outer: float = 1.0

    def __post_init__(self) -> None:
        check_positive(inner=self.inner, outer=self.outer)
        if self.outer > self.inner:
            raise ValueError(f"inner, outer: got {self.inner}, {self.outer}, need 0 < outer <= inner")
        if not 0 < self.radius[0] <= self.radius[1] <= LARGEST:
            raise ValueError(f"radius: got {self.radius}, need a range of positive finite numbers")

    def draw(self, seeds: Seeds) -> Float[Tensor, "sample 1"]:
        low, high = self.radius
        return low + (high - low) * seeds.uniform("radius", 1)

    def height(self, radius: Float[Tensor, "sample 1"], domain: Domain) -> Float[Tensor, "sample *space"]:
        middles = (a.origin + a.length / 2 for a in domain.axes)
        away = sum((m - x0).square() for m, x0 in zip(domain.mesh(), middles, strict=True)) ** 0.5
        inside = away <= radius.reshape(-1, *[1] * domain.dim)
        inner, outer = torch.tensor([self.inner, self.outer], dtype=torch.float64)
        return torch.where(inside, inner, outer)


@dataclass(frozen=True)
class ShallowWater(Evolution):
    """Height h and momentum h v, by finite volumes of second order on cells.

    Limited slopes of h and v (monotonised central), the flux of Harten, Lax & van Leer with its contact wave restored (HLLC;
    Toro, Shock-Capturing Methods for Free-Surface Flows, 2001, chapter 10), Heun's method. Second order where the water is
    smooth, first order in L1 at bores. Volume and momentum stay what they are to rounding until a wave reaches an open side.

    The step in time is that of the law and the grid, never of the samples: no wave that starts from rest behind heights up to
    `dam.inner` is faster than 2 sqrt(g inner), the speed of a front on dry ground.

    Args:
        dam: law of the first instant.
        times: instants, the first 0, in the unit of time that goes with `gravity`.
        gravity: g.
        courant: how much of a cell a wave of the largest speed may cross in one step, summed over the axes.
        dim: of the domain, 1 to 3.
    """

    dam: RadialDam
    times: tuple[float, ...]
    gravity: float = 1.0
    courant: float = 0.75
    dim: int = 2
    title: str = field(default="shallow water, radial dam break", init=False)
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        check_times(self.times)
        check_positive(gravity=self.gravity)
        if self.dim not in (1, 2, 3):
            raise ValueError(f"dim: got {self.dim}, need 1, 2 or 3")
        if not 0 < self.courant <= 1:
            raise ValueError(f"courant: got {self.courant}, unstable beyond 1; 0.75 works")

    def variables(self) -> Mapping[str, Variable]:
        return {
            "radius": Variable("parameter", "radius of the dam", on_grid=False),
            "h": Variable("state", "height of the water", in_time=True),
            "momentum": Variable("state", "height times velocity, along each axis", in_time=True, components=self.dim),
        }

    def parameters(self) -> Mapping[str, object]:
        return {"gravity": self.gravity, "courant": self.courant, **asdict(self.dam), "radius": list(self.dam.radius)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        if domain.dim != self.dim:
            raise ValueError(f"domain: got {domain.dim} axes, {domain}, need {self.dim}; or a problem with dim = {domain.dim}")
        radius = self.dam.draw(seeds)
        h = self.dam.height(radius, domain)[:, None, None]
        return {"radius": radius, "h": h, "momentum": torch.zeros_like(h).expand(-1, -1, domain.dim, *domain.shape).clone()}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Raises:
            ValueError: sides that are neither open nor periodic, points that are no cells, water that is not higher than 0 or
                faster than the step in time allows.
        """
        frames = [torch.cat([given["h"], given["momentum"]], 2)[:, 0]]
        self._check(frames[0])
        for start, stop in itertools.pairwise(self.times):
            frames.append(self._advance(frames[-1], start, stop, domain))
        states = torch.stack(frames, 1)
        return {"h": states[:, :, :1], "momentum": states[:, :, 1:]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        states = torch.cat([fields["h"], fields["momentum"]], 2)
        return restart_residual(lambda q, start, stop: self._advance(q, start, stop, domain), states, self.times)

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Volume, and momentum along each axis relative to the largest sum of its absolute values."""
        space = tuple(range(-domain.dim, 0))
        h, momentum = fields["h"][:, :, 0].sum(space), fields["momentum"]
        along = [largest_change(momentum[:, :, i].sum(space), momentum[:, :, i].abs().sum(space)) for i in range(domain.dim)]
        return {"volume": largest_change(h, h), "momentum": torch.stack(along).amax(0)}

    def halved(self) -> ShallowWater:
        return replace(self, courant=self.courant / 2)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """A smooth hump that runs along the first axis into water at rest, before it breaks.

        A simple wave: v = 2 (c - c0) and c = sqrt(g h) is carried at speed v + c = 3 c - 2 c0, so that c(x, t) = C(x - (3 c -
        2 c0) t). The implicit equation is solved by iteration, a contraction before the wave breaks.
        """
        axis, c0 = domain.axes[0], math.sqrt(self.gravity * self.dam.outer)
        span = self.times[-1] - self.times[0]
        width = axis.length / 12
        top = min(0.1 * c0, width / (6 * span))  # half way to breaking, at 3 span max|C'| = 1, at the last instant
        start = axis.origin + axis.length / 2 - c0 * span / 2
        x = domain.mesh()[0].expand(len(self.times), *domain.shape)
        t = torch.tensor(self.times, dtype=torch.float64).reshape(-1, *[1] * domain.dim) - self.times[0]
        c = torch.full_like(x, c0)
        for _ in range(80):
            c = c0 + top * torch.exp(-(((x - (3 * c - 2 * c0) * t - start) / width) ** 2))
        h = (c.square() / self.gravity)[None, :, None]
        momentum = torch.zeros(1, len(self.times), domain.dim, *domain.shape, dtype=torch.float64)
        momentum[:, :, :1] = h * 2 * (c - c0)[None, :, None]
        radius = torch.full((1, 1), self.dam.radius[0], dtype=torch.float64)
        return {"radius": radius, "h": h[:, :1], "momentum": momentum[:, :1]}, {"h": h, "momentum": momentum}

    def _fastest(self) -> float:
        return 2 * math.sqrt(self.gravity * self.dam.inner)

    def _advance(self, state: Tensor, start: float, stop: float, domain: Domain) -> Tensor:
        crossed = (stop - start) * sum(self._fastest() / h for h in domain.spacing)
        steps = max(1, math.ceil(crossed / self.courant * (1 - 1e-12)))
        return advance(state, lambda q: self._rate(q, domain), (stop - start) / steps, steps)

    def _rate(self, state: Tensor, domain: Domain) -> Tensor:
        h = state[:, :1]
        flux = _Flux(self.gravity)
        return -outflow(torch.cat([h, state[:, 1:] / h], 1), flux, domain)

    def _check(self, state: Tensor) -> None:
        state = state.detach()
        h = state[:, :1]
        if not bool((h > 0).all()):
            raise ValueError(f"h: got {float(h.min())}, need water that is higher than 0 everywhere")
        fastest = float(((state[:, 1:] / h).abs().amax(1, keepdim=True) + (self.gravity * h).sqrt()).max())
        if fastest > self._fastest() * (1 + 1e-6):
            needed = (fastest / 2) ** 2 / self.gravity
            raise ValueError(
                f"h, momentum: got waves of speed {fastest:g}, the step in time is for {self._fastest():g}; "
                f"a dam with inner = {needed:.6g} allows it"
            )


@dataclass(frozen=True)
class _Flux:
    """HLLC through faces across an axis, from heights and velocities on both sides."""

    gravity: float

    def __call__(self, left: Tensor, right: Tensor, axis: int) -> Tensor:
        (h_l, v_l), (h_r, v_r) = ((side[:, :1], side[:, 1:]) for side in (left, right))
        u_l, u_r = v_l[:, axis : axis + 1], v_r[:, axis : axis + 1]
        slow, fast = self._speeds(h_l, u_l, h_r, u_r)
        m_l, m_r = h_l * u_l, h_r * u_r

        def between(f_l: Tensor, f_r: Tensor, q_l: Tensor, q_r: Tensor) -> Tensor:
            return (fast * f_l - slow * f_r + slow * fast * (q_r - q_l)) / (fast - slow)

        mass = between(m_l, m_r, h_l, h_r)
        push = self.gravity / 2
        along = between(m_l * u_l + push * h_l * h_l, m_r * u_r + push * h_r * h_r, m_l, m_r)
        # The contact wave moves with the mass, and carries the velocity across of the side it comes from.
        carried = mass * torch.where(mass >= 0, v_l, v_r)
        parts = [carried[:, :axis], along, carried[:, axis + 1 :]]
        return torch.cat([mass, *parts], 1)

    def _speeds(self, h_l: Tensor, u_l: Tensor, h_r: Tensor, u_r: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the signal speeds, from both sides and their Roe mean (Einfeldt 1988), the slow <= 0 and the fast >= 0."""
        c_l, c_r = (self.gravity * h_l).sqrt(), (self.gravity * h_r).sqrt()
        u = (c_l * u_l + c_r * u_r) / (c_l + c_r)
        c = (self.gravity / 2 * (h_l + h_r)).sqrt()
        return torch.minimum(u_l - c_l, u - c).clamp(max=0), torch.maximum(u_r + c_r, u + c).clamp(min=0)


def radial_dam_break(frames: int = 101) -> ShallowWater:
    """Radius uniform on [0.3, 0.7), heights 2 and 1, g = 1, `frames` instants 0.01 apart (Takamoto et al. 2022)."""
    return ShallowWater(RadialDam(), instants(frames, 100))


__all__ = ["RadialDam", "ShallowWater", "radial_dam_break"]
