"""Diffusion and reaction under a source in space: s_t = D s_xx + k s² + u(x), s = 0 at t = 0 and at both ends of [0, 1].

Source: Lu, Jin, Pang, Zhang & Karniadakis, "Learning nonlinear operators via DeepONet based on the universal approximation
theorem of operators", Nat. Mach. Intell. 3 (2021) 218.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_range
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import (
    ChebyshevSum,
    FunctionLaw,
    GaussianProcess,
    Sensors,
    chebyshev,
    chebyshev_rise,
    grid_points,
    integration,
)
from sciml.numerics.spectral import Etdrk4, etdrk4, steps_between
from sciml.problems.problem import Evolution, Fields, Variable, relative_distance


@dataclass(frozen=True)
class DiffusionReactionSource(Evolution):
    """u at the points of the grid, the sensors, to s at random points (x, t) of the grid of x and of `instants` times.

    s is the answer w to D w'' = -u, which is integrated exactly, plus a sum of sines, stepped by ETDRK4. The source does not
    vanish at the ends; so s has a corner there at the first instant, and a sine series of s would converge slowly. That of
    s - w has only the reaction to carry, and at t = 0 the sines of -w, whose high ones are gone by the first stored instant.

    `residual` is the relative distance of s from the same by a third more modes, two thirds of the step and another fit of the
    source.

    Args:
        diffusion: D.
        reaction: k.
        law: of u, on [0, 1].
        queries: points per sample, in the input `y`, drawn with repetition.
        instants: times from 0 to 1, both included.
        modes: sines; the last must have died out by the second instant.
        step: in time, at most.
    Raises:
        ValueError: a number that is not possible, too few modes, a law that does not live on [0, 1].
    """

    diffusion: float = 0.01
    reaction: float = 0.01
    law: FunctionLaw = field(default_factory=GaussianProcess)
    queries: int = 100
    instants: int = 100
    modes: int = 191
    step: float = 1 / 99
    times: tuple[float, ...] = field(default=(), init=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    title: str = field(default="diffusion and reaction under a source", init=False)
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        check_count(queries=self.queries)
        check_count(2, instants=self.instants)
        check_count(8, modes=self.modes)
        check_positive(diffusion=self.diffusion)
        check_range(reaction=self.reaction)
        if self.law.span != 1:
            raise ValueError(f"law: got {self.law}, need span 1")
        steps_between(0.0, self.interval, self.step)
        # Below exp(-20) of the sines of w that are left out, about 1e-4.
        need = math.ceil(math.sqrt(20 / (self.diffusion * self.interval)) / math.pi)
        if self.modes < need:
            raise ValueError(
                f"modes: got {self.modes}, need at least {need} for {self.instants} instants, D = {self.diffusion:g}"
            )

    @property
    def interval(self) -> float:
        """Between two instants."""
        return 1 / (self.instants - 1)

    def variables(self) -> Mapping[str, Variable]:
        return {
            "u": Variable("input", "source at the sensors"),
            "y": Variable("input", "place and time at which the answer is asked for", components=2, points=self.queries),
            "s": Variable("target", "concentration at y", points=self.queries),
        }

    def parameters(self) -> Mapping[str, object]:
        names = ("diffusion", "reaction", "queries", "instants", "modes", "step")
        return {name: getattr(self, name) for name in names} | {"law": type(self.law).__name__, **asdict(self.law)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        Sensors.on(domain, self.law)
        x = domain.coordinates()[0]
        u = self.law.values(self.law.draw(seeds), x)[:, None]
        t = torch.linspace(0, 1, self.instants, dtype=torch.float64)
        return {"u": u, "y": grid_points(seeds, x, t, self.queries)}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain that does not fit the law (see `Sensors`), points off the grid, or an s that is not
        finite."""
        s = self._answers(given, domain, Sensors.on(domain, self.law).by_law())
        finite = s.isfinite().all(1)
        if not finite.all():
            sample = int((~finite).nonzero()[0])
            raise ValueError(f"variable s, sample {sample} of the block: is not finite; its reaction has no bounded answer")
        return {"s": s[..., None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        other = replace(self, modes=math.ceil(self.modes * 4 / 3), step=self.step * 2 / 3)
        return relative_distance(
            fields["s"][..., 0], other._answers(fields, domain, Sensors.on(domain, self.law).by_polynomials())
        )

    def exact(self, domain: Domain) -> tuple[Fields, Fields] | None:
        """One sine, without reaction; None with it."""
        if self.reaction != 0:
            return None
        x, rate = domain.coordinates()[0], self.diffusion * math.pi**2
        i = torch.arange(self.queries)
        y = torch.stack([x[7 * i % len(x)], (i % self.instants).double() * self.interval], -1)[None]
        s = (1 - torch.exp(-rate * y[..., 1])) / rate * torch.sin(math.pi * y[..., 0])
        return {"u": torch.sin(math.pi * x)[None, None], "y": y}, {"s": s[..., None]}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing: the source feeds, the ends drain."""
        return {}

    def halved(self) -> DiffusionReactionSource:
        return replace(self, step=self.step / 2)

    def _answers(self, fields: Fields, domain: Domain, fit: Float[Tensor, "count points"]) -> Float[Tensor, "sample place"]:
        on_grid = self.frames(fields["u"][:, 0], domain, fit)
        index = []
        for values, last in zip(fields["y"].unbind(-1), (domain.shape[0] - 1, self.instants - 1), strict=True):
            place = (values * last).round()
            if bool(((place - values * last).abs() > 1e-3).any()):
                raise ValueError(f"variable y: got points off the grid, need multiples of 1/{last} for x or t")
            index.append(place.long())
        return on_grid.flatten(1).gather(1, index[1] * domain.shape[0] + index[0])

    def frames(
        self, u: Float[Tensor, "sample points"], domain: Domain, fit: Float[Tensor, "count points"] | None = None
    ) -> Float[Tensor, "sample instant points"]:
        """s at all points and instants, from the source at the points."""
        fit = Sensors.on(domain, self.law).by_law() if fit is None else fit
        (x,) = domain.coordinates()
        inner = torch.arange(1, self.modes + 1, dtype=torch.float64) / (self.modes + 1)
        steady_inside, steady = (u @ self._steady(at, fit).T.to(u) for at in (inner, x))
        sines, sines_at_points = (_sines(at, self.modes).to(u) for at in (inner, x))

        def reaction(b: Tensor) -> Tensor:
            s = torch.addmm(steady_inside, b.real, sines.T)
            return torch.complex((self.reaction * 2 / (self.modes + 1)) * (s.square() @ sines), torch.zeros_like(s))

        rates = self.diffusion * (math.pi * torch.arange(1, self.modes + 1, dtype=torch.float64)).square()
        count, step = steps_between(0.0, self.interval, self.step)
        scheme = _scheme(self.diffusion, self.modes, step)
        b = u @ (_sine_amplitudes(fit, self.modes) / -rates[:, None]).T.to(u)
        b = torch.complex(b, torch.zeros_like(b))  # as the scheme takes it; the products stay real
        instants = [torch.zeros_like(steady)]
        for _ in range(self.instants - 1):
            for _ in range(count):
                b = scheme.advance(b, reaction)
            instants.append(torch.addmm(steady, b.real, sines_at_points.T))
        return torch.stack(instants, 1)

    def _steady(self, x: Float[Tensor, "place"], fit: Float[Tensor, "count points"]) -> Float[Tensor, "place points"]:
        """From the source at the sensors to w at x: D w'' = -u, w = 0 at both ends."""
        count = len(fit)
        twice = integration(count + 1) @ integration(count) @ fit
        rise = chebyshev_rise(torch.cat([x, torch.ones(1, dtype=torch.float64)]), count + 2)
        return (x[:, None] * rise[-1] - rise[:-1]) @ twice / self.diffusion


@lru_cache(maxsize=16)
def _scheme(diffusion: float, modes: int, step: float) -> Etdrk4:
    return etdrk4(-diffusion * (math.pi * torch.arange(1, modes + 1, dtype=torch.float64)).square(), step)


def _sines(x: Float[Tensor, "place"], modes: int) -> Float[Tensor, "place modes"]:
    """sin n π x, n = 1 ..."""
    return torch.sin(math.pi * (x[:, None] * torch.arange(1, modes + 1)).remainder(2.0))


def _sine_amplitudes(fit: Float[Tensor, "count points"], modes: int) -> Float[Tensor, "modes points"]:
    """2 ∫ u sin n π x dx from the source at the sensors, by Gauss-Legendre, exact to rounding."""
    x, weights = _legendre(modes + len(fit) + 32)
    return (_sines(x, modes) * weights[:, None]).T @ (chebyshev(x, len(fit)) @ fit)


@lru_cache(maxsize=16)
def _legendre(count: int) -> tuple[Tensor, Tensor]:
    """Nodes on [0, 1] and twice the weights."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    with torch.inference_mode(False):
        return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights)


def published(queries: int = 100, length: float = 0.2, step: float = 1 / 99) -> DiffusionReactionSource:
    """D = k = 0.01 and a Gaussian process of length 0.2; `queries` of the 100 x 100 points of each sample."""
    return DiffusionReactionSource(law=GaussianProcess(length), queries=queries, step=step)


def diffusion_reaction_chebyshev(
    count: int = 20, bound: float = 1.0, queries: int = 100, step: float = 1 / 99
) -> DiffusionReactionSource:
    """D = k = 0.01 and a sum of `count` Chebyshev polynomials, amplitudes uniform on [-bound, bound), as source."""
    return DiffusionReactionSource(law=ChebyshevSum(count, bound), queries=queries, step=step)
