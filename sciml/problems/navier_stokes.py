"""Incompressible flow on a torus by its vorticity: w_t + u · ∇w = nu Δw - drag w + f.

Two maps: a vorticity to its future under a fixed forcing (Li et al., "Fourier Neural Operator for Parametric Partial
Differential Equations", ICLR 2021), and a forcing to the vorticity that it makes from rest (Kossaifi et al., "Multi-Grid
Tensorized Fourier Neural Operator for High-Resolution PDEs", arXiv 2310.00120; the set of "From Neural Networks to Neural
Operators").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import MOST, check_count, check_positive, check_power_law, check_range, check_times, instants
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.numerics.vorticity import Flow, SpectralFlow
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, relative_distance, restart_residual


@dataclass(frozen=True)
class PlaneWave:
    """sine sin(2π (p x + q y)) + cosine cos(2π (p x + q y)), (p, q) = waves; x and y in lengths of the domain."""

    sine: float
    cosine: float
    waves: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        check_range(sine=self.sine, cosine=self.cosine)
        for wave in self.waves:
            check_range(-MOST, MOST, waves=wave)

    def on(self, domain: Domain) -> Float[Tensor, "x y"]:
        x, y = ((m - a.origin) / a.length for m, a in zip(domain.mesh(), domain.axes, strict=True))
        phase = 2 * math.pi * (self.waves[0] * x + self.waves[1] * y)
        return self.sine * torch.sin(phase) + self.cosine * torch.cos(phase)

    def rate(self, domain: Domain) -> float:
        """The eigenvalue of -Δ."""
        return sum((2 * math.pi * k / axis.length) ** 2 for k, axis in zip(self.waves, domain.axes, strict=True))


@dataclass(frozen=True)
class GaussianVorticity:
    """N(0, scale² (-Δ + tau²)^(-alpha)) on a periodic domain, of zero mean.

    Args:
        modes: eigenfunctions per axis that make up the field; waves up to (modes - 1) / 2.
    """

    alpha: float
    tau: float
    scale: float
    modes: int

    def __post_init__(self) -> None:
        check_power_law(self.alpha, self.tau, self.scale)
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds, name: str) -> Float[Tensor, "sample x y"]:
        return gaussian_field(domain, PowerLaw(self.alpha, self.tau, self.scale), seeds, modes=self.modes, name=name)


@dataclass(frozen=True)
class NavierStokes(Evolution):
    """The vorticity at `times` from that at the first of them, under a fixed forcing, pseudo-spectral with 2/3 dealiasing.

    Args:
        flow: viscosity, drag, step and scheme.
        initial: law of the vorticity at the first instant.
    """

    flow: Flow
    forcing: PlaneWave
    initial: GaussianVorticity
    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    title: str = "Navier-Stokes, vorticity"
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        check_times(self.times)

    def variables(self) -> Mapping[str, Variable]:
        return {"w": Variable("state", "vorticity", in_time=True)}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.flow) | {"forcing": asdict(self.forcing), "initial": asdict(self.initial)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"w": self.initial.draw(domain, seeds, "vorticity")[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Warns:
            UserWarning: where the energy of the shortest waves exceeds 1e-6 of that of the strongest.
        Raises:
            ValueError: a domain that is not a torus, a step too long for the flow, or shortest waves with above 1 % of the
                energy of the strongest.
        """
        first = given["w"][:, 0, 0]
        flow, forcing = SpectralFlow(self.flow, domain, first), self.forcing.on(domain).to(first)
        frames = [first]
        for start, stop in zip(self.times, self.times[1:], strict=False):
            frames.append(flow.advance(frames[-1], forcing, start, stop))
        flow.check_resolution(torch.stack(frames[1:], 1), self.times[1:])
        return {"w": torch.stack(frames, 1)[:, :, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The first, the middle and the last interval solved again."""
        w = fields["w"][:, :, 0]
        flow, forcing = SpectralFlow(self.flow, domain, w), self.forcing.on(domain).to(w)
        return restart_residual(lambda state, start, stop: flow.advance(state, forcing, start, stop), w, self.times)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """A wave along that of the forcing: it carries nothing, as u · ∇w = 0, and each point obeys w' = f - rate w."""
        forcing = self.forcing.on(domain)
        first = PlaneWave(0.3, -0.2, self.forcing.waves).on(domain)
        rate = self.flow.viscosity * self.forcing.rate(domain) + self.flow.drag
        frames = [first * math.exp(-rate * t) + forcing * _grown(rate, t) for t in (s - self.times[0] for s in self.times)]
        w = torch.stack(frames)[None, :, None]
        return {"w": w[:, :1]}, {"w": w}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """The mean vorticity, but for drag; without viscosity, drag and forcing also energy and enstrophy, up to the steps."""
        w = fields["w"][:, :, 0]
        size = domain.norm(w) / math.sqrt(domain.volume)
        decay = torch.tensor([math.exp(-self.flow.drag * (t - self.times[0])) for t in self.times], dtype=torch.float64)
        mean = domain.mean(w) - domain.mean(w[:, :1]) * (decay.to(w) - 1)
        found = {"mean vorticity": largest_change(mean, size)}
        if self.flow.viscosity or self.flow.drag or self.forcing.sine or self.forcing.cosine:
            return found
        u = torch.stack([SpectralFlow(self.flow, domain, w).velocity(frame) for frame in w.unbind(1)], 2)
        energy, enstrophy = domain.integral(u.square()).sum(0) / 2, size.square()
        return found | {"energy": largest_change(energy, energy), "enstrophy": largest_change(enstrophy, enstrophy)}

    def halved(self) -> NavierStokes:
        return replace(self, flow=replace(self.flow, step=self.flow.step / 2))


@dataclass(frozen=True)
class ForcedVorticity(Evolution):
    """The vorticity at time `duration` from rest, from a forcing that does not change in time.

    Args:
        flow: viscosity, drag, step and scheme.
        forcing: law of the forcing.
    """

    flow: Flow
    forcing: GaussianVorticity
    duration: float
    title: str = "Navier-Stokes, forcing to vorticity"
    tolerance: float = 1e-10
    times: tuple[float, ...] = field(default=(), init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self) -> None:
        check_positive(duration=self.duration)

    def variables(self) -> Mapping[str, Variable]:
        return {"f": Variable("input", "forcing of the vorticity"), "w": Variable("target", "vorticity")}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.flow) | {"forcing": asdict(self.forcing), "duration": self.duration}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"f": self.forcing.draw(domain, seeds, "forcing")[:, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """The vorticity at the end; warns and raises as that of `NavierStokes`."""
        f = given["f"][:, 0]
        flow = SpectralFlow(self.flow, domain, f)
        w = flow.advance(torch.zeros_like(f), f, 0.0, self.duration)
        flow.check_resolution(w[:, None], (self.duration,))
        return {"w": w[:, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The answer solved again: of the way from rest nothing else is kept."""
        f, w = fields["f"][:, 0], fields["w"][:, 0]
        again = SpectralFlow(self.flow, domain, f).advance(torch.zeros_like(f), f, 0.0, self.duration)
        return relative_distance(again, w)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """A plane wave: u · ∇w = 0, each point obeys w' = f - rate w."""
        wave = PlaneWave(0.3, -0.2, (1, 2))
        rate = self.flow.viscosity * wave.rate(domain) + self.flow.drag
        f = wave.on(domain)[None, None]
        return {"f": f}, {"w": f * _grown(rate, self.duration)}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing: energy and enstrophy come and go, and that the mean stays zero says less than the residual."""
        return {}

    def halved(self) -> ForcedVorticity:
        return replace(self, flow=replace(self.flow, step=self.flow.step / 2))


def _grown(rate: float, time: float) -> float:
    """What a constant push of 1 makes from rest, damped at `rate`."""
    return -math.expm1(-rate * time) / rate if rate else time


def forcing_to_vorticity(
    reynolds: float = 500.0,
    duration: float = 5.0,
    step: float = 0.025,
    modes: int = 85,
) -> ForcedVorticity:
    """The set of forcings on (0, 2π)²: forcing from N(0, 27² (-Δ + 9)^(-4)), viscosity 1 / reynolds, vorticity at 5 from rest.

    The law, the Reynolds number and the last instant are those of Kossaifi et al. (arXiv 2310.00120), as far as known.

    Args:
        step: fit for 128 x 128 points.
        modes: of the law per axis; 85 are all that 128 x 128 points keep.
    """
    check_positive(reynolds=reynolds)
    law = GaussianVorticity(alpha=4.0, tau=3.0, scale=27.0, modes=modes)
    return ForcedVorticity(Flow(1 / reynolds, step), law, duration)


def published(
    viscosity: float,
    duration: int | None = None,
    step: float | None = None,
    scheme: str = "etdrk4",
    modes: int = 171,
) -> NavierStokes:
    """The sets of the Fourier neural operator (Li et al. 2021) on the unit torus: forcing 0.1 (sin + cos)(2π (x + y)),
    w(0) from N(0, 7³ (-Δ + 49)^(-2.5)), one frame per unit of time.

    Args:
        viscosity: published are 1e-3, 1e-4 and 1e-5.
        duration: the last instant; 50, 30 and 20 for these, 20 for others.
        step: fit for 256 x 256 points if not given: 0.01 at 1e-3, 0.005 below; 0.02 does for 64 x 64. The published
            `crank_nicolson` takes 1e-4 on all grids.
        modes: of the law per axis; 171 are all that 256 x 256 points keep, 43 all that 64 x 64 keep.
    """
    last = duration if duration is not None else {1e-3: 50, 1e-4: 30}.get(viscosity, 20)
    check_count(duration=last)
    fit = 1e-4 if scheme == "crank_nicolson" else 0.01 if viscosity >= 1e-3 else 0.005
    return NavierStokes(
        Flow(viscosity, fit if step is None else step, scheme=scheme),
        PlaneWave(0.1, 0.1, (1, 1)),
        GaussianVorticity(alpha=2.5, tau=7.0, scale=7.0**1.5, modes=modes),
        instants(last + 1, 1),
    )
