import math

import pytest
import torch

from dynamics.plrnn.analysed_networks import tent
from sciml.dynamics.plrnn.lyapunov import lyapunov_exponents
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear


def test_the_exponent_of_a_tent_map_is_the_logarithm_of_its_slope():
    slopes = (1.3, 1.6, 1.9)
    start = torch.full((3, 2, 1), 0.3, dtype=torch.float64)
    found = lyapunov_exponents(tent(slopes), start, steps=300, transient=10, every=1, dt=0.5)
    expected = torch.tensor([[[2 * math.log(s)]] * 2 for s in slopes], dtype=torch.float64)
    torch.testing.assert_close(found.exponents, expected, rtol=0, atol=1e-12)


def test_a_linear_network_has_the_logarithms_of_its_decay():
    decay = torch.tensor([[0.9, 0.5, 0.2]])
    nothing = torch.zeros(1, 3)
    network = PiecewiseLinear(decay, torch.zeros(1, 3, 3), nothing, None, nothing, nothing, nothing + math.inf)
    found = lyapunov_exponents(network, torch.ones(1, 3), steps=100, transient=100, every=2)
    # The frame turns towards the axes like (5/9)^100 = 3e-26: rounding is all that is left.
    torch.testing.assert_close(found.exponents, decay.double().log(), rtol=0, atol=1e-12)


def test_starts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"start: got shape \(1, 1\), need \(2, ..., 1\)"):
        lyapunov_exponents(tent((1.5, 1.6)), torch.zeros(1, 1), steps=20, transient=0)
