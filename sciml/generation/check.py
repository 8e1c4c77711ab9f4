"""Whether files on disk are what they say: bytes, schema, values, statistics, and the equation itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.formats import hdf5
from sciml.data.manifest import Manifest, file_crc32, manifest_of, manifest_path, remade
from sciml.data.order import permuted
from sciml.data.set import open_set
from sciml.data.statistics import Statistics
from sciml.generation.card import Card
from sciml.generation.physics import remade_differs, residual_of_stored
from sciml.generation.plan import Shard, shards_of
from sciml.generation.samples import one_thread
from sciml.generation.schema import schema_faults
from sciml.problems.problem import Fields, Problem


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    path: Path
    message: str
    variable: str | None = None
    sample: int | None = None

    def __str__(self) -> str:
        where: list[str] = []
        if self.variable is not None:
            where.append(f"variable {self.variable}")
        if self.sample is not None:
            where.append(f"sample {self.sample}")
        return ": ".join([str(self.path), *([", ".join(where)] if where else []), self.message])


@dataclass
class CheckReport:
    """What `check` found.

    Args:
        files, samples, bytes: how much was looked at.
        residuals: samples whose residual was computed again.
        remade: samples that were made again.
        faults: everything that is wrong, one line each.
        notes: what could not be checked and why, and what is odd but not wrong.
        unchecked: why the equation was not checked, where it was not; else empty.
    """

    path: Path
    files: int = 0
    samples: int = 0
    bytes: int = 0
    residuals: int = 0
    remade: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what was checked."""
        return not self.faults


@dataclass(frozen=True)
class _Known:
    """What there is to compare a shard with."""

    card: Card
    problem: Problem | None
    shard: Shard
    manifest: Manifest


@dataclass(frozen=True)
class _Read:
    """What came of reading one file through.

    Args:
        intact: its bytes are those that were written.
    """

    faults: list[Fault]
    intact: bool = True
    samples: int = 0
    residuals: int = 0
    statistics: Mapping[str, Statistics] = field(default_factory=dict)


def check(
    path: str | Path,
    *,
    fraction: float = 0.01,
    trust: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a set: the folder of a card with its splits, one split, one shard, or a file of another format.

    Of shards: the manifest is there and whole; size and CRC-32 of the file (one changed bit anywhere is found); variables,
    roles, units, dimensions and attributes are those of card and problem; sample numbers have no gap; the recorded residuals
    are within the tolerance of the problem; all values are finite; the statistics are those of the manifest, and of the card
    where the whole set is there. Where every point of the solver's grid is stored, the residual of every sample is computed
    again; elsewhere a part of the samples is made again, another part when the files differ. Files of other formats are read
    through and checked to be finite. A file whose bytes are wrong is looked at no further.

    Args:
        fraction: of the samples to make again, at least one sample; 0 makes none.
        trust: modules besides `sciml.problems` that may be imported to find the problem that a file names. To import is to run.
        progress: called after each file with the files done and to do.
    Raises:
        FileNotFoundError: nothing is there.
        ValueError: `fraction` is not between 0 and 1.
    """
    path = Path(path).expanduser().resolve()
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there to check")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: got {fraction}, need 0 to 1")
    folders = _folders(path)
    files = [path] if path.is_file() else sorted(file for folder in folders for file in folder.glob("shard-*.h5"))
    manifests, faults = _manifests(files)
    with one_thread():
        if any(manifest.get("card") for manifest in manifests.values()):
            report = _check_set(path, files, manifests, fraction, trust, progress)
            report.notes += [
                f"{part}: is what a stopped run left; it does no harm"
                for folder in folders
                for part in sorted(folder.glob(".shard-*.part"))
            ]
        else:
            faults += [fault for file, manifest in manifests.items() for fault in _bytes_faults(file, manifest)]
            report = CheckReport(path) if faults else _check_foreign(path)
    report.faults[:0] = faults
    return report


def _check_set(
    path: Path,
    files: Sequence[Path],
    manifests: Mapping[Path, Manifest],
    fraction: float,
    trust: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> CheckReport:
    """Files whose manifests hold a card."""
    report = CheckReport(path)
    common, report.faults = _common_card(manifests)
    try:
        card = Card.from_dict(common, str(next(iter(manifests))))
    except ValueError as error:
        report.faults.append(Fault(path, f"the card in its manifests cannot be read, {error}"))
        return report
    problem, report.unchecked = _problem(card, trust)
    wanted = _wanted(path, card, manifests)
    for file in sorted(wanted.keys() - set(files)):
        report.faults.append(Fault(file, "is missing; run `sciml generate CARD --out ...` again"))
    total: dict[str, Statistics] = {}
    intact: dict[Path, Manifest] = {}
    for done, file in enumerate(files):
        if file not in wanted:
            report.faults.append(Fault(file, f"is no file of this card, which has {len(wanted)} shards here; remove it"))
        elif file in manifests:
            read = _read_shard(file, _Known(card, problem, wanted[file], manifests[file]))
            report.files += 1
            report.bytes += file.stat().st_size
            report.samples += read.samples
            report.residuals += read.residuals
            report.faults += read.faults
            if read.intact:
                intact[file] = manifests[file]
            for name, statistics in read.statistics.items():
                total.setdefault(name, Statistics()).join(statistics)
        if progress is not None:
            progress(done + 1, len(files))
    whole = len(wanted) == len(shards_of(card, path)) and len(manifests) == len(files)
    if whole and report.ok:
        report.faults += _expected_faults(path, card, total)
    if problem is not None and card.storage.stride > 1 and fraction > 0:
        for file, row, sample in _chosen({file: wanted[file] for file in intact}, fraction, _seed_of(card, intact)):
            found = _remade_faults(card, problem, file, row, sample)
            report.remade += found is not None
            report.faults += found or []
    return report


def _folders(path: Path) -> list[Path]:
    """Where shards lie: the folder itself, or its splits."""
    if path.is_file():
        return []
    return [path] if any(path.glob("shard-*.*")) else sorted({file.parent for file in path.glob("*/shard-*.*")})


def _manifests(files: Sequence[Path]) -> tuple[dict[Path, Manifest], list[Fault]]:
    """The manifests of those files that have a whole one."""
    found: dict[Path, Manifest] = {}
    faults: list[Fault] = []
    for file in files:
        try:
            manifest = manifest_of(file)
        except (OSError, ValueError) as error:
            faults.append(Fault(manifest_path(file), str(error).removeprefix(f"{manifest_path(file)}: ")))
            continue
        if manifest is not None:
            found[file] = manifest
        elif file.name.startswith("shard-"):
            name = manifest_path(file).name
            message = f"has no manifest {name}, it was not finished; run `sciml generate CARD --out ...` again"
            faults.append(Fault(file, message))
    return found, faults


def _common_card(manifests: Mapping[Path, Manifest]) -> tuple[dict[str, object], list[Fault]]:
    """The card that most manifests hold, as a table."""
    held = [manifest.get("card") for manifest in manifests.values()]
    common = max(held, key=held.count)
    message = "was made from another card than most files here; make it again"
    faults = [Fault(file, message) for file, manifest in manifests.items() if manifest.get("card") != common]
    return common if isinstance(common, dict) else {}, faults


def _problem(card: Card, trust: Sequence[str]) -> tuple[Problem | None, str]:
    """The problem of a card, or why there is none."""
    try:
        return card.make_problem(trust=trust), ""
    except ValueError as error:
        return None, str(error)


def _wanted(path: Path, card: Card, manifests: Mapping[Path, Manifest]) -> dict[Path, Shard]:
    """The files that should be here."""
    plan = shards_of(card, path)
    split = next(iter(manifests.values())).get("split")
    if path.is_file():
        own = [shard for shard in plan if shard.split == split and shard.number == manifests[path].get("shard")]
        return {path: own[0]} if own else {}
    if any(file.parent == path for file in manifests):
        return {path / shard.path.name: shard for shard in plan if shard.split == split}
    return {shard.path: shard for shard in plan}


def _read_shard(file: Path, known: _Known) -> _Read:
    """Everything about one file."""
    faults = _bytes_faults(file, known.manifest)
    if faults:  # what HDF5 makes of wrong bytes, up to ending the process, says nothing more
        return _Read(faults, intact=False)
    try:
        described = hdf5.describe(file)
        wrong = schema_faults(file, described, known.card, known.problem, known.shard, known.manifest)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return _Read([Fault(file, str(error).removeprefix(f"{file}: "))])
    faults += [Fault(file, message) for message in wrong]
    recorded = None
    if not wrong:
        recorded, bad = _recorded_residuals(file, known)
        faults += bad
    statistics = {name: Statistics() for name in described.variables}
    finite, residuals = True, 0
    for start in range(0, described.samples, known.card.storage.block):
        rows = np.arange(start, min(start + known.card.storage.block, described.samples))
        try:
            fields = {name: hdf5.read(file, name, rows) for name in described.variables}
        except OSError as error:
            faults.append(Fault(file, str(error).removeprefix(f"{file}: ")))
            return _Read(faults, samples=described.samples, residuals=residuals)
        bad = _finite_faults(file, fields, start + known.shard.samples.start)
        faults, finite = [*faults, *bad], finite and not bad
        for name, values in fields.items():
            statistics[name].add(values.numpy())
        if finite and recorded is not None and known.problem is not None and known.card.storage.stride == 1:
            samples = known.shard.samples[start : start + len(rows)]
            faults += _residual_faults(file, fields, samples, recorded[start : start + len(rows)], known.problem, known.card)
            residuals += len(rows)
    if finite:
        faults += _statistics_faults(file, statistics, known.manifest)
    return _Read(faults, samples=described.samples, residuals=residuals, statistics=statistics)


def _bytes_faults(file: Path, manifest: Manifest) -> list[Fault]:
    size = file.stat().st_size
    if size != manifest["size"]:
        return [Fault(file, f"has {size} bytes, its manifest says {manifest['size']}. {remade(file)}")]
    if file_crc32(file) != manifest["crc32"]:
        return [Fault(file, f"its bytes were changed (CRC-32 differs from the manifest). {remade(file)}")]
    return []


def _finite_faults(file: Path, fields: Fields, first: int) -> list[Fault]:
    """One line for every variable that is not finite throughout; `first` is the number of the first sample."""
    faults: list[Fault] = []
    for name, values in fields.items():
        if not values.is_floating_point() or bool(values.isfinite().all()):
            continue
        bad = torch.nonzero(~values.isfinite())
        index = tuple(bad[0].tolist())
        rows = len(bad[:, 0].unique())
        more = f", and {rows - 1} more samples of this block" if rows > 1 else ""
        message = f"holds {values[index].item()} at {index[1:]}{more}. {remade(file)}"
        faults.append(Fault(file, message, name, first + index[0]))
    return faults


def _statistics_faults(file: Path, found: Mapping[str, Statistics], manifest: Manifest) -> list[Fault]:
    said = manifest["statistics"]
    faults: list[Fault] = []
    for name, statistics in found.items():
        recorded = said.get(name) if isinstance(said, dict) else None
        if not isinstance(recorded, dict):
            faults.append(Fault(file, "its manifest has no statistics", name))
            continue
        for key, value in statistics.result().items():
            if not abs(value - recorded.get(key, np.nan)) <= 1e-12 * max(abs(value), abs(statistics.largest)):
                faults.append(Fault(file, f"{key} is {value!r}, its manifest says {recorded.get(key)!r}", name))
    return faults


def _recorded_residuals(file: Path, known: _Known) -> tuple[Float[Tensor, "sample"] | None, list[Fault]]:
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


def _expected_faults(path: Path, card: Card, found: Mapping[str, Statistics]) -> list[Fault]:
    faults: list[Fault] = []
    for key, (value, deviation) in card.expected.items():
        name, statistic = key.split(".")
        got = found[name].result()[statistic] if name in found else None
        if got is None or not abs(got - value) <= deviation:
            faults.append(Fault(path, f"{key} of the whole set is {got}, its card expects {value} within {deviation}"))
    return faults


def _seed_of(card: Card, manifests: Mapping[Path, Manifest]) -> int:
    """Of the choice of samples: who changes a file changes the choice, and cannot know it before."""
    text = json.dumps([card.seed, [manifest["crc32"] for manifest in manifests.values()]])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _chosen(shards: Mapping[Path, Shard], fraction: float, seed: int) -> list[tuple[Path, int, int]]:
    """Part of the samples, evenly over all that are here: file, row in it, and number."""
    places = [(file, row, sample) for file, shard in shards.items() for row, sample in enumerate(shard.samples)]
    count = min(max(1, round(fraction * len(places))), len(places))  # none where no file is intact
    return [places[place] for place in permuted(range(count), len(places), seed=seed, epoch=0).tolist()]


def _remade_faults(card: Card, problem: Problem, file: Path, row: int, sample: int) -> list[Fault] | None:
    """Make a sample again and compare; None where the file cannot be read, which is a fault of its own."""
    try:
        stored = {name: hdf5.read(file, name, np.array([row]))[0] for name in problem.variables()}
        differs = remade_differs(card, problem, sample, stored)
    except OSError:
        return None
    except (ValueError, RuntimeError, IndexError) as error:
        differs = f"cannot be made again: {error}"
    return [Fault(file, f"{differs}. {remade(file)}", sample=sample)] if differs else []


def _check_foreign(path: Path) -> CheckReport:
    """A set without a card: it can be opened, and its values are finite."""
    report = CheckReport(path)
    try:
        found = open_set(path)
    except (OSError, ValueError) as error:
        report.faults = [Fault(path, str(error).removeprefix(f"{path}: "))]
        return report
    report.unchecked = "there is no card, so schema and statistics were not either"
    report.files, report.samples = len(found.parts), len(found)
    for part in found.parts:
        report.bytes += part.path.stat().st_size
        for start in range(0, part.samples, 64):
            rows = np.arange(start, min(start + 64, part.samples))
            fields = {name: part.format.read(part.path, name, rows) for name in found.variables}
            report.faults += _finite_faults(part.path, fields, start)
    return report


__all__ = ["CheckReport", "Fault", "check"]
