"""Random functions on a line that are finite sums: known at every point, with their exact integrals.

A sum is a row of numbers, its amplitudes; a law draws the numbers and evaluates the sum. `Sensors` goes the other way, from
values at points to the function, by least squares in the terms of a law or in polynomials.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds


class _Sum(ABC):
    """Values and integrals of sums, by the tables of their terms.

    Places are (points,), the same for all samples, or (sample, points).
    """

    @abstractmethod
    def terms(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        """Each term, of amplitude 1."""

    @abstractmethod
    def integrals(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        """The integral of each term from 0 to x."""

    def values(self, numbers: Float[Tensor, "sample count"], x: Float[Tensor, "*places"]) -> Float[Tensor, "sample points"]:
        """The functions at x."""
        return summed(numbers, self.terms(x))

    def integral(self, numbers: Float[Tensor, "sample count"], x: Float[Tensor, "*places"]) -> Float[Tensor, "sample points"]:
        """The integrals of the functions from 0 to x, exact to rounding."""
        return summed(numbers, self.integrals(x))


@dataclass(frozen=True)
class GaussianProcess(_Sum):
    """Mean zero and covariance exp(-d² / 2 l²) at distance d, on [0, span].

    A Fourier sum of period P = span + 9 l, whose amplitudes have the variances of the spectral density: its covariance is
    the sum of exp(-(d + j P)² / 2 l²) over all whole j, of which those beside j = 0 stay below 3e-18, less the waves that are
    left out, below 1e-14.

    Args:
        length: l, in the unit of x.
        span: length of the interval.
    Raises:
        ValueError: one that is not positive.
    """

    length: float = 0.2
    span: float = 1.0

    def __post_init__(self) -> None:
        check_positive(length=self.length, span=self.span)

    @property
    def period(self) -> float:
        return self.span + 9 * self.length

    @property
    def waves(self) -> int:
        """The last wave with a variance of 1e-16 or more."""
        return math.ceil(8.6 * self.period / (2 * math.pi * self.length))

    @property
    def count(self) -> int:
        """Numbers of one function."""
        return 2 * self.waves + 1

    def deviations(self) -> Float[Tensor, "count"]:
        """Standard deviations of the amplitudes: of 1, cos 2πx/P, sin 2πx/P, cos 4πx/P, ..."""
        wave = self._wave_numbers()
        density = math.sqrt(2 * math.pi) * self.length / self.period * torch.exp(-(wave * self.length).square() / 2)
        return torch.where(wave == 0, density, 2 * density).sqrt()

    def draw(self, seeds: Seeds, name: str = "function") -> Float[Tensor, "sample count"]:
        """Amplitudes, float64."""
        return seeds.normal(name, self.count) * self.deviations()

    def terms(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        phase = x[..., None] * self._waves_of_pairs(x)
        return torch.cat([torch.ones_like(x)[..., None], _pairs(torch.cos(phase), torch.sin(phase))], -1)

    def integrals(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        wave = self._waves_of_pairs(x)
        half = x[..., None] * (wave / 2)
        sine, cosine = torch.sin(half), torch.cos(half)
        # 1 - cos a = 2 sin² (a / 2): no digits are lost at small x.
        return torch.cat([x[..., None], _pairs(2 * sine * cosine / wave, 2 * sine.square() / wave)], -1)

    def _wave_numbers(self) -> Float[Tensor, "count"]:
        return 2 * math.pi / self.period * torch.arange(1, self.count + 1).div(2, rounding_mode="floor").double()

    def _waves_of_pairs(self, x: Tensor) -> Tensor:
        return (2 * math.pi / self.period * torch.arange(1, self.waves + 1, dtype=torch.float64)).to(x)


@dataclass(frozen=True)
class ChebyshevSum(_Sum):
    """Sum of a_n T_n(2 x / span - 1), n = 0 ... count - 1, a_n uniform on [-bound, bound), on [0, span].

    Source: Lu et al., "Learning nonlinear operators via DeepONet", Nat. Mach. Intell. 3 (2021) 218, its orthogonal polynomials.

    Raises:
        ValueError: no term, or a number that is not positive.
    """

    count: int = 20
    bound: float = 1.0
    span: float = 1.0

    def __post_init__(self) -> None:
        check_count(count=self.count)
        check_positive(bound=self.bound, span=self.span)

    def deviations(self) -> Float[Tensor, "count"]:
        """Standard deviations of the amplitudes."""
        return torch.full((self.count,), self.bound / math.sqrt(3), dtype=torch.float64)

    def draw(self, seeds: Seeds, name: str = "function") -> Float[Tensor, "sample count"]:
        """Amplitudes, float64."""
        return self.bound * (2 * seeds.uniform(name, self.count) - 1)

    def terms(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        return chebyshev(x, self.count, self.span)

    def integrals(self, x: Float[Tensor, "*places"]) -> Float[Tensor, "*places count"]:
        return chebyshev_rise(x, self.count + 1, self.span) @ integration(self.count, self.span).to(x)


FunctionLaw = GaussianProcess | ChebyshevSum
"""Of a random function on [0, span]."""


@dataclass(frozen=True)
class Sensors:
    """From the values of functions at points of [0, span] to the functions, as Chebyshev sums of `count` terms.

    Two independent ways: `by_law` is a least-squares fit in the principal functions of the law that the functions were drawn
    from, `by_polynomials` one in polynomials, which knows the law by its length only. From 100 points a Gaussian process of
    length 0.2 is found again to 2e-12 by the one and to 2e-11 by the other, a Chebyshev sum of 20 terms to 2e-13.

    Args:
        law: of the functions.
        points: equally spaced, both ends included.
    Raises:
        ValueError: fewer points than determine a function of the law.
    """

    law: FunctionLaw
    points: int

    def __post_init__(self) -> None:
        # Least squares in polynomials at equal spacings needs about the square of their degree (Rakhmanov 2007).
        need = max(math.ceil(self.count**2 / 12.5), 2 * self.law.count)
        if self.points < need:
            raise ValueError(f"domain: got {self.points} points, too few to tell functions of {self.law}; need at least {need}")

    @classmethod
    def on(cls, domain: Domain, law: FunctionLaw) -> Sensors:
        """Of all points of a domain.

        Raises:
            ValueError: a domain that is not one axis of the span of the law, from 0, with open sides and both ends; or too few
                points.
        """
        axis = domain.axes[0]
        fits = axis.sides == ("open", "open") and axis.layout == "both_ends" and axis.origin == 0
        if domain.dim != 1 or not fits or abs(axis.length - law.span) > 1e-12 * law.span:
            raise ValueError(f"domain: got {domain}, need one axis of length {law.span:g} from 0 with open sides, 'both_ends'")
        return cls(law, axis.points)

    @property
    def count(self) -> int:
        """Polynomials that hold a function of the law, to about 1e-10 of its size."""
        if isinstance(self.law, ChebyshevSum):
            return self.law.count
        return math.ceil(4 * self.law.span / self.law.length) + 14

    def by_law(self) -> Float[Tensor, "count points"]:
        """Values at the points to Chebyshev amplitudes, float64."""
        return _fit(self, True)

    def by_polynomials(self) -> Float[Tensor, "count points"]:
        """The same by least squares in the polynomials themselves."""
        return _fit(self, False)


@lru_cache(maxsize=16)
def _fit(sensors: Sensors, by_law: bool) -> Tensor:
    law, count = sensors.law, sensors.count
    with torch.inference_mode(False):
        x = torch.linspace(0, law.span, sensors.points, dtype=torch.float64)
        if not by_law:
            return torch.linalg.pinv(chebyshev(x, count, law.span), rtol=1e-14)
        nodes, analysis = chebyshev_nodes(count, law.span)
        # The principal functions of the law, orthonormal on points and nodes together; the terms are nearly dependent there.
        principal, sizes, _ = torch.linalg.svd(law.terms(torch.cat([x, nodes])) * law.deviations(), full_matrices=False)
        principal = principal[:, sizes > 1e-14 * sizes[0]]
        return analysis @ (principal[sensors.points :] @ torch.linalg.pinv(principal[: sensors.points]))


def chebyshev_nodes(count: int, span: float = 1.0) -> tuple[Float[Tensor, "count"], Float[Tensor, "count count"]]:
    """The zeros of T_count on [0, span], and the matrix from values there to the amplitudes of the sum through them."""
    angle = math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    n = torch.arange(count, dtype=torch.float64)
    analysis = torch.cos(n[:, None] * angle) * (2 / count)
    analysis[0] /= 2
    return span * (1 + torch.cos(angle)) / 2, analysis


def chebyshev(x: Float[Tensor, "*places"], count: int, span: float = 1.0) -> Float[Tensor, "*places count"]:
    """T_n(2 x / span - 1), n = 0 ... count - 1."""
    n = torch.arange(count, dtype=x.dtype, device=x.device)
    return torch.cos(n * (math.pi - 2 * _half_angle(x, span))[..., None])


def chebyshev_rise(x: Float[Tensor, "*places"], count: int, span: float = 1.0) -> Float[Tensor, "*places count"]:
    """T_n(2 x / span - 1) - T_n(-1), with all digits also where x is small; 0 for n = 0."""
    n = torch.arange(count, dtype=x.dtype, device=x.device)
    return (1 - 2 * (n + 1).remainder(2)) * 2 * torch.sin(n * _half_angle(x, span)[..., None]).square()


def integration(count: int, span: float = 1.0) -> Float[Tensor, "above count"]:
    """Amplitudes of a Chebyshev sum on [0, span] to those of an integral of it, one term more; the constant is left at 0."""
    table = np.polynomial.chebyshev.chebint(np.eye(count), axis=0) * (span / 2)
    table[0] = 0
    return torch.from_numpy(table)


def summed(numbers: Float[Tensor, "sample count"], terms: Float[Tensor, "*places count"]) -> Float[Tensor, "sample points"]:
    """Sums of terms that are the same for all samples, (points, count), or of each its own, (sample, points, count)."""
    return numbers @ terms.T if terms.ndim == 2 else torch.einsum("bn,bpn->bp", numbers, terms)


def grid_points(
    seeds: Seeds, x: Float[Tensor, "points"], t: Float[Tensor, "instants"], count: int
) -> Float[Tensor, "sample count 2"]:
    """Random points (x, t) of a grid in space and time, drawn with repetition."""
    place, instant = seeds.uniform("points", 2 * count).reshape(-1, count, 2).unbind(-1)
    return torch.stack([x[torch.floor(place * len(x)).long()], t[torch.floor(instant * len(t)).long()]], -1)


def _half_angle(x: Tensor, span: float) -> Tensor:
    """φ / 2 with 2 x / span - 1 = -cos φ."""
    return torch.asin((x / span).clamp(0, 1).sqrt())


def _pairs(cosines: Tensor, sines: Tensor) -> Tensor:
    return torch.stack([cosines, sines], -1).flatten(-2)


__all__ = [
    "ChebyshevSum",
    "FunctionLaw",
    "GaussianProcess",
    "Sensors",
    "chebyshev",
    "chebyshev_nodes",
    "chebyshev_rise",
    "grid_points",
    "integration",
    "summed",
]
