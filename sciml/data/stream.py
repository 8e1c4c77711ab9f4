"""Brings the samples of a set to a device in batches: as stored, or for training shuffled by (seed, epoch, position)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.data.bad_data import ON_BAD, BadData, OnBad
from sciml.data.batch import NEXT, Batch
from sciml.data.buffers import ahead
from sciml.data.caching import Cache, chosen_cache
from sciml.data.fetching import Fetched, Plan, on_device
from sciml.data.formats.mapped import Mapped
from sciml.data.order import permuted, place_in
from sciml.data.rows import Rows, row_numbers
from sciml.data.set import Set, open_set
from sciml.data.values import DiskValues, MemoryValues
from sciml.data.variables import VariableInfo
from sciml.data.window import Items, Window, check_window
from sciml.numerics.domain import Domain

_LOG = logging.getLogger("sciml.data")
_ORDERED_AT_ONCE = 2**15
_AHEAD = 2


@dataclass(frozen=True)
class Task:
    """A batch to bring.

    Args:
        places: of its items in stored order.
        begin, end: (epoch, position) before and after it.
        share: see `Stream.endless`.
    """

    places: Tensor
    begin: tuple[int, int]
    end: tuple[int, int]
    share: float


class Stream:
    """Samples of a set in batches, each exactly once per epoch.

    `for batch in stream` is one pass, for evaluation: always in stored order, whole batches on every rank, and the state stays
    as it is. `endless()` is for training: shuffled anew every epoch, each rank its share, resumable.

    A sample is a row of the set, or with a `window` each window of each row. Values are cast to `dtype` (phases stored as bool
    become 0 and 1) and checked to be finite as they enter. Files that are kept in memory are held against the checksums in
    their manifests; of the others `sciml check` says whether their bytes were changed.

    Args:
        source: where the samples are.
        batch_size: samples per batch over all ranks; the last batch of an epoch may be smaller.
        seed: of the order of `endless`.
        device, dtype: of the batches.
        rows: which rows of the set belong to the stream, in the order that counts as stored, or a mask; all if not given.
        rank, ranks: which part of each batch is this process's.
        window: cuts rows into windows in time. Of a state `u` a batch then has the given instants as `u` and those asked for
            as `u_next`; of other variables that change in time the given instants, of targets those asked for.
        cache: where the samples are kept; chosen by size if not given, and told by `told` and the log.
        on_bad: what to do with samples that hold values that are not finite: "raise", "skip" them, or "mask": put zeros there
            and add `u_mask`, True where values of `u` are good. What was skipped or masked is counted in `bad`.
        readers: threads that read ahead where samples are not kept on the device; 0 for none.
    Raises:
        ValueError: an empty set or no rows, rows that are neither whole numbers nor a mask, a batch size that is no whole
            number or below 1, a window that is no `Window`, a rank that is not there, a dtype that is not of floating point,
            complex variables, a window longer than every sample, or variables whose names a batch needs for something else.
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
        window: Window | None = None,
        cache: Cache | None = None,
        on_bad: OnBad = "raise",
        readers: int = 2,
    ) -> None:
        self.set = source
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.dtype = dtype
        self.rows = None if rows is None else row_numbers(rows, len(source), str(source.path))
        self.rank = rank
        self.ranks = ranks
        self.window = window
        self.on_bad: OnBad = on_bad
        self.readers = readers
        self.bad = BadData()
        self.held_out = False  # whether `split` held these rows out; nothing may be learned from them
        if (len(source) if self.rows is None else len(self.rows)) == 0:
            raise ValueError(f"{source.path}: got no samples for a stream, need at least 1")
        _check_types(source, dtype)
        check_batch_size(batch_size)
        check_window(window)
        if not 0 <= rank < ranks:
            raise ValueError(f"rank: got {rank} of {ranks} ranks, need 0 <= rank < ranks")
        if on_bad not in ON_BAD:
            raise ValueError(f"on_bad: got {on_bad!r}, need one of {', '.join(ON_BAD)}")
        if readers < 0:
            raise ValueError(f"readers: got {readers}, need at least 0")
        numbers = np.arange(len(source)) if self.rows is None else self.rows
        self._items = Items(len(numbers), None if source.steps is None else source.steps[numbers], window)
        self._plan = Plan(source, numbers, self._items, dtype, on_bad)
        self._asked: Cache | None = cache
        self.cache, self.told = chosen_cache(self._plan.bytes, self.device, cache)
        if self._items.too_short:
            self.told += f"; {self._items.too_short} samples are too short for the window and left out"
        _LOG.info("%s: %s", source.path, self.told)
        self._values: DiskValues | MemoryValues | None = None
        self._ordered: _Ordered | None = None
        self._last_good: Batch | None = None
        self._epoch, self._position = 0, 0

    @property
    def samples(self) -> int:
        """Per epoch."""
        return len(self._items)

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
        """Names of what is given, in the order in which channels are put together: with a window the states come first."""
        return (*(self.set.states if self.window is not None else ()), *self.set.inputs)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is asked for: with a window the next instants of the states come first."""
        asked = self.window is not None and self.window.steps_out > 0
        return (*(f"{name}{NEXT}" for name in self.set.states if asked), *self.set.targets)

    def info(self, name: str) -> VariableInfo:
        """What a batch holds under a name, with as many instants as it has there.

        Raises:
            ValueError: no such name.
        """
        stored = name.removesuffix(NEXT) if name not in self.set.variables and name in self.targets else name
        if stored not in self.set.variables:
            raise ValueError(f"{self.set.path}: no variable {name!r}, there are {', '.join((*self.inputs, *self.targets))}")
        info = self.set.variables[stored]
        if self.window is None or info.steps is None:
            return info
        asked = self.window.steps_out if (stored != name or info.role == "target") else self.window.steps_in
        return replace(info, name=name, steps=asked or self.window.steps_in)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        with closing(self._batches(self._one_pass())) as batches:
            for _, found in batches:
                batch = self._counted(found)
                if batch is not None:
                    yield batch

    def endless(self) -> Generator[tuple[Batch, float]]:
        """Batches without end, from the state on: this rank's rows of the next batch, and their share.

        The share is (rows here) x ranks / (rows of the batch): the mean over ranks of share x (mean over rows here) is the mean
        over the batch. A rank without a row gets one all the same, with share 0. The state counts a batch as done once it
        was given out. Where rows are skipped because they are bad, the share is still that of the rows that were meant.

        Raises:
            ValueError: a whole epoch brings no sample without bad values.
        """
        empty = 0
        while True:
            with closing(self._batches(self._training(self._epoch, self._position))) as batches:
                for task, found in batches:
                    if (self._epoch, self._position) != task.begin:
                        break  # a state was loaded
                    self._epoch, self._position = task.end
                    batch = self._counted(found)
                    empty = 0 if batch is not None else empty + 1
                    if batch is not None:
                        self._remember(batch)
                        yield batch, task.share
                    elif self.ranks > 1:  # the others wait for this process
                        yield self._stand_in(*task.begin), 0.0
                    elif empty >= len(self):
                        raise ValueError(f"{self.set.path}: an epoch brings no sample without bad values; {self.bad}")

    def state_dict(self) -> dict[str, int | str]:
        """Where `endless` is: plain values, below 1 KiB. Position counts samples, so that the batch size may change."""
        return {"epoch": self._epoch, "position": self._position, "seed": self.seed, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from a state: the same batches follow, bit for bit.

        Raises:
            ValueError: the state is of another set, other rows, another window or seed, or not a state.
        """
        own = {"fingerprint": self.fingerprint, "seed": self.seed}
        self._epoch, self._position = place_in(
            state, own, self.samples, what=f"{self.set.path}: got a stream state", whose="this stream has"
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of the set, the rows and the window: what a state may be loaded into."""
        rows = "all" if self.rows is None else hashlib.blake2b(self.rows.tobytes(), digest_size=16).hexdigest()
        window = () if self.window is None else (self.window.steps_in, self.window.steps_out, self.window.stride)
        text = json.dumps([self.set.fingerprint, rows, *window])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def subset(self, rows: Rows) -> Stream:
        """A stream of some of these rows, by their place in stored order or a mask over it, at its beginning.

        Rows are whole samples of the set also where there is a window.
        """
        own = np.arange(len(self.set)) if self.rows is None else self.rows
        made = Stream(
            self.set,
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            dtype=self.dtype,
            rows=own[row_numbers(rows, len(own), f"stream of {self.set.path}")],
            rank=self.rank,
            ranks=self.ranks,
            window=self.window,
            cache=self._asked,
            on_bad=self.on_bad,
            readers=self.readers,
        )
        made.held_out = self.held_out
        return made

    def split(self, *, validation: int, seed: int = 0) -> tuple[Stream, Stream]:
        """Hold out `validation` rows drawn at random: (what is left, what is held out), each in stored order.

        Rows are whole samples of the set: no window is in both, nor are two windows of one trajectory.

        Raises:
            ValueError: fewer than 1 row would be held out or left.
        """
        rows = self._items.rows
        if not 0 < validation < rows:
            raise ValueError(f"validation: got {validation} of {rows} samples, need at least 1 held out and 1 left")
        drawn = permuted(np.arange(rows), rows, seed=seed, epoch=0)
        left, held_out = self.subset(np.sort(drawn[validation:])), self.subset(np.sort(drawn[:validation]))
        held_out.held_out = True
        return left, held_out

    def training_batch(self, epoch: int, start: int) -> tuple[Batch, float] | None:
        """The batch that begins at a position of an epoch of training, with its share, for whoever mixes streams.

        None where every sample of it is skipped; the state stays as it is.
        """
        task = next(self._training(epoch, start))
        with closing(self._batches(iter([task]))) as batches:
            batch = self._counted(next(batches)[1])
        if batch is None:
            return (self._stand_in(epoch, start), 0.0) if self.ranks > 1 else None
        self._remember(batch)
        return batch, task.share

    def _shuffled(self, epoch: int, start: int, stop: int) -> Tensor:
        """Places in stored order of the samples at positions start ... stop - 1 of an epoch of training."""
        ordered = self._ordered
        if ordered is None or not ordered.covers(epoch, start, stop):
            end = min(max(stop, start + _ORDERED_AT_ONCE), self.samples)
            places = permuted(np.arange(start, end), self.samples, seed=self.seed, epoch=epoch)
            ordered = self._ordered = _Ordered(epoch, start, torch.from_numpy(places).to(self._where))
        return ordered.places[start - ordered.start : stop - ordered.start]

    @property
    def _where(self) -> torch.device:
        """Where places are looked up."""
        return self.device if self._gathers else torch.device("cpu")

    @property
    def _gathers(self) -> bool:
        """Whether batches are put together where they are used."""
        return self.cache == "device" or (self.cache == "memory" and self.device.type == "cpu")

    def _one_pass(self) -> Iterator[Task]:
        for start in range(0, self.samples, self.batch_size):
            stop = min(start + self.batch_size, self.samples)
            yield Task(torch.arange(start, stop, device=self._where), (0, start), (0, stop), 1.0)

    def _training(self, epoch: int, start: int) -> Iterator[Task]:
        while True:
            stop = min(start + self.batch_size, self.samples)
            size = stop - start
            first, last = (start + size * r // self.ranks for r in (self.rank, self.rank + 1))
            share = (last - first) * self.ranks / size
            if first == last:
                first, last = start, start + 1
            end = (epoch, stop) if stop < self.samples else (epoch + 1, 0)
            yield Task(self._shuffled(epoch, first, last), (epoch, start), end, share)
            epoch, start = end

    def _batches(self, tasks: Iterator[Task]) -> Generator[tuple[Task, Fetched]]:
        """Each task with its batch on the device."""
        plan, values = self._plan, self._opened_values()
        if self._gathers:
            for task in tasks:
                yield task, plan.batch(values, task.places)
            return
        read = ahead(tasks, lambda task: plan.batch(values, task.places), readers=self.readers, depth=_AHEAD)
        with closing(read) as fetched:
            yield from on_device(fetched, self.device)

    def _opened_values(self) -> DiskValues | MemoryValues:
        if self._values is None:
            if self.cache == "disk":
                self._values = DiskValues(self._plan, pinned=self.device.type == "cuda")
            else:
                self._values = MemoryValues(self._plan, self._where)
                if not self._values.finite and self.on_bad == "raise":
                    for task in self._one_pass():
                        self._plan.batch(self._values, task.places)  # says which value it is
        return self._values

    def _counted(self, found: Fetched) -> Batch | None:
        if found.bad:
            if not self.bad:
                _LOG.warning("%s: %s; on_bad=%r, the counts go on in `bad`", self.set.path, found.bad, self.on_bad)
            self.bad.add(found.bad)
        return found.batch

    def _remember(self, batch: Batch) -> None:
        self._last_good = batch if self.on_bad == "skip" and self.ranks > 1 else None

    def _stand_in(self, epoch: int, start: int) -> Batch:
        """A batch for a rank whose own is all bad: its last good one, or else its next."""
        if self._last_good is None:
            for task in self._training(epoch, start):
                batch = self._plan.batch(self._opened_values(), task.places).batch
                if batch is not None:
                    return {name: values.to(self.device) for name, values in batch.items()}
                if task.end[0] > epoch + 1:
                    raise ValueError(f"{self.set.path}: rank {self.rank} finds no sample without bad values in an epoch")
        return self._last_good or {}


class _Ordered:
    """Part of the order of an epoch, worked out at once: per batch there is no arithmetic left."""

    def __init__(self, epoch: int, start: int, places: Tensor) -> None:
        self.epoch, self.start, self.stop, self.places = epoch, start, start + len(places), places

    def covers(self, epoch: int, start: int, stop: int) -> bool:
        return self.epoch == epoch and self.start <= start and stop <= self.stop


def check_batch_size(given: object) -> None:
    """Whether it is a whole number of samples.

    Raises:
        ValueError: it is none, or below 1.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise ValueError(f"batch_size: got {given!r}, need a whole number")
    if given < 1:
        raise ValueError(f"batch_size: got {given}, need at least 1")


def _check_types(source: Set, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: got {dtype}, need one of floating point such as torch.float32")
    for name, info in source.variables.items():
        if info.dtype.is_complex:
            raise ValueError(f"{source.path}: variable {name} is {info.dtype}, need real numbers; store two channels")


def stream(
    source: str | Path | Set,
    *,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    domain: Domain | None = None,
    split: str | None = None,
    mapping: Mapping[str, Mapped] | str | Path | None = None,
    rows: Rows | None = None,
    rank: int | None = None,
    ranks: int | None = None,
    window: Window | None = None,
    cache: Cache | None = None,
    on_bad: OnBad = "raise",
    readers: int = 2,
) -> Stream:
    """Open a set and stream it; see `open_set` and `Stream` for the arguments and errors.

    Args:
        source: a path, or a set that was opened.
        domain, split, mapping: of `open_set`, for a path.
        rank, ranks: from torch.distributed where it is initialised, else 0 of 1.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if isinstance(source, Set) and not (domain is None and split is None and mapping is None):
        raise ValueError("source: got an opened set, for which domain, split and mapping are settled")
    opened = source if isinstance(source, Set) else open_set(source, domain=domain, split=split, mapping=mapping)
    return Stream(
        opened,
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        rows=rows,
        rank=rank if rank is not None else torch.distributed.get_rank() if distributed else 0,
        ranks=ranks if ranks is not None else torch.distributed.get_world_size() if distributed else 1,
        window=window,
        cache=cache,
        on_bad=on_bad,
        readers=readers,
    )


__all__ = ["Batch", "Stream", "Task", "check_batch_size", "stream"]
