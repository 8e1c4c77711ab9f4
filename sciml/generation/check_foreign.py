"""Sets without a card, of any format: files agree, values are finite, statistics of the format are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sciml.data.discovery import files_of, splits_of
from sciml.data.formats.registry import format_of
from sciml.data.manifest import Manifest
from sciml.data.set import Part, Set, open_set
from sciml.data.storage.files import StoredFile
from sciml.generation.check_bytes import bytes_faults, manifests_of
from sciml.generation.check_report import CheckReport, Fault, fault_of
from sciml.generation.check_statistics import recorded_faults, well_statistics
from sciml.generation.check_values import Findings, value_findings

Each = Callable[..., Iterable[Any]]
"""Like `map`, maybe by several threads."""

_ERRORS = (OSError, ValueError, IndexError)


def check_foreign(path: Path, each: Each, progress: Callable[[int, int], None] | None) -> CheckReport:
    """A set without a card: bytes where there are manifests, then everything that can be read.

    Args:
        each: applies a function to every one of many things, results in order.
        progress: called after each file with the files done and to do.
    """
    report = CheckReport(path)
    files = _files(path, report)
    manifests, faults = manifests_of(files)
    report.faults += faults
    for wrong in each(lambda file: _bytes(file, manifests[file]), manifests):
        report.faults += wrong
    if report.faults:  # what HDF5 makes of wrong bytes says nothing more
        return report
    sets = _sets(path, files, report)
    if not sets:
        return report
    report.unchecked = "there is no card, so schema and statistics were not either"
    parts = [(found, part) for found in sets for part in found.parts]
    report.samples, report.notes = sum(map(len, sets)), [note for found in sets for note in found.notes]
    looked = {part.path for _, part in parts}
    report.files, report.bytes = len(looked), sum(file.stat().st_size for file in looked)
    results = each(lambda item: _part_findings(item[0], item[1], manifests.get(item[1].path)), parts)
    for done, findings in enumerate(results):
        report.faults += findings.faults
        report.notes += findings.notes
        if progress is not None:
            progress(done + 1, len(parts))
    # What several files share is said once.
    report.faults, report.notes = list(dict.fromkeys(report.faults)), list(dict.fromkeys(report.notes))
    return report


def _part_findings(found: Set, part: Part, manifest: Manifest | None) -> Findings:
    try:
        findings = value_findings(found, part, sealed=manifest is not None)
        if manifest is not None:
            findings.faults += recorded_faults(part.path, found.variables, manifest)
        faults, notes = well_statistics(part)
    except _ERRORS as error:
        return Findings([fault_of(part.path, error)])
    return Findings([*findings.faults, *faults], [*findings.notes, *notes])


def _files(path: Path, report: CheckReport) -> list[Path]:
    """All files of a set, of all its splits."""
    found: list[Path] = []
    try:
        for split in splits_of(path) or [None]:
            found += files_of(path, split)[0]
    except _ERRORS as error:
        report.faults.append(fault_of(path, error))
    return found


def _bytes(file: Path, manifest: Manifest) -> list[Fault]:
    try:
        return bytes_faults(file, manifest)
    except _ERRORS as error:
        return [fault_of(file, error)]


def _sets(path: Path, files: list[Path], report: CheckReport) -> list[Set]:
    """Whatever can be opened: every split, be it a folder or inside of the files."""
    opened: list[Set] = []
    try:
        inside = {split for file in map(StoredFile, files) for split in format_of(file).splits(file)}
    except _ERRORS as error:
        report.faults.append(fault_of(path, error))
        return []
    for split in splits_of(path) or sorted(inside) or [None]:
        try:
            opened.append(open_set(path, split=split))
        except _ERRORS as error:
            report.faults.append(fault_of(path, error))
    return opened


__all__ = ["Each", "check_foreign"]
