import math

import pytest
import torch

from dynamics.plrnn.analysed_networks import planted, tent
from dynamics.plrnn.networks_of_all_kinds import networks
from sciml.dynamics.plrnn.cycles import Cycle, Search, cycles, every_cycle
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import patterns

SMALL = Search(slots=128, sweeps=200, patience=40)

TENT = [2, 1, 2, 3, 6, 9, 18, 30, 56, 99]
"""Cycles of order 1, 2, ... of the tent map of slope 2: as many as binary necklaces without a period."""


@pytest.mark.parametrize("order", range(1, 11))
def test_the_search_finds_every_cycle_of_the_tent_map(order):
    (found,) = cycles(tent(), order, search=SMALL)
    assert len(found) == TENT[order - 1]
    for cycle in found:
        z = cycle.points[:, 0]
        # States of cycles of order k are multiples of 1 / (2^k ± 1).
        wrong = min(float((z * (2**order + sign) - (z * (2**order + sign)).round()).abs().max()) for sign in (-1, 1))
        assert wrong < 2**order * 1e-15
        assert float(cycle.eigenvalues.abs()[0]) == 2**order
        assert not cycle.stable
        assert cycle.residual < 1e-15


@pytest.mark.parametrize("order", [1, 2, 3, 6, 9])
def test_every_sequence_of_regions_gives_every_cycle_of_the_tent_map(order):
    assert len(every_cycle(tent(), order)[0]) == TENT[order - 1]


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("order", [2, 3, 5, 7])
def test_planted_cycles_are_found(order, clipped):
    network, (points,) = planted((order,), 8, clipped=clipped)
    assert network.replicas == 8
    for found, known in zip(cycles(network, order, search=SMALL), points, strict=True):
        apart = [float(torch.cdist(cycle.points, known).amin(1).max()) for cycle in found]
        assert min(apart) < 1e-7
        assert max(cycle.residual for cycle in found) < 1e-8
        firsts = torch.cat([cycle.points for cycle in found])
        assert torch.pdist(firsts).numel() == 0 or torch.pdist(firsts).min() > 1e-6  # no cycle twice, none of smaller period


@pytest.mark.parametrize(
    ("order", "hidden", "clipped", "some"), [(3, 5, False, (0, 1, 10)), (2, 3, True, (1, 4, 7, 10, 11)), (3, 3, True, (0, 8))]
)
def test_the_search_finds_what_trying_every_sequence_finds(order, hidden, clipped, some):
    network = random_network(hidden, clipped, some)
    looked, tried = cycles(network, order, search=Search(slots=1024, patience=100)), every_cycle(network, order)
    assert {len(found) > 0 for found in tried} == {False, True}
    for found, every in zip(looked, tried, strict=True):
        assert len(found) == len(every)
        for one, other in zip(found, every, strict=True):
            torch.testing.assert_close(one.points, other.points, rtol=1e-8, atol=1e-8)
            assert one.stable == other.stable


def random_network(hidden: int, clipped: bool, some: tuple[int, ...]) -> PiecewiseLinear:
    """Strong weights, so that some of twelve draws have cycles of several orders."""
    g = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(12, *shape, generator=g, dtype=torch.float64)

    lower = torch.zeros(12, hidden, dtype=torch.float64)
    upper = lower + (1.0 if clipped else math.inf)
    parts = (0.5 * normal(2), 2.5 * normal(2, hidden), normal(2), normal(hidden, 2), normal(hidden), lower, upper)
    return PiecewiseLinear(*(part[list(some)] for part in parts))


@pytest.mark.parametrize("name", networks())
def test_cycles_of_all_kinds_of_networks_are_cycles(name):
    network = networks(5)[name].piecewise_linear()
    for order in (1, 2):
        for replica, found in enumerate(cycles(network, order, search=SMALL)):
            one = network.detached().replica(replica)
            for cycle in found:
                z = cycle.points[None]
                size = float(z.abs().max().clamp(min=1))
                assert (one(z) - z.roll(-1, 1)).abs().max() < 1e-9 * size
                assert torch.equal(cycle.patterns, patterns(one, z)[0])
                product = torch.eye(4, dtype=torch.float64)
                for matrix in one.jacobian(z)[0]:
                    product = matrix @ product
                # The determinant and the trace are the product and the sum of the eigenvalues.
                norm = float(torch.linalg.matrix_norm(product, 2))
                assert abs(cycle.eigenvalues.sum() - product.trace()) < 1e-12 * max(norm, 1)
                assert abs(cycle.eigenvalues.prod() - torch.linalg.det(product)) < 1e-11 * max(norm, 1) ** 4
                assert cycle.stable == bool(cycle.eigenvalues.abs().max() < 1)


def test_a_singular_region_is_passed_over():
    # z' = z/2 - 1 + relu(z)/2 is a shift for z > 0, and has the fixed point -2 below.
    half = torch.full((1, 1), 0.5, dtype=torch.float64)
    network = PiecewiseLinear(half, half[None], -2 * half, None, 0 * half, 0 * half, half * math.inf)
    for found in (cycles(network, 1), every_cycle(network, 1)):
        assert [float(cycle.points) for cycle in found[0]] == [-2]
    # z' = z: every state is a fixed point, and none is isolated.
    still = PiecewiseLinear(2 * half, 0 * half[None], 0 * half, None, 0 * half, 0 * half, half * math.inf)
    assert cycles(still, 1) == [[]] == every_cycle(still, 1)


def test_the_same_seed_gives_the_same_cycles_and_states_of_the_caller_are_starts():
    network, (points,) = planted((4,), 3)
    first, again = (cycles(network, 4, starts=points, search=SMALL) for _ in range(2))
    for some, other in zip(first, again, strict=True):
        assert all(torch.equal(a.points, b.points) for a, b in zip(some, other, strict=True))
    # Begun at its own states, a search of two sweeps has the cycle.
    quick = cycles(network, 4, starts=points, search=Search(sweeps=2))
    for found, known in zip(quick, points, strict=True):
        assert min(float(torch.cdist(cycle.points, known).amin(1).max()) for cycle in found) < 1e-7


def test_a_cycle_knows_its_order():
    (found,) = cycles(tent(), 3, search=SMALL)
    assert isinstance(found[0], Cycle)
    assert found[0].order == 3
    assert found[0].points[0, 0] == found[0].points.min()


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="order: got 0, need at least 1"):
        cycles(tent(), 0)
    with pytest.raises(ValueError, match="slots: got 0, need at least 1"):
        Search(slots=0)
    with pytest.raises(ValueError, match=r"starts: got shape \(1, 5, 2\), need \(1, at least 1, 1\)"):
        cycles(tent(), 1, starts=torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match="starts: got a value that is not finite"):
        cycles(tent(), 1, starts=torch.full((1, 5, 1), math.nan))
    with pytest.raises(ValueError, match="order: got 30 with 2 patterns, need at most 4000000 sequences"):
        every_cycle(tent(), 30)
