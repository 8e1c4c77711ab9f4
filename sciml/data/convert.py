"""One format into another: any set that can be opened, into files of ours, of The Well, or netCDF.

Values, roles, units, grid and times come through bit for bit. Memory holds one block, or one sample of a set that becomes ours.
What is written stands under another name until all of it is there.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sciml.data.atomic import part_of, remove_parts, sync_folder
from sciml.data.blocks import BLOCK, files_of_rows
from sciml.data.discovery import SUFFIXES
from sciml.data.field_statistics import field_statistics, write_yaml
from sciml.data.formats.mapped import Mapped
from sciml.data.info import notes as notes_of
from sciml.data.layout import Layout
from sciml.data.set import Set, open_set, splits_of
from sciml.data.storage.files import StoredFile
from sciml.data.writer import ShardWriter
from sciml.data.writers import netcdf, the_well
from sciml.data.writers.plain import OWN, plain_attributes, stored_type, time_grid

Target = Literal["sciml", "the-well", "netcdf"]

TARGETS: tuple[Target, ...] = get_args(Target)

FILE_BYTES = 1 << 29
"""Of values in one file of several."""

Tick = Callable[[int], None]
_WRITTEN = ("shard-*.h5", "shard-*.json", "*.hdf5", "*.nc", "stats.yaml", ".sciml-index.json")
"""Names of the files that a conversion writes, and of what may lie beside them."""

_KNOWN = ("train", "valid", "validation", "val", "test")


@dataclass(frozen=True)
class Converted:
    """What was written.

    Args:
        files, samples, bytes: how much; bytes on disk.
        left_out: attributes that the other format has no place for.
        notes: what is odd about the set that was read, and what was made of it.
    """

    path: Path
    files: int
    samples: int
    bytes: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def convert(
    path: str | Path,
    out: str | Path,
    *,
    to: Target,
    split: str | None = None,
    mapping: Mapping[str, Mapped] | str | Path | None = None,
    force: bool = False,
    file_bytes: int = FILE_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write a set in another format.

    Of a folder with splits all are written, each to a folder of its name. As The Well they are `OUT/data/train` and so on, and
    `OUT/stats.yaml` has the statistics of the training split.

    Args:
        out: a folder; or one file ending in `.h5` (sciml) or `.nc` (netcdf), for one split.
        split: only this one.
        mapping: what the arrays of `path` mean, as for `open_set`.
        force: replace `out` where it is there and holds nothing but a set.
        file_bytes: of values in one file, where `out` is a folder; exceeded where one sample is larger.
        progress: called with the bytes done and to do.
    Raises:
        ValueError: the other format cannot hold the set; `out` is there, or is part of what is read; or as `open_set`. Nothing
            is written then.
        OSError: no space, or a file cannot be read or written. Nothing is left of `out` then; with `force` what was there is.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    out = out if out.name not in ("", "..") else out.resolve()
    _check_free(path, out, to, force)
    sources = _opened(path, split, mapping)
    single, several = out.suffix in (".h5", ".nc"), len(sources) > 1
    if single and several:
        raise ValueError(f"{out}: one file cannot hold the splits {', '.join(sources)}; give a folder, or --split")
    for source in sources.values():
        _check(source, to)
    total, done = sum(_bytes(source, range(len(source))) for source in sources.values()), 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    # One file of ours is whole or not there by itself, and its manifest has its name.
    remove_parts(out)  # what a killed conversion left
    part = out if single and to == "sciml" else part_of(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        samples, files = 0, 0
        for name, source in sources.items():
            places = _places(source, name, part, out, to, file_bytes, several=several)
            for number, (place, rows) in enumerate(places):
                if to == "sciml":
                    about = {} if single else {"shard": number, "shards": len(places), "split": name}
                    _write_ours(source, rows, place, samples, about, tick)
                else:
                    write = the_well.write if to == "the-well" else netcdf.write
                    write(source, rows, place, name=out.stem if single else out.name, tick=tick)
            samples, files = samples + len(source), files + len(places)
        if to == "the-well":
            _write_statistics(part)
        size = _settled(part, out)
    except BaseException:
        if part != out:
            _remove(part)
        raise
    left_out = {key for source in sources.values() for key in source.attributes if key not in plain_attributes(source)}
    notes = tuple(dict.fromkeys(note for source in sources.values() for note in _notes(source)))
    return Converted(out, files, samples, size, tuple(sorted(left_out - set(OWN))), notes)


def _opened(path: Path, split: str | None, mapping: Mapping[str, Mapped] | str | Path | None) -> dict[str, Set]:
    """By split; one set that has none has the name of its folder, or is called train."""
    names = splits_of(path) if split is None else [split]
    if not names:
        return {path.name if path.name in _KNOWN else "train": open_set(path, mapping=mapping)}
    return {name: open_set(path, split=name, mapping=mapping) for name in names}


def _notes(source: Set) -> tuple[str, ...]:
    """Those of a set, and that splits inside of its files became one set."""
    if source.split is not None:
        return notes_of(source)
    inside = dict.fromkeys(name for part in source.parts for name in part.format.splits(StoredFile(part.path)))
    if len(inside) < 2:
        return notes_of(source)
    joined = f"the files hold the splits {', '.join(inside)}; all samples were written as one set, choose one with --split"
    return (*notes_of(source), joined)


def _places(
    source: Set, split: str, part: Path, out: Path, to: Target, file_bytes: int, *, several: bool
) -> list[tuple[Path, range]]:
    """The files of one split, and the samples of each."""
    if out.suffix in (".h5", ".nc"):
        return [(part, range(len(source)))]
    folder = part / split if several else part
    if to == "the-well":
        folder = part / "data" / the_well.SPLITS.get(split, split)
    folder.mkdir(parents=True)
    name = {"sciml": "shard-{:05d}.h5", "the-well": f"{out.name}-{{:05d}}.hdf5", "netcdf": f"{out.name}-{{:05d}}.nc"}[to]
    return [(folder / name.format(number), rows) for number, rows in enumerate(files_of_rows(source, file_bytes))]


def _check(source: Set, to: Target) -> None:
    if to == "the-well":
        the_well.check(source)
    elif to == "netcdf":
        netcdf.check(source)
    else:
        for info in source.variables.values():
            stored_type(source.path, info)
        rows = range(len(source))
        Layout(dict(source.variables), rows, source.domain, _for_ours(source), time_grid(source, rows))


def _write_ours(source: Set, rows: range, path: Path, first: int, place: Mapping[str, str | int], tick: Tick) -> None:
    """One shard, sample by sample or several at a time."""
    variables = list(source.variables.values())
    numbers = range(first + rows.start, first + rows.stop)
    at_once = max(BLOCK // sum(info.bytes for info in variables), 1)
    attributes = {**_for_ours(source), **place}
    with ShardWriter(path, variables, numbers, source.domain, attributes, time_grid(source, rows)) as shard:
        for start in range(rows.start, rows.stop, at_once):
            some = np.arange(start, min(start + at_once, rows.stop))
            fields = {info.name: _samples(source, info.name, some) for info in variables}
            shard.append(fields)
            tick(_bytes(source, range(start, start + len(some))))
        shard.finish(place)


def _samples(source: Set, name: str, rows: np.ndarray) -> Tensor:
    """Whole samples, shorter ones with zeros behind."""
    info = source.variables[name]
    if info.steps is None or source.steps is None or (source.steps[rows] == info.steps).all():
        return source.read(name, rows)
    values = torch.zeros(len(rows), *info.sample_shape, dtype=info.dtype)
    for at, row in enumerate(rows):
        values[at, : source.steps[row]] = source.read(name, rows[at : at + 1])[0]
    return values


def _for_ours(source: Set) -> dict[str, str | int]:
    """Attributes as files of ours have them: text or whole numbers."""
    return {key: value if isinstance(value, str | int) else repr(value) for key, value in plain_attributes(source).items()}


def _write_statistics(folder: Path) -> None:
    """Of the training split, of the first one where there is none."""
    data = folder / "data"
    names = sorted(child.name for child in data.iterdir())
    source = open_set(data / ("train" if "train" in names else names[0]))
    write_yaml(folder / "stats.yaml", field_statistics(source), source)


def _check_free(path: Path, out: Path, to: Target, force: bool) -> None:
    """Raise a ValueError when writing `out` would destroy something, or its name does not fit."""
    fitting = {"sciml": ("", ".h5"), "the-well": ("",), "netcdf": ("", ".nc")}[to]
    if out.suffix in SUFFIXES and out.suffix not in fitting:
        raise ValueError(f"{out}: {to} is written to a folder{' or to a file ending in ' + fitting[1] if fitting[1:] else ''}")
    if out.suffix == ".h5" and out.name.startswith("shard-"):
        raise ValueError(f"{out}: names that begin with shard- are those of sets; give the folder, or take another")
    here, there = path.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ValueError(f"{out}: lies within what is read, or holds it; take another place")
    beside = out.with_suffix(".json")
    if out.suffix == ".h5" and beside.exists() and not (force and out.exists()):
        raise ValueError(f"{beside}: is there already; take another name, or replace both files with --force")
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise ValueError(f"{out}: is there already; take another name, or replace it with --force")
    if out.is_symlink() or out.is_dir() != (out.suffix not in (".h5", ".nc")):
        raise ValueError(f"{out}: is a link or of another kind than what is to be written; take another name")
    strange = [file for file in out.rglob("*") if not file.is_dir() and not any(map(file.match, _WRITTEN))]
    if out.is_file():
        try:
            open_set(out)
        except (ValueError, OSError):
            strange = [out]
    if strange:
        raise ValueError(f"{out}: holds {strange[0].name}, which is no part of a set that was written here; remove it yourself")


def _settled(part: Path, out: Path) -> int:
    """Give what was written its name; how many bytes it has."""
    if part == out:
        return out.stat().st_size
    files = [file for file in part.rglob("*") if file.is_file()] if part.is_dir() else [part]
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    size = sum(file.stat().st_size for file in files)
    old = part_of(out) if out.exists() else None
    if old is not None:
        out.rename(old)
    part.rename(out)
    sync_folder(out.parent)
    if old is not None:
        _remove(old)
    return size


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _bytes(source: Set, rows: range) -> int:
    """Of the values of some samples, without padding."""
    instants = 0 if source.steps is None else int(source.steps[rows.start : rows.stop].sum())
    return sum(
        (len(rows) if info.steps is None else instants) * math.prod(info.shape) * info.dtype.itemsize
        for info in source.variables.values()
    )


__all__ = ["FILE_BYTES", "TARGETS", "Converted", "Target", "convert"]
