"""Ordinary differential equations driven by a function u(t): a forcing to the solution.

    a decay       s' = -s² + u,                     s(0) = 0;
    a pendulum    s1' = s2,  s2' = -k sin s1 + u,   s1(0) = s2(0) = 0, of which s1 is asked for.

Source: Lu, Jin, Pang, Zhang & Karniadakis, "Learning nonlinear operators via DeepONet based on the universal approximation
theorem of operators", Nat. Mach. Intell. 3 (2021) 218.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_range
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import ChebyshevSum, FunctionLaw, GaussianProcess, Sensors, chebyshev
from sciml.numerics.runge_kutta import forced_path, hermite
from sciml.numerics.spectral import steps_between
from sciml.problems.problem import Evolution, Fields, Variable

_ATTEMPTS = 20
_LOOKS = 200  # steps with which a drawn forcing is judged, the same on every grid


@dataclass(frozen=True)
class Decay:
    """s' = -s² + u, as s = w' / w with w'' = u w, w(0) = 1, w'(0) = 0 (Riccati): linear, and smooth where s is steep.

    Where u stays below -π² / 4 for long, w comes to 0 within a time of 1 and s falls to minus infinity. Such a u has no answer,
    and is drawn again.

    Args:
        bound: a u with which |s| exceeds this within the span is drawn again.
    """

    bound: float = 20.0
    start: tuple[float, float] = field(default=(1.0, 0.0), init=False)

    def __post_init__(self) -> None:
        check_positive(bound=self.bound)

    def slope(self, state: Float[Tensor, "sample 2"], forcing: Float[Tensor, "sample 1"]) -> Float[Tensor, "sample 2"]:
        return torch.cat([state[:, 1:], forcing * state[:, :1]], 1)

    def answer(self, states: Float[Tensor, "*lead 2"]) -> Float[Tensor, "*lead"]:
        """s; not a number where w has come to 0."""
        w = states[..., 0]
        return states[..., 1] / torch.where(w > 0, w, torch.nan)

    def forcing(self, t: Float[Tensor, "*instants"]) -> tuple[Float[Tensor, "*instants"], Float[Tensor, "*instants"]]:
        """The u that makes s = sin 2t, and s."""
        return 2 * torch.cos(2 * t) + torch.sin(2 * t).square(), torch.sin(2 * t)


@dataclass(frozen=True)
class Pendulum:
    """s1' = s2, s2' = -k sin s1 + u.

    Args:
        stiffness: k.
        bound: as of `Decay`; there is none, as s cannot grow without bounds.
    """

    stiffness: float = 1.0
    bound: float = field(default=math.inf, init=False)
    start: tuple[float, float] = field(default=(0.0, 0.0), init=False)

    def __post_init__(self) -> None:
        check_range(stiffness=self.stiffness)

    def slope(self, state: Float[Tensor, "sample 2"], forcing: Float[Tensor, "sample 1"]) -> Float[Tensor, "sample 2"]:
        return torch.cat([state[:, 1:], torch.add(forcing, torch.sin(state[:, :1]), alpha=-self.stiffness)], 1)

    def answer(self, states: Float[Tensor, "*lead 2"]) -> Float[Tensor, "*lead"]:
        """s1."""
        return states[..., 0]

    def forcing(self, t: Float[Tensor, "*instants"]) -> tuple[Float[Tensor, "*instants"], Float[Tensor, "*instants"]]:
        """The u that makes s1 = 1 - cos 2t, and s1."""
        s = 1 - torch.cos(2 * t)
        return 4 * torch.cos(2 * t) + self.stiffness * torch.sin(s), s


@dataclass(frozen=True)
class OrdinaryDifferential(Evolution):
    """u at the points of the grid, the sensors, to s there, or to s at a few random instants of each sample.

    The forcing between the sensors is found from them as in `antiderivative`; steps of the classical Runge-Kutta scheme, the
    same for all samples; between them the cubics of Hermite.

    `residual` solves again with steps of two thirds, from another fit of the forcing; it is the distance relative to the
    largest |s| on the span, which does not vanish where s happens to.

    Args:
        law: of u.
        queries: random instants per sample, uniform on the span, in the input `y`; 0 for s on the grid.
        step: in time, at most; the span is cut into equal ones.
    Raises:
        ValueError: fewer than 0 queries, a step that is not positive.
    """

    equation: Decay | Pendulum
    law: FunctionLaw
    queries: int = 0
    step: float = 1 / 400
    times: tuple[float, ...] = field(default=(), init=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    title: str = field(default="ordinary differential equation", init=False)
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        check_count(0, queries=self.queries)
        steps_between(0.0, self.law.span, self.step)

    def variables(self) -> Mapping[str, Variable]:
        u = Variable("input", "forcing at the sensors")
        if not self.queries:
            return {"u": u, "s": Variable("target", "solution")}
        return {
            "u": u,
            "y": Variable("input", "when the solution is asked for", points=self.queries),
            "s": Variable("target", "solution at y", points=self.queries),
        }

    def parameters(self) -> Mapping[str, object]:
        constants = {name: value for name, value in asdict(self.equation).items() if name != "start" and value != math.inf}
        return {
            "equation": type(self.equation).__name__,
            **constants,
            "law": type(self.law).__name__,
            **asdict(self.law),
            "queries": self.queries,
            "step": self.step,
        }

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        """Raises a ValueError where 20 forcings of one sample have no bounded answer."""
        Sensors.on(domain, self.law)
        u = self.law.values(self._numbers(seeds), domain.coordinates()[0])[:, None]
        if not self.queries:
            return {"u": u}
        return {"u": u, "y": self.law.span * seeds.uniform("points", self.queries)[..., None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain that does not fit the law (see `Sensors`), or where s is not finite."""
        s, path = self._answers(given, domain, Sensors.on(domain, self.law).by_law(), self.step)
        finite = path.isfinite().all(1)
        if not finite.all():
            sample = int((~finite).nonzero()[0])
            raise ValueError(f"variable s, sample {sample} of the block: is not finite; its forcing has no bounded answer")
        return {"s": s[..., None] if self.queries else s[:, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        fit = Sensors.on(domain, self.law).by_polynomials()
        s, path = self._answers(fields, domain, fit, self.step * 2 / 3)
        gap = (fields["s"].flatten(1) - s).square().mean(1).sqrt()
        return torch.where(gap == 0, 0.0, gap / path.abs().amax(1))

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """sin 2t, or of the pendulum 1 - cos 2t, from the forcing that makes them."""
        t = domain.coordinates()[0]
        u, s = self.equation.forcing(t)
        if not self.queries:
            return {"u": u[None, None]}, {"s": s[None, None]}
        y = self.law.span * torch.arange(1, self.queries + 1, dtype=torch.float64)[None, :, None] / self.queries
        return {"u": u[None, None], "y": y}, {"s": self.equation.forcing(y)[1]}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing: the forcing does work, and only one component is kept."""
        return {}

    def halved(self) -> OrdinaryDifferential:
        return replace(self, step=self.step / 2)

    def _answers(
        self, fields: Fields, domain: Domain, fit: Float[Tensor, "count points"], step: float
    ) -> tuple[Float[Tensor, "sample place"], Float[Tensor, "sample instant"]]:
        """s where it is asked for, and at all steps."""
        u, span = fields["u"][:, 0], self.law.span
        count, step = steps_between(0.0, span, step)
        instants = torch.linspace(0, span, 2 * count + 1, dtype=torch.float64)
        forcing = u @ (chebyshev(instants, len(fit), span) @ fit).T.to(u)
        states, slopes = self._path(forcing, step)
        places = fields["y"][..., 0] if self.queries else domain.coordinates()[0].to(u).expand(len(u), -1)
        return self.equation.answer(hermite(states, slopes, step, places)), self.equation.answer(states)

    def _path(self, forcing: Float[Tensor, "sample instant"], step: float) -> tuple[Tensor, Tensor]:
        start = torch.tensor(self.equation.start, dtype=torch.float64).to(forcing).expand(len(forcing), 2)
        return forced_path(self.equation.slope, start, forcing, step)

    def _numbers(self, seeds: Seeds) -> Float[Tensor, "sample count"]:
        """Of the first forcing of each sample that has a bounded answer."""
        numbers = self.law.draw(seeds)
        if self.equation.bound == math.inf:
            return numbers
        bounded = self._bounded(numbers)
        for attempt in range(1, _ATTEMPTS):
            if bounded.all():
                return numbers
            again = self.law.draw(seeds, f"function {attempt}")
            numbers = torch.where(bounded[:, None], numbers, again)
            bounded = bounded | self._bounded(again)
        if not bounded.all():
            sample = seeds.samples[int((~bounded).nonzero()[0])]
            raise ValueError(
                f"sample {sample}: none of {_ATTEMPTS} forcings has an answer below bound = {self.equation.bound:g}"
            )
        return numbers

    def _bounded(self, numbers: Float[Tensor, "sample count"]) -> Bool[Tensor, "sample"]:
        instants = torch.linspace(0, self.law.span, 2 * _LOOKS + 1, dtype=torch.float64)
        states, _ = self._path(self.law.values(numbers, instants), self.law.span / _LOOKS)
        # Not a number compares false as well.
        return (self.equation.answer(states).abs() <= self.equation.bound).all(1)


def decay(length: float = 0.2, queries: int = 0, step: float = 1 / 400) -> OrdinaryDifferential:
    """s' = -s² + u on [0, 1], u a Gaussian process; published with length 0.2 and one query point."""
    return OrdinaryDifferential(Decay(), GaussianProcess(length), queries, step)


def pendulum(
    length: float = 0.2, span: float = 1.0, stiffness: float = 1.0, queries: int = 0, step: float = 1 / 400
) -> OrdinaryDifferential:
    """A gravity pendulum on [0, span], its torque a Gaussian process; published with length 0.2, span 1, k = 1."""
    return OrdinaryDifferential(Pendulum(stiffness), GaussianProcess(length, span), queries, step)


def decay_chebyshev(count: int = 20, bound: float = 1.0, queries: int = 0, step: float = 1 / 4000) -> OrdinaryDifferential:
    """s' = -s² + u on [0, 1], u a sum of `count` Chebyshev polynomials, amplitudes uniform on [-bound, bound).

    Such sums turn quickly at both ends of the span: hence the short step.
    """
    return OrdinaryDifferential(Decay(), ChebyshevSum(count, bound), queries, step)


def pendulum_chebyshev(
    count: int = 20, bound: float = 1.0, stiffness: float = 1.0, queries: int = 0, step: float = 1 / 4000
) -> OrdinaryDifferential:
    """A gravity pendulum on [0, 1], its torque a sum of `count` Chebyshev polynomials; see `decay_chebyshev`."""
    return OrdinaryDifferential(Pendulum(stiffness), ChebyshevSum(count, bound), queries, step)
