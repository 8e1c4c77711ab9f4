"""Writes shards: one HDF5 file that xarray and h5py read, and its manifest, each under its name only when it is whole.

HDF5 lays out the file; the fields are then written at the places it gives, block by block. So memory holds one block, a full
disk is found before any work is done and shows as a plain OSError, and the bytes depend on nothing but the content.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import torch
from torch import Tensor

from sciml.data.atomic import part_of, remove_parts, sync_folder, write_whole
from sciml.data.manifest import Manifest, file_crc32, is_shard, manifest_path, render
from sciml.data.statistics import Statistics
from sciml.data.variables import VariableInfo, coordinate_names, space_names
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
        domain: the grid of the stored fields; the file says it.
        attributes: what else the file says: text or integers.
    Raises:
        ValueError: a variable does not fit the domain or has the name of a coordinate (x, y, ... may be taken: the coordinate
            is then called x_coordinate), or an attribute is one of the writer's own (domain, variables, complete).
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
        _check_names(variables, domain)
        if own := sorted({"domain", "variables", "complete"} & attributes.keys()):
            raise ValueError(f"attributes: got {own[0]!r}, which the writer sets; leave it out")
        self.path = path
        self.variables = {info.name: info for info in variables}
        self.samples = samples
        self.domain = domain
        self.attributes = attributes
        self._part = part_of(path)
        self._written = 0
        self._offsets: dict[str, int] = {}
        self._statistics = {info.name: Statistics() for info in variables}
        self._file = -1

    def __enter__(self) -> ShardWriter:
        with _named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_parts(self.path)  # of the manifest, too
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
            sync_folder(self.path.parent)  # what the manifest vouches for comes first
            write_whole(manifest_path(self.path), render(manifest).encode())
        return manifest

    def _abandon(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


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
            remedy = "see that no second process writes the same file"
        else:
            remedy = "mend this"
        again = "run `sciml generate` again, finished shards are kept" if is_shard(path) else "try again"
        message = f"cannot write {path}: {reason}; {remedy} and {again}"
        raise (OSError(error.errno, message) if error.errno else OSError(message)) from error


def _check_fits(info: VariableInfo, domain: Domain) -> None:
    if len(info.shape) > 1 and info.shape[1:] != domain.shape:
        raise ValueError(f"variable {info.name}: got shape {info.shape} per sample, its grid must be {domain.shape}")


def _check_names(variables: Sequence[VariableInfo], domain: Domain) -> None:
    names = [info.name for info in variables]
    coordinates = {"sample", *coordinate_names(names, domain.dim), *(info.dims[0] for info in variables)}
    for name in names:
        if name in coordinates:
            raise ValueError(f"variable {name}: a coordinate of the file has this name, take another")


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
            _coordinates(file, shard.samples, shard.domain, shard.variables)
            for key, value in shard.attributes.items():
                file.attrs[key] = np.int64(value) if isinstance(value, int) else value
            file.attrs["domain"] = json.dumps(shard.domain.to_dict())
            file.attrs["variables"] = json.dumps(list(shard.variables))  # HDF5 lists them by name
            file.attrs["complete"] = np.int64(1)
            axes = coordinate_names(shard.variables, shard.domain.dim)
            return {info.name: _field(file, info, len(shard.samples), axes) for info in shard.variables.values()}
    except RuntimeError as error:  # how h5py reports a file that it could not close
        raise OSError(errno.EIO, str(error)) from error


def _coordinates(file: h5py.File, samples: range, domain: Domain, variables: Collection[str]) -> None:
    numbers = file.create_dataset("sample", data=np.arange(samples.start, samples.stop, dtype=np.int64), track_times=False)
    numbers.attrs["long_name"] = "number of the sample within the whole set"
    numbers.make_scale("sample")
    places = coordinate_names(variables, domain.dim)
    for place, name, points in zip(places, space_names(domain.dim), domain.coordinates(), strict=True):
        axis = file.create_dataset(place, data=points.numpy(), track_times=False)
        axis.attrs["units"], axis.attrs["long_name"] = "1", f"coordinate along {name}"
        axis.make_scale(name)


def _field(file: h5py.File, info: VariableInfo, samples: int, axes: tuple[str, ...]) -> int:
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
    for axis, name in enumerate(("sample", info.dims[0], *axes[: len(info.shape) - 1])):
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


__all__ = ["ShardWriter"]
