import math

import pytest
import torch

from dynamics.plrnn.networks_of_all_kinds import networks
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import affine_maps, patterns


@pytest.mark.parametrize("name", networks())
def test_the_affine_map_of_its_region_sends_a_state_where_the_network_does(name):
    network = networks()[name].piecewise_linear().detached()
    z = 2 * torch.randn(2, 5, 30, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrices, constants = affine_maps(network, patterns(network, z))
    mapped = (matrices @ z.unsqueeze(-1)).squeeze(-1) + constants
    torch.testing.assert_close(mapped, network(z), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrices, network.jacobian(z), rtol=0, atol=1e-13)


def test_a_pattern_tells_below_between_and_above():
    one = torch.ones(1, 1, dtype=torch.float64)
    network = PiecewiseLinear(one, one[None], one, None, 0 * one, 0 * one, one)
    z = torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.5], dtype=torch.float64).view(1, 5, 1)
    assert patterns(network, z).flatten().tolist() == [-1, 0, 0, 0, 1]


def test_a_pattern_beyond_an_infinite_bound_has_no_finite_map():
    one = torch.ones(1, 1, dtype=torch.float64)
    network = PiecewiseLinear(one, one[None], one, None, 0 * one, 0 * one, one * math.inf)
    _, constants = affine_maps(network, torch.ones(1, 1, 1, dtype=torch.int8))
    assert not constants.isfinite().any()
