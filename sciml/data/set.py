"""Samples on disk, whatever the format: `open_set(path)` finds out what is there, `Set.read` brings rows of a variable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from sciml.data.formats import hdf5, neuraloperator
from sciml.data.manifest import Manifest, file_crc32, manifest_of, manifest_path, remade
from sciml.data.rows import Rows, row_numbers
from sciml.data.variables import Description, VariableInfo
from sciml.numerics.domain import Domain
from sciml.numerics.roles import GIVEN


@runtime_checkable
class Format(Protocol):
    """What the module of a file format offers."""

    def recognises(self, path: Path) -> bool:
        """Whether the content of the file is of this format."""
        ...

    def describe(self, path: Path) -> Description:
        """Everything but the fields."""
        ...

    def read(self, path: Path, name: str, rows: npt.NDArray[np.int64]) -> Shaped[Tensor, "row channel *space"]:
        """Rows of a variable, in the order given and the stored dtype."""
        ...


FORMATS: tuple[Format, ...] = (hdf5, neuraloperator)


@dataclass(frozen=True)
class Part:
    """One file of a set.

    Args:
        start: number of its first row within the set.
        identity: changes when the content does.
        crc32: of the whole file, where its manifest says it.
    """

    path: Path
    format: Format
    start: int
    samples: int
    identity: str
    crc32: int | None = None


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
    _verified: set[Path] = field(default_factory=set, repr=False, compare=False)

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

    def read(self, name: str, rows: Rows | slice) -> Shaped[Tensor, "row channel *space"]:
        """Rows of a variable, (row, channel, *space), in the order given and the stored dtype.

        Raises:
            ValueError: no such variable; rows that are neither whole numbers nor a mask.
            IndexError: a row out of range.
            OSError: a file cannot be read.
        """
        if name not in self.variables:
            raise ValueError(f"{self.path}: no variable {name!r}, there are {', '.join(self.variables)}")
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else row_numbers(rows, len(self), str(self.path))
        used = self._parts_of(wanted)
        if len(used) == 1:
            part = used[0]
            return part.format.read(part.path, name, wanted - part.start)
        info = self.variables[name]
        out = torch.empty((len(wanted), *info.shape), dtype=info.dtype)
        for part in used:
            here = np.flatnonzero((wanted >= part.start) & (wanted < part.start + part.samples))
            out[torch.from_numpy(here)] = part.format.read(part.path, name, wanted[here] - part.start)
        return out

    def verify(self, rows: npt.NDArray[np.int64]) -> None:
        """Hold the files of these rows against the CRC-32 in their manifests, once per file.

        Raises:
            ValueError: the bytes of a file were changed since it was written.
        """
        for part in self._parts_of(rows):
            if part.crc32 is None or part.path in self._verified:
                continue
            if file_crc32(part.path) != part.crc32:
                raise ValueError(f"{part.path}: its bytes were changed (CRC-32 differs from the manifest). {remade(part.path)}")
            self._verified.add(part.path)

    def _parts_of(self, rows: npt.NDArray[np.int64]) -> list[Part]:
        home = np.searchsorted([part.start for part in self.parts], rows, side="right") - 1
        return [self.parts[i] for i in np.unique(home)]

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
        ValueError: not a set, an unfinished one, shards that are not of one set, a file of ours without a domain, or a domain
            that contradicts the file or its shapes.
        OSError: nothing there, or a file cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there; `sciml generate CARD --out FOLDER` makes a set")
    files = _shards(path) if path.is_dir() else [path]
    formats = [_format(file) for file in files]
    manifests = [_manifest(file) for file in files]
    descriptions = [form.describe(file) for form, file in zip(formats, files, strict=True)]
    first = descriptions[0]
    for file, described in zip(files, descriptions, strict=True):
        if (described.variables, described.domain) != (first.variables, first.domain):
            raise ValueError(f"{file}: variables or domain differ from those of {files[0].name}; the folder mixes two sets")
    if path.is_dir():
        _check_complete(path, files, manifests)
    starts = np.cumsum([0, *(described.samples for described in descriptions)])
    parts = tuple(
        _part(file, form, int(start), described, manifest)
        for file, form, start, described, manifest in zip(files, formats, starts[:-1], descriptions, manifests, strict=True)
    )
    return Set(path, first.variables, _settled_domain(path, first, domain), first.attributes, parts)


def splits_of(folder: Path) -> list[str]:
    """Names of the splits that a folder holds; none where it is a split itself, or no folder."""
    if any(folder.glob("shard-*.h5")):
        return []
    return sorted({file.parent.name for file in folder.glob("*/shard-*.h5")})


def _shards(folder: Path) -> list[Path]:
    files = sorted(folder.glob("shard-*.h5"), key=lambda file: (len(file.name), file.name))  # by number, however many
    if files:
        return files
    splits = splits_of(folder)
    if splits:
        raise ValueError(f"{folder}: holds the splits {', '.join(splits)}; open one of them, such as {folder / splits[0]}")
    raise ValueError(f"{folder}: holds no shard-*.h5; give the folder of a split, `sciml generate CARD --out FOLDER` makes one")


def _format(file: Path) -> Format:
    if not file.is_file() or not file.stat().st_size:
        raise ValueError(f"{file}: is empty or no file, need HDF5 or a neuraloperator .pt")
    for form in FORMATS:
        if form.recognises(file):
            return form
    raise ValueError(f"{file}: the content is neither HDF5 nor a neuraloperator .pt; it is damaged or of another kind")


def _manifest(file: Path) -> Manifest | None:
    """The manifest beside a file, if there is one.

    Raises:
        ValueError: it is damaged.
        OSError: the file has not the size that it says.
    """
    said, size = manifest_of(file), file.stat().st_size
    if said is not None and said["size"] != size:
        raise OSError(
            f"{file}: has {size} bytes, its manifest says {said['size']}; it is truncated or not its own. {remade(file)}"
        )
    return said


def _part(file: Path, form: Format, start: int, described: Description, manifest: Manifest | None) -> Part:
    crc32 = None if manifest is None else int(str(manifest["crc32"]))
    identity = f"crc32 {crc32}" if crc32 is not None else described.identity or _ends(file)
    return Part(file, form, start, described.samples, identity, crc32)


def _ends(file: Path) -> str:
    """What stands for the content where nothing has a checksum."""
    size = file.stat().st_size
    # No manifest to ask: the two ends, which hold the structure of the file, and the size.
    with file.open("rb") as opened:
        ends = opened.read(1 << 16)
        opened.seek(max(size - (1 << 16), 0))
        ends += opened.read()
    return f"{size} {hashlib.blake2b(ends, digest_size=16).hexdigest()}"


def _check_complete(folder: Path, files: list[Path], manifests: list[Manifest | None]) -> None:
    """The files are all shards of one split of one card, each in its place, and every one was finished."""
    again = f"run `sciml generate CARD --out {folder.parent}` again"
    known: dict[int, Manifest] = {}
    for file, manifest in zip(files, manifests, strict=True):
        if manifest is None:
            raise ValueError(f"{file}: has no manifest {manifest_path(file).name}, it was not finished; {again}")
        number = _number(file, manifest, len(files))
        first = next(iter(known.values()), manifest)
        for key in ("card", "split", "shards"):
            if manifest.get(key) != first.get(key):
                raise ValueError(
                    f"{file}: its {key} is not that of {files[0].name}; the folder mixes two sets, keep the shards of one"
                )
        known[number] = manifest
    shards = next(iter(known.values())).get("shards", len(files))
    missing = sorted(set(range(shards if isinstance(shards, int) else len(files))) - known.keys())
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of {shards} shards are missing, first shard-{missing[0]:05d}.h5; {again}")
    expected = known[0]["first_sample"]
    for file, number in zip(files, sorted(known), strict=True):
        first_sample, samples = (int(str(known[number][key])) for key in ("first_sample", "samples"))
        if first_sample != expected:
            raise ValueError(
                f"{file}: begins with sample {first_sample}, the shards before it end at {expected}; the folder mixes two sets"
            )
        expected = first_sample + samples


def _number(file: Path, manifest: Manifest, files: int) -> int:
    """The number of a shard, by its name and by its manifest."""
    match = re.fullmatch(r"shard-(\d+)\.h5", file.name)
    number, shards = int(match[1]) if match else -1, manifest.get("shards", files)
    if manifest["file"] != file.name or manifest.get("shard", number) != number:
        raise ValueError(
            f"{file}: its manifest is of {manifest['file']}, shard {manifest.get('shard')}; it was renamed or copied, remove it"
        )
    if not isinstance(shards, int) or not 0 <= number < shards:
        raise ValueError(f"{file}: is no shard of {shards}, which are shard-00000.h5 and so on; remove it")
    return number


def _settled_domain(path: Path, described: Description, given: Domain | None) -> Domain | None:
    """The domain of the fields, from the file or the caller."""
    if described.domain is not None:
        if given is not None and given != described.domain:
            raise ValueError(f"{path}: got domain {given}, the file has {described.domain}")
        return described.domain
    fields = [info for info in described.variables.values() if len(info.shape) > 1]
    if given is None and fields:
        if "complete" in described.attributes:  # ours, and ours are written with their grid
            raise ValueError(f"{path}: does not say on which grid its fields lie; write it again, or give `domain`")
        shape = fields[0].shape[1:]
        given = Domain.box([1.0] * len(shape), shape, "open", "cells")
    for info in fields:
        if given is not None and info.shape[1:] != given.shape:
            raise ValueError(f"{path}: variable {info.name} has shape {info.shape} per sample, the domain {given.shape}")
    return given


__all__ = ["FORMATS", "Format", "Part", "Set", "open_set", "splits_of"]
