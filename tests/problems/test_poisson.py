import itertools
import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.poisson import BallsAndBoxes, GaussianSource, LogNormal, Poisson, conductance, obstacles, smoke
from sciml.problems.smoke_plume import SmokePlume

MIXED = ["neumann", ("neumann", "dirichlet")]
BOTH = Poisson(GaussianSource(modes=16), BallsAndBoxes(5), LogNormal(length=0.2, deviation=1.5, modes=16))


def square(points, sides="dirichlet"):
    return Domain.box((1.0, 1.0), (points, points), sides, "cells")


def cube(points, sides="dirichlet"):
    return Domain.box((1.0, 1.0, 1.0), (points,) * 3, sides, "cells")


@pytest.mark.parametrize(
    ("problem", "domain"),
    [
        (obstacles(modes=16), square(32, MIXED)),
        (obstacles(modes=16), square(32, "neumann")),
        (obstacles(modes=8), cube(12, ["neumann", "periodic", ("neumann", "dirichlet")])),
        (conductance(modes=16), square(32)),
        (conductance(modes=16), square(32, "periodic")),
        (conductance(length=0.3, modes=8), cube(12)),
        (BOTH, square(24, ["periodic", "neumann"])),
        (smoke(steps=4), square(32, MIXED)),
        (smoke(steps=3), cube(12, ["neumann", "neumann", ("neumann", "dirichlet")])),
        (smoke(steps=3), square(24, "neumann")),
    ],
    ids=str,
)
def test_poisson_passes_the_laws_of_problems(problem, domain):
    # Of the lowest wave, k = 2π at most, the eigenvalue is too small by the factor (sin(kh/2) / (kh/2))².
    half = max(math.pi * h for h in domain.spacing)
    problem_laws(problem, domain, coarse_error=1.001 * ((half / math.sin(half)) ** 2 - 1))


@pytest.mark.parametrize("sides", ["dirichlet", "neumann", "periodic", MIXED, [("dirichlet", "neumann"), "periodic"]], ids=str)
@pytest.mark.parametrize(("box", "sizes"), [(square, (16, 32, 64)), (cube, (8, 16, 32))])
def test_the_lowest_wave_is_solved_at_second_order(box, sizes, sides):
    if box is cube and not isinstance(sides, str):
        sides = [*sides, "dirichlet"]

    def error(points):
        domain = box(points, sides)
        given, exact = conductance().exact(domain)
        return float(domain.norm(conductance().solve(given, domain)["pressure"] - exact["pressure"]).squeeze())

    errors = [error(n) for n in sizes]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.05)


@pytest.mark.parametrize("domain", [square(40, MIXED), cube(10, "dirichlet")], ids=str)
def test_pressures_around_obstacles_are_those_of_a_direct_solver(domain):
    problem = BOTH
    given = problem.draw(domain, Seeds(2, range(3)))
    assert 0.01 < float(given["obstacle"].mean()) < 0.6
    p, operator = problem.solve(given, domain)["pressure"][:, 0], problem.operator(given, domain)
    for i, solid in enumerate(given["obstacle"][:, 0] > 0.5):
        f = given["source"][i, 0]
        assert (p[i][solid] == 0).all()
        assert (f[solid] == 0).all()
        held = (operator.floating[i] == -1)[~solid].numpy()
        matrix = operator.matrix(i)[held][:, held].tocsc()
        expected = scipy.sparse.linalg.splu(matrix).solve(f[~solid].numpy()[held])
        assert np.linalg.norm(p[i][~solid].numpy()[held] - expected) <= 1e-9 * np.linalg.norm(expected)


def test_between_walls_source_and_pressure_have_mean_zero_in_the_fluid():
    domain = square(32, "neumann")
    problem = obstacles(modes=16)
    given = problem.draw(domain, Seeds(2, range(4)))
    for field in (given["source"], problem.solve(given, domain)["pressure"]):
        assert (field.flatten(1).sum(1).abs() <= 1e-12 * field.flatten(1).abs().sum(1)).all()


def test_shapes_are_balls_and_boxes_of_the_drawn_sizes():
    law, domain = BallsAndBoxes(1, smallest=0.1, largest=0.2), Domain.box((2.0, 1.0), (400, 200), "neumann", "cells")
    seeds = Seeds(3, range(30))
    solid = law.draw(domain, seeds)
    seen = set()
    for cells, (kind, x, y, *sizes) in zip(solid, seeds.uniform("obstacle", 5).tolist(), strict=True):
        half = [0.1 + 0.1 * s for s in sizes]
        if not (half[0] < 2 * x < 2 - half[0] and max(half) < y < 1 - max(half)):
            continue
        area = math.pi * half[0] ** 2 if kind < 0.5 else 4 * half[0] * half[1]
        seen.add(kind < 0.5)
        assert float(domain.integral(cells.double())) == pytest.approx(area, rel=0.03)
        rows, columns = (cells.any(1 - k).nonzero()[:, 0].double() for k in range(2))
        assert float(rows.mean() + 0.5) * 0.005 == pytest.approx(2 * x, abs=0.003)
        assert float(columns.mean() + 0.5) * 0.005 == pytest.approx(y, abs=0.003)
    assert seen == {True, False}


def test_a_shape_is_the_same_on_every_grid():
    law = BallsAndBoxes(6)
    coarse, fine = (law.draw(square(n), Seeds(1, range(4))).double() for n in (32, 96))
    assert torch.equal(fine[:, 1::3, 1::3], coarse)  # every third centre is one of the coarse grid


@pytest.mark.parametrize("law", ["source", "conductance"])
def test_a_gaussian_field_is_the_same_function_on_every_grid(law):
    problem = conductance(modes=16)
    coarse, fine = (problem.draw(square(n), Seeds(5, range(2)))[law] for n in (16, 48))
    assert torch.allclose(coarse, fine[..., 1::3, 1::3], rtol=1e-11, atol=1e-13)


def test_the_logarithm_of_the_conductance_has_the_deviation_and_length_of_its_law():
    domain = square(64)
    logarithm = LogNormal(length=0.05, deviation=0.7, modes=64).draw(domain, Seeds(7, range(200))).log()
    assert float(logarithm.square().mean()) == pytest.approx(0.49, rel=0.05)
    # Away from the sides the correlation at a distance of one length is exp(-1/2); 64 / 20 cells are one length.
    inner = logarithm[:, 16:48, 16:48]
    correlation = (inner[:, :-6] * inner[:, 6:]).mean() / inner.square().mean()
    assert float(correlation) == pytest.approx(math.exp(-0.5 * (6 / 64 / 0.05) ** 2), abs=0.05)


def test_float32_inputs_give_float32_answers_of_that_precision():
    domain = square(32, "neumann")
    problem = obstacles(modes=16)
    given = problem.draw(domain, Seeds(2, range(2)))
    single = problem.solve({name: values.float() for name, values in given.items()}, domain)["pressure"]
    double = problem.solve(given, domain)["pressure"]
    assert single.dtype == torch.float32
    assert (single - double).norm() <= 1e-6 * double.norm()


def test_the_pressure_has_the_derivative_of_a_difference_quotient():
    domain = square(12, MIXED)
    given = BOTH.draw(domain, Seeds(2, range(2)))
    leaf = given["conductance"].requires_grad_()
    BOTH.solve(given, domain)["pressure"].square().sum().backward()
    direction = torch.cos(torch.arange(leaf.numel(), dtype=torch.float64)).reshape(leaf.shape)

    def value(step):
        moved = given | {"conductance": leaf.detach() + step * direction}
        return float(BOTH.solve(moved, domain)["pressure"].square().sum())

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    assert float((leaf.grad * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_a_plume_in_varying_conductance_is_refused():
    with pytest.raises(ValueError, match=r"^conductance: got a law together with SmokePlume"):
        Poisson(SmokePlume(), conductance=LogNormal())


def test_nodes_are_refused():
    domain = Domain.box((1.0, 1.0), (9, 9), "dirichlet")
    with pytest.raises(ValueError, match=r"^domain: got an axis with layout 'both_ends'"):
        obstacles(modes=4).draw(domain, Seeds(0, range(1)))


def test_obstacles_that_fill_all_cells_are_refused_with_the_sample():
    domain = Domain.box((1.0, 1.0), (16, 16), "neumann", "cells")
    with pytest.raises(ValueError, match=r"^obstacles: sample 4 is solid in all cells, with count = 100 and largest = 0.5"):
        obstacles(count=100, largest=0.5).draw(domain, Seeds(1, range(4, 6)))
    with pytest.raises(ValueError, match=r"^largest: got 0.6, need smallest = 0.03 to 0.5"):
        obstacles(largest=0.6)


def test_more_modes_of_the_conductance_allow_a_shorter_length():
    domain = Domain.box((1.0, 1.0), (16, 16), "neumann", "cells")
    problem = conductance(length=0.04, modes=8, conductance_modes=50)
    assert problem.conductance == LogNormal(0.04, 1.0, 50)
    assert problem.source == GaussianSource(modes=8)
    assert problem.draw(domain, Seeds(1, range(1)))["conductance"].isfinite().all()
    with pytest.raises(ValueError, match=r"with 49 modes per axis .* need 50 modes"):
        conductance(length=0.04, conductance_modes=49).draw(domain, Seeds(1, range(1)))
    assert conductance().conductance == LogNormal(0.1, 1.0, 32)


def test_a_correlation_length_that_the_modes_do_not_reach_is_refused_with_the_modes_it_needs():
    domain = Domain.box((1.0, 1.0), (16, 16), "neumann", "cells")
    with pytest.raises(ValueError, match=r"length: got 0\.01 with 32 modes per axis on sides up to 1, need 200 modes"):
        LogNormal(length=0.01).draw(domain, Seeds(1, range(1)))
    with pytest.raises(ValueError, match=r"length: got -0\.1, need a positive finite number"):
        LogNormal(length=-0.1)
