"""Waves in a box with periodic, dirichlet or neumann sides: u_tt = speed² Δu; displacement and velocity at later instants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_positive, check_times, equal_times
from sciml.numerics.domain import Domain
from sciml.numerics.eigenfunctions import check_span, eigenfunctions, lowest
from sciml.numerics.random_fields import Seeds
from sciml.problems.heat import FieldLaw
from sciml.problems.problem import Evolution, Fields, Variable, largest_change, restart_residual


@dataclass(frozen=True)
class Wave(Evolution):
    """Each eigenfunction of the box swings by itself at the frequency speed sqrt(λ), and `solve` says just that.

    A field drawn from the law is a finite sum of eigenfunctions that every permitted grid holds, so the answer is exact to
    rounding on every grid and at every instant: there is no scheme, no step in time, no error and no dispersion of either.

    Args:
        speed: of the waves.
        times: instants of the state.
        initial: law of the displacement at the first of them.
        push: law of the velocity then; at rest where there is none.
        halvings: of a step that is not there; `halved` counts it up, and the answers stay what they are.
    """

    speed: float
    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    initial: FieldLaw
    push: FieldLaw | None = None
    halvings: int = 0
    title: str = "wave equation"
    tolerance: float = 1e-11

    def __post_init__(self) -> None:
        check_positive(speed=self.speed)
        check_times(self.times)

    def variables(self) -> Mapping[str, Variable]:
        return {
            "u": Variable("state", "displacement", in_time=True),
            "v": Variable("state", "velocity", in_time=True),
        }

    def parameters(self) -> Mapping[str, object]:
        push = None if self.push is None else asdict(self.push)
        return {"speed": self.speed, "initial": asdict(self.initial), "push": push}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        u = self.initial.draw(domain, seeds, "initial")
        v = torch.zeros_like(u) if self.push is None else self.push.draw(domain, seeds, "push")
        return {"u": u[:, None, None], "v": v[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Raises:
            ValueError: an open side, or a first state with values on dirichlet sides.
        """
        state = torch.cat([given["u"], given["v"]], 2)
        for name in ("u", "v"):
            check_span(eigenfunctions(domain), given[name][:, 0, 0], name)
        later = [self._advance(state[:, 0], domain, time - self.times[0]) for time in self.times[1:]]
        frames = torch.cat([state, torch.stack(later, 1)], 1)
        return {"u": frames[:, :, :1], "v": frames[:, :, 1:]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """The first, the middle and the last interval solved again; displacements count as the velocities they swing with."""
        unit = self.speed * math.sqrt(lowest(domain)[1])
        scaled = torch.cat([unit * fields["u"], fields["v"]], 2)

        def advance(state: Tensor, start: float, stop: float) -> Tensor:
            u, v = (state[:, :1] / unit, state[:, 1:])
            u, v = self._advance(torch.cat([u, v], 1), domain, stop - start).split(1, 1)
            return torch.cat([unit * u, v], 1)

        return restart_residual(advance, scaled, self.times)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """The longest wave along every axis, standing, in closed form."""
        field, rate = lowest(domain)
        frequency = self.speed * math.sqrt(rate)
        phase = frequency * torch.tensor([t - self.times[0] for t in self.times], dtype=torch.float64)
        phase = phase.reshape(-1, *[1] * domain.dim)
        u = (torch.cos(phase) * field)[None, :, None]
        v = (-frequency * torch.sin(phase) * field)[None, :, None]
        return {"u": u[:, :1], "v": v[:, :1]}, {"u": u, "v": v}

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """The energy ∫ (v² + speed² |∇u|²) / 2, by Parseval's identity; and the mean velocity, where no side is held."""
        basis = eigenfunctions(domain)
        u, v = (basis.amplitudes(fields[name][:, :, 0]) for name in ("u", "v"))
        squares = v.square() + self.speed**2 * basis.total().to(u) * u.square()
        energy = squares.flatten(2).sum(2)
        found = {"energy": largest_change(energy, energy)}
        if any("dirichlet" in axis.sides for axis in domain.axes):
            return found
        return found | {"mean velocity": largest_change(domain.mean(fields["v"][:, :, 0]), (energy / domain.volume).sqrt())}

    def halved(self) -> Wave:
        return replace(self, halvings=self.halvings + 1)

    def _advance(
        self, state: Float[Tensor, "sample 2 *space"], domain: Domain, elapsed: float
    ) -> Float[Tensor, "sample 2 *space"]:
        basis = eigenfunctions(domain)
        frequency = self.speed * basis.total().sqrt()
        phase = frequency * elapsed
        cos, sin = torch.cos(phase).to(state), torch.sin(phase)
        # sin(ω t) / ω, which is t where ω = 0
        swing, back = (elapsed * torch.sinc(phase / math.pi)).to(state), (frequency * sin).to(state)
        u, v = basis.amplitudes(state).unbind(1)
        return basis.field(torch.stack([cos * u + swing * v, cos * v - back * u], 1))


def ringing(speed: float = 1.0, frames: int = 41, duration: float = 2.0, modes: int = 32) -> Wave:
    """A displacement let go from rest, `frames` instants from 0 to `duration`."""
    return Wave(speed, equal_times(frames, duration), FieldLaw(alpha=3.0, modes=modes))


__all__ = ["Wave", "ringing"]
