import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.antiderivative import chebyshev, gaussian_process

LINE = Domain.box((1.0,), (100,), "open")
PROBLEMS = [gaussian_process(), gaussian_process(queries=1), gaussian_process(queries=7), chebyshev(), chebyshev(queries=3)]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_antiderivative_passes_the_laws_of_problems(problem):
    problem_laws(problem, LINE, coarse_error=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_answers_are_the_integral_of_the_drawn_sum_itself(problem):
    seeds = Seeds(11, range(2000))
    given = problem.draw(LINE, seeds)
    places = given["y"][..., 0] if problem.queries else LINE.coordinates()[0]
    expected = problem.law.integral(problem.law.draw(seeds), places)
    found = problem.solve(given, LINE)["u"].flatten(1)
    size = given["f"].abs().amax((1, 2))[:, None] * places
    assert ((found - expected).abs() <= 1e-11 * size).all()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_derivative_of_the_answer_is_the_input(problem):
    if problem.queries:
        given = problem.draw(LINE, Seeds(3, range(3)))
        y = given["y"].requires_grad_()
        (slope,) = torch.autograd.grad(problem.solve(given | {"y": y}, LINE)["u"].sum(), y)
        expected = problem.law.values(problem.law.draw(Seeds(3, range(3))), y[..., 0].detach())
        assert torch.allclose(slope[..., 0], expected, atol=1e-9)
    else:
        given = problem.draw(LINE, Seeds(3, range(3)))
        u = problem.solve(given, LINE)["u"]
        assert (u[..., 0] == 0).all()


def test_single_precision_is_served_as_well():
    problem = gaussian_process(queries=5)
    given = problem.draw(LINE, Seeds(3, range(50)))
    single = problem.solve({name: values.float() for name, values in given.items()}, LINE)["u"]
    assert single.dtype == torch.float32
    assert (single - problem.solve(given, LINE)["u"]).abs().max() <= 1e-5


def test_more_sensors_see_the_same_function():
    fine = Domain.box((1.0,), (199,), "open")
    for problem in PROBLEMS:
        coarse, finer = (problem.draw(line, Seeds(5, range(2))) for line in (LINE, fine))
        assert torch.allclose(coarse["f"], finer["f"][..., ::2], atol=1e-13)
        if problem.queries:
            assert torch.equal(coarse["y"], finer["y"])


def test_too_few_sensors_and_wrong_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="need at least 93"):
        gaussian_process().draw(Domain.box((1.0,), (64,), "open"), Seeds(0, range(1)))
    with pytest.raises(ValueError, match="queries: got -1"):
        gaussian_process(queries=-1)
