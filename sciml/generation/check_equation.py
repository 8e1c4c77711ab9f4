"""Whether the samples of a shard still solve their equation: residuals and statistics computed again, or samples made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.manifest import Manifest, remade
from sciml.data.order import permuted
from sciml.data.set import Set, open_set
from sciml.data.statistics import Statistics
from sciml.generation.card import Card
from sciml.generation.check_report import Fault
from sciml.generation.check_statistics import recomputed_faults
from sciml.generation.physics import remade_differs, residual_of_stored
from sciml.generation.plan import Shard
from sciml.problems.problem import Fields, Problem


@dataclass(frozen=True)
class Known:
    """What there is to compare a shard with."""

    card: Card
    problem: Problem | None
    shard: Shard
    manifest: Manifest


@dataclass
class Solved:
    """What came of computing again what a shard says of its values.

    Args:
        residuals: of how many samples the residual was computed.
        statistics: of every variable.
    """

    faults: list[Fault] = field(default_factory=list)
    residuals: int = 0
    statistics: Mapping[str, Statistics] = field(default_factory=dict)


def solved(found: Set, known: Known, recorded: Float[Tensor, "sample"] | None) -> Solved:
    """Compute statistics and, where the whole grid of the solver is stored, residuals.

    Args:
        found: the one file.
        recorded: the residuals in its manifest, None where they are not to be compared.
    Raises:
        OSError: the file cannot be read.
    """
    file = found.parts[0].path
    result, block = Solved(statistics={name: Statistics() for name in found.variables}), known.card.storage.block
    for start in range(0, len(found), block):
        rows = slice(start, min(start + block, len(found)))
        fields = {name: found.read(name, rows) for name in found.variables}
        for name, values in fields.items():
            result.statistics[name].add(values.numpy())
        if recorded is not None and known.problem is not None and known.card.storage.stride == 1:
            result.faults += _residual_faults(
                file, fields, known.shard.samples[rows], recorded[rows], known.problem, known.card
            )
            result.residuals += rows.stop - rows.start
    result.faults += recomputed_faults(file, result.statistics, known.manifest)
    return result


def recorded_residuals(file: Path, known: Known) -> tuple[Float[Tensor, "sample"] | None, list[Fault]]:
    """The residuals in the manifest, one per sample, and what is wrong with them."""
    listed, samples = known.manifest.get("residuals"), known.shard.samples
    numbers = [value for value in listed if isinstance(value, float | int)] if isinstance(listed, list) else []
    recorded = torch.tensor(numbers, dtype=torch.float64)
    if len(recorded) != len(samples):
        return None, [Fault(file, f"its manifest has {len(recorded)} residuals for {len(samples)} samples. {remade(file)}")]
    too_large = torch.zeros(0) if known.problem is None else torch.nonzero(~(recorded <= known.problem.tolerance))[:, 0]
    if not len(too_large) or known.problem is None:
        return recorded, []
    i = int(too_large[0])
    message = f"its manifest has residual {float(recorded[i]):.3g}, the problem promises {known.problem.tolerance:.3g}"
    return recorded, [Fault(file, f"{message}. {remade(file)}", sample=samples[i])]


def chosen(shards: Mapping[Path, Shard], fraction: float, seed: int) -> list[tuple[Path, int, int]]:
    """Part of the samples, evenly over all that are here: file, row in it, and number."""
    places = [(file, row, sample) for file, shard in shards.items() for row, sample in enumerate(shard.samples)]
    count = min(max(1, round(fraction * len(places))), len(places))  # none where no file is intact
    return [places[place] for place in permuted(range(count), len(places), seed=seed, epoch=0).tolist()]


def seed_of(card: Card, manifests: Mapping[Path, Manifest]) -> int:
    """Of the choice of samples: who changes a file changes the choice, and cannot know it before."""
    text = json.dumps([card.seed, [manifest["crc32"] for manifest in manifests.values()]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def remade_faults(card: Card, problem: Problem, file: Path, row: int, sample: int) -> list[Fault] | None:
    """Make a sample again and compare; None where the file cannot be read, which is a fault of its own."""
    try:
        found = open_set(file)
        stored = {name: found.read(name, np.array([row]))[0] for name in problem.variables()}
        differs = remade_differs(card, problem, sample, stored)
    except OSError:
        return None
    except (ValueError, RuntimeError, IndexError) as error:
        differs = f"cannot be made again: {error}"
    return [Fault(file, f"{differs}. {remade(file)}", sample=sample)] if differs else []


def _residual_faults(
    file: Path, fields: Fields, samples: range, recorded: Float[Tensor, "sample"], problem: Problem, card: Card
) -> list[Fault]:
    """One line where fields do not solve the equation as well as they did when they were made."""
    residual, bound = residual_of_stored(problem, fields, card.domain)
    wrong = ~((residual - recorded).abs() <= bound)
    if not bool(wrong.any()):
        return []
    i = int(torch.nonzero(wrong)[0])
    more = f" ({int(wrong.sum())} samples of this block are wrong)" if int(wrong.sum()) > 1 else ""
    message = (
        f"relative residual of the equation is {float(residual[i]):.3g}, was {float(recorded[i]):.3g} when solved; "
        f"rounding explains {float(bound[i]):.3g}{more}. {remade(file)}"
    )
    return [Fault(file, message, sample=samples[i])]


__all__ = ["Known", "Solved", "chosen", "recorded_residuals", "remade_faults", "seed_of", "solved"]
