import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.fitzhugh_nagumo import CellNoise, FitzHughNagumo, SmoothField, pdebench, smooth


def box(*points):
    return Domain.box([2.0] * len(points), points, "neumann", "cells", [-1.0] * len(points))


def start(domain):
    x, y = domain.mesh()
    u = torch.cos(math.pi * (x + 1) / 2) + 0.5 * torch.cos(math.pi * (y + 1))
    v = 0.7 * torch.cos(math.pi * (x + 1)) * torch.cos(math.pi * (y + 1) / 2)
    return {"u": u[None, None, None], "v": v[None, None, None]}


def smooth_problem(**changes):
    # diffusivities that matter on one box length in one unit of time
    made = FitzHughNagumo(SmoothField(), (0.0, 1.0), diffusivities=(0.02, 0.05), step=0.025, cosine_series=True)
    return replace(made, **changes)


def end(problem, domain):
    answers = problem.solve(start(domain), domain)
    return torch.stack([answers["u"][0, -1, 0], answers["v"][0, -1, 0]])


@pytest.mark.parametrize("make", [pdebench, smooth])
def test_fitzhugh_nagumo_passes_the_laws_of_problems(make):
    problem_laws(make(4), box(16, 12), coarse_error=1e-12)


def test_steps_in_time_are_of_fourth_order():
    domain = box(16, 16)
    reference = end(smooth_problem(step=1 / 640), domain)
    errors = [float((end(smooth_problem(step=1 / n), domain) - reference).norm()) for n in (40, 80, 160)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([4.0, 4.0], abs=0.1)


def test_the_second_difference_is_of_second_order_in_space():
    def error(points):
        domain = box(points, points)
        return float((end(smooth_problem(cosine_series=False), domain) - end(smooth_problem(), domain)).abs().mean())

    slopes = [math.log2(a / b) for a, b in itertools.pairwise([error(n) for n in (16, 32, 64)])]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.05)


def test_the_cosine_series_converges_faster_than_any_power():
    # The middle one of three fine cells has the centre of the coarse one.
    fine = end(smooth_problem(), box(72, 72))
    errors = [
        float((end(smooth_problem(), box(n, n)) - fine[:, k // 2 :: k, k // 2 :: k]).abs().max()) for n, k in ((8, 9), (24, 3))
    ]
    assert errors[1] < 1e-7
    assert errors[0] > 3**6 * errors[1]


def test_answers_are_those_of_an_integrator_with_error_control():
    domain, problem = box(9, 8), replace(pdebench(), times=(0.0, 0.5), step=0.0025)
    given = problem.draw(domain, Seeds(7, range(1)))
    hx, hy = domain.spacing

    def second(w, axis, h):
        wide = np.concatenate([w.take([0], axis), w, w.take([-1], axis)], axis)
        return np.diff(wide, n=2, axis=axis) / h**2

    def rate(_, state):
        u, v = state.reshape(2, 9, 8)
        du = 1e-3 * (second(u, 0, hx) + second(u, 1, hy)) + u - u**3 - 5e-3 - v
        dv = 5e-3 * (second(v, 0, hx) + second(v, 1, hy)) + u - v
        return np.stack([du, dv]).flatten()

    first = torch.cat([given["u"], given["v"]], 2).flatten().numpy()
    expected = scipy.integrate.solve_ivp(rate, (0, 0.5), first, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    answers = problem.solve(given, domain)
    found = torch.cat([answers["u"][:, -1], answers["v"][:, -1]], 1).flatten().numpy()
    assert np.abs(found - expected).max() < 1e-6


def test_the_noise_of_the_published_step_costs_five_digits():
    domain, problem = box(32, 32), pdebench(21)
    given = problem.draw(domain, Seeds(1, range(4)))
    answers, finer = problem.solve(given, domain), problem.halved().solve(given, domain)
    assert max(float((answers[k] - finer[k]).norm() / finer[k].norm()) for k in "uv") < 1e-4


def test_nothing_flows_through_the_sides():
    # With the reaction of v alone, the mean of v obeys d<v>/dt = <u> - <v>; a closed form where u stays constant is rest.
    domain = box(12, 10)
    problem = replace(smooth_problem(), diffusivities=(0.0, 0.3), times=(0.0, 0.3), step=0.01)
    rest = -(5e-3 ** (1 / 3))
    bump = start(domain)["v"] * 1e-7
    given = {"u": torch.full_like(bump, rest), "v": rest + bump + 1e-7}
    answers = problem.solve(given, domain)
    # linear about rest: (<u>, <v>) by the matrix [[1 - 3 rest², -1], [1, -1]]
    matrix = torch.tensor([[1 - 3 * rest**2, -1.0], [1.0, -1.0]], dtype=torch.float64)
    means = torch.stack([answers[k][0, -1].mean() - rest for k in "uv"])
    expected = torch.linalg.matrix_exp(0.3 * matrix) @ torch.tensor([0.0, float(bump.mean()) + 1e-7], dtype=torch.float64)
    assert torch.allclose(means, expected, atol=1e-12)


def test_noise_is_standard_normal_and_independent():
    given = pdebench().draw(box(64, 64), Seeds(3, range(10)))
    count = 10 * 64 * 64
    u, v = given["u"], given["v"]
    for w in (u, v):
        assert float(w.mean()) == pytest.approx(0.0, abs=4 / math.sqrt(count))
        assert float(w.square().mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / count))
    assert float((u * v).mean()) == pytest.approx(0.0, abs=4 / math.sqrt(count))
    assert float((u[..., 1:] * u[..., :-1]).mean()) == pytest.approx(0.0, abs=4.1 / math.sqrt(count))


def test_smooth_fields_have_variance_one_and_are_the_same_on_every_grid():
    given = smooth().draw(box(24, 24), Seeds(3, range(400)))
    # 400 samples of some twenty independent patches each
    assert float(given["u"].square().mean()) == pytest.approx(1.0, abs=0.06)
    fine = smooth().draw(box(72, 72), Seeds(3, range(3)))
    assert torch.allclose(given["v"][:3], fine["v"][..., 1::3, 1::3], atol=1e-12)


def test_single_precision_is_double_precision_rounded():
    domain, problem = box(16, 16), pdebench(4)
    given = problem.draw(domain, Seeds(1, range(2)))
    single = problem.solve({name: w.float() for name, w in given.items()}, domain)["u"]
    assert single.dtype == torch.float32
    assert (single - problem.solve(given, domain)["u"]).abs().max() < 200 * torch.finfo(torch.float32).eps


def test_answers_can_be_differentiated():
    domain, problem = box(4, 3), smooth_problem(times=(0.0, 0.05))
    given = start(domain)
    u = given["u"].requires_grad_()
    assert torch.autograd.gradcheck(lambda u: problem.solve({"u": u, "v": given["v"]}, domain)["v"], u, rtol=1e-4)


def test_what_the_scheme_cannot_take_is_refused_with_what_would_work():
    large = {name: torch.full((1, 1, 1, 4, 4), 10.0, dtype=torch.float64) for name in "uv"}
    with pytest.raises(ValueError, match=r"step: got 0\.0125, unstable at \|u\| = 10; 0\.0081 works"):
        pdebench(2).solve(large, box(4, 4))
    assert float(replace(pdebench(2), step=0.0081).solve(large, box(4, 4))["u"].abs().max()) == 10.0
    with pytest.raises(ValueError, match="step: got 0"):
        FitzHughNagumo(CellNoise(), (0.0, 1.0), step=0.0)
    domain = Domain.box((1.0, 1.0), (8, 8), "periodic")
    given = pdebench(2).draw(domain, Seeds(0, range(1)))
    with pytest.raises(ValueError, match="needs neumann sides and layout cells"):
        pdebench(2).solve(given, domain)
