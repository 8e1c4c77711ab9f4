import pytest
import torch

from sciml.numerics.differentiable_diffusion import diffusion_solution
from sciml.numerics.diffusion import diffusion_operator
from sciml.numerics.domain import Domain
from sciml.numerics.multigrid import solve_diffusion

WALLS = ["dirichlet", "neumann", [("dirichlet", "neumann"), ("neumann", "neumann")]]


def fields(domain, batch=2):
    generator = torch.Generator().manual_seed(0)
    a, f, weights = (torch.randn(batch, *domain.shape, dtype=torch.float64, generator=generator) for _ in range(3))
    return a.exp(), f - domain.mean(f)[:, None, None], weights


def dense_solution(a, f, domain, face_mean):
    """By the whole matrix, which torch differentiates."""
    n = f[0].numel()
    units = torch.eye(n, dtype=torch.float64).view(n, *domain.shape)
    found = []
    for one, right in zip(a, f, strict=True):
        operator = diffusion_operator(one.expand(n, *domain.shape), domain, face_mean=face_mean)
        matrix = operator.apply(units).flatten(1).T + torch.diag(1.0 - operator.free.flatten().double())
        if operator.singular:
            matrix = matrix + domain.weights().flatten()
        found.append(torch.linalg.solve(matrix, torch.where(operator.free, right, 0.0).flatten()).view(domain.shape))
    return torch.stack(found)


@pytest.mark.parametrize("sides", WALLS)
@pytest.mark.parametrize("face_mean", ["arithmetic", "harmonic"])
def test_gradients_by_coefficient_and_source_are_those_of_a_dense_solve(sides, face_mean):
    domain = Domain.box((1.0, 1.5), (9, 8), sides)
    a, f, weights = fields(domain)

    def gradients(solve):
        leaves = [a.clone().requires_grad_(), f.clone().requires_grad_()]
        return torch.autograd.grad((weights * solve(*leaves)).sum(), leaves)

    found = gradients(lambda a, f: diffusion_solution(a, f, domain, face_mean=face_mean, tolerance=1e-12))
    expected = gradients(lambda a, f: dense_solution(a, f, domain, face_mean))
    if sides == "neumann":  # only changes of the source that keep its mean have an answer
        found, expected = (
            (g[0], g[1] - (domain.weights() * domain.mean(g[1] / domain.weights())[:, None, None])) for g in (found, expected)
        )
    for got, right in zip(found, expected, strict=True):
        assert float((got - right).norm() / right.norm()) < 1e-9


def test_the_gradient_is_a_difference_of_solutions():
    domain = Domain.box((1.0, 1.0), (33, 33), "dirichlet")
    a, f, weights = fields(domain)
    change = fields(domain)[2]

    def value(step):
        return float((weights * solve_diffusion(a * (step * change).exp(), f, domain, tolerance=1e-12).u).sum())

    logarithm = a.log().requires_grad_()
    (gradient,) = torch.autograd.grad((weights * diffusion_solution(logarithm.exp(), f, domain)).sum(), logarithm)
    assert float((gradient * change).sum()) == pytest.approx((value(1e-4) - value(-1e-4)) / 2e-4, rel=1e-6)


def test_the_value_is_that_of_the_solver():
    domain = Domain.box((1.0, 1.0), (17, 17), "dirichlet")
    a, f, _ = fields(domain)
    plain = solve_diffusion(a, f, domain).u
    assert torch.equal(diffusion_solution(a, f, domain), plain)
    tracked = diffusion_solution(a.requires_grad_(), f, domain)
    assert torch.equal(tracked, plain)
    assert tracked.requires_grad
