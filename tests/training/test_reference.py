import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy import smooth
from sciml.training.checkpoint import load, save
from sciml.training.reference import ReferenceSolver

DOMAIN = Domain.box((1.0, 1.0), (17, 17), "dirichlet")


@pytest.fixture
def solver():
    return ReferenceSolver(smooth(), DOMAIN, (("a", 1),))


def test_it_solves_the_equation_in_double_precision_whatever_comes(solver):
    a = smooth().draw(DOMAIN, Seeds(0, range(3)))["a"]
    u = smooth().solve({"a": a}, DOMAIN)["u"]
    assert torch.equal(solver(a.float()), u.float())


def test_it_is_kept_like_any_model(solver, tmp_path):
    save(tmp_path / "solver.pt", solver, domain=DOMAIN, inputs=(), targets=())
    a = torch.ones(1, 1, 17, 17)
    assert torch.equal(load(tmp_path / "solver.pt")(a), solver(a))


def test_another_grid_is_refused(solver):
    with pytest.raises(ValueError, match=r"given: got shape \(1, 1, 9, 9\)"):
        solver(torch.ones(1, 1, 9, 9))
