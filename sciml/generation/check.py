"""Whether files on disk are what they say: bytes, schema, values, statistics, and the equation itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sciml.data.manifest import Manifest
from sciml.data.set import Set, open_set
from sciml.data.statistics import Statistics
from sciml.generation.card import Card
from sciml.generation.check_bytes import bytes_faults, manifests_of
from sciml.generation.check_equation import (
    Known,
    Numbers,
    chosen,
    chosen_halving,
    recorded_numbers,
    remade_faults,
    seed_of,
    solved,
)
from sciml.generation.check_foreign import check_foreign
from sciml.generation.check_report import CheckReport, Fault, fault_of
from sciml.generation.check_statistics import expected_faults, recorded_faults
from sciml.generation.check_values import value_findings
from sciml.generation.plan import Shard, shards_of
from sciml.generation.samples import one_thread
from sciml.generation.schema import schema_faults
from sciml.problems.problem import Problem

Progress = Callable[[int, int], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Read:
    """What came of reading one shard through.

    Args:
        found: the shard as a set of its own, None where it cannot be opened or its bytes are wrong.
        intact: its bytes are those that were written.
        finite: all its values are.
        recorded: the errors in its manifest, None where they cannot be compared with anything.
    """

    faults: list[Fault]
    notes: list[str] = field(default_factory=list)
    found: Set | None = None
    intact: bool = True
    finite: bool = True
    recorded: Numbers | None = None


def check(
    path: str | Path,
    *,
    fraction: float = 0.01,
    trust: Sequence[str] = (),
    progress: Progress | None = None,
    equation: bool = True,
    workers: int = 1,
) -> CheckReport:
    """Check a set: the folder of a card with its splits, one split, one shard, or files of another format.

    Of shards: the manifest is there and whole; size and CRC-32 of the file, block by block (one changed bit anywhere is found,
    and named with variable and sample); variables, roles, units, dimensions and attributes are those of card and problem;
    sample numbers have no gap; the recorded residuals are within the tolerance of the problem; all values are finite; the
    statistics are those of the manifest, and of the card where the whole set is there. Where every point of the solver's grid
    is stored, the residual and the conserved quantities of every sample are computed again; elsewhere a part of the samples is
    made again, another part when the files differ. So is a part of those that were solved with half the step in time. A file
    whose bytes are wrong is looked at no further.

    Files of other formats are read through: their shards agree, values are finite, no frame is zero among frames that are not,
    and the statistics that belong to the format are there and complete.

    Args:
        fraction: of the samples to make again, at least one sample; 0 makes none.
        trust: modules besides `sciml.problems` that may be imported to find the problem that a file names. To import is to run.
        progress: called after each file with the files done and to do.
        equation: compute residuals and statistics again. Without it bytes, schema and values are checked, at their speed.
        workers: threads that look at files at the same time.
    Raises:
        FileNotFoundError: nothing is there.
        ValueError: `fraction` is not between 0 and 1, or `workers` is below 1.
    """
    path = Path(path).expanduser().resolve()
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there to check")
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: got {fraction}, need 0 to 1")
    if workers < 1:
        raise ValueError(f"workers: got {workers}, need at least 1")
    if unreadable := _unreadable(path):
        return CheckReport(path, faults=unreadable)
    folders = _folders(path)
    files = [path] if path.is_file() else sorted(file for folder in folders for file in folder.glob("shard-*.h5"))
    manifests, faults = manifests_of(files)
    with one_thread(), _pool(workers) as each:
        if any(manifest.get("card") for manifest in manifests.values()):
            report = _check_set(path, files, manifests, _Wishes(fraction, trust, progress, equation), each)
            report.faults[:0] = faults
            report.notes += [
                f"{part}: is what a stopped run left; it does no harm"
                for folder in folders
                for part in sorted(folder.glob(".shard-*.part"))
            ]
        else:
            report = check_foreign(path, each, progress)
    return report


@dataclass(frozen=True)
class _Wishes:
    """How much to check; see `check`."""

    fraction: float
    trust: Sequence[str]
    progress: Progress | None
    equation: bool


def _check_set(
    path: Path,
    files: Sequence[Path],
    manifests: Mapping[Path, Manifest],
    wishes: _Wishes,
    each: Callable[[Callable[[Path], _Read], Iterable[Path]], Iterable[_Read]],
) -> CheckReport:
    """Files whose manifests hold a card."""
    report = CheckReport(path)
    common, report.faults = _common_card(manifests)
    try:
        card = Card.from_dict(common, str(next(iter(manifests))))
    except ValueError as error:
        report.faults.append(Fault(path, f"the card in its manifests cannot be read, {error}"))
        return report
    problem, report.unchecked = _problem(card, wishes.trust)
    if not wishes.equation:
        report.unchecked = report.unchecked or "it was not asked for"
    wanted = _wanted(path, card, manifests)
    for file in sorted(wanted.keys() - set(files)):
        report.faults.append(Fault(file, "is missing; run `sciml generate CARD --out ...` again"))
    known = {
        file: Known(card, problem, wanted[file], manifests[file]) for file in files if file in wanted and file in manifests
    }
    reads = iter(each(lambda file: _read_shard(file, known[file]), known))
    total: dict[str, Statistics] = {}
    intact: dict[Path, Manifest] = {}
    for done, file in enumerate(files):
        if file not in wanted:
            report.faults.append(Fault(file, f"is no file of this card, which has {len(wanted)} shards here; remove it"))
        elif file in known:
            read = next(reads)
            report.files += 1
            report.bytes += file.stat().st_size
            report.faults += read.faults
            report.notes += read.notes
            report.samples += 0 if read.found is None else len(read.found)
            if read.intact:
                intact[file] = manifests[file]
            if wishes.equation and read.found is not None and read.finite:
                for name, statistics in _solve(report, read.found, known[file], read.recorded).items():
                    total.setdefault(name, Statistics()).join(statistics)
        if wishes.progress is not None:
            wishes.progress(done + 1, len(files))
    whole = len(wanted) == len(shards_of(card, path)) and len(manifests) == len(files)
    if whole and report.ok and wishes.equation:
        report.faults += expected_faults(path, card, total)
    if problem is not None and wishes.fraction > 0 and wishes.equation:
        whole_files, seed = {file: known[file] for file in intact}, seed_of(card, intact)
        places = chosen_halving(whole_files, wishes.fraction, seed)
        if card.storage.stride > 1:
            places += chosen({file: wanted[file] for file in intact}, wishes.fraction, seed)
        for file, row, sample in dict.fromkeys(places):
            found = remade_faults(file, row, sample, known[file])
            report.remade += found is not None
            report.faults += found or []
    return report


def _read_shard(file: Path, known: Known) -> _Read:
    """Everything about one file but its equation."""
    try:
        faults = bytes_faults(file, known.manifest)
        if faults:  # what HDF5 makes of wrong bytes, up to ending the process, says nothing more
            return _Read(faults, intact=False)
        found = open_set(file)
        described = found.parts[0].file.description
        wrong = schema_faults(file, described, known.card, known.problem, known.shard, known.manifest)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return _Read([fault_of(file, error)])
    faults = [Fault(file, message) for message in wrong]
    recorded, bad = (None, []) if wrong else recorded_numbers(file, known)
    try:
        values = value_findings(found, found.parts[0], sealed=True, first=known.shard.samples.start)
    except (OSError, ValueError) as error:
        return _Read([*faults, *bad, fault_of(file, error)])
    faults += [*bad, *values.faults, *recorded_faults(file, found.variables, known.manifest)]
    return _Read(faults, values.notes, found, finite=not values.faults, recorded=recorded)


def _solve(report: CheckReport, found: Set, known: Known, recorded: Numbers | None) -> Mapping[str, Statistics]:
    """Add to the report what computing again shows; the statistics of the file."""
    try:
        again = solved(found, known, recorded)
    except OSError as error:
        report.faults.append(fault_of(found.parts[0].path, error))
        return {}
    report.faults += again.faults
    report.residuals += again.residuals
    return again.statistics


@contextmanager
def _pool(workers: int) -> Iterator[Callable[[Callable[[_Item], _Result], Iterable[_Item]], Iterable[_Result]]]:
    """Apply a function to each of many things, by so many threads, results in order."""
    if workers == 1:
        yield map
        return
    with ThreadPoolExecutor(workers) as pool:
        yield pool.map


def _unreadable(path: Path) -> list[Fault]:
    """Folders that may not be looked into: the patterns below would find nothing there."""
    found: list[Fault] = []
    folders = [path] if path.is_dir() else []
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError as error:
            found.append(Fault(folder, f"cannot be read: {error.strerror}; see that you may read it"))
            continue
        if folder == path:
            folders += sorted(path / name for name in names if (path / name).is_dir())
    return found


def _folders(path: Path) -> list[Path]:
    """Where shards lie: the folder itself, or its splits."""
    if path.is_file():
        return []
    return [path] if any(path.glob("shard-*.*")) else sorted({file.parent for file in path.glob("*/shard-*.*")})


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


__all__ = ["CheckReport", "Fault", "check"]
