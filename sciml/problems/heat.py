"""Heat on a box with periodic, dirichlet or neumann sides: u_t = diffusivity Δu; the state at later instants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_power_law, check_times, equal_times
from sciml.numerics.domain import Domain
from sciml.numerics.eigenfunctions import check_modes, check_span, eigenfunctions, lowest
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, restart_residual


@dataclass(frozen=True)
class FieldLaw:
    """N(0, scale² (-Δ + tau²)^(-alpha)) with the sides of the domain, and no constant part.

    Args:
        modes: eigenfunctions per axis that make up the field. A grid must hold them all.
    """

    alpha: float = 2.0
    tau: float = 3.0
    scale: float = 1.0
    modes: int = 32

    def __post_init__(self) -> None:
        check_count(modes=self.modes)
        check_power_law(self.alpha, self.tau, self.scale)

    def draw(self, domain: Domain, seeds: Seeds, name: str) -> Float[Tensor, "sample *space"]:
        check_modes(domain, self.modes)
        return gaussian_field(domain, PowerLaw(self.alpha, self.tau, self.scale), seeds, modes=self.modes, name=name)


@dataclass(frozen=True)
class Heat(Evolution):
    """Each eigenfunction of the box decays by itself, exp(-diffusivity λ t), and `solve` says just that.

    A field drawn from the law is a finite sum of eigenfunctions that every permitted grid holds, so the answer is exact to
    rounding on every grid and at every instant: there is no scheme, no step in time and no error of either.

    Args:
        times: instants of the state.
        halvings: of a step that is not there; `halved` counts it up, and the answers stay what they are.
    """

    diffusivity: float
    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    initial: FieldLaw
    halvings: int = 0
    title: str = "heat equation"
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        check_positive(diffusivity=self.diffusivity)
        check_times(self.times)

    def variables(self) -> Mapping[str, Variable]:
        return {"u": Variable("state", "temperature", in_time=True)}

    def parameters(self) -> Mapping[str, object]:
        return {"diffusivity": self.diffusivity, "initial": asdict(self.initial)}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        return {"u": self.initial.draw(domain, seeds, "initial")[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Raises:
            ValueError: an open side, or a first state with values on dirichlet sides.
        """
        first = given["u"]
        check_span(eigenfunctions(domain), first[:, 0, 0], "u")
        later = [self._advance(first[:, 0, 0], domain, time - self.times[0]) for time in self.times[1:]]
        return {"u": torch.cat([first, torch.stack(later, 1)[:, :, None]], 1)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The first, the middle and the last interval solved again."""

        def advance(state: Tensor, start: float, stop: float) -> Tensor:
            return self._advance(state, domain, stop - start)

        return restart_residual(advance, fields["u"][:, :, 0], self.times)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """The longest wave along every axis, in closed form."""
        field, rate = lowest(domain)
        decay = torch.tensor(
            [math.exp(-self.diffusivity * rate * (t - self.times[0])) for t in self.times], dtype=torch.float64
        )
        u = (decay.reshape(-1, *[1] * domain.dim) * field)[None, :, None]
        return {"u": u[:, :1]}, {"u": u}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """The mean, where no side is held at zero; and ∫u², of which nothing is ever gained."""
        u = fields["u"][:, :, 0]
        size = domain.norm(u) / math.sqrt(domain.volume)
        gained = size.square().diff(dim=1).clamp(min=0).sum(1)
        found = {"energy gained": torch.where(gained == 0, 0.0, gained / size[:, 0].square())}
        if any("dirichlet" in axis.sides for axis in domain.axes):
            return found
        return {"mean": largest_change(domain.mean(u), size), **found}

    def halved(self) -> Heat:
        return replace(self, halvings=self.halvings + 1)

    def _advance(self, state: Float[Tensor, "sample *space"], domain: Domain, elapsed: float) -> Float[Tensor, "sample *space"]:
        basis = eigenfunctions(domain)
        decay = torch.exp(-self.diffusivity * elapsed * basis.total()).to(state)
        return basis.field(decay * basis.amplitudes(state))


def cooling(diffusivity: float = 0.01, frames: int = 21, duration: float = 1.0, modes: int = 32) -> Heat:
    """`frames` instants from 0 to `duration`; with the defaults the longest waves of the unit box lose a tenth to a third."""
    return Heat(diffusivity, equal_times(frames, duration), FieldLaw(modes=modes))


__all__ = ["FieldLaw", "Heat", "cooling"]
