"""u_t + u u_x = second u_xx + fourth u_xxxx on a period: pseudo-spectral with 2/3 dealiasing, ETDRK4 in time.

Burgers' equation has second = viscosity; that of Kuramoto and Sivashinsky second = -1, fourth < 0.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.numerics.domain import Domain
from sciml.numerics.spectral import (
    Etdrk4,
    amplification,
    check_periodic,
    dealiased,
    derivative,
    etdrk4,
    laplacian,
    steps_between,
)

RESOLVED = 1e-6  # energy of the shortest waves over that of the strongest: above it a warning
LOST = 1e-2  # an error
_STEPS_PER_LOOK = 8


@dataclass(frozen=True)
class QuadraticTransport:
    """The equation and how it is stepped.

    Args:
        second: in the unit of length² / time.
        fourth: in the unit of length⁴ / time.
        step: in time, the same for all samples; an interval is cut into equal steps of at most this.
    """

    second: float
    fourth: float
    step: float

    def linear(self, domain: Domain) -> Float[Tensor, "modes"]:
        """The rate at which each wave grows, second (i k)² + fourth (i k)⁴."""
        squares = laplacian(domain)
        return self.second * squares + self.fourth * squares.square()

    def frames(
        self, first: Float[Tensor, "sample x"], domain: Domain, times: Sequence[float]
    ) -> tuple[Float[Tensor, "sample time x"], Float[Tensor, "sample"]]:
        """The solution at `times`, the first as given, and the energy of its shortest waves at worst (see `tail`).

        Raises:
            ValueError: a domain that is not one periodic axis, values that are not finite, or a step that is not stable.
        """
        check_periodic(domain, 1)
        domain.check(first, "u")
        complex_type = torch.complex64 if first.dtype == torch.float32 else torch.complex128
        kept, points = dealiased(domain), domain.shape[0]
        transport = (-0.5 * derivative(domain) * kept).to(first.device, complex_type)

        def nonlinear(state: Tensor) -> Tensor:
            return transport * torch.fft.rfft(torch.fft.irfft(state, n=points).square())

        state = torch.fft.rfft(first) * kept.to(first.device)
        looks, frames, step = [_Look.at(state, domain)], [first], self.step
        for start, stop in itertools.pairwise(times):
            count, step = steps_between(start, stop, self.step)
            scheme = _scheme(self, domain, step)
            if start == times[0]:
                self._check_step(looks[0], domain, step)
            for done in range(count):
                state = scheme.advance(state, nonlinear)
                if done % _STEPS_PER_LOOK == 0:
                    looks.append(_Look.at(state, domain))
            frames.append(torch.fft.irfft(state, n=points))
        worst = _Look.worst([*looks, _Look.at(state, domain)])
        self._check_step(worst, domain, step)
        return torch.stack(frames, 1), worst.tail

    def _check_step(self, look: _Look, domain: Domain, step: float) -> None:
        """Raise where a wave that is carried at the largest |u| grows faster than any does by itself."""
        sample = int(look.speed.nan_to_num(math.inf).argmax())
        speed, good = float(look.speed[sample]), step
        if not math.isfinite(speed):
            raise ValueError(
                f"u: got {speed} in sample {sample} of the block, at the start or with step {step:g}; try {step / 2:g}"
            )
        while not self._stable(domain, speed, good):
            good *= 0.8
        if good < step:
            raise ValueError(
                f"step: got {step:g}, not stable for |u| up to {speed:.3g} (sample {sample} of the block) on "
                f"{domain.shape[0]} points; need at most {good:.3g}"
            )

    def _stable(self, domain: Domain, speed: float, step: float) -> bool:
        fastest = float(self.linear(domain).max())
        allowed = math.exp(step * fastest) * (1 + 1e-3) if fastest > 0 else 1 + 1e-9
        carried = -speed * derivative(domain) * dealiased(domain)
        return bool((amplification(_scheme(self, domain, step), carried) <= allowed).all())


@dataclass(frozen=True)
class _Look:
    """What a solution was like at one instant, or at worst: its largest |u| and its shortest waves, per sample."""

    speed: Float[Tensor, "sample"]
    tail: Float[Tensor, "sample"]

    @classmethod
    def at(cls, state: Complex[Tensor, "sample modes"], domain: Domain) -> _Look:
        with torch.no_grad():
            return cls(torch.fft.irfft(state, n=domain.shape[0]).abs().amax(1), tail(state, domain))

    @classmethod
    def worst(cls, looks: Sequence[_Look]) -> _Look:
        return cls(torch.stack([k.speed for k in looks]).amax(0), torch.stack([k.tail for k in looks]).amax(0))


def tail(state: Complex[Tensor, "sample modes"], domain: Domain) -> Float[Tensor, "sample"]:
    """Energy of the strongest of the last eighth of the kept waves over that of the strongest wave; 0 at rest."""
    last = int(dealiased(domain).sum())
    energy = torch.view_as_real(state[:, 1:last]).square().sum(-1)
    peak = energy.amax(1)
    return torch.where(peak == 0, 0.0, energy[:, -max(1, last // 8) :].amax(1) / peak)


def warn_if_unresolved(number: float, message: str) -> None:
    """Warn, with the message, where the shortest waves have too much of the energy of the strongest.

    Raises:
        ValueError: they have above 1 % of it.
    """
    if not number <= LOST:
        raise ValueError(f"{message}; above {LOST:g} there is no answer")
    if number > RESOLVED:
        warnings.warn(message, stacklevel=5)


@lru_cache(maxsize=16)
def _scheme(transport: QuadraticTransport, domain: Domain, step: float) -> Etdrk4:
    return etdrk4(transport.linear(domain), step)


__all__ = ["LOST", "RESOLVED", "QuadraticTransport", "tail", "warn_if_unresolved"]
