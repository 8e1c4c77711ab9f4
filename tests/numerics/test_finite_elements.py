import itertools
import math

import pytest
import torch

from sciml.numerics.block_elimination import solve_nine_point
from sciml.numerics.domain import Domain
from sciml.numerics.finite_elements import edge_load, gauss_points, mass, stiffness

BOX = Domain.box((1.5, 1.0), (6, 4), "neumann", origin=(0.5, -1.0))


def at_gauss(domain, function):
    x, y = torch.meshgrid(*(gauss_points(axis) for axis in domain.axes), indexing="ij")
    return function(x, y)[None]


def form(matrix, v, w):
    return float((v * matrix.apply(w[None])[0]).sum())


def test_a_mass_matrix_integrates_products_of_bilinear_functions_exactly():
    x, y = BOX.mesh()
    c = at_gauss(BOX, lambda x, y: 1 + x**3)
    # Over y in [-1, 0] the product (2 + x y) (x - y) integrates to 1 + 5 x / 3 - x² / 2.
    primitive = lambda x: x + 5 * x**2 / 6 - x**3 / 6 + x**4 / 4 + x**5 / 3 - x**6 / 12  # noqa: E731
    assert form(mass(c, BOX), 2 + x * y, x - y) == pytest.approx(primitive(2) - primitive(0.5), rel=1e-14)


def test_a_stiffness_matrix_integrates_products_of_gradients_exactly():
    x, y = BOX.mesh()
    # grad(x y) . grad(x + 2 y) = y + 2 x: integral 1.5 (-1/2) + (2² - 1/2²) = 3
    ones = at_gauss(BOX, lambda x, y: torch.ones_like(x))
    assert form(stiffness(ones, BOX), x * y, x + 2 * y) == pytest.approx(3.0, rel=1e-14)
    # times x: integral of (y + 2 x) x = -15/16 + 21/4
    assert form(stiffness(at_gauss(BOX, lambda x, y: x), BOX), x * y, x + 2 * y) == pytest.approx(69 / 16, rel=1e-14)


def test_constants_have_no_stiffness_and_the_box_its_mass():
    c = at_gauss(BOX, lambda x, y: 2 + torch.sin(x * y))
    ones = torch.ones(1, 6, 4, dtype=torch.float64)
    assert float(stiffness(c, BOX).apply(ones).abs().max()) < 1e-14
    assert float(mass(torch.ones_like(c), BOX).apply(ones).sum()) == pytest.approx(1.5, rel=1e-14)


def test_exchanging_the_axes_of_the_grid_exchanges_the_axes_of_fields():
    c = at_gauss(BOX, lambda x, y: 2 + torch.sin(x * y))
    u = torch.randn(1, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = stiffness(c, BOX) - mass(c, BOX)
    assert torch.allclose(matrix.transposed().apply(u.mT).mT, matrix.apply(u), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("knots", "values"),
    [((0.0, 1.0), (1.0, 1.0)), ((0.3, 0.62), (2.0, 2.0)), ((0.1, 0.3, 0.4, 0.4, 0.9), (0.0, 1.0, 0.0, 3.0, 2.0))],
)
def test_the_load_of_an_edge_is_exact_for_straight_pieces(knots, values):
    (axis,) = Domain.box((1.0,), (8,), "neumann").axes
    load, x = edge_load(axis, knots, values), axis.coordinates()
    mean = moment = 0.0
    for (a, b), (u, v) in zip(itertools.pairwise(knots), itertools.pairwise(values), strict=True):
        mean += (b - a) * (u + v) / 2
        moment += (b - a) * (a * (2 * u + v) + b * (u + 2 * v)) / 6
    assert float(load.sum()) == pytest.approx(mean, rel=1e-14)
    assert float((load * x).sum()) == pytest.approx(moment, rel=1e-14)


def test_a_variable_coefficient_is_solved_at_second_order():
    # u = cos(π x) cos(2 π y) solves -Δu - k u = f with k = 40 + 10 x y, no multiple of an eigenfunction.
    def error(n):
        domain = Domain.box((1.0, 1.0), (n, 2 * n - 1), "neumann")
        wave = lambda x, y: torch.cos(math.pi * x) * torch.cos(2 * math.pi * y)  # noqa: E731
        k = at_gauss(domain, lambda x, y: 40 + 10 * x * y)
        source = at_gauss(domain, lambda x, y: (5 * math.pi**2 - 40 - 10 * x * y) * wave(x, y))
        ones = torch.ones(1, *domain.shape, dtype=torch.float64)
        matrix = stiffness(torch.ones_like(k), domain) - mass(k, domain)
        u = solve_nine_point(matrix, mass(source, domain).apply(ones))
        return float(domain.norm(u - wave(*domain.mesh())).squeeze())

    errors = [error(n) for n in (9, 17, 33)]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([2.0, 2.0], abs=0.05)


def test_grids_and_knots_that_do_not_fit_are_refused():
    c = torch.ones(1, 15, 9, dtype=torch.float64)
    assert mass(c, BOX).centre.shape == (1, 6, 4)
    with pytest.raises(ValueError, match=r"need \(batch, 15, 9\) Gauss points"):
        mass(c.mT, BOX)
    with pytest.raises(ValueError, match="both ends"):
        mass(c, Domain.box((1.0, 1.0), (6, 4), "neumann", "cells"))
    with pytest.raises(ValueError, match="that grow"):
        edge_load(BOX.axes[0], (0.2, 0.1), (1.0, 1.0))
    with pytest.raises(ValueError, match="its last axes"):
        mass(c, BOX).apply(torch.ones(1, 4, 6, dtype=torch.float64))
