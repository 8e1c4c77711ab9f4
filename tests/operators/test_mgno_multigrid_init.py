import math

import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import pyramid, zero_on_walls
from sciml.operators.mgno import MgNO, MultigridCycle
from sciml.operators.mgno.multigrid_init import multigrid_init, poisson_solver, second_differences
from sciml.operators.mgno.stencils import LearnedStencil

LIMIT = {1: 0.40, 2: 0.40, 3: 0.55}


def box(dim, points, sides="dirichlet", layout="interior"):
    return Domain.box((1.0,) * dim, (points,) * dim, sides, layout)


def contraction(domain, iterations=10, prolongation=3, visits=1):
    """Of the residual by the last of so many iterations u + W(f - A u)."""
    levels = len(pyramid(domain, domain.shape, 20))
    smoothing = ((1, 1),) * (levels - 1) + ((20, 0),)
    arguments = {"cycle": "residual", "prolongation": [prolongation] * (levels - 1), "visits": visits}
    solve = MultigridCycle(1, [1] * levels, domain.dim, smoothing=smoothing, **arguments).double()
    apply = LearnedStencil(1, 1, domain.dim).double()
    grids = pyramid(domain, domain.shape, levels)
    torch.manual_seed(0)
    with torch.no_grad():
        poisson_solver(solve, domain)
        apply.weight.copy_(second_differences(domain.spacing)[None, None])
        f = zero_on_walls(torch.randn(1, 1, *domain.shape, dtype=torch.float64), grids[0])
        if not any("dirichlet" in axis.sides for axis in domain.axes):
            f -= f.mean()
        u, norms = torch.zeros_like(f), []
        for _ in range(iterations):
            u = u + solve(f - apply(u, grids[0]), grids)
            norms.append(float(zero_on_walls(f - apply(u, grids[0]), grids[0]).norm()))
    return norms[-1] / norms[-2]


@pytest.mark.parametrize(("dim", "sizes"), [(1, (31, 127, 511, 1023)), (2, (31, 63, 127, 255, 511, 1023)), (3, (15, 31, 63))])
def test_it_contracts_like_textbook_multigrid_whatever_the_number_of_points(dim, sizes):
    factors = [contraction(box(dim, n)) for n in sizes]
    assert max(factors) <= LIMIT[dim]
    assert max(factors) - min(factors) < 0.05


@pytest.mark.parametrize(
    ("sides", "layout", "points"),
    [
        ("dirichlet", "both_ends", 65),
        ("dirichlet", "cells", 64),
        ("dirichlet", "interior", 50),
        ("dirichlet", "interior", 75),
        ("periodic", "first_end", 64),
        (("dirichlet", "neumann"), "both_ends", 65),
    ],
)
@pytest.mark.parametrize("prolongation", [3, 4])
def test_it_contracts_between_other_sides_and_on_grids_that_are_not_nested(sides, layout, points, prolongation):
    pairs = sides if isinstance(sides, str) else [sides, sides]
    assert contraction(Domain.box((1.0, 1.0), (points,) * 2, pairs, layout), prolongation=prolongation) <= LIMIT[2]


def test_visiting_coarse_levels_twice_is_no_worse():
    assert contraction(box(2, 63), visits=2) <= contraction(box(2, 63)) + 0.01


def test_unequal_spacings_have_their_weights():
    stencil = second_differences((0.1, 0.2)).double()
    assert stencil.sum().abs() < 1e-6
    assert (stencil[0, 1] / stencil[1, 0]).item() == pytest.approx(4.0)


def test_every_channel_of_a_model_begins_as_a_solver_of_its_own_and_trains_from_there():
    domain = box(2, 31)
    smoothing = ((1, 1),) * 3 + ((20, 0),)
    model = MgNO(1, 1, width=3, layers=2, domain=domain, cycle="residual", scale="learned", smoothing=smoothing)
    assert multigrid_init(model) is model
    x, y = domain.mesh()
    smoothest = (torch.sin(math.pi * x) * torch.sin(math.pi * y)).float()
    grids = model.grids(domain.shape)
    for layer, channels in enumerate((1, 3)):
        weights = torch.tensor([1.0, 2.0, -1.0][:channels]).view(-1, 1, 1)
        answer = model.cycles[layer]((weights * smoothest)[None], grids)[0] * model.scales[layer].view(-1, 1, 1)
        expected = (weights * smoothest).expand(3, -1, -1)
        assert (answer - expected).norm() <= 0.2 * expected.norm()  # one cycle; the scale is that of the equation
    model(smoothest[None, None]).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_other_cycles_and_scales_are_refused():
    with pytest.raises(ValueError, match="need 'residual' and 'learned'"):
        multigrid_init(MgNO(1, 1, width=2, layers=1, domain=box(2, 16), scale="learned"))
    with pytest.raises(ValueError, match="need 'residual'"):
        poisson_solver(MultigridCycle(1, [1, 1], 1, smoothing=((1, 0),) * 2, cycle="official", prolongation=[3]), box(1, 16))
