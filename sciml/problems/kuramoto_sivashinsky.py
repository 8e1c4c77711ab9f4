"""The equation of Kuramoto and Sivashinsky on a period: u_t + u u_x + u_xx + viscosity u_xxxx = 0, chaotic on long periods.

Setting: Brandstetter, Welling & Worrall, "Lie Point Symmetry Data Augmentation for Neural PDE Solvers", ICML 2022 (arXiv
2202.07643), and its data generation; the sets of PDEArena follow it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_range, check_times
from sciml.numerics.domain import Domain
from sciml.numerics.quadratic_transport import RESOLVED, QuadraticTransport, warn_if_unresolved
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, restart_residual


@dataclass(frozen=True)
class LongWaves:
    """Σ_j A_j sin(2π l_j x / length + φ_j): A_j uniform on [-amplitude, amplitude), l_j on 1 ... largest, φ_j on [0, 2π).

    Args:
        waves: how many are added up.
    """

    waves: int = 10
    largest: int = 2
    amplitude: float = 0.5

    def __post_init__(self) -> None:
        check_count(waves=self.waves, largest=self.largest)
        check_range(amplitude=self.amplitude)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample x"]:
        (axis,) = domain.axes
        a, number, phase = seeds.uniform("initial", 3 * self.waves).split(self.waves, 1)
        amplitude = self.amplitude * (2 * a - 1)
        number = torch.floor(self.largest * number) + 1
        # Phases in periods, reduced before the sine.
        place = (axis.coordinates() - axis.origin) / axis.length
        turns = (number[..., None] * place + phase[..., None]).remainder(1.0)
        return (amplitude[..., None] * torch.sin(2 * math.pi * turns)).sum(1)


@dataclass(frozen=True)
class KuramotoSivashinsky(Evolution):
    """The state at `times`, pseudo-spectral with 2/3 dealiasing, ETDRK4 in time.

    Two states that differ by little drift apart as exp(0.09 t) or so on a period of 64: after some 300 units of time nothing of
    a sample is left that another step or machine would find again. Of what is solved here, that is what `warm_up` and `times`
    add up to.

    Args:
        times: instants of the state; the first is that of `warm_up` units of time after the initial law.
        step: in time, the same for all samples; an interval is cut into equal steps of at most this.
        warm_up: for how long `draw` solves from the initial law to the first state.
        viscosity: of the fourth derivative; waves shorter than 2π sqrt(viscosity) are damped, longer ones grow.
    """

    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    step: float = 0.05
    warm_up: float = 0.0
    viscosity: float = 1.0
    initial: LongWaves = LongWaves()
    title: str = "Kuramoto-Sivashinsky equation"
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        check_times(self.times)
        check_positive(viscosity=self.viscosity, step=self.step)
        check_range(0, warm_up=self.warm_up)

    def variables(self) -> Mapping[str, Variable]:
        return {"u": Variable("state", "velocity", in_time=True)}

    def parameters(self) -> Mapping[str, object]:
        return {
            "viscosity": self.viscosity,
            "step": self.step,
            "warm_up": self.warm_up,
            "initial": asdict(self.initial),
        }

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        u = self.initial.draw(domain, seeds)
        if self.warm_up:
            u = self._frames(u, domain, (self.times[0] - self.warm_up, self.times[0]))[:, -1]
        return {"u": u[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Warns:
            UserWarning: where at some step the shortest waves have above 1e-6 of the energy of the strongest.
        Raises:
            ValueError: a domain that is not one periodic axis, a step that is not stable, or shortest waves with above 1 % of
                the energy of the strongest.
        """
        return {"u": self._frames(given["u"][:, 0, 0], domain, self.times)[:, :, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The first, the middle and the last interval solved again."""

        def advance(state: Tensor, start: float, stop: float) -> Tensor:
            return self._transport().frames(state, domain, (start, stop))[0][:, -1]

        return restart_residual(advance, fields["u"][:, :, 0], self.times)

    def exact(self, domain: Domain) -> None:
        """None: no solution but rest is known in closed form."""

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        u = fields["u"][:, :, 0]
        return {"mean": largest_change(domain.mean(u), domain.norm(u) / math.sqrt(domain.volume))}

    def halved(self) -> KuramotoSivashinsky:
        return replace(self, step=self.step / 2)

    def _transport(self) -> QuadraticTransport:
        return QuadraticTransport(-1.0, -self.viscosity, self.step)

    def _frames(self, first: Tensor, domain: Domain, times: tuple[float, ...]) -> Float[Tensor, "sample time x"]:
        try:
            frames, tail = self._transport().frames(first, domain, times)
        except ValueError as error:
            kept, growing = domain.shape[0] // 3, self._growing(domain)
            if domain.dim != 1 or kept >= 1.5 * growing:
                raise
            raise ValueError(
                f"domain: {domain.shape[0]} points keep {kept} waves, too few beside the {growing:.0f} that grow; "
                f"{self._points_needed(domain)} points would do"
            ) from error
        sample = int(tail.argmax())
        number = float(tail[sample])
        if number > RESOLVED:
            need = self._points_needed(domain)
            if need <= domain.shape[0]:  # above what a state that has forgotten its start comes to
                need = 2 * math.ceil(math.log(RESOLVED) / math.log(min(number, 0.5)) * domain.shape[0] / 2)
            warn_if_unresolved(
                number,
                f"domain: {domain.shape[0]} points are too few for viscosity {self.viscosity:g}: in sample {sample} of the "
                f"block the shortest waves reach {number:.1e} of the energy of the strongest, {RESOLVED:g} would be resolved; "
                f"{need} points would do",
            )
        return frames

    def _growing(self, domain: Domain) -> float:
        """How many waves grow by themselves."""
        return domain.axes[0].length / (2 * math.pi * math.sqrt(self.viscosity))

    def _points_needed(self, domain: Domain) -> int:
        """The spectrum falls exponentially beyond the waves that grow; measured, it is below 1e-6 at four times as many."""
        return 2 * math.ceil(13 * self._growing(domain) / 2)


def published(frames: int = 140, interval: float = 0.2, warm_up: float = 72.0, step: float = 0.025) -> KuramotoSivashinsky:
    """The last 140 of 500 instants up to t = 100, on a period of 64 (Brandstetter et al. 2022).

    Published, period and last instant vary by 10 % from sample to sample, and with them the interval; here they do not.
    """
    check_count(2, frames=frames)
    check_positive(interval=interval)
    return KuramotoSivashinsky(tuple(i * interval for i in range(frames)), step, warm_up)


__all__ = ["KuramotoSivashinsky", "LongWaves", "published"]
