import math

import pytest
import torch

from dynamics.plrnn.analysed_networks import tent
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.regions import patterns
from sciml.dynamics.plrnn.symbols import symbolic_orbits


def orbit(network: PiecewiseLinear, start: float, steps: int) -> torch.Tensor:
    z = [torch.full((network.replicas, 1), start, dtype=torch.float64)]
    for _ in range(steps - 1):
        z.append(network(z[-1]))
    return torch.stack(z, 1)


def identity(size: int) -> PiecewiseLinear:
    """A network of rectifiers whose regions are the quadrants."""
    nothing = torch.zeros(1, size, dtype=torch.float64)
    return PiecewiseLinear(nothing, torch.zeros(1, size, size).double(), nothing, None, nothing, nothing, nothing + math.inf)


def test_regions_are_numbered_by_visits_and_transitions_counted():
    # Quadrants A = (+, +), B = (-, +), C = (-, -) in the order A B B B A C A: B 3 times, A 3, C once.
    signs = {"A": (1.0, 1.0), "B": (-1.0, 1.0), "C": (-1.0, -1.0)}
    states = torch.tensor([signs[letter] for letter in "ABBBACBB"], dtype=torch.float64)[None]
    (found,) = symbolic_orbits(identity(2), states)
    assert found.visits.tolist() == [5, 2, 1]
    assert found.symbols.tolist() == [1, 0, 0, 0, 1, 2, 0, 0]
    assert found.transitions.to_dense().tolist() == [[3, 1, 0], [1, 0, 1], [1, 0, 0]]
    assert found.patterns.tolist() == [[-1, 0], [0, 0], [-1, -1]]
    assert found.regions == 3


def test_patterns_of_many_units_are_told_apart_and_put_together():
    # 100 units need three numbers; the states differ in one unit each, in different ones of these numbers.
    network = identity(100)
    states = torch.ones(1, 6, 100, dtype=torch.float64)
    for instant, unit in enumerate((0, 38, 39, 99)):
        states[0, instant, unit] = -1
    (found,) = symbolic_orbits(network, states)
    assert found.visits.tolist() == [2, 1, 1, 1, 1]
    assert torch.equal(found.patterns[found.symbols], patterns(network, states)[0])


def test_entropies_of_a_chaotic_tent_map():
    golden = (1 + math.sqrt(5)) / 2
    network = tent((golden, 1.9))
    found = symbolic_orbits(network, orbit(network, 0.35, 4000))
    # With the golden slope 1/2 comes back in 3 steps, and on the attractor left is never followed by left: a golden mean shift.
    assert found[0].topological_entropy() == pytest.approx(math.log(golden), abs=1e-12)
    assert found[1].topological_entropy() == pytest.approx(math.log(2), abs=1e-12)
    # Its symbols are a Markov chain with the entropy log(golden). 4000 steps tell the part of visits to the right, 0.72,
    # to 0.007, and the entropy is that times log 2 at most.
    assert found[0].markov_entropy() == pytest.approx(math.log(golden), abs=0.02)


def test_a_cycle_has_no_entropy_and_a_path_without_return_has_minus_infinity():
    states = torch.tensor([[-1.0], [1.0]] * 5, dtype=torch.float64)[None]
    (found,) = symbolic_orbits(identity(1), states)
    assert found.markov_entropy() == 0 == found.topological_entropy()
    (found,) = symbolic_orbits(identity(1), states[:, :2])
    assert found.topological_entropy() == -math.inf


def test_orbits_that_are_not_finite_or_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="not finite in replica 0 at instant 1"):
        symbolic_orbits(identity(1), torch.tensor([[[0.0], [math.nan]]]))
    with pytest.raises(ValueError, match=r"orbit: got shape \(1, 1, 1\), need \(1, at least 2, 1\)"):
        symbolic_orbits(identity(1), torch.zeros(1, 1, 1))
