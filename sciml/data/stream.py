"""Brings the samples of a set to a device in batches: as stored, or for training shuffled by (seed, epoch, position)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sciml.data.order import permuted
from sciml.data.rows import Rows, row_numbers
from sciml.data.set import Set, open_set
from sciml.numerics.domain import Domain

Batch = dict[str, Tensor]
"""Variables by name, in the order of the set: (sample, channel, *space)."""

WHOLE_SET_BYTES = 2 * 2**30
"""Sets up to this size, in the dtype of the stream, are kept in memory."""

_ORDERED_AT_ONCE = 2**15
_READ_AT_ONCE = 64 * 2**20


class Stream:
    """Samples of a set in batches, each sample exactly once per epoch.

    `for batch in stream` is one pass, for evaluation: always in stored order, whole batches on every rank, and the state stays
    as it is. `endless()` is for training: shuffled anew every epoch, each rank its share, resumable.

    Small sets are read once and kept on the device, others are read batch by batch. Values are cast to `dtype` (phases stored
    as bool become 0 and 1) and checked to be finite as they enter. Files that are kept are held against the checksums in their
    manifests; of the others `sciml check` says whether their bytes were changed.

    Args:
        source: where the samples are.
        batch_size: samples per batch over all ranks; the last batch of an epoch may be smaller.
        seed: of the order of `endless`.
        device, dtype: of the batches.
        rows: which rows of the set belong to the stream, in the order that counts as stored, or a mask; all if not given.
        rank, ranks: which part of each batch is this process's.
        in_memory: whether the samples are kept on the device; decided by size (2 GiB) if not given.
    Raises:
        ValueError: an empty set or no rows, rows that are neither whole numbers nor a mask, a batch size below 1, a rank that
            is not there, a dtype that is not of floating point, complex variables.
        IndexError: a row that is not there.
    """

    def __init__(
        self,
        source: Set,
        *,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        rows: Rows | None = None,
        rank: int = 0,
        ranks: int = 1,
        in_memory: bool | None = None,
    ) -> None:
        self.set = source
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.dtype = dtype
        self.rows = None if rows is None else row_numbers(rows, len(source), str(source.path))
        self.rank = rank
        self.ranks = ranks
        if not self.samples:
            raise ValueError(f"{source.path}: got no samples for a stream, need at least 1")
        _check_types(source, dtype)
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, need at least 1")
        if not 0 <= rank < ranks:
            raise ValueError(f"rank: got {rank} of {ranks} ranks, need 0 <= rank < ranks")
        self._asked = in_memory
        self.in_memory = self._bytes() <= WHOLE_SET_BYTES if in_memory is None else in_memory
        self._kept: Batch | None = None
        self._ordered: _Ordered | None = None
        self._epoch, self._position = 0, 0

    @property
    def samples(self) -> int:
        """Per epoch."""
        return len(self.set) if self.rows is None else len(self.rows)

    @property
    def domain(self) -> Domain:
        """The grid of the fields.

        Raises:
            ValueError: no variable of the set has one.
        """
        if self.set.domain is None:
            raise ValueError(f"{self.set.path}: no variable has a grid, so there is no domain")
        return self.set.domain

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is given, in the order in which channels are put together."""
        return self.set.inputs

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is asked for."""
        return self.set.targets

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.samples, self.batch_size):
            yield self._batch(torch.arange(start, min(start + self.batch_size, self.samples), device=self._where))

    def endless(self) -> Iterator[tuple[Batch, float]]:
        """Batches without end, from the state on: this rank's rows of the next batch, and their share.

        The share is (rows here) x ranks / (rows of the batch): the mean over ranks of share x (mean over rows here) is the mean
        over the batch. A rank without a row gets one all the same, with share 0. The state counts a batch as done once it
        was given out.
        """
        while True:
            epoch, start = self._epoch, self._position
            stop = min(start + self.batch_size, self.samples)
            size = stop - start
            first, last = (start + size * r // self.ranks for r in (self.rank, self.rank + 1))
            share = (last - first) * self.ranks / size
            if first == last:
                first, last = start, start + 1
            batch = self._batch(self._shuffled(epoch, first, last))
            self._epoch, self._position = (epoch, stop) if stop < self.samples else (epoch + 1, 0)
            yield batch, share

    def state_dict(self) -> dict[str, int | str]:
        """Where `endless` is: plain values, below 1 KiB. Position counts samples, so that the batch size may change."""
        return {"epoch": self._epoch, "position": self._position, "seed": self.seed, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from a state: the same batches follow, bit for bit.

        Raises:
            ValueError: the state is of another set, other rows, another seed, or not a state.
        """
        for key, mine in (("fingerprint", self.fingerprint), ("seed", self.seed)):
            if state.get(key) != mine:
                raise ValueError(f"{self.set.path}: got a stream state with {key} {state.get(key)!r}, this stream has {mine!r}")
        epoch, position = state.get("epoch"), state.get("position")
        if not (isinstance(epoch, int) and isinstance(position, int) and epoch >= 0 and 0 <= position < self.samples):
            raise ValueError(f"{self.set.path}: got a stream state at epoch {epoch!r}, position {position!r} of {self.samples}")
        self._epoch, self._position = epoch, position

    @cached_property
    def fingerprint(self) -> str:
        """Of the set and the rows: what a state may be loaded into."""
        rows = "all" if self.rows is None else hashlib.blake2b(self.rows.tobytes(), digest_size=16).hexdigest()
        text = json.dumps([self.set.fingerprint, rows])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def subset(self, rows: Rows) -> Stream:
        """A stream of some of these samples, by their place in stored order or a mask over it, at its beginning."""
        return Stream(
            self.set,
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            dtype=self.dtype,
            rows=self._rows(row_numbers(rows, self.samples, f"stream of {self.set.path}")),
            rank=self.rank,
            ranks=self.ranks,
            in_memory=self._asked,
        )

    def split(self, *, validation: int, seed: int = 0) -> tuple[Stream, Stream]:
        """Hold out `validation` samples drawn at random: (what is left, what is held out), each in stored order.

        Raises:
            ValueError: fewer than 1 sample would be held out or left.
        """
        if not 0 < validation < self.samples:
            raise ValueError(f"validation: got {validation} of {self.samples} samples, need at least 1 held out and 1 left")
        drawn = permuted(np.arange(self.samples), self.samples, seed=seed, epoch=0)
        return self.subset(np.sort(drawn[validation:])), self.subset(np.sort(drawn[:validation]))

    def _rows(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows of the set at places in stored order."""
        return places if self.rows is None else self.rows[places]

    def _bytes(self) -> int:
        shapes = (torch.Size(info.shape).numel() for info in self.set.variables.values())
        return sum(shapes) * self.dtype.itemsize * self.samples

    @property
    def _where(self) -> torch.device:
        """Where places are looked up."""
        return self.device if self.in_memory else torch.device("cpu")

    def _shuffled(self, epoch: int, start: int, stop: int) -> Tensor:
        """Places in stored order of the samples at positions start ... stop - 1 of an epoch of training."""
        ordered = self._ordered
        if ordered is None or not ordered.covers(epoch, start, stop):
            end = min(max(stop, start + _ORDERED_AT_ONCE), self.samples)
            places = permuted(np.arange(start, end), self.samples, seed=self.seed, epoch=epoch)
            ordered = self._ordered = _Ordered(epoch, start, torch.from_numpy(places).to(self._where))
        return ordered.places[start - ordered.start : stop - ordered.start]

    def _batch(self, places: Tensor) -> Batch:
        if self.in_memory:
            kept = self._kept or self._keep()
            return {name: values.index_select(0, places) for name, values in kept.items()}
        return self._read(self._rows(places.numpy()))

    def _keep(self) -> Batch:
        self.set.verify(self._rows(np.arange(self.samples)))
        pieces: list[Batch] = []
        step = max(1, _READ_AT_ONCE * self.samples // max(self._bytes(), 1))
        for start in range(0, self.samples, step):
            pieces.append(self._read(self._rows(np.arange(start, min(start + step, self.samples)))))
        self._kept = {name: torch.cat([piece.pop(name) for piece in pieces]) for name in self.set.variables}
        return self._kept

    def _read(self, rows: npt.NDArray[np.int64]) -> Batch:
        batch: Batch = {}
        for name in self.set.variables:
            stored = self.set.read(name, rows)
            values = stored.to(self.dtype)
            if not bool(values.isfinite().all()):
                raise ValueError(self._not_finite(name, stored, values, rows))
            batch[name] = values.to(self.device)
        return batch

    def _not_finite(self, name: str, stored: Tensor, values: Tensor, rows: npt.NDArray[np.int64]) -> str:
        index = tuple(torch.nonzero(~values.isfinite())[0].tolist())
        file, row = self.set.locate(int(rows[index[0]]))
        what = f"{file}: variable {name}, sample {row} of this file holds {stored[index].item()} at {index[1:]}"
        if bool(torch.isfinite(stored[index])):
            return f"{what}, too large for {self.dtype}; take a wider dtype"
        return f"{what}, need finite values; `sciml check {file}` lists them, then generate or copy this file again"


class _Ordered:
    """Part of the order of an epoch, worked out at once: per batch there is no arithmetic left."""

    def __init__(self, epoch: int, start: int, places: Tensor) -> None:
        self.epoch, self.start, self.stop, self.places = epoch, start, start + len(places), places

    def covers(self, epoch: int, start: int, stop: int) -> bool:
        return self.epoch == epoch and self.start <= start and stop <= self.stop


def _check_types(source: Set, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: got {dtype}, need one of floating point such as torch.float32")
    for name, info in source.variables.items():
        if info.dtype.is_complex:
            raise ValueError(f"{source.path}: variable {name} is {info.dtype}, need real numbers; store two channels")


def stream(
    path: str | Path,
    *,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    domain: Domain | None = None,
    rows: Rows | None = None,
    rank: int | None = None,
    ranks: int | None = None,
) -> Stream:
    """Open a set and stream it; see `open_set` and `Stream` for the arguments and errors.

    Args:
        rank, ranks: from torch.distributed where it is initialised, else 0 of 1.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return Stream(
        open_set(path, domain=domain),
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        rows=rows,
        rank=rank if rank is not None else torch.distributed.get_rank() if distributed else 0,
        ranks=ranks if ranks is not None else torch.distributed.get_world_size() if distributed else 1,
    )


__all__ = ["WHOLE_SET_BYTES", "Batch", "Stream", "stream"]
