"""Writes shards: one HDF5 file that xarray and h5py read, and its manifest, each under its name only when it is whole.

HDF5 lays out the file; the fields are then written at the places it gives, block by block. So memory holds one block, a full
disk is found before any work is done and shows as a plain OSError, and the bytes depend on nothing but the content.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sciml.data.atomic import part_of, remove_parts, sync_folder, write_whole
from sciml.data.layout import PAGE, Layout, TimeGrid, little_endian
from sciml.data.manifest import Manifest, checksums_of, is_shard, manifest_path, render
from sciml.data.statistics import Statistics
from sciml.data.variables import VariableInfo
from sciml.numerics.domain import Domain


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
        domain: the grid of the stored fields; the file says it. None where there are no fields.
        attributes: what else the file says: text or integers.
        time: the instants of variables that change in time, all of which have the same `steps`.
    Raises:
        ValueError: a variable does not fit the domain, the instants or the other particles, is complex or of a dtype that
            NumPy lacks, or has the name of a coordinate (x, y, ... may be taken: the coordinate is then called x_coordinate);
            or an attribute is one of the writer's own (domain, variables, complete).
        OSError: no space, or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        variables: Sequence[VariableInfo],
        samples: range,
        domain: Domain | None,
        attributes: Mapping[str, str | int],
        time: TimeGrid | None = None,
    ) -> None:
        if len({info.name for info in variables}) < len(variables):
            raise ValueError(f"variables: got {', '.join(info.name for info in variables)}, need every name once")
        self.layout = Layout({info.name: info for info in variables}, samples, domain, attributes, time)
        self.path = path
        self.variables = self.layout.variables
        self.samples = samples
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
        size += 0 if self.layout.time is None or self.layout.time.times is None else self.layout.time.times.nbytes
        _reserve(self._file, size + 16 * PAGE)
        self._offsets = self.layout.write(self._part)
        _reserve(self._file, os.fstat(self._file).st_size)

    def append(self, fields: Mapping[str, Tensor]) -> None:
        """Write the next samples, cast to the stored dtype.

        Args:
            fields: per variable (sample, channel, *space), (sample, time, channel, *space) or (sample, time, particle,
                component). What stands behind the last instant of a shorter sample is stored as zeros.
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
        grid = self.layout.time
        steps = None if grid is None or grid.steps is None else grid.steps[self._written :][:count]
        for name, info in self.variables.items():
            if tuple(fields[name].shape) != (count, *info.sample_shape):
                raise ValueError(f"variable {name}: got shape {tuple(fields[name].shape)}, need {(count, *info.sample_shape)}")
            given = fields[name] if steps is None or info.steps is None else _padded(fields[name], steps)
            values = _stored(given, info, numbers).numpy()
            self._count(name, values, steps)
            with _named(self.path):
                _write_all(self._file, values, self._offsets[name] + self._written * info.bytes)
        self._written += count

    def _count(self, name: str, values: npt.NDArray[np.generic], steps: npt.NDArray[np.int64] | None) -> None:
        """Add to the statistics, without what is padding."""
        if steps is None or self.variables[name].steps is None:
            self._statistics[name].add(values)
            return
        for sample, there in zip(values, steps, strict=True):
            self._statistics[name].add(sample[None, :there])

    def finish(self, extra: Mapping[str, object]) -> Manifest:
        """Give the file its name, then write the manifest.

        Args:
            extra: what the manifest says beyond file, size, checksums, places of the arrays, samples and statistics; plain JSON
                values.
        """
        if self._written != len(self.samples):
            raise ValueError(f"{self.path}: got {self._written} samples, need {len(self.samples)}")
        with _named(self.path):
            os.fsync(self._file)
            manifest: Manifest = {
                **extra,
                **checksums_of(self._part),
                "arrays": {name: self._place(info) for name, info in self.variables.items()},
                "complete": 1,
                "file": self.path.name,
                "first_sample": self.samples.start,
                "samples": len(self.samples),
                "statistics": {name: s.result() for name, s in self._statistics.items()},
            }
            # An older manifest must not vouch for a new file.
            manifest_path(self.path).unlink(missing_ok=True)
            os.replace(self._part, self.path)
            sync_folder(self.path.parent)  # what the manifest vouches for comes first
            write_whole(manifest_path(self.path), render(manifest).encode())
        return manifest

    def _place(self, info: VariableInfo) -> dict[str, object]:
        """Where the values of a variable lie, for who has to read a file that HDF5 cannot."""
        shape = [len(self.samples), *info.sample_shape]
        return {"dtype": little_endian(info).str, "offset": self._offsets[info.name], "shape": shape}

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


def _reserve(file: int, size: int) -> None:
    """Take the room for `size` bytes now, where the system can; where it cannot, a full disk shows at the write."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _padded(values: Tensor, steps: npt.NDArray[np.int64]) -> Tensor:
    """With zeros behind the last instant of each sample."""
    behind = torch.arange(values.shape[1]) >= torch.from_numpy(steps)[:, None]
    return values.masked_fill(behind.view(*behind.shape, *[1] * (values.ndim - 2)).to(values.device), 0)


def _stored(values: Tensor, info: VariableInfo, numbers: range) -> Tensor:
    """The values in the stored dtype, contiguous on the CPU; finite, and the same ones where it has whole numbers only."""
    cast = values.detach().to("cpu", info.dtype).contiguous()
    if not cast.dtype.is_floating_point and cast.dtype == values.dtype:
        return cast
    good = cast.isfinite() if cast.dtype.is_floating_point else cast.to(values.dtype) == values.detach().cpu()
    if bool(good.all()):
        return cast
    name = str(info.dtype).removeprefix("torch.")
    index = tuple(torch.nonzero(~good)[0].tolist())
    got = values[index].item()
    where = f"variable {info.name}, sample {numbers[index[0]]}: got {got:g} at {index[1:]}"
    if not cast.dtype.is_floating_point:
        raise ValueError(f"{where}, which is no {name}")
    why = f", too large for {name}" if np.isfinite(got) else ""
    raise ValueError(f"{where}{why}; only finite values are stored")


def _write_all(file: int, values: np.ndarray, offset: int) -> None:
    rest = values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


__all__ = ["ShardWriter", "TimeGrid"]
