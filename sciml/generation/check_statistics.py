"""Whether recorded statistics are there, complete, finite, and those of the values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import numpy as np

from sciml.data.field_statistics import KEYS as WELL_KEYS
from sciml.data.manifest import Manifest
from sciml.data.set import Part
from sciml.data.statistics import Statistics
from sciml.data.storage.files import StoredFile
from sciml.generation.card import Card
from sciml.generation.check_report import Fault

_KEYS = ("min", "max", "mean", "rms")
_WELL_FIELDS = ("t0_fields", "t1_fields", "t2_fields")


def recorded_faults(file: Path, variables: Mapping[str, object], manifest: Manifest) -> list[Fault]:
    """Statistics that the manifest lacks, or that are no finite numbers; one line per variable."""
    said = manifest["statistics"]
    found: list[Fault] = []
    for name in variables:
        recorded = said.get(name) if isinstance(said, dict) else None
        if not isinstance(recorded, dict):
            found.append(Fault(file, "its manifest has no statistics", name))
        elif wrong := [key for key in _KEYS if not _is_finite(recorded.get(key))]:
            got = ", ".join(f"{key} = {recorded.get(key)!r}" for key in wrong)
            found.append(Fault(file, f"the statistics of its manifest have {got}, need finite numbers", name))
    return found


def recomputed_faults(file: Path, found: Mapping[str, Statistics], manifest: Manifest) -> list[Fault]:
    """Statistics of the manifest that are not those of the values; what it lacks is another fault."""
    said = manifest["statistics"]
    faults: list[Fault] = []
    for name, statistics in found.items():
        recorded = said.get(name) if isinstance(said, dict) else None
        if not isinstance(recorded, dict):
            continue
        for key, value in statistics.result().items():
            there = recorded.get(key)
            if _is_finite(there) and not abs(value - there) <= 1e-12 * max(abs(value), abs(statistics.largest)):
                faults.append(Fault(file, f"{key} is {value!r}, its manifest says {there!r}", name))
    return faults


def expected_faults(path: Path, card: Card, found: Mapping[str, Statistics]) -> list[Fault]:
    """Statistics of the whole set that are not those its card expects."""
    faults: list[Fault] = []
    for key, (value, deviation) in card.expected.items():
        name, statistic = key.split(".")
        got = found[name].result()[statistic] if name in found else None
        if got is None or not abs(got - value) <= deviation:
            faults.append(Fault(path, f"{key} of the whole set is {got}, its card expects {value} within {deviation}"))
    return faults


def well_statistics(part: Part) -> tuple[list[Fault], list[str]]:
    """What is wrong with the `stats.yaml` of a file of The Well, and notes; nothing for other formats.

    It lies beside the folder `data` of the set. Means, deviations and rms of every field are needed, and of fields in time
    those of the differences of neighbouring instants.
    """
    file = StoredFile(part.path)
    if not file.is_hdf5 or "dataset_name" not in file.attributes() or not {*_WELL_FIELDS} & {*file.hdf5.groups}:
        return [], []
    home = next((folder.parent for folder in part.path.parents[:3] if folder.name == "data"), None)
    places = [folder / "stats.yaml" for folder in ([home] if home is not None else part.path.parents[:3])]
    path = next((place for place in places if place.is_file()), None)
    if path is None and home is None:
        return [], [f"{part.path}: has no stats.yaml in the folders above it, its normalisation has to be computed"]
    if path is None:
        return [Fault(places[0], "is missing: the statistics of a set of The Well; run `sciml stats` or download it again")], []
    return _well_faults(path, _well_fields(file)), []


def _well_fields(file: StoredFile) -> dict[str, bool]:
    """The fields of a file, and whether each changes in time."""
    found: dict[str, bool] = {}
    for group in _WELL_FIELDS:
        for name in file.hdf5.children(group) if group in file.hdf5.groups else ():
            found[name] = bool(file.attributes(f"{group}/{name}").get("time_varying", True))
    return found


def _well_faults(path: Path, fields: Mapping[str, bool]) -> list[Fault]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        said = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return [Fault(path, f"cannot be read as YAML, {' '.join(str(error).split())[:120]}; download it again")]
    if text.lstrip()[:1] == "<" or not isinstance(said, dict):
        page = text.lstrip()[:1] == "<"
        what = "is an HTML page, as of a failed download" if page else f"holds a {type(said).__name__}, need a table"
        return [Fault(path, f"{what}; download it again")]
    faults: list[Fault] = []
    for key in WELL_KEYS:
        wanted = [name for name, timed in fields.items() if timed or not key.endswith("_delta")]
        table = said.get(key)
        if not wanted:
            continue
        if not isinstance(table, dict):
            faults.append(Fault(path, f"lacks the key {key}; compute it again by `sciml stats`"))
            continue
        for name in wanted:
            if name not in table:
                faults.append(Fault(path, f"{key} lacks this field; compute it again by `sciml stats`", name))
            elif not _all_finite(table[name]):
                faults.append(Fault(path, f"{key} is {str(table[name])[:60]}, need finite numbers", name))
    return faults


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _all_finite(values: object) -> bool:
    """Of a number, or of lists of numbers."""
    try:
        numbers = np.asarray(values, np.float64)
    except (ValueError, TypeError):
        return False
    return bool(numbers.size) and bool(np.isfinite(numbers).all())


__all__ = ["expected_faults", "recomputed_faults", "recorded_faults", "well_statistics"]
