"""Whether the samples of a shard still solve their equation: errors and statistics computed again, or samples made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
from sciml.generation.physics import fields_differ, numbers_of_stored
from sciml.generation.plan import Shard
from sciml.generation.samples import Made, make_samples
from sciml.generation.validation import RESIDUAL, Halving
from sciml.problems.problem import Fields, Problem, until_horizon


@dataclass(frozen=True)
class Known:
    """What there is to compare a shard with."""

    card: Card
    problem: Problem | None
    shard: Shard
    manifest: Manifest


Numbers = dict[str, Float[Tensor, "sample"]]
"""Per sample the residual, under `residual`, and how far each conserved quantity is off."""

_APART, _APART_SINGLE = 1e-9, 1e-4
"""How far numbers of a sample that is made again, in float64 and float32, may be from those recorded."""
_FIELDS_APART, _FIELDS_APART_SINGLE = 1e-10, 1e-4
"""And its fields, relative to their largest value: in float64 alone and in a block agree so far; in float32 another processor
does not give the same digits."""


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


def solved(found: Set, known: Known, recorded: Numbers | None) -> Solved:
    """Compute statistics and, where the whole grid of the solver is stored, residuals and conserved quantities.

    Args:
        found: the one file.
        recorded: the numbers in its manifest, None where they are not to be compared.
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
            here = {name: values[rows] for name, values in recorded.items()}
            result.faults += _number_faults(file, fields, known.shard.samples[rows], here, known.problem, known.card)
            result.residuals += rows.stop - rows.start
    result.faults += recomputed_faults(file, result.statistics, known.manifest)
    return result


def recorded_numbers(file: Path, known: Known) -> tuple[Numbers | None, list[Fault]]:
    """The residuals and conserved quantities in the manifest, one per sample, and what is wrong with them."""
    recorded, samples = _recorded(known), known.shard.samples
    for name, values in recorded.items():
        if len(values) != len(samples):
            message = f"its manifest has {len(values)} numbers of {name!r} for {len(samples)} samples. {remade(file)}"
            return None, [Fault(file, message)]
    if known.problem is None:
        return recorded, []
    accepted = known.card.accepted(known.problem)
    too_large = torch.nonzero(~(recorded[RESIDUAL] <= accepted))[:, 0]
    if not len(too_large):
        return recorded, []
    i = int(too_large[0])
    message = f"its manifest has residual {float(recorded[RESIDUAL][i]):.3g}, accepted is {accepted:.3g}"
    return recorded, [Fault(file, f"{message}. {remade(file)}", sample=samples[i])]


def _recorded(known: Known) -> Numbers:
    """As the manifest has them, of any length."""
    conserved = known.manifest.get("conserved")
    listed = {RESIDUAL: known.manifest.get("residuals"), **(conserved if isinstance(conserved, dict) else {})}
    return {name: _numbers(values) for name, values in listed.items()}


def _numbers(listed: object) -> Float[Tensor, "sample"]:
    numbers = [value for value in listed if isinstance(value, float | int)] if isinstance(listed, list) else []
    return torch.tensor(numbers, dtype=torch.float64)


def recorded_halving(known: Known) -> Halving:
    """What the manifest says of samples that were solved with half the step."""
    listed = known.manifest.get("halving")
    return {int(sample): answers for sample, answers in listed.items()} if isinstance(listed, dict) else {}


def chosen(shards: Mapping[Path, Shard], fraction: float, seed: int) -> list[tuple[Path, int, int]]:
    """Part of the samples, evenly over all that are here: file, row in it, and number."""
    return _some(
        [(file, row, sample) for file, shard in shards.items() for row, sample in enumerate(shard.samples)], fraction, seed
    )


def chosen_halving(shards: Mapping[Path, Known], fraction: float, seed: int) -> list[tuple[Path, int, int]]:
    """Part of the samples that were solved with half the step."""
    places = [
        (file, sample - known.shard.samples.start, sample)
        for file, known in shards.items()
        for sample in recorded_halving(known)
        if sample in known.shard.samples
    ]
    return _some(places, fraction, seed)


def _some(places: list[tuple[Path, int, int]], fraction: float, seed: int) -> list[tuple[Path, int, int]]:
    count = min(max(1, round(fraction * len(places))), len(places))  # none where no file is intact
    return [places[place] for place in permuted(range(count), len(places), seed=seed, epoch=0).tolist()]


def seed_of(card: Card, manifests: Mapping[Path, Manifest]) -> int:
    """Of the choice of samples: who changes a file changes the choice, and cannot know it before."""
    text = json.dumps([card.seed, [manifest["crc32"] for manifest in manifests.values()]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def remade_faults(file: Path, row: int, sample: int, known: Known) -> list[Fault] | None:
    """Make a sample again and compare; None where the file cannot be read, which is a fault of its own.

    It is made alone and, should that differ, as in a chaotic system rounding does, once more in its block.
    """
    assert known.problem is not None
    differs, apart = "", _FIELDS_APART if known.card.storage.precision == "float64" else _FIELDS_APART_SINGLE
    try:
        found = open_set(file)
        stored = {name: found.read(name, np.array([row]))[0] for name in known.problem.variables()}
        for samples in (range(sample, sample + 1), _block_of(sample, known)):
            made, place = make_samples(known.card, known.problem, samples), sample - samples.start
            comparable = replace(made, fields=until_horizon(known.problem, made.fields))
            differs = fields_differ(comparable, place, stored, apart=apart) or _numbers_differ(made, place, sample, row, known)
            if not differs:
                return []
    except OSError:
        return None
    except (ValueError, RuntimeError, IndexError) as error:
        differs = f"cannot be made again: {error}"
    return [Fault(file, f"{differs}. {remade(file)}", sample=sample)]


def _block_of(sample: int, known: Known) -> range:
    samples, block = known.shard.samples, known.card.storage.block
    start = (sample - samples.start) // block * block
    return samples[start : start + block]


def _numbers_differ(made: Made, place: int, sample: int, row: int, known: Known) -> str:
    """What of the errors in the manifest is not what comes out again, or nothing."""
    apart = _APART if known.card.storage.precision == "float64" else _APART_SINGLE
    recorded = _recorded(known)
    pairs = [
        (name, float(recorded[name][row]) if name in recorded else float("nan"), float(values[place]))
        for name, values in made.validation.numbers.items()
    ]
    halving = recorded_halving(known).get(sample, {})
    pairs += [
        (f"the change of {name} by half the step", halving.get(name, float("nan")), again)
        for name, again in made.validation.halving.get(sample, {}).items()
    ]
    for name, then, now in pairs:
        if not abs(then - now) <= apart + 1e-3 * abs(now):
            return f"its manifest has {then:.3g} for {name}, made again it is {now:.3g}"
    return ""


def _number_faults(
    file: Path, fields: Fields, samples: range, recorded: Numbers, problem: Problem, card: Card
) -> Iterator[Fault]:
    """One line per number that fields do not give as they did when they were made."""
    found = numbers_of_stored(problem, fields, card.domain)
    for name in recorded.keys() ^ found.keys():
        yield Fault(file, f"its manifest and its problem do not both have {name!r}. {remade(file)}")
    for name in recorded.keys() & found.keys():
        value, bound = found[name]
        wrong = ~((value - recorded[name]).abs() <= bound)
        if not bool(wrong.any()):
            continue
        i = int(torch.nonzero(wrong)[0])
        more = f" ({int(wrong.sum())} samples of this block are wrong)" if int(wrong.sum()) > 1 else ""
        what = "relative residual of the equation" if name == RESIDUAL else f"change of what is conserved, {name},"
        message = (
            f"{what} is {float(value[i]):.3g}, was {float(recorded[name][i]):.3g} when solved; "
            f"rounding explains {float(bound[i]):.3g}{more}. {remade(file)}"
        )
        yield Fault(file, message, sample=samples[i])


__all__ = ["Known", "Numbers", "Solved", "chosen", "chosen_halving", "recorded_numbers", "remade_faults", "seed_of", "solved"]
