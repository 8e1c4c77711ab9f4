"""The plume: projection to rounding, a steady Euler flow that stays at first order, and the first step in closed form."""

import itertools
import math

import pytest
import torch

from sciml.numerics.conductance import conductance_operator
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.poisson import BallsAndBoxes
from sciml.problems.smoke_plume import SmokePlume, advected, at_rest, divergence, projected, pushed

OPEN_TOP = ("neumann", "dirichlet")


def room(points, top=OPEN_TOP, dim=2):
    return Domain.box((1.0,) * dim, (points,) * dim, [*["neumann"] * (dim - 1), top], "cells")


def around(domain, samples=2, count=6):
    solid = BallsAndBoxes(count).draw(domain, Seeds(4, range(samples)))
    return conductance_operator(torch.ones(samples, *domain.shape, dtype=torch.float64), domain, solid), solid


def random_velocity(operator):
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.where(face > 0, torch.randn(face.shape, dtype=torch.float64, generator=generator), 0.0) for face in operator.faces
    )


def inside_faces(solid, axis):
    """Faces across an axis that touch a solid cell, or lie between one and the outside."""
    n = solid.shape[axis + 1]
    shape = [*solid.shape]
    shape[axis + 1] = n + 1
    touched = torch.zeros(shape, dtype=torch.bool)
    touched.narrow(axis + 1, 0, n).logical_or_(solid)
    touched.narrow(axis + 1, 1, n).logical_or_(solid)
    return touched


@pytest.mark.parametrize("domain", [room(24), room(20, "neumann"), room(10, dim=3), room(9, "neumann", dim=3)], ids=str)
def test_a_projected_velocity_has_no_divergence_in_any_cell_and_passes_no_solid_face(domain):
    operator, solid = around(domain)
    velocity = random_velocity(operator)
    before = divergence(velocity, domain)
    velocity = projected(velocity, operator, 1e-12)
    assert (divergence(velocity, domain).abs() <= 1e-12 * before.flatten(1).norm(dim=1).amax()).all()
    for axis, component in enumerate(velocity):
        assert (component[inside_faces(solid, axis)] == 0).all()
        for end, side in zip((0, -1), domain.axes[axis].sides, strict=True):
            assert side == "dirichlet" or (component.select(axis + 1, end) == 0).all()


def test_a_projection_is_orthogonal_and_done_again_changes_nothing():
    domain = room(24)
    operator, _ = around(domain)
    velocity = random_velocity(operator)
    once = projected(velocity, operator, 1e-13)
    twice = projected(once, operator, 1e-2)
    # A face on an open side belongs to half a cell.
    weights = [torch.ones_like(u) for u in once]
    weights[-1][..., -1] = 0.5
    scale = sum(float((w * u * u).sum()) for w, u in zip(weights, velocity, strict=True))
    lost = sum(float((w * u * (v - u)).sum()) for w, u, v in zip(weights, once, velocity, strict=True))
    assert abs(lost) <= 1e-11 * scale
    assert all((u - v).abs().max() <= 1e-11 for u, v in zip(once, twice, strict=True))


def test_an_obstacle_that_shuts_a_pocket_in_leaves_it_solvable():
    domain = room(12)
    solid = torch.zeros(1, 12, 12, dtype=torch.bool)
    solid[:, 3:9, 3:9] = True
    solid[:, 5:7, 5:7] = False
    operator = conductance_operator(torch.ones(1, 12, 12, dtype=torch.float64), domain, solid)
    velocity = projected(random_velocity(operator), operator, 1e-12)
    assert divergence(velocity, domain).abs().max() <= 1e-9


@pytest.mark.parametrize(("dim", "sizes"), [(2, (16, 32, 64)), (3, (8, 16, 32))])
def test_a_steady_vortex_between_walls_stays_at_first_order_of_step_and_spacing(dim, sizes):
    """u = sin(πx) cos(πz), w = -cos(πx) sin(πz); a density that depends on the stream function alone stays as it is, too."""

    def error(n):
        domain = room(n, "neumann", dim)
        operator = conductance_operator(torch.ones(1, *domain.shape, dtype=torch.float64), domain)
        centre, face = (torch.arange(n, dtype=torch.float64) + 0.5) / n, torch.arange(n + 1, dtype=torch.float64) / n
        velocity = list(at_rest(operator))
        between = (1,) * (dim - 2)
        velocity[0] = velocity[0] + (torch.sin(math.pi * face).reshape(-1, *between, 1) * torch.cos(math.pi * centre))
        velocity[-1] = velocity[-1] - (torch.cos(math.pi * centre).reshape(-1, *between, 1) * torch.sin(math.pi * face))
        stream = torch.sin(math.pi * centre).reshape(-1, *between, 1) * torch.sin(math.pi * centre)
        density = stream.expand(1, *domain.shape) ** 2
        now, smoke = tuple(velocity), density
        for _ in range(n // 4):  # Courant number 1, until 0.25
            now, smoke = advected(now, smoke, operator, 1 / n)
            now = projected(now, operator, 1e-9)
        return [float((u - v).square().mean().sqrt()) for u, v in ((now[0], velocity[0]), (smoke, density))]

    errors = [error(n) for n in sizes]
    for coarse, fine in itertools.pairwise(errors):
        assert [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)] == pytest.approx([1.0, 1.0], abs=0.2)


def test_uniform_flow_carries_by_whole_cells_exactly():
    domain = Domain.box((1.0, 1.0), (16, 16), "dirichlet", "cells")
    operator = conductance_operator(torch.ones(1, 16, 16, dtype=torch.float64), domain)
    velocity = at_rest(operator)
    velocity = (velocity[0] + 1.0, velocity[1] - 2.0)
    density = torch.randn(1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved, smoke = advected(velocity, density, operator, 1 / 16)
    assert all((u - v).abs().max() <= 1e-13 for u, v in zip(moved, velocity, strict=True))
    assert (smoke[:, 1:, :-2] - density[:, :-1, 2:]).abs().max() <= 1e-13


def test_smoke_pushes_along_the_last_axis_by_its_mean_on_the_faces():
    domain = room(8)
    operator = conductance_operator(torch.ones(1, 8, 8, dtype=torch.float64), domain)
    density = torch.rand(1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sideways, upward = pushed(at_rest(operator), density, operator, 0.1)
    assert (sideways == 0).all()
    assert (upward[..., 0] == 0).all()
    assert torch.allclose(upward[..., 1:-1], 0.05 * (density[..., 1:] + density[..., :-1]), rtol=1e-14)
    assert torch.allclose(upward[..., -1], 0.1 * density[..., -1], rtol=1e-14)


def test_the_first_source_is_minus_the_slope_of_the_smoke():
    domain = room(256)
    operator = conductance_operator(torch.ones(3, 256, 256, dtype=torch.float64), domain)
    seeds = Seeds(2, range(3))
    source = SmokePlume(steps=1, buoyancy=2.0).draw(domain, seeds, operator)
    x, z = domain.mesh()
    for f, (_, radius, place, *_) in zip(source, seeds.uniform("plume", 4).tolist(), strict=True):
        edge = 0.02 * (0.06 + 0.06 * radius)
        square = (x - 0.25 - 0.5 * place) ** 2 + (z - 0.15) ** 2
        smoke = torch.sigmoid(((0.06 + 0.06 * radius) ** 2 - square) / (2 * edge))
        slope = -smoke * (1 - smoke) * (z - 0.15) / edge
        assert (f + 2.0 * slope)[:, 4:].abs().max() <= 0.02 * slope.abs().max()


def test_a_sample_is_the_same_alone_and_the_samples_differ():
    domain = room(16)
    operator, solid = around(domain, 3)
    law = SmokePlume(steps=6)
    block = law.draw(domain, Seeds(9, range(3)), operator)
    for i in range(3):
        alone_operator = conductance_operator(torch.ones(1, 16, 16, dtype=torch.float64), domain, solid[i : i + 1])
        alone = law.draw(domain, Seeds(9, range(i, i + 1)), alone_operator)
        assert (alone[0] - block[i]).norm() <= 1e-12 * block[i].norm()
    assert (block[0] - block[1]).norm() > 0.1 * block[0].norm()


def test_sources_on_finer_grids_come_closer():
    # First order, and the source is a derivative of the velocity: compare means over the cells of the coarsest grid.
    def means(points):
        domain = room(points)
        operator = conductance_operator(torch.ones(2, *domain.shape, dtype=torch.float64), domain)
        source = SmokePlume(steps=6).draw(domain, Seeds(1, range(2)), operator)
        return torch.nn.functional.avg_pool2d(source, points // 16)

    coarse, middle, fine = (means(n) for n in (32, 64, 128))
    assert (middle - fine).norm() < 0.7 * (coarse - middle).norm()
    assert (middle - fine).norm() < 0.1 * fine.norm()


@pytest.mark.parametrize(
    "domain",
    [Domain.box((1.0,), (8,), "neumann", "cells"), Domain.box((1.0, 1.0), (8, 8), ["periodic", "neumann"], "cells")],
    ids=str,
)
def test_a_domain_it_cannot_take_is_refused(domain):
    operator = conductance_operator(torch.ones(1, *domain.shape, dtype=torch.float64), domain)
    with pytest.raises(ValueError, match=r"^domain: got . axes with sides .* need 2 or 3 axes"):
        SmokePlume().draw(domain, Seeds(0, range(1)), operator)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("step", 0.0), ("buoyancy", -1.0)])
def test_parameters_that_do_not_fit_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: got {value}, need"):
        SmokePlume(**{name: value})
