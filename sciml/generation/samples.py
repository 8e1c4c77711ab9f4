"""Draw, solve, verify and store: the samples of one shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sciml import __version__
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter, TimeGrid
from sciml.generation.card import Card
from sciml.generation.plan import Shard
from sciml.generation.validation import RESIDUAL, Validation, halving_of, numbers_of
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Fields, Problem, Variable


@dataclass(frozen=True)
class Made:
    """Samples solved together.

    Args:
        fields: on the stored grid, float64, on the CPU.
        validation: their errors on the grid of the solver.
    """

    fields: Fields
    validation: Validation


def make_samples(card: Card, problem: Problem, samples: range, *, device: str = "cpu") -> Made:
    """Draw on the CPU, solve on the device in the precision of the card, and verify in float64.

    Raises:
        ValueError: the problem gives other variables, shapes or types than it says, or a residual above its tolerance.
    """
    precision = getattr(torch, card.storage.precision)
    with torch.no_grad():
        drawn = problem.draw(card.domain, Seeds(card.seed, samples))
        given = {name: values.to(device, precision) for name, values in drawn.items()}
        answers = problem.solve(given, card.domain)
        solved = given | answers
        _check_fields(problem, solved, card, samples)
        exact = {name: values.to(torch.float64) for name, values in solved.items()}
        numbers = {name: values.cpu() for name, values in numbers_of(problem, exact, card.domain).items()}
        _check_residual(numbers[RESIDUAL], card.accepted(problem), samples)
        halving = halving_of(problem, card, samples, given, answers)
    variables, stride = problem.variables(), card.storage.stride
    fields = {name: _strided(values.cpu(), variables[name], stride) for name, values in exact.items()}
    return Made(fields, Validation(numbers, halving))


def make_shard(card: Card, problem: Problem, shard: Shard, progress: Callable[[int], None], *, device: str = "cpu") -> None:
    """Make a file and its manifest.

    Args:
        progress: called after each block with the number of its samples.
    Raises:
        ValueError, OSError: one line that names the file.
    """
    try:
        parts: list[Validation] = []
        with ShardWriter(
            shard.path,
            variables_of(card, problem),
            shard.samples,
            card.stored_domain if card.domain.dim else None,
            attributes_of(card, problem, shard),
            times_of(problem),
        ) as file:
            for made in _blocks(card, problem, shard.samples, device):
                file.append(made.fields)
                parts.append(made.validation)
                progress(len(made.validation.numbers[RESIDUAL]))
            file.finish(
                {
                    "card": card.to_dict(),
                    "code_version": __version__,
                    "shard": shard.number,
                    "shards": shard.shards,
                    "split": shard.split,
                }
                | Validation.joined(parts).entry()
            )
    except OSError as error:
        if str(shard.path) in str(error):
            raise
        raise OSError(f"{shard.path}: {type(error).__name__}: {error}") from error
    except Exception as error:
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{shard.path}: {' '.join(what.split())}; finished shards are kept") from error


def variables_of(card: Card, problem: Problem) -> tuple[VariableInfo, ...]:
    """What is stored, in the order of the problem."""
    dtype = getattr(torch, card.storage.dtype)
    return tuple(
        VariableInfo(
            name,
            variable.role,
            variable.units,
            variable.long_name,
            variable.shape(card.stored_domain),
            dtype,
            steps=len(_instants(name, variable, problem)) or None,
            particles=variable.points > 0,
        )
        for name, variable in problem.variables().items()
    )


def times_of(problem: Problem) -> TimeGrid | None:
    """The instants of the variables that have some."""
    if not isinstance(problem, Evolution) or not any(variable.in_time for variable in problem.variables().values()):
        return None
    return TimeGrid(np.array(problem.times, np.float64))


def attributes_of(card: Card, problem: Problem | None, shard: Shard) -> dict[str, str | int]:
    """What a file says of itself beyond its grid. No date, host or time: the bytes are a function of card and code.

    Without the problem, all but the constants of the equation.
    """
    parameters = {} if problem is None else {"parameters": json.dumps(dict(problem.parameters()), sort_keys=True)}
    return parameters | {
        "title": card.title,
        "problem": card.problem,
        **({"solve_domain": json.dumps(card.domain.to_dict())} if card.domain.dim else {}),
        "seed": card.seed,
        "citation": card.citation,
        "code_version": __version__,
        "split": shard.split,
        "shard": shard.number,
        "shards": shard.shards,
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute as a worker process does, then give the settings of the caller back."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def _blocks(card: Card, problem: Problem, samples: range, device: str) -> Iterator[Made]:
    for start in range(0, len(samples), card.storage.block):
        yield make_samples(card, problem, samples[start : start + card.storage.block], device=device)


def _instants(name: str, variable: Variable, problem: Problem) -> tuple[float, ...]:
    """Of one variable; none where it does not change in time."""
    if not variable.in_time:
        return ()
    if not isinstance(problem, Evolution):
        raise ValueError(f"variable {name}: is in time, {type(problem).__name__} is no Evolution, which has times")
    return problem.times


def _check_residual(residual: Tensor, accepted: float, samples: range) -> None:
    worst = int(torch.where(residual.isfinite(), residual, torch.inf).argmax())
    if not residual[worst] <= accepted:
        raise ValueError(f"sample {samples[worst]}: relative residual is {residual[worst]:.3g}, accepted is {accepted:.3g}")


def _check_fields(problem: Problem, fields: Fields, card: Card, samples: range) -> None:
    variables = problem.variables()
    names, said = sorted(fields), sorted(variables)
    if names != said:
        raise ValueError(f"the problem gives variables {names}, its variables() names {said}")
    for name, values in fields.items():
        variable, shape = variables[name], tuple(values.shape)
        if str(values.dtype) != f"torch.{card.storage.precision}":
            raise ValueError(f"variable {name}: got {values.dtype}, need {card.storage.precision}")
        instants = _instants(name, variable, problem)
        wanted = (len(samples), *([len(instants)] if instants else []), *variable.shape(card.domain))
        if shape != wanted:
            raise ValueError(f"variable {name}: got shape {shape}, its Variable says {wanted}")
        if not bool(values.isfinite().all()):
            index = tuple(torch.nonzero(~values.isfinite())[0].tolist())
            raise ValueError(f"variable {name}, sample {samples[index[0]]}: got {float(values[index])} at {index[1:]}")


def _strided(values: Tensor, variable: Variable, stride: int) -> Tensor:
    if variable.points or not variable.on_grid or stride == 1:
        return values
    lead = 3 if variable.in_time else 2  # sample, instant, channel
    return values[(slice(None),) * lead + (slice(None, None, stride),) * (values.ndim - lead)]


__all__ = ["Made", "attributes_of", "make_samples", "make_shard", "one_thread", "times_of", "variables_of"]
