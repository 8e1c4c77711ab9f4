import itertools
import math

import pytest
import torch
from scipy.integrate import cumulative_simpson
from scipy.linalg import solveh_banded

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy_line import DarcyLine, lognormal, two_phase

MEANS = ["harmonic", "arithmetic"]


def line(points, length=1.0):
    return Domain.box((length,), (points,), "dirichlet")


def slopes(errors):
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


@pytest.mark.parametrize("mean", MEANS)
def test_a_smooth_coefficient_is_solved_at_second_order(mean):
    problem = DarcyLine(lognormal().permeability, face_mean=mean)

    def error(n):
        domain = line(n, 2.0)
        given, exact = problem.exact(domain)
        return float(domain.norm(problem.solve(given, domain)["u"] - exact["u"]).squeeze())

    assert slopes([error(n) for n in (17, 33, 65)]) == pytest.approx([2.0, 2.0], abs=0.05)


def test_a_drawn_coefficient_has_the_answer_of_quadrature():
    # u' = (C - x) / a; C makes u(1) = 0.
    domain = line(16385)
    given = lognormal().draw(domain, Seeds(2, range(3)))
    x = domain.coordinates()[0].numpy()
    r = 1 / given["a"][:, 0].numpy()
    plain, weighted = (cumulative_simpson(f, x=x, initial=0) for f in (r, r * x))
    exact = torch.from_numpy(weighted[:, -1:] / plain[:, -1:] * plain - weighted)[:, None]
    u = lognormal().solve(given, domain)["u"]
    assert float((u - exact).norm() / exact.norm()) < 1e-8

    def error(stride):
        coarse = domain.strided(stride)
        gap = lognormal().solve(lognormal().draw(coarse, Seeds(2, range(3))), coarse)["u"] - exact[..., ::stride]
        return float(gap.norm() / exact[..., ::stride].norm())

    assert slopes([error(s) for s in (64, 32, 16)]) == pytest.approx([2.0, 2.0], abs=0.01)


@pytest.mark.parametrize("mean", MEANS)
def test_a_jump_costs_one_order(mean):
    # a = 12 up to x = 1 / 3, then 3: no node of any of these grids, and always a third of a spacing from one.
    problem, jump = DarcyLine(two_phase().permeability, face_mean=mean), 1 / 3

    def exact(x):
        left, right = x.clamp(max=jump), (x - jump).clamp(min=0)
        plain, weighted = left / 12 + right / 3, left**2 / 24 + ((x.clamp(min=jump)) ** 2 - jump**2) / 6
        return weighted[-1] / plain[-1] * plain - weighted

    def error(n):
        domain = line(n)
        (x,) = domain.coordinates()
        u = problem.solve({"a": torch.where(x < jump, 12.0, 3.0).double()[None, None]}, domain)["u"][0, 0]
        return float(domain.integral((u - exact(x)).abs()))

    errors = [error(n) for n in (65, 257, 1025)]  # 64 = 1 modulo 3, as its powers of four are
    assert [s / 2 for s in slopes(errors)] == pytest.approx([1.0, 1.0], abs=0.05)


def test_two_running_sums_are_the_tridiagonal_solve():
    domain = line(41)
    a = lognormal().draw(domain, Seeds(7, range(1)))["a"]
    faces = 2 / (1 / a[0, 0, 1:] + 1 / a[0, 0, :-1])
    banded = torch.stack((faces[:-1] + faces[1:], torch.cat((-faces[1:-1], torch.zeros(1))))) * 40**2
    expected = torch.from_numpy(solveh_banded(banded.numpy(), torch.ones(39).double().numpy(), lower=True))
    u = lognormal().solve({"a": a}, domain)["u"][0, 0]
    assert float((u[1:-1] - expected).norm() / expected.norm()) < 1e-13
    assert u[[0, -1]].tolist() == [0.0, 0.0]


def test_the_residual_sees_a_wrong_node_and_a_wrong_end_on_a_fine_grid():
    domain = line(4097)
    fields = two_phase().draw(domain, Seeds(7, range(2)))
    fields |= two_phase().solve(fields, domain)
    assert float(two_phase().residual(fields, domain).max()) < 1e-11
    for node in (0, 2000, 4096):
        wrong = fields["u"].clone()
        wrong[..., node] += 1e-5
        assert float(two_phase().residual(fields | {"u": wrong}, domain).min()) > 1e-5


def test_the_gradient_by_the_permeability_is_right():
    domain = line(9)
    a = lognormal().draw(domain, Seeds(7, range(2)))["a"].requires_grad_()
    assert torch.autograd.gradcheck(lambda a: lognormal().solve({"a": a}, domain)["u"], a)


@pytest.mark.parametrize("law", [two_phase, lognormal])
def test_a_sample_has_the_same_coefficient_on_every_grid(law):
    coarse, fine = (law().draw(line(n), Seeds(5, range(4)))["a"] for n in (33, 257))
    assert torch.allclose(coarse, fine[..., ::8], rtol=1e-12)


def test_domains_and_permeabilities_that_do_not_work_are_refused():
    a = torch.ones(1, 1, 9, dtype=torch.float64)
    with pytest.raises(ValueError, match="dirichlet sides"):
        lognormal().solve({"a": a}, Domain.box((1.0,), (9,), "neumann"))
    with pytest.raises(ValueError, match="got 2 points, need at least 3"):
        lognormal().solve({"a": a}, line(2))
    with pytest.raises(ValueError, match=r"a: got a permeability of -1\.0"):
        lognormal().solve({"a": -a}, line(9))


@pytest.mark.parametrize("law", [two_phase, lognormal])
def test_darcy_on_a_line_passes_the_laws_of_problems(law):
    problem_laws(law(), line(129), coarse_error=1e-4)
