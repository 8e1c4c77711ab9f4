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
from sciml.problems.diffusion_reaction_source import DiffusionReactionSource, diffusion_reaction_chebyshev, published

LINE = Domain.box((1.0,), (100,), "open")


@pytest.mark.parametrize("problem", [published(), replace(published(), reaction=0.0), diffusion_reaction_chebyshev()])
def test_both_with_and_without_reaction_it_passes_the_laws_of_problems(problem):
    problem_laws(problem, LINE, coarse_error=1e-12)


def by_collocation(problem, source, points=64):
    """Chebyshev collocation in space (Trefethen 2000, program 6), an implicit adaptive scheme in time; at x = 1/2 and 13/99."""
    k = np.arange(points + 1)
    x = np.cos(math.pi * k / points)
    c = np.where((k == 0) | (k == points), 2.0, 1.0) * (-1.0) ** k
    apart = x[:, None] - x
    first = np.outer(c, 1 / c) / (apart + np.eye(points + 1))
    first -= np.diag(first.sum(1))
    second = 4 * (first @ first)[1:-1, 1:-1]
    u = source(torch.from_numpy((x + 1) / 2))[1:-1]

    def slope(t, s):
        return problem.diffusion * second @ s + problem.reaction * s**2 + u

    def jacobian(t, s):
        return problem.diffusion * second + np.diag(2 * problem.reaction * s)

    path = solve_ivp(slope, (0, 1), 0 * u, "Radau", t_eval=[20 / 99, 1.0], rtol=1e-10, atol=1e-12, jac=jacobian)
    amplitudes = np.polynomial.chebyshev.chebfit(x, np.pad(path.y, ((1, 1), (0, 0))), points)
    return np.polynomial.chebyshev.chebval(2 * np.array([5 / 99, 13 / 99, 49 / 99, 98 / 99]) - 1, amplitudes)


@pytest.mark.parametrize(("law", "modes"), [(GaussianProcess(), 191), (ChebyshevSum(), 400)])
def test_frames_are_those_of_chebyshev_collocation_and_an_adaptive_scheme(law, modes):
    problem = replace(published(), law=law, reaction=0.3, modes=modes)
    numbers = law.draw(Seeds(6, range(2)))
    frames = problem.frames(law.values(numbers, LINE.coordinates()[0]), LINE)
    for i in range(2):
        expected = by_collocation(problem, lambda x, i=i: law.values(numbers[i : i + 1], x)[0].numpy())
        found = frames[i][[20, 99]][:, [5, 13, 49, 98]].numpy()
        assert np.abs(found - expected).max() <= 2e-8 * np.abs(expected).max()


def test_steps_are_of_fourth_order_where_there_is_no_corner():
    x = LINE.coordinates()[0]
    source = torch.sin(math.pi * x)[None]
    problem = DiffusionReactionSource(reaction=2.0, instants=3, modes=64)

    def last(step):
        return replace(problem, step=step).frames(source, LINE)[:, -1]

    finest = last(1 / 256)
    errors = [float((last(1 / n) - finest).abs().max()) for n in (8, 16, 32)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("problem", [published(), diffusion_reaction_chebyshev()])
def test_more_modes_and_shorter_steps_change_drawn_answers_by_less_than_1e_8(problem):
    u = problem.draw(LINE, Seeds(1, range(10)))["u"][:, 0]
    finer = replace(problem, modes=500, step=1 / 396).frames(u, LINE)
    assert (problem.frames(u, LINE) - finer).abs().max() <= 1e-8


def test_points_are_those_of_the_grid_and_answers_vanish_on_its_three_sides():
    problem = published(queries=4000)
    given = problem.draw(LINE, Seeds(1, range(1)))
    steps = given["y"] * 99
    assert torch.allclose(steps, steps.round(), atol=1e-9)
    x, t = steps[0].round().unbind(-1)
    for values in (x, t):
        assert set(values.tolist()) == set(map(float, range(100)))
    s = problem.solve(given, LINE)["s"][0, :, 0]
    assert s[(x == 0) | (x == 99) | (t == 0)].abs().max() <= 1e-11
    assert s[(x > 0) & (x < 99) & (t > 0)].abs().min() > 1e-9


def test_a_chebyshev_source_is_the_drawn_sum_itself_at_the_sensors():
    problem, x = diffusion_reaction_chebyshev(count=12, bound=0.5), LINE.coordinates()[0].numpy()
    assert problem.law == ChebyshevSum(12, 0.5)
    expected = np.polynomial.chebyshev.chebval(2 * x - 1, problem.law.draw(Seeds(7, range(3))).numpy().T)
    assert np.abs(problem.draw(LINE, Seeds(7, range(3)))["u"][:, 0].numpy() - expected).max() <= 1e-12


def test_points_off_the_grid_are_refused():
    problem = published(queries=2)
    given = problem.draw(LINE, Seeds(1, range(1)))
    with pytest.raises(ValueError, match="points off the grid, need multiples of 1/99"):
        problem.solve(given | {"y": given["y"] + 0.003}, LINE)


def test_a_reaction_that_explodes_is_refused_with_the_sample():
    problem = replace(published(), reaction=1e3)
    u = torch.stack([torch.zeros(1, 100), torch.full((1, 100), 1e3)]).double()
    y = problem.draw(LINE, Seeds(1, range(2)))["y"]
    with pytest.raises(ValueError, match="sample 1 of the block"):
        problem.solve({"u": u, "y": y}, LINE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queries": 0}, "queries: got 0, need at least 1"),
        ({"modes": 100}, "modes: got 100, need at least 142"),
        ({"diffusion": 0.0}, "got 0.0"),
        ({"step": -1.0}, "step: got -1.0"),
        ({"law": GaussianProcess(0.2, 2.0)}, "need span 1"),
    ],
)
def test_numbers_that_make_no_problem_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DiffusionReactionSource(**wrong)
