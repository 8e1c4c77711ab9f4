"""Whether files on disk are what they say: bytes, schema, values, statistics, and the equation itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

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
        where = [f"variable {self.variable}"] * (self.variable is not None) + [f"sample {self.sample}"] * (
            self.sample is not None
        )
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
    """

    path: Path
    files: int = 0
    samples: int = 0
    bytes: int = 0
    residuals: int = 0
    remade: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults


@dataclass(frozen=True)
class _Known:
    """What there is to compare a shard with."""

    card: Card
    problem: Problem | None
    shard: Shard
    manifest: Manifest


def check(
    path: str | Path,
    *,
    fraction: float = 0.01,
    trust: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a set: the folder of a card with its splits, one split, one shard, or a file of another format.

    Of shards: the manifest is there and whole; size and CRC-32 of the file (one changed bit anywhere is found); variables,
    roles, units, dimensions and attributes are those of card and problem; sample numbers have no gap; all values are finite;
    the statistics are those of the manifest, and of the card where the whole set is there. Where every point of the solver's
    grid is stored, the residual of every sample is computed again; elsewhere a part of the samples is made again. Files of
    other formats are read through and checked to be finite.

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
    report = CheckReport(path)
    with one_thread():
        _check(path, fraction, trust, progress, report)
    return report


def _check(
    path: Path, fraction: float, trust: Sequence[str], progress: Callable[[int, int], None] | None, report: CheckReport
) -> None:
    folders = _folders(path)
    files = [path] if path.is_file() else sorted(file for folder in folders for file in folder.glob("shard-*.h5"))
    manifests = {file: manifest for file in files if (manifest := _manifest(file, report)) is not None}
    if not any(manifest.get("card") for manifest in manifests.values()):
        for file, manifest in manifests.items():
            _check_bytes(file, manifest, report)
        _check_foreign(path, report)
        return
    try:
        card, problem = _card(manifests, trust, report)
    except ValueError as error:
        report.faults.append(Fault(path, f"the card in its manifests cannot be read, {error}"))
        return
    wanted = _wanted(path, card, manifests)
    for file in sorted(wanted.keys() - set(files)):
        report.faults.append(Fault(file, "is missing; run `sciml generate CARD --out ...` again"))
    total: dict[str, Statistics] = {}
    for done, file in enumerate(files):
        if file not in wanted:
            report.faults.append(Fault(file, f"is no file of this card, which has {len(wanted)} shards here; remove it"))
        elif file in manifests:
            known = _Known(card, problem, wanted[file], manifests[file])
            for name, statistics in _check_shard(file, known, report).items():
                total.setdefault(name, Statistics()).join(statistics)
        if progress is not None:
            progress(done + 1, len(files))
    if len(wanted) == len(shards_of(card, path)) and report.ok:
        _check_expected(path, card, total, report)
    if problem is not None and card.storage.stride > 1 and fraction > 0:
        _check_remade(card, problem, {file: wanted[file] for file in manifests if file in wanted}, fraction, report)
    for folder in folders:
        report.notes += [
            f"{part}: is what a stopped run left; it does no harm" for part in sorted(folder.glob(".shard-*.part"))
        ]


def _folders(path: Path) -> list[Path]:
    """Where shards lie: the folder itself, or its splits."""
    if path.is_file():
        return []
    return [path] if any(path.glob("shard-*.*")) else sorted({file.parent for file in path.glob("*/shard-*.*")})


def _manifest(file: Path, report: CheckReport) -> Manifest | None:
    try:
        manifest = manifest_of(file)
        if manifest is None and file.name.startswith("shard-"):
            message = (
                f"has no manifest {manifest_path(file).name}, it was not finished; run `sciml generate CARD --out ...` again"
            )
            report.faults.append(Fault(file, message))
        return manifest
    except (OSError, ValueError) as error:
        report.faults.append(Fault(manifest_path(file), str(error).removeprefix(f"{manifest_path(file)}: ")))
    return None


def _card(manifests: Mapping[Path, Manifest], trust: Sequence[str], report: CheckReport) -> tuple[Card, Problem | None]:
    """The card that most manifests hold, and its problem if it may be imported."""
    held = [manifest.get("card") for manifest in manifests.values()]
    common = max(held, key=held.count)
    for file, manifest in manifests.items():
        if manifest.get("card") != common:
            report.faults.append(Fault(file, "was made from another card than most files here; make it again"))
    card = Card.from_dict(common if isinstance(common, dict) else {}, str(next(iter(manifests))))
    try:
        return card, card.make_problem(trust=("sciml.problems", *trust))
    except ValueError as error:
        report.notes.append(f"the equation was not checked: {error}")
        return card, None


def _wanted(path: Path, card: Card, manifests: Mapping[Path, Manifest]) -> dict[Path, Shard]:
    """The files that should be here."""
    plan = shards_of(card, path)
    if path.is_file():
        own = (manifests[path].get("split"), manifests[path].get("shard"))
        return dict(zip([path], (shard for shard in plan if (shard.split, shard.number) == own), strict=False))
    if any(file.parent == path for file in manifests):
        split = next(iter(manifests.values())).get("split")
        return {path / shard.path.name: shard for shard in plan if shard.split == split}
    return {shard.path: shard for shard in plan}


def _check_shard(file: Path, known: _Known, report: CheckReport) -> dict[str, Statistics]:
    """Everything about one file; the statistics of its values."""
    report.files += 1
    report.bytes += file.stat().st_size
    _check_bytes(file, known.manifest, report)
    try:
        described = hdf5.describe(file)
        wrong = schema_faults(file, described, known.card, known.problem, known.shard, known.manifest)
    except (OSError, ValueError) as error:
        report.faults.append(Fault(file, str(error).removeprefix(f"{file}: ")))
        return {}
    report.faults += [Fault(file, message) for message in wrong]
    report.samples += described.samples
    statistics = {name: Statistics() for name in described.variables}
    finite = True
    for start in range(0, described.samples, known.card.storage.block):
        rows = np.arange(start, min(start + known.card.storage.block, described.samples))
        try:
            fields = {name: hdf5.read(file, name, rows) for name in described.variables}
        except OSError as error:
            report.faults.append(Fault(file, str(error).removeprefix(f"{file}: ")))
            return {}
        finite &= _check_finite(file, fields, int(rows[0]) + known.shard.samples.start, remade(file), report)
        for name, values in fields.items():
            statistics[name].add(values.numpy())
        if finite and not wrong and known.problem is not None and known.card.storage.stride == 1:
            _check_residual(file, fields, rows, known, known.problem, report)
    if finite:
        _check_statistics(file, statistics, known.manifest, report)
    return statistics


def _check_bytes(file: Path, manifest: Manifest, report: CheckReport) -> None:
    size = file.stat().st_size
    if size != manifest["size"]:
        report.faults.append(Fault(file, f"has {size} bytes, its manifest says {manifest['size']}. {remade(file)}"))
    elif file_crc32(file) != manifest["crc32"]:
        report.faults.append(Fault(file, f"its bytes were changed (CRC-32 differs from the manifest). {remade(file)}"))


def _check_finite(file: Path, fields: Fields, first: int, remedy: str, report: CheckReport) -> bool:
    finite = True
    for name, values in fields.items():
        if not values.is_floating_point() or bool(values.isfinite().all()):
            continue
        finite = False
        bad = torch.nonzero(~values.isfinite())
        index = tuple(bad[0].tolist())
        rows = len(bad[:, 0].unique())
        more = f", and {rows - 1} more samples of this block" if rows > 1 else ""
        message = f"holds {values[index].item()} at {index[1:]}{more}. {remedy}"
        report.faults.append(Fault(file, message, name, first + index[0]))
    return finite


def _check_statistics(file: Path, found: Mapping[str, Statistics], manifest: Manifest, report: CheckReport) -> None:
    said = manifest["statistics"]
    for name, statistics in found.items():
        recorded = said.get(name) if isinstance(said, dict) else None
        if not isinstance(recorded, dict):
            report.faults.append(Fault(file, "its manifest has no statistics", name))
            continue
        for key, value in statistics.result().items():
            if not abs(value - recorded.get(key, np.nan)) <= 1e-12 * max(abs(value), abs(statistics.largest)):
                report.faults.append(Fault(file, f"{key} is {value!r}, its manifest says {recorded.get(key)!r}", name))


def _check_residual(file: Path, fields: Fields, rows: np.ndarray, known: _Known, problem: Problem, report: CheckReport) -> None:
    listed = known.manifest.get("residuals")
    recorded = torch.tensor(listed if isinstance(listed, list) else [], dtype=torch.float64)
    if len(recorded) != len(known.shard.samples):
        if rows[0] == 0:
            report.faults.append(
                Fault(file, f"its manifest has {len(recorded)} residuals for {len(known.shard.samples)} samples")
            )
        return
    recorded = recorded[rows[0] : rows[-1] + 1]
    residual, bound = residual_of_stored(problem, fields, known.card.domain)
    report.residuals += len(rows)
    wrong = ~((residual - recorded).abs() <= bound) | ~(recorded <= problem.tolerance)
    if bool(wrong.any()):
        i = int(torch.nonzero(wrong)[0])
        more = f" ({int(wrong.sum())} samples of this block are wrong)" if int(wrong.sum()) > 1 else ""
        message = (
            f"relative residual of the equation is {float(residual[i]):.3g}, was {float(recorded[i]):.3g} when solved; "
            f"rounding explains {float(bound[i]):.3g}{more}. {remade(file)}"
        )
        report.faults.append(Fault(file, message, sample=known.shard.samples[int(rows[i])]))


def _check_expected(path: Path, card: Card, found: Mapping[str, Statistics], report: CheckReport) -> None:
    for key, (value, deviation) in card.expected.items():
        name, statistic = key.split(".")
        got = found[name].result()[statistic] if name in found else None
        if got is None or not abs(got - value) <= deviation:
            report.faults.append(Fault(path, f"{key} of the whole set is {got}, its card expects {value} within {deviation}"))


def _check_remade(card: Card, problem: Problem, shards: Mapping[Path, Shard], fraction: float, report: CheckReport) -> None:
    """Make some samples again, chosen evenly over all that are here."""
    places = [(file, row, sample) for file, shard in shards.items() for row, sample in enumerate(shard.samples)]
    count = max(1, round(fraction * len(places)))
    for place in permuted(range(min(count, len(places))), len(places), seed=card.seed, epoch=0).tolist():
        file, row, sample = places[place]
        try:
            stored = {name: hdf5.read(file, name, np.array([row]))[0] for name in problem.variables()}
            differs = remade_differs(card, problem, sample, stored)
        except OSError:
            continue  # an unreadable file was reported before
        except (ValueError, RuntimeError, IndexError) as error:
            differs = f"cannot be made again: {error}"
        report.remade += 1
        if differs:
            report.faults.append(Fault(file, f"{differs}. {remade(file)}", sample=sample))


def _check_foreign(path: Path, report: CheckReport) -> None:
    """A set without a card: it can be opened, and its values are finite."""
    try:
        found = open_set(path)
    except (OSError, ValueError) as error:
        if report.ok:
            report.faults.append(Fault(path, str(error).removeprefix(f"{path}: ")))
        return
    report.notes.append("there is no card: schema, statistics and equation were not checked")
    report.files, report.samples = len(found.parts), len(found)
    for part in found.parts:
        report.bytes += part.path.stat().st_size
        for start in range(0, part.samples, 64):
            rows = np.arange(start, min(start + 64, part.samples))
            fields = {name: part.format.read(part.path, name, rows) for name in found.variables}
            _check_finite(part.path, fields, start, remade(part.path), report)


__all__ = ["CheckReport", "Fault", "check"]
