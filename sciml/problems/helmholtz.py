"""Helmholtz equation on a rectangle: -Δu - (ω / c)² u = 0, driven through a part of one side; the map from wave speed c to u.

The set of de Hoop, Huang, Qian & Stuart, "The Cost-Accuracy Trade-Off in Operator Learning with Neural Networks"
(arXiv 2203.13181), used by He, Liu & Xu, "MgNO" (ICLR 2024).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.block_elimination import solve_nine_point
from sciml.numerics.checks import check_count, check_positive, check_power_law, check_range
from sciml.numerics.domain import Axis, Domain
from sciml.numerics.finite_elements import ElementMatrix, edge_load, gauss_points, mass, stiffness
from sciml.numerics.random_fields import PowerLaw, Seeds, evaluate_modes
from sciml.problems.problem import Fields, Problem, Variable

GOOD, LEAST = 10, 4  # points per wavelength: with fewer a warning, an error


@dataclass(frozen=True)
class WaveSpeed:
    """c = mean + spread tanh(g), g a Gaussian field of `modes` cosine waves.

    The waves are those of smallest |k|², the constant left out; where |k|² is equal, smaller k along the first axis go first.
    Their variance is (λ + tau²)^(-alpha), λ the eigenvalue of the Laplacian.
    """

    mean: float = 20.0
    spread: float = 1.0
    alpha: float = 2.0
    tau: float = 3.0
    modes: int = 100

    def __post_init__(self) -> None:
        check_positive(mean=self.mean)
        if not abs(self.spread) < self.mean:
            raise ValueError(
                f"spread: got {self.spread}, need less than the mean, {self.mean}, so that all speeds are positive"
            )
        check_power_law(self.alpha, self.tau)
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
        numbers = seeds.normal("speed", self.modes)
        waves = _waves(self.modes)
        first, second = domain.axes
        size = int(waves.max()) + 1
        eigenvalue = (math.pi * waves / waves.new_tensor([first.length, second.length])).square().sum(1)
        amplitudes = numbers.new_zeros(len(numbers), size, size)
        amplitudes[:, *waves.long().unbind(1)] = numbers * PowerLaw(self.alpha, self.tau)(eigenvalue).sqrt()
        g = evaluate_modes(first, size) @ amplitudes @ evaluate_modes(second, size).mT
        return self.mean + self.spread * torch.tanh(g)


@dataclass(frozen=True)
class Helmholtz(Problem):
    """-Δu - (ω / c)² u = 0; ∂u/∂n is `load` on the last side of the second axis, zero on the others. By bilinear elements.

    The matrix is indefinite; it is eliminated exactly, line by line. Between the nodes c is its cosine series, which for the
    law is exact to rounding. Differentiable with respect to c.

    Args:
        frequency: ω.
        load: four coordinates along the first axis: ∂u/∂n is 0 up to the first, 1 from the second to the third, 0 from the
            fourth on, straight in between. The published load is 1 at the nodes strictly between 0.35 and 0.65 on 100 elements
            (numbers 36 to 64), hence this.
    Raises:
        ValueError: a frequency that is not positive, or coordinates of the load that do not grow.
    """

    speed: WaveSpeed = WaveSpeed()
    frequency: float = 1000.0
    load: tuple[float, float, float, float] = (0.35, 0.36, 0.64, 0.65)
    title: str = field(default="Helmholtz equation", init=False)
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        check_positive(frequency=self.frequency)
        for place in self.load:
            check_range(load=place)
        if len(self.load) != 4 or not all(b > a for a, b in pairwise(self.load)):
            raise ValueError(f"load: got {self.load}, need four coordinates that grow")

    def variables(self) -> Mapping[str, Variable]:
        return {"c": Variable("coefficient", "wave speed"), "u": Variable("target", "excitation")}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.speed) | {"law": type(self.speed).__name__, "frequency": self.frequency, "load": list(self.load)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        _check_domain(domain)
        return {"c": self.speed.draw(domain, seeds)[:, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Solve for u.

        Warns with fewer than 10 points per wavelength: the phase is off by about (k h)² / 24 of every wave passed.

        Raises:
            ValueError: a domain without zero slope on all sides, a speed that is not positive, or fewer than 4 points per
                wavelength; the message says how many points would do.
            ArithmeticError: a sample so close to a resonance that the residual does not reach the tolerance.
        """
        c = given["c"][:, 0]
        _check_domain(domain)
        _check_speed(c, self.frequency, domain)
        # In float64 whatever is given: close to resonances the matrix needs its digits.
        u = solve_nine_point(*self.system(c.double(), domain), tolerance=self.tolerance)
        return {"u": u[:, None].to(c.dtype)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        c, u = fields["c"][:, 0], fields["u"][:, 0]
        matrix, load = self.system(c, domain)
        return matrix.relative_residual(u, load)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """Constant speed: a cosine series along the loaded side, each wave propagating or decaying away from it."""
        first, second = domain.axes
        x, y = (axis.coordinates() - axis.origin for axis in domain.axes)
        q = math.pi / first.length * torch.arange(2000, dtype=torch.float64)
        strength = _cosine_coefficients(self.load, q, first)
        u = (strength * torch.cos(q * x[:, None])) @ _away(q, self.frequency / self.speed.mean, y, second.length)
        return {"c": torch.full_like(u, self.speed.mean)[None, None]}, {"u": u[None, None]}

    def system(
        self, c: Float[Tensor, "batch rows columns"], domain: Domain
    ) -> tuple[ElementMatrix, Float[Tensor, "batch rows columns"]]:
        """The discrete equation: K - ω² M(1 / c²), and the load of every sample."""
        rows, columns = (_to_gauss_points(axis).to(c) for axis in domain.axes)
        between = rows @ c @ columns.mT
        load = torch.zeros_like(c)
        load[:, :, -1] = edge_load(domain.axes[0], self.load, (0.0, 1.0, 1.0, 0.0)).to(c)
        return stiffness(torch.ones_like(between[:1]), domain) - mass((self.frequency / between).square(), domain), load


@lru_cache(maxsize=8)
def _waves(count: int) -> Float[Tensor, "wave axis"]:
    """Half waves along either axis."""
    # All with |k|² up to some bound fill a quarter of a disc: of this side it holds `count` of them.
    side = math.isqrt(2 * count) + 2
    pairs = [(i, j) for i in range(side) for j in range(side) if i or j]
    chosen = sorted(pairs, key=lambda k: (k[0] ** 2 + k[1] ** 2, k))[:count]
    return torch.tensor(chosen, dtype=torch.float64)


@lru_cache(maxsize=8)
def _to_gauss_points(axis: Axis) -> Float[Tensor, "gauss points"]:
    """Values at the nodes to those of their cosine series at the Gauss points."""
    k = math.pi / axis.length * torch.arange(axis.points, dtype=torch.float64)
    at_nodes, between = (torch.cos((x - axis.origin)[:, None] * k) for x in (axis.coordinates(), gauss_points(axis)))
    return torch.linalg.solve(at_nodes, between, left=False)


def _cosine_coefficients(load: tuple[float, float, float, float], q: Tensor, axis: Axis) -> Tensor:
    """Of the load in cos(q x), by parts over its two slopes."""
    a, b, c, d = (knot - axis.origin for knot in load)
    rest = q[1:]
    up = (torch.cos(rest * b) - torch.cos(rest * a)) / (b - a)
    down = (torch.cos(rest * d) - torch.cos(rest * c)) / (d - c)
    return torch.cat((q.new_tensor([(d + c - a - b) / 2]), 2 * (up - down) / rest.square())) / axis.length


def _away(q: Tensor, k: float, y: Tensor, height: float) -> Float[Tensor, "wave y"]:
    """The solutions of v'' = (q² - k²) v with v'(0) = 0 and v'(height) = 1, a row each."""
    rate = (q.square() - k**2).abs().sqrt()[:, None]
    # cosh(r y) / (r sinh(r height)) without overflow
    decaying = torch.exp(-rate * (height - y)) * (1 + torch.exp(-2 * rate * y)) / (rate * -torch.expm1(-2 * rate * height))
    return torch.where(q[:, None] < k, -torch.cos(rate * y) / (rate * torch.sin(rate * height)), decaying)


def _check_domain(domain: Domain) -> None:
    sides = {side for axis in domain.axes for side in axis.sides}
    if domain.dim != 2 or sides != {"neumann"} or any(axis.layout != "both_ends" for axis in domain.axes):
        raise ValueError(f"domain: got {domain}, need two axes with both ends and neumann sides")


def _check_speed(c: Tensor, frequency: float, domain: Domain) -> None:
    slowest = float(c.detach().min())
    if not slowest > 0:
        raise ValueError(f"c: got a wave speed of {slowest}, need positive numbers")
    wavelength = 2 * math.pi * slowest / frequency
    for axis in domain.axes:
        least, good = (math.ceil(n * axis.length / wavelength) + 1 for n in (LEAST, GOOD))
        got = f"domain: got {axis.points} points, {wavelength / axis.spacing:.1f} per wavelength {wavelength:.3g}"
        if axis.points < least:
            raise ValueError(f"{got}, need {least} points at least, {good} for the phase")
        if axis.points < good:
            warnings.warn(f"{got}; waves come out of phase, {good} points give {GOOD} per wavelength", stacklevel=3)
