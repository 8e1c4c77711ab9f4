import math

import pytest
import torch

from dynamics.plrnn.analysed_networks import planted, tent
from sciml.dynamics.plrnn.basins import basins, orbit_samples, plane
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear


def switch() -> PiecewiseLinear:
    """x' = x/2 + clamp(x, -1, 1), y' = y/2: fixed points at ±2, stable, and at 0, unstable."""
    decay = torch.full((1, 2), 0.5, dtype=torch.float64)
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    weight = torch.tensor([[[1.0], [0.0]]], dtype=torch.float64)
    return PiecewiseLinear(decay, weight, 0 * decay, weight.mT, nothing, nothing - 1, nothing + 1)


def test_two_basins_meet_where_the_unstable_point_has_its_stable_line():
    x, y = [-3.0, -1.0, -1e-3, 1e-3, 2.0], [-1.0, 0.5]
    found = basins(switch(), plane(torch.zeros(2), (0, 1), x, y)[None], steps=100)
    left, right = found.attractors[0]
    torch.testing.assert_close(left.points, torch.tensor([[-2.0, 0.0]], dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(right.points, torch.tensor([[2.0, 0.0]], dtype=torch.float64), rtol=0, atol=1e-15)
    assert found.labels[0].tolist() == [[0, 0], [0, 0], [0, 0], [1, 1], [1, 1]]


def test_orbits_that_run_away_are_minus_one_and_those_on_no_cycle_are_bounded():
    # A tent of slope 1.9 is chaotic on [0, 1] and runs away from elsewhere; of slope 0.5 it goes to 0 from everywhere.
    states = torch.tensor([-0.5, 0.2, 0.7, 1.5], dtype=torch.float64).view(1, 4, 1).expand(2, 4, 1)
    found = basins(tent((1.9, 0.5)), states, steps=200)
    assert found.labels[0].tolist() == [-1, 0, 0, -1]
    assert found.bounded(0) == 0
    assert found.labels[1].tolist() == [0, 0, 0, 0]
    assert found.attractors[1][0].points.abs().max() < 1e-15


def test_a_planted_stable_cycle_is_where_its_own_states_end():
    network, (points,) = planted((5,), 3, most=0.9)
    found = basins(network, points, steps=20)
    for replica in range(3):
        (cycle,) = found.attractors[replica]
        assert cycle.order == 5
        assert found.labels[replica].tolist() == [0] * 5
        assert torch.cdist(cycle.points, points[replica]).amin(1).max() < 1e-9


def test_a_line_of_fixed_points_is_bounded_not_a_cycle():
    one = torch.ones(1, 1, dtype=torch.float64)
    still = PiecewiseLinear(one, 0 * one[None], 0 * one, None, 0 * one, 0 * one, one * math.inf)
    found = basins(still, torch.tensor([[[1.0], [2.0]]]), steps=5)
    assert found.labels.tolist() == [[0, 0]]
    assert found.bounded(0) == 0


def test_a_plane_has_its_two_components_and_the_rest_of_its_origin():
    states = plane(torch.tensor([1.0, 2.0, 3.0]), (2, 0), [10.0, 20.0], [-1.0, -2.0, -3.0])
    assert states.shape == (2, 3, 3)
    assert states[1, 2].tolist() == [-3, 2, 20]
    with pytest.raises(ValueError, match=r"axes: got \(1, 1\), need two different numbers from 0 to 2"):
        plane(torch.zeros(3), (1, 1), [0.0], [0.0])


def test_samples_over_a_parameter_are_those_of_the_attractor():
    slopes = (0.5, 1.2, 1.9)
    start = torch.full((3, 2, 1), 0.3, dtype=torch.float64)
    x = orbit_samples(tent(slopes), start, transient=100, samples=40, every=2)
    assert x.shape == (3, 2, 40, 1)
    assert x[0].abs().max() < 1e-15
    for values, s in zip(x[1:], slopes[1:], strict=True):
        # The attractor lies between the images of 1/2.
        assert values.min() >= s * (1 - s / 2) - 1e-12
        assert values.max() <= s / 2 + 1e-12
    twice = tent(slopes)(tent(slopes)(x[:, :, :-1]))
    assert torch.equal(twice, x[:, :, 1:])


def test_bad_states_are_refused():
    with pytest.raises(ValueError, match="states: got a value that is not finite"):
        basins(switch(), torch.tensor([[[math.nan, 0.0]]]))
    with pytest.raises(ValueError, match=r"states: got shape \(1, 3, 1\), need \(1, ..., 2\)"):
        basins(switch(), torch.zeros(1, 3, 1))
