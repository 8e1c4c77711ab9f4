"""Burgers' equation on a period: u_t + u u_x = nu u_xx.

Two maps: an initial function to the solution at one later time (Li et al., "Fourier Neural Operator for Parametric Partial
Differential Equations", ICLR 2021), and to the solution at many instants (Wang, Wang & Perdikaris, "Learning the solution
operator of parametric partial differential equations with physics-informed DeepONets", Sci. Adv. 7 (2021) eabi8605).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_power_law, check_times
from sciml.numerics.domain import Domain
from sciml.numerics.quadratic_transport import RESOLVED, QuadraticTransport, tail, warn_if_unresolved
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.numerics.spectral import derivative
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, relative_distance, restart_residual

_COMPARED = 64  # points at which an answer is held against the exact one


@dataclass(frozen=True)
class InitialLaw:
    """N(0, scale² (-Δ + tau²)^(-alpha)) on the period, of mean zero. The published one is the default.

    Args:
        modes: cosines and sines that make up the function; waves up to (modes - 1) / 2.
    """

    alpha: float = 2.5
    tau: float = 7.0
    scale: float = 49.0
    modes: int = 1025

    def __post_init__(self) -> None:
        check_power_law(self.alpha, self.tau, self.scale)
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample x"]:
        law = PowerLaw(self.alpha, self.tau, self.scale)
        return gaussian_field(domain, law, seeds, modes=self.modes, name="initial")


@dataclass(frozen=True)
class Flow:
    """The equation and how it is stepped: pseudo-spectral with 2/3 dealiasing, ETDRK4 in time.

    Args:
        viscosity: nu, in the unit of length² / time.
        step: in time, the same for all samples; an interval is cut into equal steps of at most this.
    Raises:
        ValueError: one that is not positive.
    """

    viscosity: float
    step: float

    def __post_init__(self) -> None:
        check_positive(viscosity=self.viscosity, step=self.step)

    def frames(
        self, first: Float[Tensor, "sample x"], domain: Domain, times: Sequence[float]
    ) -> Float[Tensor, "sample time x"]:
        """The solution at `times`, the first as given.

        Warns:
            UserWarning: where at some step the shortest waves have above 1e-6 of the energy of the strongest.
        Raises:
            ValueError: a domain that is not one periodic axis, a step that is not stable, or shortest waves with above 1 % of
                the energy of the strongest.
        """
        frames, shortest = QuadraticTransport(self.viscosity, 0.0, self.step).frames(first, domain, times)
        self._check_resolution(shortest, first, domain)
        return frames

    def _check_resolution(self, shortest: Float[Tensor, "sample"], first: Tensor, domain: Domain) -> None:
        sample = int(shortest.argmax())
        number, values = float(shortest[sample]), first[sample].detach()
        if number <= RESOLVED:
            return
        need = self.points_needed(float(values.max() - values.min()), domain.axes[0].length)
        # A rough initial function has waves of its own, whose energy falls as a power, at least the 4th.
        rough = float(tail(torch.fft.rfft(values)[None], domain)) if need > domain.shape[0] else number
        need = max(need, 2 * math.ceil(domain.shape[0] * (rough / RESOLVED) ** 0.25 / 2))
        message = (
            f"domain: {domain.shape[0]} points are too few for viscosity {self.viscosity:g}: in sample {sample} of the block "
            f"the shortest waves reach {number:.1e} of the energy of the strongest, {RESOLVED:g} would be resolved; "
            f"{need} points would do"
        )
        warn_if_unresolved(number, message)

    def points_needed(self, jump: float, length: float) -> int:
        """Enough for the steepest layer there can be between values `jump` apart, -jump/2 tanh(jump x / (4 nu)).

        Its spectrum falls as 1 / sinh(2 π² nu m / (jump length)), m waves on the length: by 1e-3 from m = 1 to the last kept.
        """
        decay = 2 * math.pi**2 * self.viscosity / (jump * length)
        last = math.asinh(math.sinh(decay) / math.sqrt(RESOLVED)) / decay if decay < 100 else 1.0
        return 2 * math.ceil(3 * (last + 1) / 2)

    def error(
        self, first: Float[Tensor, "sample x"], later: Float[Tensor, "sample x"], domain: Domain, time: float
    ) -> Float[Tensor, "sample"]:
        """Relative distance of `later` from the exact solution after `time`, at 64 of the points or somewhat more.

        Hopf (Comm. Pure Appl. Math. 3 (1950) 201) and Cole: with mean flow taken off,

            u(x, t) = ∫ (x - y) / t exp(-G) dy / ∫ exp(-G) dy,    G = φ(y) / (2 nu) + (x - y)² / (4 nu t),    φ' = u(y, 0).

        The integrals are sums over all points and periods, in float64: no step in time, no product, no alias.
        """
        u, answer = first.double(), later.double()
        mean = u.mean(1, keepdim=True)
        slope = derivative(domain).to(u.device)
        inverse = torch.where(slope == 0, 0.0, 1 / torch.where(slope == 0, 1.0, slope))
        potential = torch.fft.irfft(torch.fft.rfft(u) * inverse, n=domain.shape[0]) / (2 * self.viscosity)
        # The mean flow has carried the answer along: back by mean t.
        moved = torch.fft.irfft(torch.fft.rfft(answer) * torch.exp(slope * mean * time), n=domain.shape[0])
        stride = max(1, domain.shape[0] // _COMPARED)
        exact = mean + self._hopf(potential, domain, time, stride)
        return relative_distance(moved[:, ::stride], exact).to(first.dtype)

    def residual(
        self, frames: Float[Tensor, "sample time x"], domain: Domain, times: Sequence[float], tolerance: float
    ) -> Float[Tensor, "sample"]:
        """The larger distance of the middle and of the last frame from the exact solution (see `error`).

        Where that is above `tolerance`, as on a grid that does not resolve the solution, `tolerance`, or the distance from what
        the scheme makes of the frames before if that is more (see `restart_residual`).
        """
        last = len(times) - 1
        places = sorted({max(1, last // 2), last})
        gaps = torch.stack([self.error(frames[:, 0], frames[:, i], domain, times[i] - times[0]) for i in places]).amax(0)
        poor = ~(gaps <= tolerance)
        if not poor.any():
            return gaps
        again = restart_residual(self._advancing(domain), frames[poor], times)
        return gaps.index_put((poor,), again.clamp(min=tolerance))

    def _advancing(self, domain: Domain) -> Callable[[Tensor, float, float], Tensor]:
        transport = QuadraticTransport(self.viscosity, 0.0, self.step)
        return lambda state, start, stop: transport.frames(state, domain, (start, stop))[0][:, -1]

    def _hopf(self, potential: Float[Tensor, "sample x"], domain: Domain, time: float, stride: int) -> Tensor:
        (axis,) = domain.axes
        width = math.sqrt(2 * self.viscosity * time)
        # Beyond this the Gaussian is below rounding even where the potential is at its lowest.
        reach = width * math.sqrt(2 * (40 + float(potential.max() - potential.min())))
        periods = torch.arange(-math.ceil(reach / axis.length), math.ceil(reach / axis.length) + 1).double() * axis.length
        x = axis.coordinates()
        values = []
        for place in range(0, axis.points, stride):
            apart = (x[place] - x + periods[:, None]).to(potential.device)
            weights = -(apart / width).square() / 2
            spread = weights.logsumexp(0)
            middle = (weights.softmax(0) * apart).sum(0)
            values.append(((spread - potential).softmax(1) * middle).sum(1) / time)
        return torch.stack(values, 1)

    def wave(self, domain: Domain, times: Sequence[float]) -> Float[Tensor, "time x"]:
        """An exact solution: -2 nu θ_x / θ with θ = 5/4 + exp(-nu k² t) cos(k x) (Cole, Quart. Appl. Math. 9 (1951) 225),
        one wave on the length, carried by a mean flow of 0.3."""
        (axis,) = domain.axes
        k = 2 * math.pi / axis.length
        elapsed = torch.tensor([t - times[0] for t in times], dtype=torch.float64)[:, None]
        decay = torch.exp(-self.viscosity * k**2 * elapsed)
        phase = k * (axis.coordinates() - 0.3 * elapsed)
        return 0.3 + 2 * self.viscosity * k * decay * torch.sin(phase) / (1.25 + decay * torch.cos(phase))


@dataclass(frozen=True)
class Burgers(Evolution):
    """The solution at `times` from that at the first of them."""

    flow: Flow
    initial: InitialLaw
    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    title: str = "Burgers' equation in time"
    tolerance: float = 5e-7

    def __post_init__(self) -> None:
        check_times(self.times)

    def variables(self) -> Mapping[str, Variable]:
        return {"u": Variable("state", "velocity", in_time=True)}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.flow) | {"initial": asdict(self.initial)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"u": self.initial.draw(domain, seeds)[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants; warns and raises as `Flow.frames`."""
        return {"u": self.flow.frames(given["u"][:, 0, 0], domain, self.times)[:, :, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """How far the instants are from the exact solution, or from the scheme's own (see `Flow.residual`)."""
        return self.flow.residual(fields["u"][:, :, 0], domain, self.times, self.tolerance)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        u = self.flow.wave(domain, self.times)[None, :, None]
        return {"u": u[:, :1]}, {"u": u}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        return _conserved(fields["u"][:, :, 0], domain)

    def halved(self) -> Burgers:
        return replace(self, flow=replace(self.flow, step=self.flow.step / 2))


@dataclass(frozen=True)
class BurgersMap(Evolution):
    """The solution `u` at time `duration` from the initial function `a`."""

    flow: Flow
    initial: InitialLaw
    duration: float = 1.0
    title: str = "Burgers' equation"
    tolerance: float = 5e-7
    times: tuple[float, ...] = field(default=(), init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self) -> None:
        check_positive(duration=self.duration)

    def variables(self) -> Mapping[str, Variable]:
        return {"a": Variable("input", "velocity at the start"), "u": Variable("target", "velocity at the end")}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.flow) | {"initial": asdict(self.initial), "duration": self.duration}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"a": self.initial.draw(domain, seeds)[:, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """The end; warns and raises as `Flow.frames`."""
        return {"u": self.flow.frames(given["a"][:, 0], domain, (0.0, self.duration))[:, 1:]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """How far the end is from the exact solution, or from the scheme's own (see `Flow.residual`)."""
        frames = torch.cat([fields["a"], fields["u"]], 1)
        return self.flow.residual(frames, domain, (0.0, self.duration), self.tolerance)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        first, last = self.flow.wave(domain, (0.0, self.duration))
        return {"a": first[None, None]}, {"u": last[None, None]}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        return _conserved(torch.cat((fields["a"], fields["u"]), 1), domain)

    def halved(self) -> BurgersMap:
        return replace(self, flow=replace(self.flow, step=self.flow.step / 2))


def published(viscosity: float = 0.1, step: float | None = None, modes: int = 1025) -> BurgersMap:
    """The set of the Fourier neural operator (Li et al. 2021) on the unit period: the solution at time 1.

    Args:
        viscosity: 0.1 in the paper, 1e-3 in its script.
        step: fit for these viscosities if not given.
    """
    return BurgersMap(Flow(viscosity, _fit(viscosity) if step is None else step), InitialLaw(modes=modes))


def in_time(viscosity: float = 0.01, frames: int = 17, interval: float = 0.06, step: float | None = None) -> Burgers:
    """The law N(0, 625² (-Δ + 25)^(-4)) of Wang, Wang & Perdikaris 2021 at `frames` instants from 0 on.

    Viscosity, law and instants are those of the small set that the library neuraloperator keeps, 16 points of 17 instants.
    """
    law = InitialLaw(alpha=4.0, tau=5.0, scale=625.0, modes=129)
    check_count(2, frames=frames)
    check_positive(interval=interval)
    times = tuple(i * interval for i in range(frames))
    return Burgers(Flow(viscosity, _fit(viscosity) if step is None else step), law, times)


def _fit(viscosity: float) -> float:
    """A step with which `tolerance` is met for values of about 1."""
    return min(0.005, 2 * viscosity)


def _conserved(u: Float[Tensor, "sample time x"], domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
    """The mean; and the energy, of which nothing is ever gained."""
    size = domain.norm(u) / math.sqrt(domain.volume)
    energy = size.square()
    gained = energy.diff(dim=1).clamp(min=0).sum(1)
    return {
        "mean": largest_change(domain.mean(u), size),
        "energy gained": torch.where(gained == 0, 0.0, gained / energy[:, 0]),
    }


__all__ = ["Burgers", "BurgersMap", "Flow", "InitialLaw", "in_time", "published"]
