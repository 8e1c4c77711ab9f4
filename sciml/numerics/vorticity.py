"""Incompressible flow on a periodic rectangle by its vorticity, pseudo-spectrally.

    w_t + u · ∇w = viscosity Δw - drag w + f,    u = (∂ψ/∂y, -∂ψ/∂x),    -Δψ = w

The modes below 2/3 of the grid's are kept, so products make no aliases (Orszag, J. Atmos. Sci. 28 (1971) 1074) and without
viscosity, drag and forcing energy and enstrophy are conserved up to the steps in time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.numerics.checks import check_positive, check_range
from sciml.numerics.domain import Domain
from sciml.numerics.spectral import check_periodic, dealiased, etdrk4, steps_between, wave_numbers

Stepper = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]

SCHEMES = ("etdrk4", "crank_nicolson")

_IMAGINARY_LIMIT = 2.8  # of Runge-Kutta 4: how far up the imaginary axis it is stable, 2 sqrt 2
_STEPS_PER_CHECK = 64
_RESOLVED, _LOST = 1e-6, 1e-2  # energy of the last shell over that of the largest: a warning, an error


@dataclass(frozen=True)
class Flow:
    """The constants of the vorticity equation, and how it is stepped.

    Args:
        viscosity: in the unit of length² / time.
        step: in time, the same for all samples; an interval is cut into equal steps of at most this.
        drag: linear, in the unit of 1 / time.
        scheme: `etdrk4`, fourth order; or `crank_nicolson`, the scheme of the published sets: first order, Crank-Nicolson for
            viscosity and drag, explicit Euler for transport and forcing.
    Raises:
        ValueError: a negative constant, a step that is not positive, an unknown scheme.
    """

    viscosity: float
    step: float
    drag: float = 0.0
    scheme: str = "etdrk4"

    def __post_init__(self) -> None:
        check_range(0, viscosity=self.viscosity, drag=self.drag)
        check_positive(step=self.step)
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme: got {self.scheme!r}, need one of {', '.join(SCHEMES)}")


class SpectralFlow:
    """A flow on a grid: vorticities (sample, x, y) are advanced in time, in the dtype and on the device of `like`.

    Args:
        domain: two periodic axes, points from the first end on.
    Raises:
        ValueError: another domain.
    """

    def __init__(self, flow: Flow, domain: Domain, like: Tensor) -> None:
        check_periodic(domain, dim=2)
        self.flow, self.domain = flow, domain
        self._like = like.new_zeros(())
        kx, ky = wave_numbers(domain)
        squares, kept = kx.square() + ky.square(), dealiased(domain)
        inverse = torch.where(kept & (squares > 0), 1 / squares, 0.0)
        self._linear = -flow.viscosity * squares - flow.drag
        self._kept = self._table(kept)
        self._velocity = self._table(torch.stack((1j * ky * inverse, -1j * kx * inverse)))[:, None]
        self._stress = self._table(torch.stack((kx.square() - ky.square(), kx * ky)) * kept)
        self._top = [float((k.abs() * kept).max()) for k in (kx, ky)]
        self._steppers: dict[float, Stepper] = {}

    def advance(
        self, w: Float[Tensor, "sample x y"], forcing: Float[Tensor, "*sample x y"], start: float, stop: float
    ) -> Float[Tensor, "sample x y"]:
        """The vorticity at `stop`, from that at `start`. Modes from 2/3 of the grid's on are dropped.

        Raises:
            ValueError: the flow is too fast for the step; the message names the first sample and a step that would work.
        """
        steps, step = steps_between(start, stop, self.flow.step)
        stepper = self._stepper(step)
        state, push = self._transform(w), self._transform(forcing)
        for done in range(0, steps, _STEPS_PER_CHECK):
            self._check_step(state, step, start + done * step)
            for _ in range(min(_STEPS_PER_CHECK, steps - done)):
                state = stepper(state, lambda now: self._transport(now, push))
        self._check_step(state, step, stop)
        return torch.fft.irfft2(state, s=self.domain.shape)

    def velocity(self, w: Float[Tensor, "sample x y"]) -> Float[Tensor, "2 sample x y"]:
        """Along the first and the second axis; of zero mean."""
        return torch.fft.irfft2(self._transform(w) * self._velocity, s=self.domain.shape)

    def tail(self, w: Float[Tensor, "sample x y"]) -> Float[Tensor, "sample"]:
        """Energy of the last shell of wave numbers that is kept whole, over that of the shell with the most; 0 at rest."""
        energy = self.spectrum(w)
        peak = energy.amax(1)
        return torch.where(peak > 0, energy[:, -1] / peak, 0.0)

    def spectrum(self, w: Float[Tensor, "sample x y"]) -> Float[Tensor, "sample shell"]:
        """Kinetic energy per area in shells of wave numbers, each as wide as the smallest of them, from the mean flow on."""
        kx, ky = (k.to(self._like) for k in wave_numbers(self.domain))
        unit = 2 * math.pi / max(axis.length for axis in self.domain.axes)
        shell = ((kx.square() + ky.square()).sqrt() / unit).round().long()
        # Half of the modes are stored: all but those of ky = 0 stand for two. The highest of all is not kept.
        weight = (1 - 0.5 * (ky == 0).to(ky)) / math.prod(self.domain.shape) ** 2
        modes = (self._transform(w) * self._velocity).abs().square().sum(0) * weight
        energy = modes.new_zeros(len(w), int(shell.max()) + 1).index_add(1, shell.flatten(), modes.flatten(1))
        return energy[:, : int(min(self._top) / unit + 0.5) + 1]

    def check_resolution(self, frames: Float[Tensor, "sample time x y"], times: Sequence[float]) -> None:
        """Warn where the grid is too coarse for the flow.

        Raises:
            ValueError: the tail of the spectrum is above 1 % of its peak.
        """
        with torch.no_grad():
            tail = torch.stack([self.tail(frame) for frame in frames.unbind(1)], 1)
        sample, instant = divmod(int(tail.argmax()), len(times))
        number = float(tail[sample, instant])
        if number <= _RESOLVED:
            return
        wider = (number / _RESOLVED) ** (1 / 3)  # energy falls at least as fast as k^-3
        shape = " x ".join(str(n) for n in self.domain.shape)
        larger = " x ".join(str(2 * math.ceil(n * wider / 2)) for n in self.domain.shape)
        thicker = f", or viscosity {self.flow.viscosity * wider**2:.1e}" if self.flow.viscosity else ""
        message = (
            f"domain: {shape} points are too few for viscosity {self.flow.viscosity:g}: at t = {times[instant]:g} the shortest "
            f"waves of sample {sample} of the block have {number:.1e} of the energy of the strongest, {_RESOLVED:g} would be "
            f"resolved; {larger} points would do{thicker}"
        )
        if number > _LOST:
            raise ValueError(f"{message}; above {_LOST:g} there is no answer")
        warnings.warn(message, stacklevel=2)

    def _transform(self, w: Tensor) -> Complex[Tensor, "*sample x half"]:
        self.domain.check(w, "vorticity")
        return torch.fft.rfft2(w) * self._kept

    def _transport(self, state: Tensor, push: Tensor) -> Tensor:
        """f - u · ∇w = f - (∂xx - ∂yy)(u v) - ∂xy(v² - u²), with 4 transforms (Basdevant, J. Comput. Phys. 50 (1983) 209)."""
        # One field at a time: stacking them costs more memory traffic than it saves calls.
        u, v = (torch.fft.irfft2(state * velocity, s=self.domain.shape) for velocity in self._velocity)
        shear = torch.fft.rfft2(u * v)
        stretch = torch.fft.rfft2(torch.addcmul(v * v, u, u, value=-1))
        return torch.addcmul(torch.addcmul(push, shear, self._stress[0]), stretch, self._stress[1])

    def _stepper(self, step: float) -> Stepper:
        if step not in self._steppers:
            if self.flow.scheme == "etdrk4":
                self._steppers[step] = etdrk4(self._linear, step).advance
            else:
                self._steppers[step] = self._crank_nicolson(step)
        return self._steppers[step]

    def _crank_nicolson(self, step: float) -> Stepper:
        """w' = ((1 + h L / 2) w + h N(w)) / (1 - h L / 2): implicit for the linear part L, explicit Euler for N."""
        half = step / 2 * self._linear
        decay, gain = self._table((1 + half) / (1 - half)), self._table(step / (1 - half))
        return lambda state, nonlinear: torch.addcmul(decay * state, gain, nonlinear(state))

    def _table(self, values: Tensor) -> Tensor:
        complex_type = torch.complex64 if self._like.dtype == torch.float32 else torch.complex128
        return values.to(self._like.device, complex_type)

    def _check_step(self, state: Tensor, step: float, time: float) -> None:
        """Raise where the step is beyond what is stable for the flow as it is now."""
        with torch.no_grad():
            limit = self._largest_step(state)
        good = step <= limit
        if bool(good.all()):
            return
        sample = int(torch.nonzero(~good)[0])
        number = float(limit[sample])
        need = f"need at most {_floor(number)}" if number > 0 else f"it has lost the flow; try {step / 2:g}"
        raise ValueError(
            f"step: got {step:g} with scheme {self.flow.scheme}; at t = {time:g} for sample {sample} of the block, on "
            f"{self.domain.shape[0]} x {self.domain.shape[1]} points, {need}"
        )

    def _largest_step(self, state: Tensor) -> Float[Tensor, "sample"]:
        """Per sample the largest stable step; infinite at rest, nan where the flow is not finite.

        `etdrk4`: the waves that the flow carries fastest stay within the stability of Runge-Kutta 4 on the imaginary axis.
        `crank_nicolson`: |u| = c carries a wave of number k; a step multiplies it by at most 1 + h k² (h c² - 2 viscosity) / 2,
        and it must not grow faster than the flow stretches it, at the rate of the largest |w|.
        """
        u, v = torch.fft.irfft2(state * self._velocity, s=self.domain.shape)
        if self.flow.scheme == "etdrk4":
            return _IMAGINARY_LIMIT / (u.abs() * self._top[0] + v.abs() * self._top[1]).amax((1, 2))
        stretching = torch.fft.irfft2(state, s=self.domain.shape).abs().amax((1, 2))
        squares = self._top[0] ** 2 + self._top[1] ** 2
        damping = self.flow.viscosity + (self.flow.drag + stretching) / squares
        return torch.where(stretching == 0, math.inf, 2 * damping / (u.square() + v.square()).amax((1, 2)))


def _floor(number: float) -> str:
    """Two digits, never more than the number."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.floor(number / unit) * unit:.2g}"


__all__ = ["SCHEMES", "Flow", "SpectralFlow"]
