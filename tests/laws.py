"""Laws that every leaf of a kind must pass; a new leaf gets them all for one line in its test."""

import json

import torch
from torch import nn

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Problem
from sciml.training.checkpoint import load, save


def operator_laws(model: nn.Module, domain: Domain, folder, *, channels: int = 1) -> None:
    """A map between fields: one sample as in a batch, right gradients, the same when mapped, saved and loaded."""
    model = model.double().eval()
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(3, channels, *domain.shape, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        answer = model(u)
        scale = answer.abs().max()
        assert answer.isfinite().all()
        assert answer.shape[0] == 3
        assert answer.shape[2:] == u.shape[2:]
        alone = torch.cat([model(u[i : i + 1]) for i in range(3)])
        assert (alone - answer).abs().max() <= 1e-13 * scale
        mapped = torch.func.vmap(lambda v: model(v[None])[0])(u)
        assert (mapped - answer).abs().max() <= 1e-13 * scale
    _gradient_is_right(model, u)
    _survives_a_file(model, domain, u, answer, folder)


def _gradient_is_right(model: nn.Module, u: torch.Tensor) -> None:
    """Along one random direction of weights and input together, against a central difference."""
    generator = torch.Generator().manual_seed(1)
    weights = [p for p in model.parameters() if p.requires_grad]
    directions = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in weights]
    input_direction = torch.randn(u.shape, dtype=u.dtype, generator=generator)

    def value(step: float) -> torch.Tensor:
        with torch.no_grad():
            for p, d in zip(weights, directions, strict=True):
                p.add_(d, alpha=step)
            result = model(u + step * input_direction).square().mean()
            for p, d in zip(weights, directions, strict=True):
                p.sub_(d, alpha=step)
        return result

    leaf = u.clone().requires_grad_()
    gradients = torch.autograd.grad(model(leaf).square().mean(), [*weights, leaf])
    slope = sum((g * d).sum() for g, d in zip(gradients, [*directions, input_direction], strict=True))
    step = 1e-6
    difference = (value(step) - value(-step)) / (2 * step)
    assert abs(slope - difference) <= 1e-6 * abs(slope)


def _survives_a_file(model: nn.Module, domain: Domain, u: torch.Tensor, answer: torch.Tensor, folder) -> None:
    save(folder / "model.pt", model, domain=domain, inputs=(), targets=())
    with torch.no_grad():
        assert torch.equal(load(folder / "model.pt").double().eval()(u), answer)


def problem_laws(problem: Problem, domain: Domain, *, coarse_error: float) -> None:
    """A problem: complete fields, samples of their own, a residual that sees a wrong answer, an exact answer that is met."""
    block = Seeds(3, range(5, 9))
    given = problem.draw(domain, block)
    answers = problem.solve(given, domain)
    fields = given | answers
    roles = {name: variable.role for name, variable in problem.variables().items()}
    assert set(fields) == set(roles)
    assert all((roles[name] in ("target", "state")) == (name in answers) for name in fields)
    for name, field in fields.items():
        assert field.dtype == torch.float64, name
        assert field.shape[0] == 4, name
        assert field.shape[2:] == domain.shape, name
        assert field.isfinite().all(), name
    json.dumps(problem.parameters())

    alone = problem.draw(domain, Seeds(3, range(7, 8)))
    assert all((alone[name][0] - field[2]).norm() <= 1e-12 * field[2].norm() for name, field in given.items())
    solved_alone = problem.solve(alone, domain)
    assert all((solved_alone[n][0] - a[2]).norm() <= 1e-10 * a[2].norm() for n, a in answers.items())

    assert (problem.residual(fields, domain) <= problem.tolerance).all()
    wrong = fields | {name: answer * 1.001 for name, answer in answers.items()}
    assert (problem.residual(wrong, domain) > 1e3 * problem.tolerance).all()

    exact_given, exact_answers = problem.exact(domain)
    for name, answer in problem.solve(exact_given, domain).items():
        assert (answer - exact_answers[name]).norm() <= coarse_error * exact_answers[name].norm()
