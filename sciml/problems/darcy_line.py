"""Darcy flow on a line: -(a u')' = 1, u = 0 at both ends; the map from the permeability a to the pressure u.

The laws of a are those of `sciml.problems.darcy`, on an interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.diffusion import FaceMean
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy import Lognormal, TwoPhase
from sciml.problems.problem import Fields, Problem, Variable


@dataclass(frozen=True)
class DarcyLine(Problem):
    """-(a u')' = 1 with u = 0 at both ends, by second-order finite volumes on nodes, solved exactly by two running sums.

    Differentiable with respect to a.

    Args:
        face_mean: of the two nodes beside a face. `harmonic` conducts as two pieces in series do, `arithmetic` is what the
            published sets in two dimensions use. Both are of second order where a is smooth, and of first where it jumps.
    """

    permeability: TwoPhase | Lognormal
    face_mean: FaceMean = "harmonic"
    title: str = field(default="Darcy flow on a line", init=False)
    tolerance: float = 1e-10

    def variables(self) -> Mapping[str, Variable]:
        return {"a": Variable("coefficient", "permeability"), "u": Variable("target", "pressure")}

    def parameters(self) -> Mapping[str, object]:
        law = {"law": type(self.permeability).__name__, "face_mean": self.face_mean, "source": 1.0}
        return asdict(self.permeability) | law

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        _check_domain(domain)
        return {"a": self.permeability.draw(domain, seeds)[:, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Solve for u.

        Raises:
            ValueError: the domain is not one axis with both ends and dirichlet sides, or a permeability is not positive.
        """
        a = given["a"]
        _check_domain(domain)
        if not bool((a > 0).all()):
            raise ValueError(f"a: got a permeability of {float(a.detach().min())}, need positive numbers")
        # The flux through face j is that through the first one and the sources in between; u falls by it over a.
        h, resistance = domain.spacing[0], 1 / self._faces(a)
        sources = h * torch.arange(a.shape[-1] - 1).to(a)
        flux = sources - (sources * resistance).sum(-1, keepdim=True) / resistance.sum(-1, keepdim=True)
        fall = (h * flux * resistance).cumsum(-1)[..., :-1]
        end = torch.zeros_like(a[..., :1])
        return {"u": torch.cat((end, -fall, end), -1)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """Of the equation integrated once, in which rounding does not grow with the grid: flux less source is a constant."""
        u, h = fields["u"], domain.spacing[0]
        flux = -self._faces(fields["a"]) * u.diff(dim=-1) / h
        sources = h * torch.arange(flux.shape[-1]).to(flux)
        left_over = flux - sources
        spread = ((left_over - left_over.mean(-1, keepdim=True)).norm(dim=-1) / (sources - sources.mean()).norm())[:, 0]
        return torch.maximum(spread, u[:, 0, [0, -1]].abs().amax(-1) / u.abs().amax((1, 2)))

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """a = 1 / (1 + s), s running from 0 to 1 along the line: u is a cubic."""
        (axis,) = domain.axes
        s = ((domain.mesh()[0] - axis.origin) / axis.length)[None, None]
        u = 5 / 9 * s - 2 / 9 * s.square() - s**3 / 3
        return {"a": 1 / (1 + s)}, {"u": u * axis.length**2}

    def _faces(self, a: Float[Tensor, "sample 1 points"]) -> Float[Tensor, "sample 1 faces"]:
        first, second = a[..., :-1], a[..., 1:]
        return 2 / (1 / first + 1 / second) if self.face_mean == "harmonic" else (first + second) / 2


def two_phase(modes: int = 128) -> DarcyLine:
    """Two phases 12 and 3 split by a field with alpha 2, tau 3: the law of Li et al. (2021) on a line."""
    return DarcyLine(TwoPhase(alpha=2.0, tau=3.0, above=12.0, below=3.0, modes=modes))


def lognormal(modes: int = 128) -> DarcyLine:
    """The exponential of that field."""
    return DarcyLine(Lognormal(alpha=2.0, tau=3.0, modes=modes))


def _check_domain(domain: Domain) -> None:
    if domain.dim != 1 or domain.axes[0].layout != "both_ends" or domain.axes[0].sides != ("dirichlet", "dirichlet"):
        raise ValueError(f"domain: got {domain}, need one axis with both ends and dirichlet sides")
    if domain.axes[0].points < 3:
        raise ValueError(f"domain: got {domain.axes[0].points} points, need at least 3")
