import math
import time

import pytest
import torch
from torch import Tensor

from dynamics.plrnn.networks_of_all_kinds import networks
from sciml.dynamics.plrnn.fixed_points import every_fixed_point, fixed_points
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear

STEP = 0.01


@pytest.mark.parametrize("name", networks())
def test_the_search_finds_the_fixed_points_that_trying_every_region_finds(name):
    network = networks(6)[name].piecewise_linear()
    if network.weight.shape[2] > 8 and bool(network.upper.isfinite().any()):
        network = networks(2)[name].piecewise_linear()
    looked, tried = fixed_points(network), every_fixed_point(network)
    for some, every in zip(looked, tried, strict=True):
        assert len(some) == len(every)
        for one, other in zip(some, every, strict=True):
            torch.testing.assert_close(one.point, other.point, rtol=1e-8, atol=1e-8)
            assert one.residual < 1e-8 * max(1.0, float(one.point.abs().max()))


def test_a_plain_network_has_the_points_of_its_regions():
    # z' = z/2 + clamp(z, -1, 1): ±2 where the unit is beyond its bounds, with slope 1/2; 0 between, with slope 3/2.
    half = torch.full((1, 1), 0.5, dtype=torch.float64)
    network = PiecewiseLinear(half, 2 * half[None], 0 * half, None, 0 * half, -2 * half, 2 * half)
    (found,) = fixed_points(network)
    assert [float(one.point) for one in found] == pytest.approx([-2, 0, 2], abs=1e-15)
    assert [one.region.tolist() for one in found] == [[-1], [0], [1]]
    assert [complex(one.eigenvalues[0]) for one in found] == [0.5, 1.5, 0.5]
    assert [one.stable for one in found] == [True, False, True]


def test_a_network_fitted_to_lorenz_63_has_its_three_fixed_points():
    network, mean, deviation = lorenz_network()
    begun = time.perf_counter()
    (found,) = fixed_points(network)
    seconds = time.perf_counter() - begun
    wing = math.sqrt(72)
    truth = torch.tensor([[-wing, -wing, 27], [0, 0, 0], [wing, wing, 27]], dtype=torch.float64)
    assert len(found) == 3
    assert seconds < 10  # it takes about half of one; runs share processors
    for one, z in zip(found, (truth - mean) / deviation, strict=True):
        # In one region a fixed point is off by (1 - J)^-1 times the error of the step at the true one. The network is of many
        # regions, but smooth enough for this to hold within a factor of three.
        wrong = network(z.view(1, 1, 3))[0, 0] - z
        off = torch.linalg.solve(torch.eye(3, dtype=torch.float64) - network.jacobian(z.view(1, 1, 3))[0, 0], wrong)
        assert (one.point - z).norm() < min(3 * float(off.norm()), 0.05)
        assert one.residual < 1e-8
        assert not one.stable
    # The rates of the flow at its origin, where the network was fitted to 0.2 % of a deviation for a step of 0.01.
    rates = found[1].eigenvalues.abs().log() / STEP
    assert float(rates[0]) == pytest.approx(11.8277, rel=0.1)
    assert float(rates[2]) == pytest.approx(-22.8277, rel=0.1)
    # About the other two it turns, with the angle 10.19 in a unit of time.
    for one in (found[0], found[2]):
        assert float(one.eigenvalues[0].angle().abs() / STEP) == pytest.approx(10.1945, rel=0.1)


def lorenz(z: Tensor) -> Tensor:
    x, y, w = z.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], -1)


def step(z: Tensor) -> Tensor:
    """One of the classical Runge-Kutta scheme."""
    a = lorenz(z)
    b = lorenz(z + STEP / 2 * a)
    c = lorenz(z + STEP / 2 * b)
    return z + STEP / 6 * (a + 2 * b + 2 * c + lorenz(z + STEP * c))


def lorenz_network() -> tuple[PiecewiseLinear, Tensor, Tensor]:
    """Rectifiers with kinks through the data and three linear units, the weights by least squares; standardised states."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(400, 3, generator=g, dtype=torch.float64) * torch.tensor([10.0, 12.0, 12.0]) + torch.tensor([0, 0, 20.0])
    orbit = [z]
    for _ in range(50):
        orbit.append(step(orbit[-1]))
    states = torch.stack(orbit)
    mean, deviation = states.flatten(0, 1).mean(0), states.flatten(0, 1).std(0)
    before, after = (((part - mean) / deviation).flatten(0, 1) for part in (states[:-1], states[1:]))
    hidden = 300
    directions = torch.randn(hidden, 3, generator=g, dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    kinks = before[torch.randint(len(before), (hidden,), generator=g)]
    inner = torch.cat([directions, torch.eye(3, dtype=torch.float64)])
    offset = torch.cat([-(directions * kinks).sum(1), torch.zeros(3, dtype=torch.float64)])
    lower = torch.zeros_like(offset)
    lower[hidden:] = -math.inf
    features = torch.cat([torch.maximum(before @ inner.T + offset, lower), torch.ones_like(before[:, :1])], 1)
    normal = features.T @ features + 1e-6 * torch.eye(hidden + 4, dtype=torch.float64)
    weight = torch.linalg.solve(normal, features.T @ after)
    none = torch.zeros(1, 3, dtype=torch.float64)
    upper = torch.full_like(offset, math.inf)
    parts = (none, weight[:-1].T[None].contiguous(), weight[-1:], inner[None], offset[None], lower[None], upper[None])
    return PiecewiseLinear(*parts), mean, deviation
