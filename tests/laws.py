"""Laws that every leaf of a kind must pass; a new leaf gets them all for one line in its test."""

import json

import torch
from torch import nn

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Problem
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
            before = [p.clone() for p in weights]
            for p, d in zip(weights, directions, strict=True):
                p.add_(d, alpha=step)
            result = model(u + step * input_direction).square().mean()
            for p, old in zip(weights, before, strict=True):
                p.copy_(old)
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


def problem_laws(problem: Problem, domain: Domain, *, coarse_error: float, alone: float = 1e-10) -> None:
    """A problem: complete fields, samples of their own, a residual that sees a wrong answer, an exact answer that is met.

    Args:
        coarse_error: allowed of the exact answer on this grid, relative.
        alone: how far a sample solved alone may be from the same in a block; larger only where the system is chaotic.
    """
    block = Seeds(3, range(5, 9))
    given = problem.draw(domain, block)
    answers = problem.solve(given, domain)
    fields = given | answers
    variables = problem.variables()
    assert set(fields) == set(variables)
    for name, variable in variables.items():
        assert (name in answers) == (variable.role in ("target", "state")), name
        assert name in given or variable.role != "state", name
        lead = (4, len(problem.times)) if variable.in_time else (4,)
        rest = fields[name].shape[len(lead) :]
        assert fields[name].shape[: len(lead)] == lead, name
        assert len(rest) == 2 if variable.points else rest[1:] in ((), domain.shape), name
        assert fields[name].dtype == torch.float64, name
        assert fields[name].isfinite().all(), name
        if variable.role == "state":
            assert torch.equal(given[name], answers[name][:, :1]), name
    json.dumps(problem.parameters())

    one = problem.draw(domain, Seeds(3, range(7, 8)))
    assert all((one[name][0] - field[2]).norm() <= 1e-12 * field[2].norm() for name, field in given.items())
    solved_alone = problem.solve(one, domain)
    assert all((solved_alone[n][0] - a[2]).norm() <= alone * a[2].norm() for n, a in answers.items())

    assert (problem.residual(fields, domain) <= problem.tolerance).all()
    wrong = fields | {
        name: torch.cat([a[:, :1], a[:, 1:] * 1.001], 1) if variables[name].role == "state" else a * 1.001
        for name, a in answers.items()
    }
    assert (problem.residual(wrong, domain) > 1e3 * problem.tolerance).all()

    if isinstance(problem, Evolution):
        _evolution_laws(problem, fields, domain)
    exact = problem.exact(domain)
    if exact is not None:
        exact_given, exact_answers = exact
        for name, answer in problem.solve(exact_given, domain).items():
            assert (answer - exact_answers[name]).norm() <= coarse_error * exact_answers[name].norm(), name


def _evolution_laws(problem: Evolution, fields, domain: Domain) -> None:
    """Instants grow, nothing that is conserved is lost, half a step is another step of the same problem."""
    assert list(problem.times) == sorted(set(problem.times))
    for name, change in problem.conserved(fields, domain).items():
        assert change.shape == (4,), name
        assert (change >= 0).all(), name
    half = problem.halved()
    assert type(half) is type(problem)
    assert half != problem
    assert half.times == problem.times
