"""A buoyant plume of smoke around obstacles: right-hand sides of the pressure equation as a fluid solver meets them.

Incompressible Euler flow on staggered cells, semi-Lagrangian advection and projection (Stam, "Stable Fluids", SIGGRAPH 1999;
Harlow & Welch 1965). The data of Kaneda et al., "A Deep Conjugate Direction Method for Iteratively Solving Linear Systems",
ICML 2023, come from such a solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from sciml.numerics.aggregation import solve_conductance
from sciml.numerics.checks import check_count, check_positive
from sciml.numerics.conductance import ConductanceOperator
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds

Velocity = tuple[Float[Tensor, "batch ..."], ...]
"""Component k on the faces across axis k, one more than there are cells along it."""

PATCH_HEIGHT = 0.15  # of the centre of the inflow, in heights of the box
PATCH_RADII = (0.06, 0.12)  # smallest and largest, in the shortest side of the box
PATCH_EDGE = 0.02  # width over which it fades


@dataclass(frozen=True)
class SmokePlume:
    """-div u* / step of a plume after a number of steps from rest that each sample draws from 1 ... `steps`.

    Smoke of density 1 enters in a soft ball low in the box, which each sample draws, and rises along the last axis. u* is the
    velocity before the projection that makes it free of divergence; the answer p to this source is the pressure.

    Args:
        steps: the most steps. Each but the last costs one solve.
        step: in time. Advection is stable for any; 1 to 2 cells per step keep the flow: step <= 2 h / (speed, about 0.5).
        buoyancy: acceleration where the density is 1.
        tolerance: divergence that a projection may leave, over that before it, in L2.
    Raises:
        ValueError: steps below 1, or a step or buoyancy that is not positive.
    """

    steps: int = 16
    step: float = 0.05
    buoyancy: float = 1.0
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_positive(step=self.step, buoyancy=self.buoyancy, tolerance=self.tolerance)

    def draw(self, domain: Domain, seeds: Seeds, operator: ConductanceOperator) -> Float[Tensor, "sample *space"]:
        """The source of each sample, around the obstacles of `operator`.

        Raises:
            ValueError: a domain that is not of 2 or 3 axes with `neumann` (wall) or `dirichlet` (open) sides.
        """
        _check_domain(domain)
        numbers = seeds.uniform("plume", 2 + domain.dim)
        last = (numbers[:, 0] * self.steps).long() + 1
        patch = _patch(domain, numbers[:, 1:])
        velocity, density = at_rest(operator), torch.zeros_like(patch)
        source = torch.zeros_like(patch)
        for number in range(1, int(last.max()) + 1):
            density = torch.where(operator.fluid, torch.maximum(density, patch), 0.0)
            velocity = pushed(velocity, density, operator, self.step * self.buoyancy)
            here = (last == number).reshape(-1, *[1] * domain.dim)
            source = torch.where(here, -divergence(velocity, domain) / self.step, source)
            if number < last.max():
                velocity = projected(velocity, operator, self.tolerance)
                velocity, density = advected(velocity, density, operator, self.step)
        return operator.balanced(source)


def at_rest(operator: ConductanceOperator) -> Velocity:
    """No motion."""
    return tuple(torch.zeros_like(face) for face in operator.faces)


def pushed(
    velocity: Velocity, density: Float[Tensor, "batch *space"], operator: ConductanceOperator, impulse: float
) -> Velocity:
    """Velocity after an impulse along the last axis where there is smoke; nothing passes closed faces."""
    upward = velocity[-1] + impulse * _on_faces(density, density.ndim - 1)
    return _through_open((*velocity[:-1], upward), operator)


def divergence(velocity: Velocity, domain: Domain) -> Float[Tensor, "batch *space"]:
    """Of each cell: what flows out of it, per volume."""
    total = torch.zeros_like(velocity[0].narrow(1, 1, domain.shape[0]))
    for axis, (component, h) in enumerate(zip(velocity, domain.spacing, strict=True)):
        total = total + component.diff(dim=axis + 1) / h
    return total


def projected(velocity: Velocity, operator: ConductanceOperator, tolerance: float) -> Velocity:
    """The nearest velocity without divergence in the fluid: u - grad q with -div grad q = -div u.

    Args:
        velocity: zero on closed faces.
        operator: of conductance 1.
        tolerance: divergence left over, over that of `velocity`, in L2.
    """
    source = operator.balanced(-divergence(velocity, operator.domain))
    q = solve_conductance(operator, source, tolerance=tolerance).solution
    spacing = operator.domain.spacing
    return tuple(u - h * operator.flux(q, axis) for axis, (u, h) in enumerate(zip(velocity, spacing, strict=True)))


def advected(
    velocity: Velocity, density: Float[Tensor, "batch *space"], operator: ConductanceOperator, step: float
) -> tuple[Velocity, Float[Tensor, "batch *space"]]:
    """Velocity and density carried along by the velocity: each value comes from where the flow was a step ago.

    Paths by the midpoint rule, values by linear interpolation between points and constant beyond the outermost: first order
    in the spacing at a fixed ratio to the step.
    """
    domain = operator.domain
    moved = [_carried(u, axis, velocity, domain, step) for axis, u in enumerate(velocity)]
    return _through_open(tuple(moved), operator), _carried(density, None, velocity, domain, step)


def _carried(field: Tensor, across: int | None, velocity: Velocity, domain: Domain, step: float) -> Tensor:
    """A field on the faces across an axis, or at the centres, one step later."""
    there = torch.stack(torch.meshgrid(*_points(domain, across), indexing="ij"), -1).to(field).expand(*field.shape, -1)
    halfway = there - step / 2 * _velocity_there(velocity, across)
    between = torch.stack([_interpolated(u, axis, halfway, domain) for axis, u in enumerate(velocity)], -1)
    return _interpolated(field, across, there - step * between, domain)


def _velocity_there(velocity: Velocity, across: int | None) -> Float[Tensor, "batch *place axis"]:
    """All components on the faces across an axis, or at the centres: what linear interpolation gives, without a search."""
    components = []
    for axis, u in enumerate(velocity):
        if axis != across:
            u = _means(u, axis + 1)
            u = u if across is None else _on_faces(u, across + 1)
        components.append(u)
    return torch.stack(components, -1)


def _on_faces(field: Tensor, at: int) -> Tensor:
    """Values at the centres along a dimension to the faces across it; on the sides that of the one cell."""
    n = field.shape[at]
    return _means(torch.cat((field.narrow(at, 0, 1), field, field.narrow(at, n - 1, 1)), at), at)


def _means(field: Tensor, at: int) -> Tensor:
    n = field.shape[at] - 1
    return (field.narrow(at, 0, n) + field.narrow(at, 1, n)) / 2


def _points(domain: Domain, across: int | None) -> list[Tensor]:
    """Coordinates along each axis of the faces across one axis, or of the centres."""
    return [
        a.coordinates() if k != across else a.origin + a.spacing * torch.arange(a.points + 1, dtype=torch.float64)
        for k, a in enumerate(domain.axes)
    ]


def _interpolated(field: Tensor, across: int | None, points: Float[Tensor, "batch *place axis"], domain: Domain) -> Tensor:
    """A field on the faces across an axis, or at the centres, at any points of the box."""
    places = []
    for k, line in enumerate(_points(domain, across)):
        middle, half = (float(line[-1]) + float(line[0])) / 2, (float(line[-1]) - float(line[0])) / 2
        places.append((points[..., k] - middle) / half)
    grid = torch.stack(places[::-1], -1)  # torch counts axes from the last
    return grid_sample(field[:, None], grid, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]


def _through_open(velocity: Sequence[Tensor], operator: ConductanceOperator) -> Velocity:
    return tuple(torch.where(face > 0, u, 0.0) for u, face in zip(velocity, operator.faces, strict=True))


def _patch(domain: Domain, numbers: Float[Tensor, "sample number"]) -> Float[Tensor, "sample *space"]:
    """The ball where smoke enters: the first number is its radius, the others are its place across the height."""
    axes = domain.axes
    shortest = min(a.length for a in axes)
    low, high = PATCH_RADII
    as_field = (-1, *[1] * domain.dim)
    square = torch.zeros(())
    for k, (axis, x) in enumerate(zip(axes, domain.mesh(), strict=True)):
        share = 0.25 + 0.5 * numbers[:, k + 1] if k < domain.dim - 1 else torch.full((len(numbers),), PATCH_HEIGHT)
        square = square + (x - (axis.origin + axis.length * share).reshape(as_field)).square()
    radius = (shortest * (low + (high - low) * numbers[:, 0])).reshape(as_field)
    return torch.sigmoid((radius.square() - square) / (2 * radius * PATCH_EDGE * shortest))


def _check_domain(domain: Domain) -> None:
    sides = {side for axis in domain.axes for side in axis.sides}
    if domain.dim not in (2, 3) or not sides <= {"neumann", "dirichlet"}:
        raise ValueError(
            f"domain: got {domain.dim} axes with sides {', '.join(sorted(sides))}, need 2 or 3 axes with neumann (wall) or "
            "dirichlet (open) sides"
        )


__all__ = ["SmokePlume", "Velocity", "advected", "at_rest", "divergence", "projected", "pushed"]
