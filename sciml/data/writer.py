"""Writes shards: one HDF5 file that xarray and h5py read, and its manifest, each under its name only when it is whole.

HDF5 lays out the file; the fields are then written at the places it gives, block by block. So memory holds one block, a full
disk is found before any work is done and shows as a plain OSError, and the bytes depend on nothing but the content.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import torch
from torch import Tensor

from sciml.data.manifest import Manifest, file_crc32, manifest_path, render
from sciml.data.statistics import Statistics
from sciml.data.variables import VariableInfo, space_names
from sciml.numerics.domain import Domain

_PAGE = 4096  # larger fields begin on a page, for readers that map the file


class ShardWriter:
    """Writes one shard, in blocks of samples, in order.

    Used as a context; whatever was not finished is removed when it is left.

        with ShardWriter(path, variables, range(0, 250), domain, {"problem": ...}) as shard:
            for block in blocks:
                shard.append(block)
            manifest = shard.finish({"card": ...})

    Args:
        path: of the finished file, ending in .h5; its manifest ends in .json.
        variables: what is stored, in the order of a batch.
        samples: the numbers of the samples within the whole set.
        domain: the grid of the stored fields.
        attributes: of the file: text or integers.
    Raises:
        ValueError: a variable does not fit the domain or has the name of a coordinate.
        OSError: no space, or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        variables: Sequence[VariableInfo],
        samples: range,
        domain: Domain,
        attributes: Mapping[str, str | int],
    ) -> None:
        for info in variables:
            _check_fits(info, domain)
        self.path = path
        self.variables = {info.name: info for info in variables}
        self.samples = samples
        self.domain = domain
        self.attributes = attributes
        self._part = _part_of(path)
        self._written = 0
        self._offsets: dict[str, int] = {}
        self._statistics = {info.name: Statistics() for info in variables}
        self._file = -1

    def __enter__(self) -> ShardWriter:
        with _named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for stale in self.path.parent.glob(f".{self.path.stem}.*.part"):
                stale.unlink(missing_ok=True)
            try:
                self._begin()
            except BaseException:
                self._abandon()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._abandon()

    def _begin(self) -> None:
        # A trial of the room needed, before HDF5 has a file open that it could not close.
        self._file = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        size = sum(info.bytes for info in self.variables.values()) * len(self.samples)
        _reserve(self._file, size + 16 * _PAGE)
        self._offsets = _lay_out(self._part, self)
        _reserve(self._file, os.fstat(self._file).st_size)

    def append(self, fields: Mapping[str, Tensor]) -> None:
        """Write the next samples, cast to the stored dtype.

        Args:
            fields: per variable (sample, channel, *space).
        Raises:
            ValueError: a variable missing or of another shape; a value that is not finite or does not fit the dtype.
            OSError: no space.
        """
        if set(fields) != set(self.variables):
            raise ValueError(f"{self.path}: got variables {sorted(fields)}, need {sorted(self.variables)}")
        count = len(next(iter(fields.values())))
        if self._written + count > len(self.samples):
            raise ValueError(f"{self.path}: got {self._written + count} samples, this shard has {len(self.samples)}")
        numbers = self.samples[self._written : self._written + count]
        for name, info in self.variables.items():
            if tuple(fields[name].shape) != (count, *info.shape):
                raise ValueError(f"variable {name}: got shape {tuple(fields[name].shape)}, need {(count, *info.shape)}")
            values = _stored(fields[name], info, numbers).numpy()
            self._statistics[name].add(values)
            with _named(self.path):
                _write_all(self._file, values, self._offsets[name] + self._written * info.bytes)
        self._written += count

    def finish(self, extra: Mapping[str, object]) -> Manifest:
        """Give the file its name, then write the manifest.

        Args:
            extra: what the manifest says beyond file, size, crc32, samples and statistics; plain JSON values.
        """
        if self._written != len(self.samples):
            raise ValueError(f"{self.path}: got {self._written} samples, need {len(self.samples)}")
        with _named(self.path):
            os.fsync(self._file)
            manifest: Manifest = {
                **extra,
                "complete": 1,
                "crc32": file_crc32(self._part),
                "file": self.path.name,
                "first_sample": self.samples.start,
                "samples": len(self.samples),
                "size": os.fstat(self._file).st_size,
                "statistics": {name: s.result() for name, s in self._statistics.items()},
            }
            # An older manifest must not vouch for a new file.
            manifest_path(self.path).unlink(missing_ok=True)
            os.replace(self._part, self.path)
            _write_text(manifest_path(self.path), render(manifest))
        return manifest

    def _abandon(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    """A name of its own for every attempt: a writer that was left behind by a killed run must not rename another's work."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file an error of the system concerns, and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "make room"
        elif error.errno == errno.ENOENT:
            remedy = "see that no second `sciml generate` writes the same shards"
        else:
            remedy = "mend this"
        message = f"cannot write {path}: {reason}; {remedy} and run `sciml generate` again, finished shards are kept"
        raise (OSError(error.errno, message) if error.errno else OSError(message)) from error


def _check_fits(info: VariableInfo, domain: Domain) -> None:
    if info.name in ("sample", *space_names(domain.dim)):
        raise ValueError(f"variable {info.name}: a coordinate of the file has this name, take another")
    if len(info.shape) > 1 and info.shape[1:] != domain.shape:
        raise ValueError(f"variable {info.name}: got shape {info.shape} per sample, its grid must be {domain.shape}")


def _reserve(file: int, size: int) -> None:
    """Take the room for `size` bytes now, where the system can; where it cannot, a full disk shows at the write."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _lay_out(part: Path, shard: ShardWriter) -> dict[str, int]:
    """Write the file with everything but the fields, and say where each field begins."""
    try:
        with h5py.File(part, "w", alignment_threshold=_PAGE, alignment_interval=_PAGE) as file:
            _coordinates(file, shard.samples, shard.domain)
            for key, value in shard.attributes.items():
                file.attrs[key] = np.int64(value) if isinstance(value, int) else value
            file.attrs["variables"] = json.dumps(list(shard.variables))  # HDF5 lists them by name
            file.attrs["complete"] = np.int64(1)
            return {info.name: _field(file, info, len(shard.samples)) for info in shard.variables.values()}
    except RuntimeError as error:  # how h5py reports a file that it could not close
        raise OSError(errno.EIO, str(error)) from error


def _coordinates(file: h5py.File, samples: range, domain: Domain) -> None:
    numbers = file.create_dataset("sample", data=np.arange(samples.start, samples.stop, dtype=np.int64), track_times=False)
    numbers.attrs["long_name"] = "number of the sample within the whole set"
    numbers.make_scale("sample")
    for name, points in zip(space_names(domain.dim), domain.coordinates(), strict=True):
        axis = file.create_dataset(name, data=points.numpy(), track_times=False)
        axis.attrs["units"], axis.attrs["long_name"] = "1", f"coordinate along {name}"
        axis.make_scale(name)


def _field(file: h5py.File, info: VariableInfo, samples: int) -> int:
    """Create a variable whose bytes are written later; where they go."""
    channels = file.create_dataset(info.dims[0], data=np.arange(info.shape[0]), track_times=False)
    channels.attrs["long_name"] = f"channel of {info.name}"
    channels.make_scale(info.dims[0])
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    kind = h5py.h5t.py_create(np.dtype(str(info.dtype).removeprefix("torch.")).newbyteorder("<"))
    space = h5py.h5s.create_simple((samples, *info.shape))
    data = h5py.Dataset(h5py.h5d.create(file.id, info.name.encode(), kind, space, layout))
    data.attrs["role"], data.attrs["units"], data.attrs["long_name"] = info.role, info.units, info.long_name
    for axis, name in enumerate(("sample", *info.dims)):
        data.dims[axis].attach_scale(file[name])
    offset = data.id.get_offset()
    if offset is None:
        raise OSError(errno.EIO, f"HDF5 gave no place to variable {info.name}")
    return offset


def _stored(values: Tensor, info: VariableInfo, numbers: range) -> Tensor:
    """The values in the stored dtype, contiguous on the CPU, all finite."""
    cast = values.detach().to("cpu", info.dtype).contiguous()
    if not cast.dtype.is_floating_point or bool(cast.isfinite().all()):
        return cast
    index = tuple(torch.nonzero(~cast.isfinite())[0].tolist())
    got = float(values[index])
    why = f", too large for {str(info.dtype).removeprefix('torch.')}" if np.isfinite(got) else ""
    raise ValueError(
        f"variable {info.name}, sample {numbers[index[0]]}: got {got:g} at {index[1:]}{why}; only finite values are stored"
    )


def _write_all(file: int, values: np.ndarray, offset: int) -> None:
    rest = values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, after everything it vouches for is on the disk."""
    part = _part_of(path)
    try:
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["ShardWriter"]
