import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.operators.mgno import MgNO
from sciml.operators.mgno import model as module

CYCLES = ["official", "residual", "full_approximation"]


def model_on(dim, sides, points=24, **options):
    torch.manual_seed(0)
    domain = Domain.box((1.0,) * dim, (points,) * dim, sides)
    arguments = {"width": 3, "layers": 2, "domain": domain, "smoothing": ((1, 1), (1, 0), (1, 1), (2, 0))}
    return MgNO(2, 1, **(arguments | options)).double()


@pytest.mark.parametrize("points", [1, 10, 40, 1000])
@pytest.mark.parametrize("visits", [1, 2])
@pytest.mark.parametrize("cycle", CYCLES)
def test_a_collapsed_model_gives_the_same_answers(cycle, visits, points):
    options = {"stencil_bias": True, "scale": "learned", "width": (3, 4, 2, 3)}
    model = model_on(2, ["dirichlet", "periodic"], points=12, cycle=cycle, visits=visits, **options)
    u = torch.randn(3, 2, 12, 12, dtype=torch.float64)
    fast = model.collapse(points=points)
    expected = model(u)
    assert (fast(u) - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert not fast(u).requires_grad
    kept = sum(len(cycle.levels) for cycle in fast.model.cycles)
    assert kept == {1: 8, 10: 4, 40: 2, 1000: 0}[points]
    assert len(model.cycles[0].levels) == 4  # the model itself stays


@pytest.mark.parametrize("dim", [1, 3])
def test_it_collapses_in_other_dimensions_and_on_finer_grids(dim):
    model = model_on(dim, "neumann", points=9)
    for points in (9, 17):
        u = torch.randn(2, 2, *[points] * dim, dtype=torch.float64)
        fast = model.collapse(u.shape[2:], points=30)
        assert (fast(u) - model(u)).abs().max() <= 1e-12
        assert fast.model.cycles[0].dense is not None


def test_in_single_precision_it_is_equal_to_1e_5_and_never_overwrites_its_input():
    model = model_on(2, "open", points=64).float()
    u = torch.randn(2, 2, 64, 64)
    given = u.clone()
    with torch.no_grad():
        expected = model(u)
        assert (model.collapse()(u) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(u, given)
    assert (model(u) - expected).abs().max() <= 1e-5 * expected.abs().max()  # with gradients nothing is done in place


def test_another_grid_is_refused():
    fast = model_on(2, "open").collapse()
    with pytest.raises(ValueError, match=r"collapsed for grid \(24, 24\)"):
        fast(torch.zeros(1, 2, 24, 25, dtype=torch.float64))


def test_recomputing_a_few_samples_at_a_time_has_the_same_gradients(monkeypatch):
    kept, recomputed = model_on(2, "dirichlet"), model_on(2, "dirichlet", recompute=True)
    monkeypatch.setattr(module, "HELD", 2 * 3 * 24 * 24)
    u = torch.randn(5, 2, 24, 24, dtype=torch.float64)
    for model in (kept, recomputed):
        model(u).square().sum().backward()
    for a, b in zip(kept.parameters(), recomputed.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= 1e-13 * a.grad.norm()
