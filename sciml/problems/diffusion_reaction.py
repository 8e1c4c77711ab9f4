"""Reaction and diffusion of one quantity on a period, u_t = ν u_xx + ρ u (1 - u), the equation of Fisher and KPP.

Setting: Takamoto et al., "PDEBench", NeurIPS 2022 (arXiv 2210.07182), one-dimensional reaction-diffusion.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_positive, check_range, check_times, instants
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_waves import WaveSum
from sciml.numerics.spectral import Etdrk4, etdrk4, laplacian, steps_between
from sciml.problems.problem import Evolution, Fields, Variable, restart_residual

DIFFUSIVITIES = (0.5, 1.0, 2.0, 5.0)
"""ν of the published PDEBench sets."""

REACTION_RATES = (1.0, 2.0, 5.0, 10.0)
"""ρ of the published PDEBench sets."""


@dataclass(frozen=True)
class DiffusionReaction(Evolution):
    """u_t = ν u_xx + ρ u (1 - u), periodic, by Fourier series and exponential time differencing of fourth order (ETDRK4).

    The initial function is a sum of sines, moved and stretched to go from 0 to 1. Its extremes are those on 1024 cell centres,
    whatever the grid, so that a sample is the same function on every grid.

    Args:
        law: of the initial function before it is stretched.
        diffusivity: ν, in the unit of x squared per unit of time.
        rate: ρ, per unit of time.
        times: instants of the state, the first 0.
        step: largest step in time.
    """

    law: WaveSum
    diffusivity: float
    rate: float
    times: tuple[float, ...]
    step: float = 0.0025
    title: str = field(default="diffusion and reaction", init=False)
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        check_range(0, diffusivity=self.diffusivity)
        check_positive(rate=self.rate)
        check_times(self.times)
        if not 0 < self.step * self.rate <= 1:
            raise ValueError(f"step: got {self.step}, unstable beyond {1 / self.rate:g}, 1 / rate; {0.1 / self.rate:g} works")

    def variables(self) -> Mapping[str, Variable]:
        return {"u": Variable("state", "concentration", in_time=True)}

    def parameters(self) -> Mapping[str, object]:
        return {"diffusivity": self.diffusivity, "rate": self.rate, "step": self.step, "law": asdict(self.law)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        axis = _period(domain).axes[0]
        numbers = self.law.draw(seeds)
        everywhere = self.law(numbers, (torch.arange(1024, dtype=torch.float64) + 0.5) / 1024)
        low, high = everywhere.amin(1, keepdim=True), everywhere.amax(1, keepdim=True)
        u = self.law(numbers, (domain.coordinates()[0] - axis.origin) / axis.length)
        return {"u": ((u - low) / (high - low))[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Raises:
            ValueError: a domain that is no period, or a step with which the scheme does not work.
        """
        frames = [given["u"][:, 0]]
        for start, stop in itertools.pairwise(self.times):
            frames.append(self._advance(frames[-1], start, stop, domain))
        return {"u": torch.stack(frames, 1)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        return restart_residual(lambda u, start, stop: self._advance(u, start, stop, domain), fields["u"], self.times)

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing is."""
        return {}

    def halved(self) -> DiffusionReaction:
        return replace(self, step=self.step / 2)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """Logistic growth of a constant, u = 1 / (1 + 4 exp(-ρ t))."""
        t = torch.tensor(self.times, dtype=torch.float64) - self.times[0]
        u = (1 / (1 + 4 * torch.exp(-self.rate * t)))[None, :, None, None].expand(-1, -1, -1, *domain.shape)
        return {"u": u[:, :1].clone()}, {"u": u.clone()}

    def _advance(self, u: Tensor, start: float, stop: float, domain: Domain) -> Tensor:
        count, step = steps_between(start, stop, self.step)
        n = domain.shape[0]
        scheme = _scheme(self.diffusivity, self.rate, _period(domain), float(f"{step:.12g}"))

        def reaction(spectrum: Tensor) -> Tensor:
            return -self.rate * torch.fft.rfft(torch.fft.irfft(spectrum, n=n).square())

        spectrum = torch.fft.rfft(u)
        for _ in range(count):
            spectrum = scheme.advance(spectrum, reaction)
        return torch.fft.irfft(spectrum, n=n)


def fisher(diffusivity: float = 0.5, rate: float = 1.0, frames: int = 101) -> DiffusionReaction:
    """Sums of two sines with up to 4 waves, t = 0, 0.01, ..., 1 (Takamoto et al. 2022).

    Published for each of `DIFFUSIVITIES` with each of `REACTION_RATES`.
    """
    # The first wave decays by ν (2π)² per unit of time: a twentieth of that time is a step.
    step = 1.25e-3 / max(diffusivity, 0.125)
    return DiffusionReaction(WaveSum(largest=4), diffusivity, rate, instants(frames, 100), step)


@lru_cache(maxsize=8)
def _scheme(diffusivity: float, rate: float, period: Domain, step: float) -> Etdrk4:
    """Kept, as equal intervals between instants differ by rounding, which 12 digits of the step leave out."""
    return etdrk4(diffusivity * laplacian(period) + rate, step)


def _period(domain: Domain) -> Domain:
    """The period with the same points, counted from the first: a shift of the origin, which no Fourier series in x sees."""
    if domain.dim != 1 or domain.axes[0].sides[0] != "periodic":
        raise ValueError(f"domain: got {domain}, need one periodic axis")
    return Domain((replace(domain.axes[0], layout="first_end"),))


__all__ = ["DIFFUSIVITIES", "REACTION_RATES", "DiffusionReaction", "fisher"]
