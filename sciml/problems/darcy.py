"""Darcy flow on a rectangle: -div(a grad u) = 1, u = 0 on the sides; the map from the permeability a to the pressure u.

Laws of a: two phases split by the sign of a Gaussian field (Li et al., "Fourier Neural Operator for Parametric Partial
Differential Equations", ICLR 2021; the rough one as used by He, Liu & Xu, ICLR 2024), the exponential of such a field (the
other law of the script by Li et al.), and products of waves on six scales (Liu, Xu & Zhang, arXiv 2210.10890).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_power_law
from sciml.numerics.differentiable_diffusion import diffusion_solution
from sciml.numerics.diffusion import diffusion_operator
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.problems.problem import Fields, Problem, Variable

_SCALES = 40  # beyond, phases have lost their digits


@dataclass(frozen=True)
class TwoPhase:
    """`above` where a Gaussian field is >= 0, `below` elsewhere.

    The field is N(0, tau^(2 alpha - 2) (-Δ + tau²)^(-alpha)) with zero slope at the sides and no constant part.

    Args:
        modes: eigenfunctions per axis that make up the field. The interface is the same curve on every grid.
    """

    alpha: float
    tau: float
    above: float
    below: float
    modes: int = 128

    def __post_init__(self) -> None:
        check_positive(above=self.above, below=self.below)
        _check_field(self.alpha, self.tau, self.modes)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
        g = _field(self.alpha, self.tau, self.modes, domain, seeds)
        above, below = torch.tensor([self.above, self.below], dtype=torch.float64)
        return torch.where(g >= 0, above, below)


@dataclass(frozen=True)
class Lognormal:
    """exp(g), g the Gaussian field whose sign splits the phases of `TwoPhase`."""

    alpha: float
    tau: float
    modes: int = 128

    def __post_init__(self) -> None:
        _check_field(self.alpha, self.tau, self.modes)

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
        return _field(self.alpha, self.tau, self.modes, domain, seeds).exp()


def _check_field(alpha: float, tau: float, modes: int) -> None:
    check_power_law(alpha, tau)
    check_positive(tau=tau)
    check_count(modes=modes)


def _field(alpha: float, tau: float, modes: int, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
    """N(0, tau^(2 alpha - 2) (-Δ + tau²)^(-alpha)) with zero slope at the sides, whatever those of the domain are."""
    flat = Domain.box(
        [a.length for a in domain.axes],
        domain.shape,
        "neumann",
        [a.layout for a in domain.axes],
        [a.origin for a in domain.axes],
    )
    law = PowerLaw(alpha, tau, scale=tau ** (alpha - 1))
    return gaussian_field(flat, law, seeds, modes=modes, name="permeability")


@dataclass(frozen=True)
class Waves:
    """Product over k = 1 ... scales of (1 + cos(c_k π (x + y)) / 2) (1 + sin(c_k π (y - 3 x)) / 2).

    c_k is uniform on 2^(k-1) [1, 1.5] for each sample.
    """

    scales: int = 6

    def __post_init__(self) -> None:
        if not 1 <= self.scales <= _SCALES:
            raise ValueError(f"scales: got {self.scales}, need 1 to {_SCALES}")

    def draw(self, domain: Domain, seeds: Seeds) -> Float[Tensor, "sample *space"]:
        x, y = domain.mesh()
        numbers = seeds.uniform("permeability", self.scales)
        a = torch.ones(len(numbers), *domain.shape, dtype=torch.float64)
        for k in range(self.scales):
            c = (2**k * (1 + numbers[:, k] / 2) * math.pi)[:, None, None]
            a *= (1 + torch.cos(c * (x + y)) / 2) * (1 + torch.sin(c * (y - 3 * x)) / 2)
        return a


@dataclass(frozen=True)
class Darcy(Problem):
    """-div(a grad u) = 1 with u = 0 on all sides, by second-order finite volumes on nodes and multigrid.

    The coefficient on a face is the mean of its two nodes, as in the published sets. Differentiable with respect to a.
    """

    permeability: TwoPhase | Lognormal | Waves
    title: str = field(default="Darcy flow", init=False)
    tolerance: float = 1e-10

    def variables(self) -> Mapping[str, Variable]:
        return {"a": Variable("coefficient", "permeability"), "u": Variable("target", "pressure")}

    def parameters(self) -> Mapping[str, object]:
        return asdict(self.permeability) | {"law": type(self.permeability).__name__, "source": 1.0}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"a": self.permeability.draw(domain, seeds)[:, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        a = given["a"][:, 0]
        return {"u": diffusion_solution(a, torch.ones_like(a), domain, tolerance=self.tolerance)[:, None]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        a, u = fields["a"][:, 0], fields["u"][:, 0]
        return diffusion_operator(a, domain).relative_residual(u, torch.ones_like(a))

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """The deflection of a membrane, a = 1, by its series across the first axis."""
        x, y = ((m - a.origin) / domain.axes[0].length for m, a in zip(domain.mesh(), domain.axes, strict=True))
        height = domain.axes[1].length / domain.axes[0].length
        u = x * (1 - x) / 2
        for n in range(1, 400, 2):
            k = n * math.pi
            # cosh(k (y - height/2)) / cosh(k height/2) without overflow
            across = (torch.exp(-k * y) + torch.exp(-k * (height - y))) / (1 + math.exp(-k * height))
            u = u - 4 / k**3 * torch.sin(k * x) * across
        ones = torch.ones(1, 1, *domain.shape, dtype=torch.float64)
        return {"a": ones}, {"u": (u * domain.axes[0].length ** 2)[None, None]}


def smooth(modes: int = 128) -> Darcy:
    """Two phases 12 and 3 split by a smooth field: alpha 2, tau 3 (Li et al. 2021)."""
    return Darcy(TwoPhase(alpha=2.0, tau=3.0, above=12.0, below=3.0, modes=modes))


def rough(modes: int = 256) -> Darcy:
    """Two phases 12 and 2 split by a rougher field: alpha 2, tau 5 (the set of He, Liu & Xu 2024, as far as documented)."""
    return Darcy(TwoPhase(alpha=2.0, tau=5.0, above=12.0, below=2.0, modes=modes))


def lognormal(modes: int = 128) -> Darcy:
    """The exponential of a smooth field: alpha 2, tau 3 (the second law of the script by Li et al. 2021)."""
    return Darcy(Lognormal(alpha=2.0, tau=3.0, modes=modes))


def trigonometric(scales: int = 6) -> Darcy:
    """Waves on six scales, contrast about 10⁴ on the unit square (Liu, Xu & Zhang, arXiv 2210.10890)."""
    return Darcy(Waves(scales))
