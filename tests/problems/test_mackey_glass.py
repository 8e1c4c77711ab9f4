import itertools
import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.mackey_glass import MackeyGlass, mackey_glass

NONE = Domain(())


def test_mackey_glass_passes_the_laws_of_problems():
    problem_laws(mackey_glass(frames=20, warm_up=100.0), NONE, coarse_error=0.0)


def test_without_feedback_the_state_decays_as_an_exponential():
    problem = MackeyGlass((0.0, 1.0, 10.0), beta=0.0, warm_up=0.0)
    given = problem.draw(NONE, Seeds(1, range(3)))
    true = given["state"] * torch.exp(-0.1 * torch.tensor(problem.times, dtype=torch.float64))[None, :, None]
    assert (problem.solve(given, NONE)["state"] - true).abs().max() < 40 * 0.025**5 / 120 * 2


def test_within_the_first_delay_a_constant_past_has_a_closed_form():
    # up to a step before the delay, as at 0 the slope jumps: x' = c - x / 10 with c = 0.2 x0 / (1 + x0^10)
    problem = MackeyGlass((0.0, 5.0, 16.5), nodes=34, warm_up=0.0)
    given = problem.draw(NONE, Seeds(1, range(3)))
    x0, t = given["state"], torch.tensor(problem.times, dtype=torch.float64)[None, :, None]
    level = 2 * x0 / (1 + x0**10)
    assert (
        problem.solve(given, NONE)["state"] - (level + (x0 - level) * torch.exp(-t / 10))
    ).abs().max() < 33 * 0.05**5 / 120 * 2


def test_the_error_falls_with_the_fourth_power_of_the_step():
    problem = mackey_glass(frames=40, nodes=17, warm_up=200.0)
    given = mackey_glass(frames=40, nodes=17, warm_up=200.0).draw(NONE, Seeds(2, range(2)))
    ends = []
    for halvings in (1, 2, 3, 5):
        finer = problem
        for _ in range(halvings):
            finer = finer.halved()
        ends.append(finer.solve(given, NONE)["state"][:, -1])
    errors = [float((end - ends[-1]).norm()) for end in ends[:-1]]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.4)


def test_the_fixed_point_stays():
    # beta / (1 + x^10) = gamma at x = 1
    problem = mackey_glass(frames=30, warm_up=0.0)
    history = torch.stack([torch.ones(1, 68), torch.zeros(1, 68)], 2).double()
    assert (problem.solve({"history": history, "state": torch.ones(1, 1, 1).double()}, NONE)["state"] - 1).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mackey_glass(interval=0.3), "nodes: got 68, steps of 0.25 miss instant 0.3"),
        (lambda: mackey_glass(delay=-1.0), "delay: got -1"),
        (lambda: mackey_glass().draw(Domain.box((1.0,), (9,), "open"), Seeds(0, range(1))), "domain: got .* has no grid"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
