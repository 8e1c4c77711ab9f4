"""Poisson's equation around obstacles and through varying conductance: -div(c grad p) = f, in any dimension.

The systems that learned linear solvers are trained and tested on (Kaneda et al., "A Deep Conjugate Direction Method for
Iteratively Solving Linear Systems", ICML 2023; Lan et al., "A Neural-Preconditioned Poisson Solver for Mixed Dirichlet and
Neumann Boundary Conditions", ICML 2024): the pressure of a fluid on a grid of cells, walls and obstacles that nothing passes,
and sides or air where p = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.numerics.aggregation import solve_conductance
from sciml.numerics.checks import check_count, check_positive, check_power_law, check_range
from sciml.numerics.conductance import ConductanceOperator, conductance_operator
from sciml.numerics.domain import Axis, Domain
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.problems.problem import Fields, Problem, Variable
from sciml.problems.smoke_plume import SmokePlume

_DEVIATION = 4.0  # a contrast of about 1e11 within a sample, beyond which rounding leaves nothing of the small ones


@dataclass(frozen=True)
class BallsAndBoxes:
    """`count` solid balls and boxes, either with probability one half, which may overlap and reach out of the domain.

    Centres are uniform over the domain; radii, and half widths along each axis, uniform from `smallest` to `largest`.
    A cell is an obstacle when its centre is in one: the same shapes on every grid.

    Args:
        smallest, largest: in shortest sides of the domain.
    """

    count: int = 8
    smallest: float = 0.03
    largest: float = 0.12

    def __post_init__(self) -> None:
        check_count(count=self.count)
        check_range(0, smallest=self.smallest)
        if not self.smallest <= self.largest <= 0.5:
            raise ValueError(f"largest: got {self.largest}, need smallest = {self.smallest:g} to 0.5, which spans the domain")

    def draw(self, domain: Domain, seeds: Seeds) -> Bool[Tensor, "sample *space"]:
        dim, unit = domain.dim, min(a.length for a in domain.axes)
        numbers = seeds.uniform("obstacle", self.count * (1 + 2 * dim)).reshape(-1, self.count, 1 + 2 * dim)
        solid = torch.zeros(len(numbers), *domain.shape, dtype=torch.bool)
        for shape in numbers.unbind(1):
            kind, centre, size = (n.reshape(len(n), -1, *[1] * dim) for n in shape.split((1, dim, dim), 1))
            half = unit * (self.smallest + (self.largest - self.smallest) * size)
            away = [
                (x - a.origin - a.length * centre[:, k]).abs()
                for k, (a, x) in enumerate(zip(domain.axes, domain.mesh(), strict=True))
            ]
            ball = sum((x.square() for x in away), torch.zeros(())) <= half[:, 0].square()
            box = torch.stack([x <= half[:, k] for k, x in enumerate(away)]).all(0)
            solid |= torch.where(kind[:, 0] < 0.5, ball, box)
        full = torch.nonzero(solid.flatten(1).all(1))
        if len(full):
            raise ValueError(
                f"obstacles: sample {seeds.samples[int(full[0])]} is solid in all cells, with count = {self.count} and "
                f"largest = {self.largest:g}; need fewer or smaller ones, or more cells"
            )
        return solid


@dataclass(frozen=True)
class LogNormal:
    """exp(deviation g), g Gaussian and smooth, of mean 0 and, over the domain, mean square 1.

    The variance of an eigenfunction with eigenvalue λ goes as exp(-λ length² / 2), which away from the sides is a correlation
    exp(-r² / (2 length²)); the slope at the sides is zero.

    Args:
        length: in units of x. `modes` per axis must reach 2 sides / length.
    Raises:
        ValueError: a length that is not positive; by `draw`, modes that do not reach so far.
    """

    length: float = 0.1
    deviation: float = 1.0
    modes: int = 32

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_range(0, _DEVIATION, deviation=self.deviation)
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
        longest = max(axis.length for axis in domain.axes)
        if self.modes * self.length < 2 * longest:
            need = math.ceil(2 * longest / self.length)
            raise ValueError(
                f"length: got {self.length} with {self.modes} modes per axis on sides up to {longest:g}, need {need} modes, "
                f"or a length of {2 * longest / self.modes:.3g}"
            )

        def variance(eigenvalue: Tensor) -> Tensor:
            share = torch.where(eigenvalue == 0, 0.0, torch.exp(-eigenvalue * self.length**2 / 2))
            return share * domain.volume / share.sum()

        return torch.exp(self.deviation * gaussian_field(_flat(domain), variance, seeds, modes=self.modes, name="conductance"))


@dataclass(frozen=True)
class GaussianSource:
    """Gaussian with variance (λ + tau²)^(-alpha) of each eigenfunction of the box, zero slope at its sides and mean 0.

    With alpha 1 every octave has the same share of f in 2-D, and a growing one in 3-D: a law to train solvers on.
    """

    alpha: float = 1.0
    tau: float = 1.0
    modes: int = 64

    def __post_init__(self) -> None:
        check_power_law(self.alpha, self.tau)
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds, operator: ConductanceOperator) -> Float[Tensor, "sample *space"]:
        """Zero in obstacles, and balanced over fluid that touches no `dirichlet` side."""
        f = gaussian_field(_flat(domain), PowerLaw(self.alpha, self.tau), seeds, modes=self.modes, name="source")
        return operator.balanced(f)


@dataclass(frozen=True)
class Poisson(Problem):
    """-div(c grad p) = f in the fluid, no flux into obstacles, by second-order finite volumes on cells and multigrid.

    On a side of the domain p = 0 (`dirichlet`), or there is no flux (`neumann`), or it joins the opposite side (`periodic`).
    Over fluid that is cut off from every `dirichlet` side f and p have mean zero. f and p are zero in obstacles.

    Args:
        source: law of f.
        obstacles: law of the cells that are solid; none, and no such variable, if not given.
        conductance: law of c; 1, and no such variable, if not given.
        tolerance: of the residual, relative, in L2 over the fluid.
    """

    source: GaussianSource | SmokePlume = field(default_factory=GaussianSource)
    obstacles: BallsAndBoxes | None = None
    conductance: LogNormal | None = None
    title: str = field(default="Poisson's equation", init=False)
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        if isinstance(self.source, SmokePlume) and self.conductance is not None:
            raise ValueError("conductance: got a law together with SmokePlume, whose fluid has conductance 1; need None")

    def variables(self) -> Mapping[str, Variable]:
        coefficients = {}
        if self.obstacles is not None:
            coefficients["obstacle"] = Variable("coefficient", "1 in solid cells, 0 in the fluid")
        if self.conductance is not None:
            coefficients["conductance"] = Variable("coefficient", "conductance")
        return coefficients | {"source": Variable("input", "source"), "pressure": Variable("target", "pressure")}

    def parameters(self) -> Mapping[str, object]:
        laws = {"source": self.source, "obstacle": self.obstacles, "conductance": self.conductance}
        return {name: {"law": type(law).__name__, **asdict(law)} for name, law in laws.items() if law is not None}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        fields = {}
        if self.obstacles is not None:
            fields["obstacle"] = self.obstacles.draw(domain, seeds)[:, None].double()
        if self.conductance is not None:
            fields["conductance"] = self.conductance.draw(domain, seeds)[:, None]
        shape = (len(seeds.samples), 1, *domain.shape)
        operator = _operator(fields or {"conductance": torch.ones(shape, dtype=torch.float64)}, domain)
        return fields | {"source": self.source.draw(domain, seeds, operator)[:, None]}

    def operator(self, given: Fields, domain: Domain) -> ConductanceOperator:
        """The operator of the inputs, in float64: that of the linear system, matrix-free."""
        return _operator(given, domain)

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Always in float64; the answer in the dtype of the source, with derivatives by source and conductance."""
        operator, f = _operator(given, domain), given["source"][:, 0]
        if f.dtype != torch.float64:  # what rounding left of the mean
            f = operator.balanced(f.double())
        p = solve_conductance(operator, f, tolerance=self.tolerance).solution
        return {"pressure": p[:, None].to(given["source"])}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        p, f = fields["pressure"][:, 0].double(), fields["source"][:, 0].double()
        return _operator(fields, domain).relative_residual(p, f).to(fields["pressure"])

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """The lowest wave of the box that is not constant along any axis, c = 1, no obstacles."""
        waves = [_wave(axis) for axis in domain.axes]
        p = torch.ones((), dtype=torch.float64)
        for values, _ in waves:
            p = p[..., None] * values
        p = p[None, None]
        given = {"source": sum(eigenvalue for _, eigenvalue in waves) * p}
        if self.obstacles is not None:
            given["obstacle"] = torch.zeros_like(p)
        if self.conductance is not None:
            given["conductance"] = torch.ones_like(p)
        return given, {"pressure": p}


def obstacles(count: int = 8, largest: float = 0.12, modes: int = 64) -> Poisson:
    """Balls and boxes, a Gaussian source."""
    return Poisson(GaussianSource(modes=modes), BallsAndBoxes(count, largest=largest))


def conductance(length: float = 0.1, deviation: float = 1.0, modes: int = 64, conductance_modes: int | None = None) -> Poisson:
    """A smooth lognormal conductance, a Gaussian source.

    Args:
        modes: of the source, per axis.
        conductance_modes: of the conductance, per axis; 32 if not given. They must reach 2 sides / length.
    """
    law = LogNormal(length, deviation) if conductance_modes is None else LogNormal(length, deviation, conductance_modes)
    return Poisson(GaussianSource(modes=modes), conductance=law)


def smoke(count: int = 4, largest: float = 0.12, steps: int = 16, step: float = 0.05) -> Poisson:
    """Balls and boxes in a plume of smoke."""
    return Poisson(SmokePlume(steps, step), BallsAndBoxes(count, largest=largest))


def _operator(given: Fields, domain: Domain) -> ConductanceOperator:
    like = next(iter(given.values()))[:, 0]
    c = given["conductance"][:, 0] if "conductance" in given else torch.ones_like(like)
    solid = given["obstacle"][:, 0] > 0.5 if "obstacle" in given else None
    return conductance_operator(c.double(), domain, solid)


def _flat(domain: Domain) -> Domain:
    """The same cells with zero slope at the sides, but for periodic ones: where the Gaussian fields live."""
    sides = ["periodic" if "periodic" in a.sides else "neumann" for a in domain.axes]
    origins = [a.origin for a in domain.axes]
    return Domain.box([a.length for a in domain.axes], domain.shape, sides, [a.layout for a in domain.axes], origins)


def _wave(axis: Axis) -> tuple[Float[Tensor, "points"], float]:
    """The lowest eigenfunction that varies, and its eigenvalue."""
    x = (axis.coordinates() - axis.origin) / axis.length
    half_waves = {("periodic", "periodic"): 2.0, ("dirichlet", "dirichlet"): 1.0, ("neumann", "neumann"): 1.0}.get(
        axis.sides, 0.5
    )
    k = math.pi * half_waves
    return (torch.sin(k * x) if axis.sides[0] != "neumann" else torch.cos(k * x)), (k / axis.length) ** 2


__all__ = ["BallsAndBoxes", "GaussianSource", "LogNormal", "Poisson", "conductance", "obstacles", "smoke"]
