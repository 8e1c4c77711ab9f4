"""The antiderivative on a line, u' = f with u(0) = 0: the smallest map between functions.

Source: Lu, Jin, Pang, Zhang & Karniadakis, "Learning nonlinear operators via DeepONet based on the universal approximation
theorem of operators", Nat. Mach. Intell. 3 (2021) 218.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    chebyshev_rise,
    integration,
    summed,
)
from sciml.problems.problem import Fields, Problem, Variable


@dataclass(frozen=True)
class Antiderivative(Problem):
    """f at the points of the grid, the sensors, to u there, or to u at a few random points of each sample.

    `solve` finds the function from its sensors, as a least-squares fit in the principal functions of its law, and integrates
    that exactly: u is the integral of the drawn sum itself to 1e-11 of x max |f|. `residual` is the distance from the integral
    of another fit, in polynomials, relative to x max |f|, which does not vanish where u happens to.

    Args:
        law: of f.
        queries: random points per sample, uniform on the span, in the input `y`; 0 for u on the grid.
    Raises:
        ValueError: fewer than 0 queries.
    """

    law: FunctionLaw
    queries: int = 0
    title: str = field(default="antiderivative", init=False)
    tolerance: float = 1e-9

    def __post_init__(self) -> None:
        check_count(0, queries=self.queries)

    def variables(self) -> Mapping[str, Variable]:
        f = Variable("input", "function at the sensors")
        if not self.queries:
            return {"f": f, "u": Variable("target", "its integral from 0")}
        return {
            "f": f,
            "y": Variable("input", "where the integral is asked for", points=self.queries),
            "u": Variable("target", "integral of f from 0 to y", points=self.queries),
        }

    def parameters(self) -> Mapping[str, object]:
        return {"law": type(self.law).__name__, **asdict(self.law), "queries": self.queries}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        Sensors.on(domain, self.law)
        f = self.law.values(self.law.draw(seeds), domain.coordinates()[0])[:, None]
        if not self.queries:
            return {"f": f}
        return {"f": f, "y": self.law.span * seeds.uniform("points", self.queries)[..., None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain that is not the span of the law, or has too few points for it."""
        sensors = Sensors.on(domain, self.law)
        u = self._integral(given, domain, sensors, sensors.by_law())
        return {"u": u[..., None] if self.queries else u[:, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The norm of the distance from the integral of a polynomial fit, over that of x max |f|."""
        sensors = Sensors.on(domain, self.law)
        gap = fields["u"].flatten(1) - self._integral(fields, domain, sensors, sensors.by_polynomials())
        size = self._places(fields, domain) * fields["f"].flatten(1).abs().amax(1, keepdim=True)
        return torch.where((gap == 0).all(1), 0.0, gap.norm(dim=1) / size.norm(dim=1))

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """The cosine of 3 radians on the span."""
        x, wave = domain.coordinates()[0], 3 / self.law.span
        given = {"f": torch.cos(wave * x)[None, None]}
        if not self.queries:
            return given, {"u": torch.sin(wave * x)[None, None] / wave}
        y = self.law.span * torch.arange(1, self.queries + 1, dtype=torch.float64)[None, :, None] / self.queries
        return given | {"y": y}, {"u": torch.sin(wave * y) / wave}

    def _integral(
        self, fields: Fields, domain: Domain, sensors: Sensors, fit: Float[Tensor, "count points"]
    ) -> Float[Tensor, "sample place"]:
        f, span = fields["f"][:, 0], self.law.span
        amplitudes = f @ (integration(sensors.count, span) @ fit).T.to(f)
        places = self._places(fields, domain)
        return summed(amplitudes, chebyshev_rise(places if self.queries else places[0], sensors.count + 1, span))

    def _places(self, fields: Fields, domain: Domain) -> Float[Tensor, "lead place"]:
        return fields["y"][..., 0] if self.queries else domain.coordinates()[0].to(fields["f"])[None]


def gaussian_process(length: float = 0.2, queries: int = 0) -> Antiderivative:
    """f of mean zero and covariance exp(-d² / 2 length²) on [0, 1]; published with length 0.2 and one query point."""
    return Antiderivative(GaussianProcess(length), queries)


def chebyshev(count: int = 20, bound: float = 1.0, queries: int = 0) -> Antiderivative:
    """f a sum of `count` Chebyshev polynomials on [0, 1], amplitudes uniform on [-bound, bound)."""
    return Antiderivative(ChebyshevSum(count, bound), queries)
