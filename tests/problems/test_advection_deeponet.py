import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import ChebyshevSum, GaussianProcess, Sensors
from sciml.problems.advection_deeponet import CASES, AdvectionFromFunction, advection_chebyshev, published

LINE = Domain.box((1.0,), (100,), "open")


@pytest.mark.parametrize("case", CASES)
def test_every_case_passes_the_laws_of_problems(case):
    problem_laws(published(case), LINE, coarse_error=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_every_case_passes_the_laws_of_problems_from_chebyshev_sums(case):
    problem_laws(advection_chebyshev(case), LINE, coarse_error=1e-11)


@pytest.mark.parametrize(("case", "bound"), [("I", 1.0), ("II", 1.0), ("III", 0.2), ("IV", 0.2)])
def test_a_chebyshev_function_is_the_drawn_sum_itself_at_the_sensors(case, bound):
    problem, x = advection_chebyshev(case), LINE.coordinates()[0].numpy()
    assert problem.law == ChebyshevSum(20, bound)
    expected = np.polynomial.chebyshev.chebval(2 * x - 1, problem.law.draw(Seeds(7, range(3))).numpy().T)
    assert np.abs(problem.draw(LINE, Seeds(7, range(3)))["v"][:, 0].numpy() - expected).max() <= 1e-12


@pytest.mark.parametrize("case", ["III", "IV"])
def test_the_slowest_and_the_fastest_speed_of_chebyshev_sums_meet_the_tolerance(case):
    problem = advection_chebyshev(case)
    n = torch.arange(problem.law.count)
    numbers = problem.law.bound * torch.stack([(-1.0) ** (n + 1), -torch.ones(20), torch.ones(20)]).double()
    given = problem.draw(LINE, Seeds(7, range(3)))
    given["v"] = problem.law.values(numbers, LINE.coordinates()[0])[:, None]
    assert given["v"].abs().amax() == pytest.approx(4.0)
    assert (problem.residual(given | problem.solve(given, LINE), LINE) <= problem.tolerance).all()


def values_of(numbers, law):
    return lambda x: float(law.values(numbers, torch.tensor([x], dtype=torch.float64)))


@pytest.mark.parametrize("make", [published, advection_chebyshev])
@pytest.mark.parametrize("case", ["III", "IV"])
def test_answers_are_those_of_characteristics_followed_backwards_by_an_adaptive_solver(case, make):
    problem, seeds = make(case, queries=12), Seeds(4, range(2))
    given, numbers = problem.draw(LINE, seeds), problem.law.draw(seeds)
    found = problem.solve(given, LINE)["s"][..., 0]
    for i in range(2):
        v = values_of(numbers[i : i + 1], problem.law)

        def speed(x, v=v):
            return 1 + (v(x) / 10 if case == "III" else (v(x % 1) + v(1 - x % 1)) / 20)

        for (x, t), s in zip(given["y"][i].tolist(), found[i].tolist(), strict=True):
            if t == 0:
                continue
            leaves = (lambda _, z: z[0] if case == "III" else 1.0,)
            leaves[0].terminal = True
            path = solve_ivp(lambda _, z: [-speed(z[0])], (0, t), [x], "DOP853", rtol=1e-12, atol=1e-13, events=leaves)
            if case == "IV":
                expected = math.sin(2 * math.pi * path.y[0, -1])
            elif path.t_events[0].size and path.t_events[0][0] > 0:
                expected = math.sin(math.pi * (t - path.t_events[0][0]))
            else:
                expected = path.y[0, -1] ** 2 if x > 0 else math.sin(math.pi * t)
            assert s == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_answers_solve_the_equation(case):
    problem = published(case, queries=20)
    given = problem.draw(LINE, Seeds(8, range(3)))
    # Inside of the grid, and away from the line between the initial and the boundary values of II and III.
    random = Seeds(9, range(3)).uniform("inside", 40).reshape(3, 20, 2)
    y = random * torch.tensor([0.4, 0.4]) + torch.tensor([0.55, 0.02])
    y = y.double().requires_grad_()
    (slope,) = torch.autograd.grad(problem.solve(given | {"y": y}, LINE)["s"].sum(), y)
    law, numbers = GaussianProcess(), GaussianProcess().draw(Seeds(8, range(3)))
    x = y[..., 0].detach()
    v, mirrored = law.values(numbers, x), law.values(numbers, 1 - x)
    speed = {"III": 1 + v / 10, "IV": 1 + (v + mirrored) / 20}.get(case, torch.ones_like(v))
    assert (slope[..., 1] + speed * slope[..., 0]).abs().max() <= 1e-7 * slope.abs().max()


@pytest.mark.parametrize("case", CASES)
def test_answers_start_and_enter_as_the_case_says(case):
    problem = published(case, queries=100)
    x = LINE.coordinates()[0]
    given = problem.draw(LINE, Seeds(5, range(1)))
    v = given["v"][0, 0]
    at_start = problem.solve(given | {"y": torch.stack([x, 0 * x], -1)[None]}, LINE)["s"][0, :, 0]
    on_waves = GaussianProcess().values(GaussianProcess().draw(Seeds(5, range(1))), torch.sin(math.pi * x).square())[0]
    expected = {"I": on_waves, "II": x * v, "III": x**2, "IV": torch.sin(2 * math.pi * x)}[case]
    assert (at_start - expected).abs().max() <= 1e-10
    left = problem.solve(given | {"y": torch.stack([0 * x, x], -1)[None]}, LINE)["s"][0, :, 0]
    right = problem.solve(given | {"y": torch.stack([0 * x + 1, x], -1)[None]}, LINE)["s"][0, :, 0]
    entered = {"II": 0 * x, "III": torch.sin(math.pi * x)}.get(case, right)
    assert (left - entered).abs().max() <= 1e-10


def test_a_speed_that_is_not_positive_is_refused_with_the_sample():
    problem = published("III", queries=3)
    given = problem.draw(LINE, Seeds(5, range(2)))
    v = given["v"].clone()
    v[1] = -10.5
    with pytest.raises(ValueError, match=r"sample 1 of the block: speed is -0.05"):
        problem.solve(given | {"v": v}, LINE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"case": "V"}, "case: got 'V'"),
        ({"case": "I", "queries": 0}, "queries: got 0"),
        ({"case": "I", "instants": 1}, "instants: got 1"),
        ({"case": "I", "law": GaussianProcess(0.2, 2.0)}, "need span 1"),
        ({"case": "III", "law": ChebyshevSum()}, "bound: got 1 with count = 20 polynomials, need at most 0.2"),
    ],
)
def test_numbers_that_make_no_problem_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        AdvectionFromFunction(**wrong)


def test_two_thirds_of_the_terms_of_the_travel_time_are_enough():
    problem = published("III")
    given = problem.draw(LINE, Seeds(6, range(200)))
    fit = Sensors.on(LINE, problem.law).by_law()
    gap = problem._answers(given, fit, 64) - problem._answers(given, fit, 96)
    assert gap.abs().max() <= 1e-10
