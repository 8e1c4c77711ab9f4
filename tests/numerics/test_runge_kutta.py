import itertools
import math

import pytest
import torch

from sciml.numerics.runge_kutta import forced_path, hermite


def path(steps):
    """s' = -s + cos t, s(0) = 0, on [0, 2]; and the exact solution at the steps."""
    t = torch.linspace(0, 2, 2 * steps + 1, dtype=torch.float64)
    states, slopes = forced_path(lambda s, u: u - s, torch.zeros(1, 1, dtype=torch.float64), torch.cos(t)[None], 2 / steps)
    return states, slopes, exact(t[::2])


def exact(t):
    return (torch.cos(t) + torch.sin(t) - torch.exp(-t)) / 2


def test_steps_are_of_fourth_order():
    errors = []
    for n in (10, 20, 40, 80):
        states, _, expected = path(n)
        errors.append(float((states[0, :, 0] - expected).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(4.0, abs=0.05)


def test_a_cubic_in_time_is_met_exactly_also_between_steps():
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    states, slopes = forced_path(lambda s, u: u + 0 * s, torch.zeros(1, 1).double(), (3 * t**2)[None], 0.25)
    times = torch.rand(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (hermite(states, slopes, 0.25, times)[..., 0] - times**3).abs().max() <= 1e-15


def test_what_lies_between_steps_is_of_fourth_order():
    times = torch.linspace(0, 2, 301, dtype=torch.float64)[None]
    errors = []
    for n in (10, 20, 40):
        states, slopes, _ = path(n)
        errors.append(float((hermite(states, slopes, 2 / n, times)[..., 0] - exact(times)).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(4.0, abs=0.2)


def test_at_the_steps_the_states_themselves_are_given():
    states, slopes, _ = path(16)
    times = torch.arange(17, dtype=torch.float64)[None] / 8
    assert torch.equal(hermite(states, slopes, 0.125, times), states)


def test_an_even_number_of_instants_is_refused():
    with pytest.raises(ValueError, match="got 4 instants, need an odd number"):
        forced_path(lambda s, u: u - s, torch.zeros(1, 1), torch.zeros(1, 4), 0.5)
