"""Advection along a line at a speed that may vary, s_t + a(x) s_x = 0 on [0, 1] x [0, 1], from a random function V(x).

    I     a = 1,                              s(x, 0) = V(sin² πx),   periodic;
    II    a = 1,                              s(x, 0) = x V(x),       s(0, t) = 0;
    III   a = 1 + V(x) / 10,                  s(x, 0) = x²,           s(0, t) = sin πt;
    IV    a = 1 + (V(x) + V(1 - x)) / 20,     s(x, 0) = sin 2πx,      periodic.

Source: Lu, Jin, Pang, Zhang & Karniadakis, "Learning nonlinear operators via DeepONet based on the universal approximation
theorem of operators", Nat. Mach. Intell. 3 (2021) 218, with the constants of its code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import (
    ChebyshevSum,
    FunctionLaw,
    GaussianProcess,
    Sensors,
    chebyshev,
    chebyshev_nodes,
    chebyshev_rise,
    grid_points,
    integration,
    summed,
)
from sciml.problems.problem import Fields, Problem, Variable, relative_distance

Function = Callable[[Tensor], Tensor]
CASES = ("I", "II", "III", "IV")

_TERMS, _MORE_TERMS = 96, 128  # polynomials of the travel time in `solve` and in `residual`
_NEWTON_STEPS = 7


@dataclass(frozen=True)
class AdvectionFromFunction(Problem):
    """V at the points of the grid, the sensors, to s at random points (x, t) of the grid of x and of `instants` times.

    Characteristics: s is constant along dx/dt = a(x). With the travel time τ(x) = ∫ dx / a from 0, the value at (x, t) comes
    from X with τ(X) = τ(x) - t, or where that is below 0 from the boundary at the time t - τ(x). τ is a Chebyshev sum, X is
    found by Newton's method: there is no scheme and no step in time.

    `residual` is the relative distance from the same with another fit of V between its sensors and a longer sum for τ.

    Args:
        case: I to IV.
        law: of V, on [0, 1].
        queries: points per sample, in the input `y`, drawn with repetition.
        instants: times from 0 to 1, both included.
    Raises:
        ValueError: an unknown case, a number that is not possible, a law that does not live on [0, 1], or in III and IV a
            Chebyshev sum that may bring the speed below 0.6.
    """

    case: str
    law: FunctionLaw = field(default_factory=GaussianProcess)
    queries: int = 100
    instants: int = 100
    title: str = field(default="advection from a random function", init=False)
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        if self.case not in CASES:
            raise ValueError(f"case: got {self.case!r}, need one of {', '.join(CASES)}")
        check_count(queries=self.queries)
        check_count(2, instants=self.instants)
        if self.law.span != 1:
            raise ValueError(f"law: got {self.law}, need span 1")
        if isinstance(self.law, ChebyshevSum) and self.case in ("III", "IV") and self.law.bound > _most(self.law.count):
            raise ValueError(
                f"bound: got {self.law.bound:g} with count = {self.law.count} polynomials, need at most "
                f"{_most(self.law.count):g}, with which the speed stays above 0.6"
            )

    def variables(self) -> Mapping[str, Variable]:
        return {
            "v": Variable("input", "random function at the sensors"),
            "y": Variable("input", "place and time at which the answer is asked for", components=2, points=self.queries),
            "s": Variable("target", "advected quantity at y", points=self.queries),
        }

    def parameters(self) -> Mapping[str, object]:
        constants = {"case": self.case, "queries": self.queries, "instants": self.instants}
        return constants | {"law": type(self.law).__name__, **asdict(self.law)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        Sensors.on(domain, self.law)
        x, t = domain.coordinates()[0], torch.linspace(0, 1, self.instants, dtype=torch.float64)
        v = self.law.values(self.law.draw(seeds), x)[:, None]
        return {"v": v, "y": grid_points(seeds, x, t, self.queries)}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain that does not fit the law (see `Sensors`), or a speed that is not positive."""
        return {"s": self._answers(given, Sensors.on(domain, self.law).by_law(), _TERMS)[..., None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        again = self._answers(fields, Sensors.on(domain, self.law).by_polynomials(), _MORE_TERMS)
        return relative_distance(fields["s"][..., 0], again)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """From V = 1, and of I from V = 1 - 2 x: one wave that travels."""
        x = domain.coordinates()[0]
        i = torch.arange(self.queries).double()
        y = torch.stack([(0.37 * i).remainder(1.0), (0.61 * i).remainder(1.0)], -1)[None]
        place, t = y.unbind(-1)
        back = place - 1.1 * t
        s = {
            "I": torch.cos(2 * math.pi * (place - t)),
            "II": (place - t).clamp(min=0),
            "III": torch.where(back > 0, back.square(), torch.sin(math.pi * (t - place / 1.1))),
            "IV": torch.sin(2 * math.pi * back),
        }[self.case]
        v = 1 - 2 * x if self.case == "I" else torch.ones_like(x)
        return {"v": v[None, None], "y": y}, {"s": s[..., None]}

    def _answers(self, fields: Fields, fit: Float[Tensor, "count points"], terms: int) -> Float[Tensor, "sample place"]:
        x, t = fields["y"].unbind(-1)
        v = fields["v"][:, 0] @ fit.T.to(x)

        def function(at: Tensor) -> Tensor:
            return summed(v, chebyshev(at, len(fit)))

        if self.case == "I":
            return function(torch.sin(math.pi * (x - t)).square())
        if self.case == "II":
            back = (x - t).clamp(min=0)
            return back * function(back)
        return self._along_characteristics(function, x, t, terms)

    def _along_characteristics(
        self,
        function: Callable[[Tensor], Tensor],
        x: Float[Tensor, "sample place"],
        t: Float[Tensor, "sample place"],
        terms: int,
    ) -> Float[Tensor, "sample place"]:
        def speed(at: Tensor) -> Tensor:
            return 1 + (function(at) / 10 if self.case == "III" else (function(at) + function(1 - at)) / 20)

        nodes, analysis = chebyshev_nodes(terms)
        at_nodes = speed(nodes.to(x))
        if not bool((at_nodes > 0).all()):
            sample = int((at_nodes <= 0).any(1).nonzero()[0])
            raise ValueError(
                f"variable v, sample {sample} of the block: speed is {float(at_nodes.min()):.3g}, need it positive"
            )
        travel = (1 / at_nodes) @ (integration(terms) @ analysis).T.to(x)

        def time(at: Tensor) -> Tensor:
            return summed(travel, chebyshev_rise(at, terms + 1))

        whole, left = time(torch.ones_like(x[:, :1])), time(x) - t
        target = left.clamp(min=0) if self.case == "III" else left - whole * torch.floor(left / whole)
        back = target / whole
        for _ in range(_NEWTON_STEPS):
            back = (back - (time(back) - target) * speed(back)).clamp(0, 1)
        if self.case == "IV":
            return torch.sin(2 * math.pi * back)
        return torch.where(left > 0, back.square(), torch.sin(math.pi * left.clamp(max=0).neg()))


def published(case: str, length: float = 0.2, queries: int = 100) -> AdvectionFromFunction:
    """V a Gaussian process of length 0.2; `queries` of the 100 x 100 points of each sample."""
    return AdvectionFromFunction(case, GaussianProcess(length), queries)


def advection_chebyshev(case: str, count: int = 20, bound: float | None = None, queries: int = 100) -> AdvectionFromFunction:
    """V a sum of `count` Chebyshev polynomials, amplitudes uniform on [-bound, bound).

    Args:
        bound: if not given, 1, and 4 / count for III and IV, which take no more.
    """
    fit = 1.0 if case in ("I", "II") else _most(count)
    return AdvectionFromFunction(case, ChebyshevSum(count, fit if bound is None else bound), queries)


def _most(count: int) -> float:
    """The largest amplitudes of Chebyshev polynomials with which the sum for the travel time is good to 1e-8."""
    return 4 / max(count, 1)
