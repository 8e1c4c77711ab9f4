import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import ChebyshevSum, GaussianProcess
from sciml.problems.ordinary_differential import (
    Decay,
    OrdinaryDifferential,
    decay,
    decay_chebyshev,
    pendulum,
    pendulum_chebyshev,
)

LINE = Domain.box((1.0,), (100,), "open")
PROBLEMS = [decay(), decay(queries=3), pendulum(), pendulum(queries=3)]
CHEBYSHEV = [decay_chebyshev(queries=5), pendulum_chebyshev(queries=5)]


@pytest.mark.parametrize("problem", [*PROBLEMS, *CHEBYSHEV])
def test_both_equations_pass_the_laws_of_problems(problem):
    problem_laws(problem, LINE, coarse_error=1e-8)


def right_hand_side(problem, numbers):
    def forcing(t):
        return float(problem.law.values(numbers, torch.tensor([t], dtype=torch.float64)))

    if isinstance(problem.equation, Decay):
        return lambda t, s: [-(s[0] ** 2) + forcing(t)]
    return lambda t, s: [s[1], -problem.equation.stiffness * math.sin(s[0]) + forcing(t)]


@pytest.mark.parametrize("problem", CHEBYSHEV)
def test_a_chebyshev_forcing_is_the_drawn_sum_itself_at_the_sensors(problem):
    assert problem.law == ChebyshevSum(20, 1.0)
    numbers, x = problem._numbers(Seeds(9, range(4))).numpy(), LINE.coordinates()[0].numpy()
    expected = np.polynomial.chebyshev.chebval(2 * x - 1, numbers.T)
    assert np.abs(problem.draw(LINE, Seeds(9, range(4)))["u"][:, 0].numpy() - expected).max() <= 1e-12


@pytest.mark.parametrize("problem", CHEBYSHEV)
def test_residuals_of_many_chebyshev_forcings_meet_the_tolerance(problem):
    given = problem.draw(LINE, Seeds(2, range(200)))
    residual = problem.residual(given | problem.solve(given, LINE), LINE)
    assert residual.max() <= problem.tolerance


@pytest.mark.parametrize("problem", [decay(queries=5), pendulum(queries=5), *CHEBYSHEV])
def test_answers_are_those_of_an_adaptive_solver_of_eighth_order(problem):
    seeds = Seeds(9, range(3))
    given, numbers = problem.draw(LINE, seeds), problem._numbers(seeds)
    found = problem.solve(given, LINE)["s"][..., 0].numpy()
    aligned = replace(problem, queries=0).solve({"u": given["u"]}, LINE)["s"][:, 0].numpy()
    for i in range(3):
        start, y = [0.0] * (1 if isinstance(problem.equation, Decay) else 2), given["y"][i, :, 0].numpy()
        grid = LINE.coordinates()[0].numpy()
        path = solve_ivp(
            right_hand_side(problem, numbers[i : i + 1]), (0, 1), start, "DOP853", dense_output=False, rtol=1e-13, atol=1e-14,
            t_eval=np.sort(np.concatenate([y, grid])),
        )  # fmt: skip
        for times, values in ((y, found[i]), (grid, aligned[i])):
            assert np.abs(path.y[0][np.searchsorted(path.t, times)] - values).max() <= 1e-8


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_error_is_of_fourth_order_in_the_step(problem):
    given, exact = problem.exact(LINE)
    errors = []
    for n in (8, 16, 32):
        s = replace(problem, step=1 / n).solve(given, LINE)["s"]
        errors.append(float((s - exact["s"]).norm()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(4.0, abs=0.2)


def test_half_the_step_changes_drawn_answers_by_less_than_1e_8():
    for problem in (decay(), pendulum()):
        given = problem.draw(LINE, Seeds(2, range(300)))
        gap = problem.solve(given, LINE)["s"] - problem.halved().solve(given, LINE)["s"]
        assert gap.abs().max() <= 1e-8


def test_a_pendulum_of_no_stiffness_is_two_antiderivatives():
    problem = OrdinaryDifferential(replace(pendulum().equation, stiffness=0.0), GaussianProcess())
    given, x = problem.draw(LINE, Seeds(4, range(3))), LINE.coordinates()[0]
    # Integrated by parts: s1 = x ∫ u - ∫ t u dt; by Gauss-Legendre.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = torch.from_numpy((nodes + 1) / 2)
    values = problem.law.values(problem._numbers(Seeds(4, range(3))), t)
    expected = (values * (1 - t) * torch.from_numpy(weights / 2)).sum(1)
    assert torch.allclose(problem.solve(given, LINE)["s"][:, 0, -1], expected, atol=1e-9)
    assert float(x[-1]) == 1


def test_a_forcing_without_a_bounded_answer_is_drawn_again_alone_and_in_a_block():
    problem = OrdinaryDifferential(Decay(bound=1.0), GaussianProcess())
    block = problem.draw(LINE, Seeds(3, range(40)))["u"]
    first = problem.law.values(problem.law.draw(Seeds(3, range(40))), LINE.coordinates()[0])
    again = (block[:, 0] != first).any(1)
    assert 0 < int(again.sum()) < 40
    sample = int(again.nonzero()[0])
    alone = problem.draw(LINE, Seeds(3, range(sample, sample + 1)))["u"][0]
    assert torch.allclose(alone, block[sample], atol=1e-13)
    assert (problem.solve({"u": block}, LINE)["s"].abs() <= 1.001).all()


def test_answers_that_are_not_finite_are_refused_with_the_sample():
    u = torch.zeros(2, 1, 100, dtype=torch.float64)
    u[1] = -30.0
    with pytest.raises(ValueError, match="sample 1 of the block"):
        decay().solve({"u": u}, LINE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(lambda: decay(queries=-1), "queries: got -1"), (lambda: decay(step=0.0), "step: got 0.0")],
)
def test_numbers_that_make_no_problem_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
