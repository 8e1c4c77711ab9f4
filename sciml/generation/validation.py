"""What is known of the errors of samples: residuals, what should be conserved, and the effect of the step in time."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.order import permuted
from sciml.generation.card import Card
from sciml.numerics.domain import Domain
from sciml.problems.problem import Evolution, Fields, Problem, comparable_instants, relative_distance, until_horizon

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RESIDUAL = "residual"
SHARE = 0.01
"""Of the samples of a shard, how many are solved again with half the step, at least one."""

ROUGH = 0.01
"""How much that may change an answer, in relative L2 norm, without a warning."""

Halving = dict[int, dict[str, float]]
"""By number of a sample and name of an answer, the relative L2 distance to the same solved with half the step in time."""


@dataclass(frozen=True)
class Validation:
    """The errors of some samples.

    Args:
        numbers: per sample the relative residual, under `residual`, and how far each conserved quantity is off.
        halving: of those samples that are solved again with half the step.
    """

    numbers: Mapping[str, Float[Tensor, "sample"]]
    halving: Halving = field(default_factory=dict)

    def entry(self) -> dict[str, object]:
        """As it stands in a manifest: lists of one number per sample, in the order of samples."""
        lists = {name: values.tolist() for name, values in self.numbers.items()}
        residuals = lists.pop(RESIDUAL)
        return {
            "residual": max(residuals),
            "residuals": residuals,
            "conserved": lists,
            "halving": {str(sample): answers for sample, answers in sorted(self.halving.items())},
        }

    @classmethod
    def joined(cls, parts: list[Validation]) -> Validation:
        """Of samples that follow each other."""
        numbers = {name: torch.cat([part.numbers[name] for part in parts]) for name in parts[0].numbers}
        return cls(numbers, {sample: answers for part in parts for sample, answers in part.halving.items()})


def numbers_of(problem: Problem, fields: Fields, domain: Domain) -> dict[str, Float[Tensor, "sample"]]:
    """Residual and conserved quantities of fields on the grid of the solver."""
    conserved = problem.conserved(fields, domain) if isinstance(problem, Evolution) else {}
    return {RESIDUAL: problem.residual(fields, domain), **conserved}


def halving_of(problem: Problem, card: Card, samples: range, given: Fields, answers: Fields) -> Halving:
    """Solve those of the samples again, with half the step, whose turn it is; nothing for problems without time.

    Warns:
        UserWarning: an answer that this changes by more than 1 %.
    """
    rows = [row for row, sample in enumerate(samples) if sample in halved_samples(card)]
    if not rows or not isinstance(problem, Evolution):
        return {}
    given, answers = until_horizon(problem, given), until_horizon(problem, answers)
    again = _halved(problem).solve({name: values[rows] for name, values in given.items()}, card.domain)
    found: Halving = {samples[row]: {} for row in rows}
    for name, values in again.items():
        for row, distance in zip(rows, relative_distance(answers[name][rows], values).tolist(), strict=True):
            found[samples[row]][name] = distance
            if not distance <= ROUGH:
                warnings.warn(
                    f"sample {samples[row]}: half the step in time changes {name} by {distance:.2g} of its norm: a smaller "
                    "step would tell whether the answers converge, or whether the system is chaotic",
                    stacklevel=3,
                )
    return found


def _halved(problem: Evolution) -> Evolution:
    """The problem with half the step, and no instants but those that are compared: none is solved in vain."""
    half = problem.halved()
    if problem.horizon == math.inf:
        return half
    shortened = replace(cast("DataclassInstance", half), times=problem.times[: comparable_instants(problem)])
    return cast(Evolution, shortened)


def halved_samples(card: Card) -> frozenset[int]:
    """Which samples are solved again with half the step: some of every shard, drawn by the seed."""
    return _drawn(tuple(card.samples.values()), card.storage.shard, card.seed)


@lru_cache(maxsize=8)
def _drawn(splits: tuple[int, ...], shard: int, seed: int) -> frozenset[int]:
    found: list[int] = []
    for start, count in zip(itertools.accumulate(splits, initial=0), splits, strict=False):
        for first in range(start, start + count, shard):
            size = min(shard, start + count - first)
            some = permuted(range(max(1, round(SHARE * size))), size, seed=seed, epoch=first)
            found += (first + some).tolist()
    return frozenset(found)


__all__ = ["RESIDUAL", "ROUGH", "SHARE", "Halving", "Validation", "halved_samples", "halving_of", "numbers_of"]
