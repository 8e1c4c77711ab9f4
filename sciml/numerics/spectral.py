"""Fourier spectral methods on periodic boxes: wave numbers, dealiasing, and exponential time differencing of fourth order.

Spectra are those of `torch.fft.rfftn` over the axes of the Domain: (..., *space) real to (..., *modes) complex, the last axis
halved. Tables are float64 or complex128 on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Complex, Float, Inexact
from torch import Tensor

from sciml.numerics.domain import Domain

Nonlinear = Callable[[Tensor], Tensor]

_CIRCLE = 32  # points of the contour; its error is below radius^32 / 32!, nothing beside rounding
_RADIUS = 2.0


def check_periodic(domain: Domain, dim: int | None = None) -> None:
    """Raise a ValueError where a discrete Fourier transform does not fit the box.

    Args:
        dim: how many axes it must have; any number if not given.
    """
    if dim is not None and domain.dim != dim:
        raise ValueError(f"domain: got {domain.dim} axes, {domain}, need {dim}")
    for place, axis in enumerate(domain.axes):
        if axis.sides[0] != "periodic":
            raise ValueError(f"sides: got {axis.sides[0]} along axis {place} of {domain}, need periodic")
        if axis.layout != "first_end":
            raise ValueError(f"layout: got {axis.layout!r} along axis {place} of {domain}, need 'first_end'")


def mode_numbers(domain: Domain) -> tuple[Float[Tensor, "*modes"], ...]:
    """Per axis, how many periods fit its length, signed, float64; they broadcast to the spectrum.

    Raises:
        ValueError: see `check_periodic`.
    """
    check_periodic(domain)
    numbers = []
    for place, points in enumerate(domain.shape):
        frequencies = torch.fft.rfftfreq if place == domain.dim - 1 else torch.fft.fftfreq
        shape = [1] * domain.dim
        shape[place] = -1
        numbers.append(frequencies(points, 1 / points, dtype=torch.float64).round().reshape(shape))
    return tuple(numbers)


def wave_numbers(domain: Domain) -> tuple[Float[Tensor, "*modes"], ...]:
    """Per axis, 2π times the mode number over the length, float64; they broadcast to the spectrum."""
    numbers = mode_numbers(domain)
    return tuple(2 * math.pi / axis.length * m for axis, m in zip(domain.axes, numbers, strict=True))


def laplacian(domain: Domain) -> Float[Tensor, "*modes"]:
    """-|k|² of every mode."""
    total = torch.zeros((), dtype=torch.float64)
    for k in wave_numbers(domain):
        total = total - k.square()
    return total


def derivative(domain: Domain, axis: int = 0, order: int = 1) -> Complex[Tensor, "*modes"]:
    """(i k)^order along one axis; it broadcasts to the spectrum.

    Where the number of points is even, the highest mode has no sign: a derivative of odd order of it is zero, so that those
    of real fields are real.
    """
    k = wave_numbers(domain)[axis]
    if order % 2 == 1:
        points = domain.shape[axis]
        k = torch.where(2 * mode_numbers(domain)[axis].abs() == points, 0.0, k)
    return (1j * k) ** order


def dealiased(domain: Domain) -> Bool[Tensor, "*modes"]:
    """The modes below 2/3 of the highest on every axis, |mode number| < points / 3.

    A product of two fields of these modes has all of them right: what is aliased falls on the others (Orszag, J. Atmos. Sci. 28
    (1971) 1074).
    """
    kept = torch.ones((), dtype=torch.bool)
    for m, points in zip(mode_numbers(domain), domain.shape, strict=True):
        kept = kept & (3 * m.abs() < points)
    return kept


_MOST_STEPS = 1e8  # between two instants: days of computing


def steps_between(start: float, stop: float, step: float) -> tuple[int, float]:
    """How many equal steps of at most `step` lead from `start` to `stop`, and how long they are.

    A step that divides the interval up to rounding divides it. Steps have 13 digits, so that intervals that are equal up to
    rounding have equal steps, and tables made for one serve all.

    Raises:
        ValueError: a step that is not positive, or so short that 1e8 do not suffice; or nothing between the instants.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step: got {step}, need a positive finite number")
    if not 0 < stop - start < math.inf:
        raise ValueError(f"times: got {start} to {stop}, need instants that grow")
    # Rounding of the two instants, not of their distance, is what must not cost one step more.
    slack = 1e-9 + 4 * math.ulp(max(abs(start), abs(stop))) / step
    ratio = (stop - start) / step
    if not ratio <= _MOST_STEPS:
        raise ValueError(
            f"step: got {step}, {ratio:.3g} steps from {start:g} to {stop:g}; need {(stop - start) / _MOST_STEPS:.3g} or more"
        )
    count = max(1, math.ceil(ratio - slack))
    return count, float(f"{(stop - start) / count:.13g}")


@dataclass(frozen=True, eq=False)
class Etdrk4:
    """Exponential time differencing Runge-Kutta of fourth order for u' = L u + N(u), L diagonal (see `etdrk4`).

    Args:
        tables: of every mode exp(h L / 2), exp(h L), the weight of a half step, and those of the four stages.
    """

    step: float
    tables: tuple[Tensor, ...] = field(repr=False)
    _cast: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = field(default_factory=dict, repr=False)

    def advance(self, state: Inexact[Tensor, "*batch"], nonlinear: Nonlinear) -> Inexact[Tensor, "*batch"]:
        """One step, in the dtype and on the device of the state; the last axes of the state are those of L.

        Args:
            nonlinear: N, called four times.
        """
        half_decay, decay, half, first, middle, last = self._tables(state)
        start = nonlinear(state)
        base = half_decay * state
        a = torch.addcmul(base, half, start)
        at_a = nonlinear(a)
        at_b = nonlinear(torch.addcmul(base, half, at_a))
        # The paper's 2 N(b) - N(a) is twice this difference: one pass less.
        c = torch.addcmul(half_decay * a, half, torch.sub(at_b, start, alpha=0.5), value=2)
        end = torch.addcmul(decay * state, first, start)
        end = torch.addcmul(end, middle, at_a + at_b)
        return torch.addcmul(end, last, nonlinear(c))

    def _tables(self, like: Tensor) -> tuple[Tensor, ...]:
        key = (like.dtype, like.device)
        if key not in self._cast:
            # Outside of inference mode, whose tensors training could not use.
            with torch.inference_mode(False):
                self._cast[key] = tuple(table.to(like.device, like.dtype) for table in self.tables)
        return self._cast[key]


def etdrk4(linear: Tensor, step: float) -> Etdrk4:
    """The scheme of Cox & Matthews (J. Comput. Phys. 176 (2002) 430, equations 26 to 29) for one diagonal L and step h.

    Its coefficients are functions of z = h L with a removable singularity at 0. From |z| = 1 on they are computed as they
    stand, below as means over a circle around z, so that no digits are lost (Kassam & Trefethen, SIAM J. Sci. Comput. 26
    (2005) 1214).

    Args:
        linear: L of every mode, real or complex; used in float64.
        step: h.
    Raises:
        ValueError: a step that is not positive and finite, or with which a mode grows beyond all bounds.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step: got {step}, need a positive finite number")
    with torch.inference_mode(False):
        z = step * linear.detach().cpu().to(torch.complex128)
        fastest = float(z.real.max())
        if not fastest < 50:
            raise ValueError(
                f"step: got {step:g}, with which a mode grows by exp({fastest:g}); need at most {step / fastest:g}"
            )
        near = z.abs() < 1
        direct = _weights(torch.where(near, 1.0, z))
        weights = [torch.where(near, m, d) * step for m, d in zip(_circle_means(z), direct, strict=True)]
        half, first, middle, last = weights
        tables = (torch.exp(z / 2), torch.exp(z), half, first, middle, last)
        return Etdrk4(step, tables if linear.is_complex() else tuple(table.real.clone() for table in tables))


def amplification(scheme: Etdrk4, rate: Tensor) -> Float[Tensor, "*modes"]:
    """By how much one step multiplies the size of each mode where N(u) = rate u: its stability, for frozen coefficients."""
    return scheme.advance(torch.ones_like(rate), lambda state: rate * state).abs()


def _weights(z: Tensor) -> tuple[Tensor, ...]:
    """Over h: of a half step, and of the stages at the start, in the middle (each of two) and at the end."""
    grown, cube = torch.exp(z), z**3
    return (
        (torch.exp(z / 2) - 1) / z,
        (-4 - z + grown * (4 - 3 * z + z * z)) / cube,
        2 * (2 + z + grown * (z - 2)) / cube,
        (-4 - 3 * z - z * z + grown * (4 - z)) / cube,
    )


def _circle_means(z: Tensor) -> Sequence[Tensor]:
    totals = [torch.zeros_like(z) for _ in range(4)]
    near = torch.where(z.abs() < 1, z, 0.0)
    for point in range(_CIRCLE):
        angle = 2 * math.pi * (point + 0.5) / _CIRCLE
        for total, value in zip(totals, _weights(near + _RADIUS * complex(math.cos(angle), math.sin(angle))), strict=True):
            total += value
    return [total / _CIRCLE for total in totals]


__all__ = [
    "Etdrk4",
    "amplification",
    "check_periodic",
    "dealiased",
    "derivative",
    "etdrk4",
    "laplacian",
    "mode_numbers",
    "steps_between",
    "wave_numbers",
]
