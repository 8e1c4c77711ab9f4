"""Draw, solve, verify and store: the samples of one shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml import __version__
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter, TimeGrid
from sciml.generation.card import Card
from sciml.generation.plan import Shard
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Fields, Problem, Variable


def make_samples(card: Card, problem: Problem, samples: range) -> tuple[Fields, Float[Tensor, "sample"]]:
    """Samples solved together: their fields on the stored grid in float64, and the relative residual on the solver's grid.

    Raises:
        ValueError: the problem gives other variables, shapes or types than it says, or a residual above its tolerance.
    """
    with torch.no_grad():
        given = problem.draw(card.domain, Seeds(card.seed, samples))
        solved = given | problem.solve(given, card.domain)
        _check_fields(problem, solved, card, samples)
        residual = problem.residual(solved, card.domain)
    worst = int(torch.where(residual.isfinite(), residual, torch.inf).argmax())
    if not residual[worst] <= problem.tolerance:
        raise ValueError(
            f"sample {samples[worst]}: relative residual is {residual[worst]:.3g}, the problem promises {problem.tolerance:.3g}"
        )
    variables, stride = problem.variables(), card.storage.stride
    return {name: _strided(values, variables[name], stride) for name, values in solved.items()}, residual


def make_shard(card: Card, problem: Problem, shard: Shard, progress: Callable[[int], None]) -> None:
    """Make a file and its manifest.

    Args:
        progress: called after each block with the number of its samples.
    Raises:
        ValueError, OSError: one line that names the file.
    """
    try:
        blocks = _blocks(card, problem, shard.samples)
        first = next(blocks)
        residuals: list[float] = []
        with ShardWriter(
            shard.path,
            variables_of(card, problem, first[0]),
            shard.samples,
            card.stored_domain,
            attributes_of(card, problem, shard),
            times_of(problem),
        ) as file:
            for fields, residual in chain([first], blocks):
                file.append(fields)
                residuals += residual.tolist()
                progress(len(residual))
            file.finish(
                {
                    "card": card.to_dict(),
                    "code_version": __version__,
                    "residual": max(residuals),
                    "residuals": residuals,
                    "shard": shard.number,
                    "shards": shard.shards,
                    "split": shard.split,
                }
            )
    except OSError as error:
        if str(shard.path) in str(error):
            raise
        raise OSError(f"{shard.path}: {type(error).__name__}: {error}") from error
    except Exception as error:
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{shard.path}: {' '.join(what.split())}; finished shards are kept") from error


def variables_of(card: Card, problem: Problem, fields: Fields) -> tuple[VariableInfo, ...]:
    """What is stored, in the order of the problem."""
    dtype = getattr(torch, card.storage.dtype)
    return tuple(
        VariableInfo(
            name,
            variable.role,
            variable.units,
            variable.long_name,
            tuple(fields[name].shape[2 if variable.in_time else 1 :]),
            dtype,
            steps=fields[name].shape[1] if variable.in_time else None,
            particles=variable.points,
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
        "solve_domain": json.dumps(card.domain.to_dict()),
        "seed": card.seed,
        "citation": card.citation,
        "code_version": __version__,
        "split": shard.split,
        "shard": shard.number,
        "shards": shard.shards,
    }


def example(card: Card, problem: Problem) -> tuple[VariableInfo, ...]:
    """The stored variables, found by making sample 0."""
    return variables_of(card, problem, make_samples(card, problem, range(1))[0])


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


def _blocks(card: Card, problem: Problem, samples: range) -> Iterator[tuple[Fields, Tensor]]:
    for start in range(0, len(samples), card.storage.block):
        yield make_samples(card, problem, samples[start : start + card.storage.block])


def _check_fields(problem: Problem, fields: Fields, card: Card, samples: range) -> None:
    variables = problem.variables()
    names, said = sorted(fields), sorted(variables)
    if names != said:
        raise ValueError(f"the problem gives variables {names}, its variables() names {said}")
    for name, values in fields.items():
        variable, shape = variables[name], tuple(values.shape)
        if values.dtype != torch.float64:
            raise ValueError(f"variable {name}: got {values.dtype}, need float64")
        instants: tuple[int, ...] = ()
        if variable.in_time:
            if not isinstance(problem, Evolution):
                raise ValueError(f"variable {name}: is in time, {type(problem).__name__} is no Evolution, which has times")
            instants = (len(problem.times),)
        lead = (len(samples), *instants)
        rest = shape[len(lead) :]
        fits = len(rest) == 2 if variable.points else bool(rest) and rest[1:] in ((), card.domain.shape)
        if shape[: len(lead)] != lead or not fits:
            wanted = "point, component" if variable.points else f"channel, *{card.domain.shape}"
            raise ValueError(f"variable {name}: got shape {shape}, need ({', '.join(map(str, lead))}, {wanted})")
        if not bool(values.isfinite().all()):
            index = tuple(torch.nonzero(~values.isfinite())[0].tolist())
            raise ValueError(f"variable {name}, sample {samples[index[0]]}: got {float(values[index])} at {index[1:]}")


def _strided(values: Tensor, variable: Variable, stride: int) -> Tensor:
    lead = 3 if variable.in_time else 2  # sample, instant, channel
    if variable.points or stride == 1:
        return values
    return values[(slice(None),) * lead + (slice(None, None, stride),) * (values.ndim - lead)]


__all__ = ["attributes_of", "example", "make_samples", "make_shard", "one_thread", "times_of", "variables_of"]
