import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.chaotic_flows import series_of
from sciml.problems.lorenz96 import lorenz96, ring

NONE = Domain(())


def test_lorenz_96_passes_the_laws_of_problems():
    problem_laws(series_of(ring(10), 30, warm_up=0.2), NONE, coarse_error=0.0)


@pytest.mark.parametrize("dim", [4, 10, 21])
def test_the_rates_are_those_of_each_site_and_the_divergence_minus_their_number(dim):
    x = torch.randn(dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    true = [(x[(i + 1) % dim] - x[i - 2]) * x[i - 1] - x[i] + 8 for i in range(dim)]
    assert (ring(dim).slope(x) - torch.stack(true)).abs().max() < 1e-14
    assert float(ring(dim).divergence(x)) == float(ring(dim).traced_divergence(x)) == -dim


def test_the_advection_keeps_the_energy():
    # sum x_i x_i' = -sum x² + forcing sum x
    x = torch.randn(7, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gain = (x * ring(20).slope(x)).sum(-1)
    assert (gain + x.square().sum(-1) - 8 * x.sum(-1)).abs().max() < 1e-12


def test_a_turned_ring_moves_as_the_ring():
    x = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(ring(20).slope(x.roll(3)), ring(20).slope(x).roll(3))


def test_samples_are_the_same_alone_and_differ_from_each_other():
    problem = lorenz96(20, frames=20)
    together, alone = (problem.draw(NONE, Seeds(1, samples)) for samples in (range(3), range(1, 2)))
    assert torch.equal(together["state"][1], alone["state"][0])
    assert (together["state"][0] - together["state"][1]).abs().max() > 1
    assert torch.equal(problem.solve(together, NONE)["state"][1], problem.solve(alone, NONE)["state"][0])


@pytest.mark.parametrize(("arguments", "name"), [((3,), "dim"), ((10**5,), "dim"), ((10, 1e3), "forcing")])
def test_what_cannot_be_made_is_refused(arguments, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        lorenz96(*arguments)
