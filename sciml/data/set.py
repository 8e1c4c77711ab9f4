"""Samples on disk, whatever the format: `open_set(path)` finds out what is there, `Set.read` brings rows of a variable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from sciml.data.assemble import Opened, fill
from sciml.data.assemble import Rows as Meant
from sciml.data.discovery import check_complete, files_of, manifest_for, splits_of
from sciml.data.formats.mapped import Mapped, domain_in_mapping, mapping_of
from sciml.data.formats.registry import Format, files_as_formats_see_them, format_of
from sciml.data.manifest import Manifest, file_crc32, remade
from sciml.data.rows import Rows, row_numbers
from sciml.data.storage.files import StoredFile
from sciml.data.variables import Description, VariableInfo, numpy_type
from sciml.numerics.domain import Domain
from sciml.numerics.roles import GIVEN


@dataclass(frozen=True)
class Part:
    """One file of a set.

    Args:
        file: with all that is known of it.
        format: of it.
        start: number of its first row within the set.
        identity: changes when the content does.
        crc32: of the whole file, where its manifest says it.
    """

    file: Opened
    format: Format
    start: int
    identity: str
    crc32: int | None = None

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def samples(self) -> int:
        """How many rows it has."""
        return self.file.description.samples


@dataclass(frozen=True)
class Set:
    """Samples on disk.

    Args:
        path: as it was opened.
        variables: by name, in the order of a batch.
        domain: the grid of the fields; None where no variable has one.
        attributes: what the first file says of itself.
        parts: the files, in the order of rows.
        notes: what is odd about them, and what was made of it.
        split: which of the splits inside of the files this is; None where files hold one thing.
        made_up: whether neither the files nor who opened them said where the fields lie.
    """

    path: Path
    variables: Mapping[str, VariableInfo]
    domain: Domain | None
    attributes: Mapping[str, object]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    split: str | None = None
    made_up: bool = False
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
    def states(self) -> tuple[str, ...]:
        """Names of what is given at one time and asked for at the next."""
        return tuple(name for name, info in self.variables.items() if info.role == "state")

    @cached_property
    def steps(self) -> npt.NDArray[np.int64] | None:
        """Instants of every row, (row,); None where no variable changes in time."""
        if all(info.steps is None for info in self.variables.values()):
            return None
        return np.concatenate([_steps_of(part.file.description) for part in self.parts])

    @property
    def fingerprint(self) -> str:
        """The same for the same content wherever it lies, another when schema, sizes or checksums change."""
        schema = [(v.name, v.role, v.units, v.sample_shape, str(v.dtype)) for v in self.variables.values()]
        # The splits of one file have the file in common.
        inside = () if self.split is None else (self.split,)
        text = json.dumps([schema, [(part.samples, part.identity) for part in self.parts], *inside])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def read(
        self,
        name: str,
        rows: Rows | slice,
        *,
        first: npt.NDArray[np.int64] | int = 0,
        count: int | None = None,
        stride: int = 1,
    ) -> Shaped[Tensor, "row *axes"]:
        """Rows of a variable in the order given and the stored dtype: (row, channel, *space), (row, time, channel, *space), ...

        Args:
            first: the first instant, of each row or of all.
            count, stride: how many instants, and how far apart; all from `first` on if not given.
        Raises:
            ValueError: no such variable; rows that are neither whole numbers nor a mask; instants that are not there, or rows
                of different length where no count is given.
            IndexError: a row out of range.
            OSError: a file cannot be read.
        """
        info = self._variable(name)
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else row_numbers(rows, len(self), str(self.path))
        time: tuple[int, ...] = ()
        starts = np.broadcast_to(np.asarray(first, np.int64), wanted.shape)
        if info.steps is not None:
            time = (self._count(name, wanted, starts, stride) if count is None else count,)
        out = np.empty((len(wanted), *time, *info.shape), numpy_type(info.dtype))
        self.read_into(name, wanted, out, first=starts, stride=stride)
        return torch.from_numpy(out)

    def read_into(
        self,
        name: str,
        rows: npt.NDArray[np.int64],
        out: npt.NDArray[np.generic],
        *,
        first: npt.NDArray[np.int64] | None = None,
        stride: int = 1,
    ) -> None:
        """Write rows of a variable into an array, in the order given.

        Args:
            rows: each in 0 ... len - 1.
            out: (row, time, *shape) of a variable that changes in time, else (row, *shape); of the stored dtype. Its length
                along time says how many instants.
            first: the first instant of each row; 0 if not given.
        Raises:
            ValueError: `out` has another shape or dtype, or an instant is not there.
            OSError: a file cannot be read, or was changed since the set was opened.
        """
        info = self._variable(name)
        timed = info.steps is not None
        starts = np.zeros(len(rows), np.int64) if first is None else first
        count = out.shape[1] if timed and out.ndim > 1 else 1
        if out.shape != (len(rows), *((count,) if timed else ()), *info.shape) or out.dtype != numpy_type(info.dtype):
            raise ValueError(
                f"out: got {out.dtype} of shape {out.shape} for {len(rows)} rows of {name}, need {numpy_type(info.dtype)} "
                f"of shape {(len(rows), *(('time',) if timed else ()), *info.shape)}"
            )
        if timed:
            self._check_instants(name, rows, starts, count, stride)
        homes = np.searchsorted(self._starts, rows, side="right") - 1
        used = np.unique(homes)
        for home in used:
            part = self.parts[home]
            here = None if len(used) == 1 else np.flatnonzero(homes == home)
            meant = slice(None) if here is None else here
            asked = Meant(rows[meant] - part.start, starts[meant] if timed else None, count, stride, here)
            fill(part.file, name, asked, out)

    @property
    def has_times(self) -> bool:
        """Whether all files say at which times their instants are."""
        return self.steps is not None and all(part.file.description.times is not None for part in self.parts)

    def times(
        self, rows: npt.NDArray[np.int64], instants: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float64] | None:
        """Times of instants of rows, (row, time), NaN behind the last one; None where the files do not say.

        Args:
            instants: numbers of those that are meant, (row, time); all if not given.
        """
        if self.steps is None or not self.has_times:
            return None
        if instants is None:
            instants = np.broadcast_to(np.arange(int(self.steps.max())), (len(rows), int(self.steps.max())))
        if self._shared_times is not None:
            return self._shared_times[instants]
        out = np.empty(instants.shape)
        homes = np.searchsorted(self._starts, rows, side="right") - 1
        for home in np.unique(homes):
            part = self.parts[home]
            here = np.flatnonzero(homes == home)
            times = np.atleast_2d(np.asarray(part.file.description.times))
            row = (rows[here] - part.start if len(times) > 1 else np.zeros(len(here), np.int64))[:, None]
            out[here] = times[row, np.minimum(instants[here], times.shape[1] - 1)]
        out[instants >= self.steps[rows][:, None]] = np.nan
        return out

    def verify(self, rows: npt.NDArray[np.int64]) -> None:
        """Hold the files of these rows against the CRC-32 in their manifests, once per file.

        Raises:
            ValueError: the bytes of a file were changed since it was written.
        """
        for home in np.unique(np.searchsorted(self._starts, rows, side="right") - 1):
            part = self.parts[home]
            if part.crc32 is None or part.path in self._verified:
                continue
            if file_crc32(part.path) != part.crc32:
                raise ValueError(f"{part.path}: its bytes were changed (CRC-32 differs from the manifest). {remade(part.path)}")
            self._verified.add(part.path)

    def locate(self, row: int) -> tuple[Path, int]:
        """The file of a row, and the row within that file; within `split` where the file holds several."""
        part = self.parts[int(np.searchsorted(self._starts, row, side="right")) - 1]
        return part.path, row - part.start

    @cached_property
    def _shared_times(self) -> npt.NDArray[np.float64] | None:
        """Of the instants, where all rows have the same."""
        first = self.parts[0].file.description.times
        if first is None or first.ndim != 1 or self.steps is None or (self.steps != len(first)).any():
            return None
        others = (part.file.description.times for part in self.parts[1:])
        return first if all(times is not None and np.array_equal(times, first) for times in others) else None

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.array([part.start for part in self.parts], np.int64)

    def _variable(self, name: str) -> VariableInfo:
        if name not in self.variables:
            raise ValueError(f"{self.path}: no variable {name!r}, there are {', '.join(self.variables)}")
        return self.variables[name]

    def _count(self, name: str, rows: npt.NDArray[np.int64], first: npt.NDArray[np.int64], stride: int) -> int:
        """How many instants there are from `first` on, where that is the same number for all rows."""
        assert self.steps is not None
        left = np.unique(-(-(self.steps[rows] - first) // stride))
        if len(left) > 1:
            raise ValueError(
                f"{self.path}: variable {name} has {left.min()} to {left.max()} instants in these rows, give `count`"
            )
        return max(int(left[0]), 0) if len(left) else 0

    def _check_instants(
        self, name: str, rows: npt.NDArray[np.int64], first: npt.NDArray[np.int64], count: int, stride: int
    ) -> None:
        assert self.steps is not None
        last = first + stride * (count - 1)
        bad = np.flatnonzero((first < 0) | (last >= self.steps[rows]))
        if stride < 1 or (len(bad) and count):
            at = int(bad[0]) if len(bad) else 0
            raise ValueError(
                f"{self.path}: variable {name}, row {rows[at]}: got instants {first[at]} to {last[at]} with stride {stride}, "
                f"there are 0 to {self.steps[rows[at]] - 1}"
            )


def open_set(
    path: str | Path,
    *,
    domain: Domain | None = None,
    split: str | None = None,
    mapping: Mapping[str, Mapped] | str | Path | None = None,
) -> Set:
    """Open a folder or a file of samples; what it is, is seen from its content.

    Args:
        domain: of the fields, for formats that do not say. Without it such fields lie at the centres of equal cells on a box
            with sides of length 1 and open conditions.
        split: such as "train": a subfolder, or a part of files that hold several.
        mapping: what the arrays of an HDF5 or `.npz` file mean, for files of no known format; or the path of a TOML file that
            says so and may give the domain, see `read_mapping`. The name `time` with axes ("time",) or ("sample", "time")
            stands for the times of the instants.
    Raises:
        ValueError: not a set, an unfinished one, files that are not of one set, several splits and none chosen, a file of
            ours without a domain, a domain that contradicts the file or its shapes, or a mapping that is none.
        OSError: nothing there, or a file cannot be read.
    """
    path = Path(path).expanduser()
    if domain is None and isinstance(mapping, str | Path):
        domain = domain_in_mapping(Path(mapping).expanduser())
    mapping = None if mapping is None else mapping_of(mapping)
    files, split = files_of(path, split)
    seen = files_as_formats_see_them(files)
    opened = [_opened(file, split, mapping) for file in seen]
    manifests = [manifest_for(file) for file in files]
    if split is not None:
        kept = [i for i, found in enumerate(opened) if found is not None]
        if not kept:
            inside = dict.fromkeys(name for file in seen for name in format_of(file, mapping).splits(file))
            there = f"its files hold {', '.join(inside)}" if inside else "its files hold no splits"
            raise ValueError(f"{path}: got split {split!r}, {there}")
        files, manifests = [files[i] for i in kept], [manifests[i] for i in kept]
    chosen = [found for found in opened if found is not None]
    variables = _common_variables([file for file, _ in chosen])
    if path.is_dir() and files[0].name.startswith("shard-"):
        check_complete(path, files, manifests)
    starts = np.cumsum([0, *(file.description.samples for file, _ in chosen)])
    parts = tuple(
        _part(file, form, int(start), manifest)
        for (file, form), start, manifest in zip(chosen, starts[:-1], manifests, strict=True)
    )
    first = parts[0].file.description
    if not starts[-1]:
        raise ValueError(f"{path}: holds no samples")
    notes = tuple(dict.fromkeys(note for part in parts for note in part.file.description.notes))
    settled = _settled_domain(path, first, domain, mapped=mapping is not None)
    made_up = settled is not None and domain is None and first.domain is None
    return Set(path, variables, settled, first.attributes, parts, notes, split, made_up)


def _opened(file: StoredFile, split: str | None, mapping: Mapping[str, Mapped] | None) -> tuple[Opened, Format] | None:
    """A file of a set; None where it has other splits than the one that is meant."""
    form = format_of(file, mapping)
    if split is not None and split not in form.splits(file):
        return None
    return Opened(file.path, file.stamp, form.describe(file, split), form.read), form


def _common_variables(files: Sequence[Opened]) -> Mapping[str, VariableInfo]:
    """Those of all files, which must agree in everything but the number of instants."""
    first = files[0].description
    steps = {name: info.steps for name, info in first.variables.items()}
    for file in files[1:]:
        described = file.description
        where = f"{file.path}: differs from {files[0].path.name}"
        if list(described.variables) != list(first.variables):
            raise ValueError(f"{where}, variables are {', '.join(described.variables)} and not {', '.join(first.variables)}")
        for name, info in described.variables.items():
            if _alike(info) != _alike(first.variables[name]):
                raise ValueError(f"{where}, {_difference(info, first.variables[name])}; the folder mixes two sets")
            steps[name] = None if info.steps is None else max(info.steps, steps[name] or 0)
        if described.domain != first.domain:
            raise ValueError(f"{where}, domain {described.domain} and not {first.domain}; the folder mixes two sets")
    return {name: replace(info, steps=steps[name]) for name, info in first.variables.items()}


def _alike(info: VariableInfo) -> VariableInfo:
    return replace(info, steps=None if info.steps is None else 1)


def _difference(one: VariableInfo, other: VariableInfo) -> str:
    for key in ("shape", "dtype", "role", "units"):
        if getattr(one, key) != getattr(other, key):
            return f"variable {one.name} has {key} {getattr(one, key)} and not {getattr(other, key)}"
    return f"variable {one.name} is described otherwise ({one} and not {other})"


def _part(file: Opened, form: Format, start: int, manifest: Manifest | None) -> Part:
    crc32 = None if manifest is None else int(str(manifest["crc32"]))
    identity = f"crc32 {crc32}" if crc32 is not None else file.description.identity or _ends(file.path)
    return Part(file, form, start, identity, crc32)


def _ends(file: Path) -> str:
    """What stands for the content where nothing has a checksum."""
    size = file.stat().st_size
    # No manifest to ask: the two ends, which hold the structure of the file, and the size.
    with file.open("rb") as opened:
        ends = opened.read(1 << 16)
        opened.seek(max(size - (1 << 16), 0))
        ends += opened.read()
    return f"{size} {hashlib.blake2b(ends, digest_size=16).hexdigest()}"


def _steps_of(described: Description) -> npt.NDArray[np.int64]:
    """Instants of every sample of one file."""
    if described.steps is not None:
        return described.steps
    return np.full(described.samples, max(info.steps or 0 for info in described.variables.values()), np.int64)


def _settled_domain(path: Path, described: Description, given: Domain | None, *, mapped: bool) -> Domain | None:
    """The domain of the fields, from the file or the caller."""
    fields = [info for info in described.variables.values() if info.grid is not None]
    if described.domain is not None:
        if given is not None and given != described.domain:
            raise ValueError(f"{path}: got domain {given}, the file has {described.domain}")
        return described.domain
    if given is None and fields:
        if "complete" in described.attributes:  # ours, and ours are written with their grid
            if mapped:
                raise ValueError(
                    f"{path}: was written by sciml and says itself what its arrays mean and on which grid they lie, a mapping "
                    "does not say the grid; open it without `mapping`, or give `domain`"
                )
            raise ValueError(f"{path}: does not say on which grid its fields lie; write it again, or give `domain`")
        shape = fields[0].shape[1:]
        given = Domain.box([1.0] * len(shape), shape, "open", "cells")
    for info in fields:
        if given is not None and info.shape[1:] != given.shape:
            raise ValueError(f"{path}: variable {info.name} has shape {info.shape} per sample, the domain {given.shape}")
    return given


__all__ = ["Part", "Set", "open_set", "splits_of"]
