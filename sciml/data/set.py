"""Samples on disk, whatever the format: `open_set(path)` finds out what is there, `Set.read` brings rows of a variable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from sciml.data.formats import hdf5, neuraloperator
from sciml.data.manifest import manifest_of, manifest_path, remade
from sciml.data.variables import GIVEN, Description, VariableInfo
from sciml.numerics.domain import Domain


@runtime_checkable
class Format(Protocol):
    """What the module of a file format offers."""

    def recognises(self, path: Path) -> bool: ...
    def describe(self, path: Path) -> Description: ...
    def read(self, path: Path, name: str, rows: npt.NDArray[np.int64]) -> Shaped[Tensor, "row channel *space"]: ...


FORMATS: tuple[Format, ...] = (hdf5, neuraloperator)


@dataclass(frozen=True)
class Part:
    """One file of a set.

    Args:
        start: number of its first row within the set.
        identity: changes when the content does.
    """

    path: Path
    format: Format
    start: int
    samples: int
    identity: str


@dataclass(frozen=True)
class Set:
    """Samples on disk.

    Args:
        path: as it was opened.
        variables: by name, in the order of a batch.
        domain: the grid of the fields; None where no variable has one.
        attributes: what the first file says of itself.
        parts: the files, in the order of rows.
    """

    path: Path
    variables: Mapping[str, VariableInfo]
    domain: Domain | None
    attributes: Mapping[str, object]
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return self.parts[-1].start + self.parts[-1].samples

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is given: roles input, coefficient and parameter."""
        return tuple(name for name, info in self.variables.items() if info.role in GIVEN)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is asked for."""
        return tuple(name for name, info in self.variables.items() if info.role == "target")

    @property
    def fingerprint(self) -> str:
        """The same for the same content wherever it lies, another when schema, sizes or checksums change."""
        schema = [(v.name, v.role, v.units, v.shape, str(v.dtype)) for v in self.variables.values()]
        text = json.dumps([schema, [(part.samples, part.identity) for part in self.parts]])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def read(self, name: str, rows: Sequence[int] | npt.NDArray[np.int64] | slice) -> Shaped[Tensor, "row channel *space"]:
        """Rows of a variable, (row, channel, *space), in the order given and the stored dtype.

        Raises:
            ValueError: no such variable.
            IndexError: a row out of range.
            OSError: a file cannot be read.
        """
        if name not in self.variables:
            raise ValueError(f"{self.path}: no variable {name!r}, there are {', '.join(self.variables)}")
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"{self.path}: got rows {wanted.min()} to {wanted.max()}, need 0 to {len(self) - 1}")
        home = np.searchsorted([part.start for part in self.parts], wanted, side="right") - 1
        used = np.unique(home)
        if len(used) == 1:
            part = self.parts[used[0]]
            return part.format.read(part.path, name, wanted - part.start)
        info = self.variables[name]
        out = torch.empty((len(wanted), *info.shape), dtype=info.dtype)
        for part in (self.parts[i] for i in used):
            here = np.flatnonzero((wanted >= part.start) & (wanted < part.start + part.samples))
            out[torch.from_numpy(here)] = part.format.read(part.path, name, wanted[here] - part.start)
        return out

    def locate(self, row: int) -> tuple[Path, int]:
        """The file of a row, and the row within that file."""
        part = next(part for part in reversed(self.parts) if part.start <= row)
        return part.path, row - part.start


def open_set(path: str | Path, *, domain: Domain | None = None) -> Set:
    """Open a folder of shards, one `.h5` shard, or a neuraloperator `.pt` file; what it is, is seen from its content.

    Args:
        domain: of the fields, for formats that do not say. Without it such fields lie at the centres of equal cells on a box
            with sides of length 1 and open conditions.
    Raises:
        ValueError: not a set, an unfinished one, shards that disagree, or a domain that contradicts the file or its shapes.
        OSError: nothing there, or a file cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there; `sciml generate CARD --out FOLDER` makes a set")
    files = _shards(path) if path.is_dir() else [path]
    formats = [_format(file) for file in files]
    sizes = [_checked_size(file) for file in files]
    descriptions = [form.describe(file) for form, file in zip(formats, files, strict=True)]
    first = descriptions[0]
    for file, described in zip(files, descriptions, strict=True):
        if (described.variables, described.domain) != (first.variables, first.domain):
            raise ValueError(f"{file}: variables or domain differ from those of {files[0].name}; the folder mixes two sets")
    if path.is_dir():
        _check_complete(path, files, first)
    starts = np.cumsum([0, *(described.samples for described in descriptions)])
    parts = tuple(
        Part(file, form, int(start), described.samples, identity)
        for file, form, start, described, identity in zip(files, formats, starts, descriptions, sizes, strict=False)
    )
    return Set(path, first.variables, _settled_domain(path, first, domain), first.attributes, parts)


def _shards(folder: Path) -> list[Path]:
    files = sorted(folder.glob("shard-*.h5"))
    if files:
        return files
    splits = sorted({file.parent.name for file in folder.glob("*/shard-*.h5")})
    if splits:
        raise ValueError(f"{folder}: holds the splits {', '.join(splits)}; open one of them, such as {folder / splits[0]}")
    raise ValueError(f"{folder}: holds no shard-*.h5; `sciml generate CARD --out {folder.parent}` makes them")


def _format(file: Path) -> Format:
    if not file.is_file() or not file.stat().st_size:
        raise ValueError(f"{file}: is empty or no file, need HDF5 or a neuraloperator .pt")
    for form in FORMATS:
        if form.recognises(file):
            return form
    raise ValueError(f"{file}: the content is neither HDF5 nor a neuraloperator .pt; it is damaged or of another kind")


def _checked_size(file: Path) -> str:
    """What identifies the content; raises when a shard is unfinished or truncated."""
    size = file.stat().st_size
    said = manifest_of(file)
    if said is not None:
        if said["size"] != size:
            raise OSError(
                f"{file}: has {size} bytes, its manifest says {said['size']}; it is truncated or not its own. {remade(file)}"
            )
        return f"crc32 {said['crc32']}"
    # No manifest to ask: the two ends, which hold the structure of the file, and the size.
    with file.open("rb") as opened:
        ends = opened.read(1 << 16)
        opened.seek(max(size - (1 << 16), 0))
        ends += opened.read()
    return f"{size} {hashlib.blake2b(ends, digest_size=16).hexdigest()}"


def _check_complete(folder: Path, files: list[Path], first: Description) -> None:
    """Every shard that the files speak of is there and was finished."""
    again = f"run `sciml generate CARD --out {folder.parent}` again"
    for file in files:
        if not manifest_path(file).exists():
            raise ValueError(f"{file}: has no manifest {manifest_path(file).name}, it was not finished; {again}")
    numbers = [int(match[1]) for file in files if (match := re.fullmatch(r"shard-(\d+)\.h5", file.name))]
    shards = first.attributes.get("shards", len(files))
    missing = sorted(set(range(shards if isinstance(shards, int) else len(files))) - set(numbers))
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of {shards} shards are missing, first shard-{missing[0]:05d}.h5; {again}")


def _settled_domain(path: Path, described: Description, given: Domain | None) -> Domain | None:
    """The domain of the fields, from the file or the caller."""
    if described.domain is not None:
        if given is not None and given != described.domain:
            raise ValueError(f"{path}: got domain {given}, the file has {described.domain}")
        return described.domain
    fields = [info for info in described.variables.values() if len(info.shape) > 1]
    if given is None and fields:
        shape = fields[0].shape[1:]
        given = Domain.box([1.0] * len(shape), shape, "open", "cells")
    for info in fields:
        if given is not None and info.shape[1:] != given.shape:
            raise ValueError(f"{path}: variable {info.name} has shape {info.shape} per sample, the domain {given.shape}")
    return given


__all__ = ["FORMATS", "Format", "Part", "Set", "open_set"]
