import itertools
import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy import TwoPhase, lognormal, rough, smooth, trigonometric

LAWS = [smooth, rough, lognormal, trigonometric]


def square(points):
    return Domain.box((1.0, 1.0), (points, points), "dirichlet")


@pytest.mark.parametrize("lengths", [(1.0, 1.0), (1.0, 2.0)])
def test_the_membrane_is_solved_at_second_order(lengths):
    def error(points):
        domain = Domain.box(lengths, (points, points), "dirichlet")
        given, exact = smooth().exact(domain)
        return float(domain.norm(smooth().solve(given, domain)["u"] - exact["u"]).squeeze())

    errors = [error(n) for n in (17, 33, 65)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.05)


def test_the_exact_membrane_has_the_textbook_deflection_at_its_centre():
    _, exact = smooth().exact(square(33))
    assert float(exact["u"][0, 0, 16, 16]) == pytest.approx(0.0736713, abs=1e-7)


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_meets_the_residual_that_solve_promises(law):
    domain = square(64)
    given = law().draw(domain, Seeds(1, range(3)))
    fields = given | law().solve(given, domain)
    assert (law().residual(fields, domain) <= 1e-10).all()
    wrong = fields | {"u": fields["u"] * 1.001}
    assert (law().residual(wrong, domain) > 5e-4).all()


@pytest.mark.parametrize(("law", "values"), [(smooth, {3.0, 12.0}), (rough, {2.0, 12.0})])
def test_two_phases_have_the_published_values_in_equal_shares(law, values):
    a = law().draw(square(65), Seeds(3, range(40)))["a"]
    assert set(a.unique().tolist()) == values
    assert float((a == 12.0).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_values_of_the_phases_keep_all_their_digits():
    a = TwoPhase(alpha=2.0, tau=3.0, above=0.1, below=0.3).draw(square(9), Seeds(0, range(4)))
    assert set(a.unique().tolist()) == {0.1, 0.3}


def test_the_logarithm_of_a_lognormal_has_the_published_variance_and_the_sign_of_the_phases():
    domain = square(33)
    g = lognormal().draw(domain, Seeds(3, range(200)))["a"].log()
    eigenvalue = (math.pi * torch.arange(128.0, dtype=torch.float64)).square()
    variance = 9 * (eigenvalue[:, None] + eigenvalue + 9) ** -2.0
    expected, found = float(variance.sum() - variance[0, 0]), domain.mean(g.square())
    assert float(found.mean()) == pytest.approx(expected, abs=4 * float(found.std()) / 200**0.5)
    assert torch.equal(g >= 0, smooth().draw(domain, Seeds(3, range(200)))["a"] == 12)


def test_waves_are_the_product_over_six_scales():
    domain = square(20)
    a = trigonometric().draw(domain, Seeds(3, range(1)))["a"][0, 0]
    c = [2**k * (1 + u / 2) for k, u in enumerate(Seeds(3, range(1)).uniform("permeability", 6)[0].tolist())]
    x, y = 7 / 19, 11 / 19
    expected = math.prod(
        (1 + math.cos(ck * math.pi * (x + y)) / 2) * (1 + math.sin(ck * math.pi * (y - 3 * x)) / 2) for ck in c
    )
    assert float(a[7, 11]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_a_sample_has_the_same_coefficient_on_every_grid(law):
    coarse = law().draw(square(17), Seeds(5, range(2)))["a"]
    fine = law().draw(square(65), Seeds(5, range(2)))["a"]
    assert torch.allclose(coarse, fine[..., ::4, ::4], rtol=1e-12)


def test_answers_on_finer_grids_converge_to_one_function():
    # First order: the coefficient jumps.
    answers = {}
    for n in (33, 65, 129):
        given = smooth().draw(square(n), Seeds(5, range(4)))
        answers[n] = smooth().solve(given, square(n))["u"][..., :: (n - 1) // 32, :: (n - 1) // 32]
    gaps = [float((answers[n] - answers[129]).norm() / answers[129].norm()) for n in (33, 65)]
    assert gaps[1] < 0.6 * gaps[0] < 0.05


@pytest.mark.parametrize("law", LAWS)
def test_darcy_passes_the_laws_of_problems(law):
    problem_laws(law(), square(48), coarse_error=1e-3)
