"""From rows and instants to a batch, whether the values come from disk or from memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.data.bad_data import BadData, OnBad, all_finite, bad_rows
from sciml.data.batch import MASK, NEXT, Batch
from sciml.data.set import Set
from sciml.data.variables import VariableInfo
from sciml.data.window import Items

Task = TypeVar("Task")


@dataclass(frozen=True)
class Fetched:
    """The batch, None where no row is left of it, and what was wrong with the values."""

    batch: Batch | None
    bad: BadData


@dataclass(frozen=True)
class Instants:
    """Which instants of each row are meant.

    Args:
        first: of each row.
        count, stride: how many, and how far apart.
        lengths: how many each row has, where that is fewer than `count` for some; the rest is zero.
    """

    first: Int64[Tensor, "row"]
    count: int
    stride: int = 1
    lengths: Int64[Tensor, "row"] | None = None

    @property
    def numbers(self) -> Int64[Tensor, "row time"]:
        """Of the instants."""
        return self.first[:, None] + torch.arange(self.count, device=self.first.device) * self.stride


@runtime_checkable
class Values(Protocol):
    """What brings values of rows of a stream."""

    @property
    def finite(self) -> bool:
        """Whether all values are known to be finite."""
        ...

    def take(self, info: VariableInfo, row: Int64[Tensor, "row"], instants: Instants | None) -> Tensor:
        """(row, [time], *shape) in the dtype of the stream."""
        ...

    def times(self, row: Int64[Tensor, "row"], instants: Instants) -> Float[Tensor, "row time"]:
        """Of instants, zero behind the last one of a row."""
        ...


@dataclass(frozen=True)
class _Piece:
    """What stands in a batch under one name, and from where it came.

    Args:
        whole: what was read in one piece, of which `values` may be a part.
    """

    info: VariableInfo
    instants: Instants | None
    values: Tensor
    whole: Tensor


class Plan:
    """What a batch holds of a set.

    Args:
        rows: numbers of the rows of the set that the stream has.
        items: of the stream.
    Raises:
        ValueError: variables have names that a batch needs for something else.
    """

    def __init__(self, source: Set, rows: npt.NDArray[np.int64], items: Items, dtype: torch.dtype, on_bad: OnBad) -> None:
        self.set = source
        self.rows = rows
        self.items = items
        self.dtype = dtype
        self.on_bad: OnBad = on_bad
        self.steps = None if source.steps is None else torch.from_numpy(source.steps[rows])
        self.ragged = self.steps is not None and items.window is None and bool((self.steps != self.steps[0]).any())
        self._check_names()

    @property
    def bytes(self) -> int:
        """Of all rows in the dtype of the stream."""
        instants = 0 if self.steps is None else int(self.steps.sum())
        sizes = (
            torch.Size(info.shape).numel() * (len(self.rows) if info.steps is None else instants)
            for info in self.set.variables.values()
        )
        return sum(sizes) * self.dtype.itemsize

    def batch(self, values: Values, places: Int64[Tensor, "item"]) -> Fetched:
        """The items at these places in stored order.

        Raises:
            ValueError: a value is not finite, where that is not to be skipped or masked.
            OSError: a file cannot be read.
        """
        row, first = self.items.of(places)
        pieces = {name: piece for info in self.set.variables.values() for name, piece in self._of(info, values, row, first)}
        batch = {name: piece.values for name, piece in pieces.items()}
        for name, instants in self._grids(row, first).items():
            if name == "mask" and instants.lengths is not None:
                batch["mask"] = instants.numbers < instants.lengths[:, None]
            elif name != "mask":
                batch[name] = values.times(row, instants)
        if values.finite and self.on_bad != "mask":
            return Fetched(batch, BadData())
        return self._judged(batch, pieces, row)

    def _of(self, info: VariableInfo, values: Values, row: Tensor, first: Tensor) -> Iterator[tuple[str, _Piece]]:
        """What a batch holds of one variable."""
        window = self.items.window
        if info.steps is None:
            taken = values.take(info, row, None)
            yield info.name, _Piece(info, None, taken, taken)
        elif window is None:
            instants = self._whole(row)
            taken = values.take(info, row, instants)
            yield info.name, _Piece(info, instants, taken, taken)
        elif info.role == "state" and window.steps_out:
            taken = values.take(info, row, Instants(first, window.steps, window.stride))
            windowed = self._windowed(first)
            yield info.name, _Piece(info, windowed[""], taken[:, : window.steps_in], taken)
            yield f"{info.name}{NEXT}", _Piece(info, windowed[NEXT], taken[:, window.steps_in :], taken)
        else:
            asked = info.role == "target" and window.steps_out > 0
            instants = self._windowed(first)[NEXT if asked else ""]
            taken = values.take(info, row, instants)
            yield info.name, _Piece(info, instants, taken, taken)

    def _windowed(self, first: Tensor) -> dict[str, Instants]:
        """The instants that are given, and those that are asked for."""
        window = self.items.window
        assert window is not None
        given = Instants(first, window.steps_in, window.stride)
        return {"": given, NEXT: Instants(first + window.steps_in * window.stride, window.steps_out, window.stride)}

    def _whole(self, row: Tensor) -> Instants:
        """All instants of every row."""
        assert self.steps is not None
        if not self.ragged:
            return Instants(torch.zeros_like(row), int(self.steps[0]))
        lengths = self.steps.to(row.device)[row]
        return Instants(torch.zeros_like(row), int(lengths.max()), lengths=lengths)

    def _grids(self, row: Tensor, first: Tensor) -> dict[str, Instants]:
        """The instants of which a batch gives the times, by name; and under `mask` those that are there."""
        if self.steps is None:
            return {}
        if self.items.window is None:
            whole = self._whole(row)
            return ({"mask": whole} if self.ragged else {}) | ({"time": whole} if self.set.has_times else {})
        if not self.set.has_times:
            return {}
        windowed = self._windowed(first)
        return {f"time{name}": instants for name, instants in windowed.items() if instants.count}

    def _judged(self, batch: Batch, pieces: dict[str, _Piece], row: Tensor) -> Fetched:
        """The batch without what is not finite, and a count of that."""
        wholes = {id(piece.whole): piece.whole for piece in pieces.values()}
        if self.on_bad != "mask" and all(map(all_finite, wholes.values())):
            return Fetched(batch, BadData())
        flags = bad_rows({name: piece.values for name, piece in pieces.items()})
        any_bad = bool(flags.any())
        if any_bad and self.on_bad == "raise":
            raise ValueError(self._not_finite(pieces, row))
        bad = self._count(pieces, row, flags) if any_bad else BadData()
        if self.on_bad == "mask":
            masks = {f"{name}{MASK}": _good(piece, batch.get("mask")) for name, piece in pieces.items()}
            zeroed = {
                name: torch.where(masks[f"{name}{MASK}"], values, 0) if any_bad and name in pieces else values
                for name, values in batch.items()
            }
            return Fetched(zeroed | masks, bad)
        if not any_bad:
            return Fetched(batch, bad)
        good = torch.nonzero(~flags)[:, 0]
        return Fetched({name: values[good] for name, values in batch.items()} if len(good) else None, bad)

    def _count(self, pieces: dict[str, _Piece], row: Tensor, flags: Tensor) -> BadData:
        bad = BadData(samples=int(flags.sum()))
        for name, piece in pieces.items():
            per_row = (~piece.values.isfinite()).flatten(1).sum(1).cpu()
            for i in torch.nonzero(per_row)[:, 0].tolist():
                file, _ = self.set.locate(int(self.rows[int(row[i])]))
                bad.places[(file, name.removesuffix(NEXT) if name not in self.set.variables else name)] += int(per_row[i])
                bad.values += int(per_row[i])
        return bad

    def _not_finite(self, pieces: dict[str, _Piece], row: Tensor) -> str:
        """An error that says where the first bad value lies in the files."""
        piece = next(piece for piece in pieces.values() if not all_finite(piece.values))
        index = torch.nonzero(~piece.values.isfinite())[0].tolist()
        number = int(self.rows[int(row[index[0]])])
        file, sample = self.set.locate(number)
        info, instants = piece.info, piece.instants
        if instants is None:
            stored, at = self.set.read(info.name, [number])[(0, *index[1:])], tuple(index[1:])
        else:
            instant = int(instants.first[index[0]]) + index[1] * instants.stride
            stored = self.set.read(info.name, [number], first=instant, count=1)[(0, 0, *index[2:])]
            at = (instant, *index[2:])
        of = "" if self.set.split is None else f"split {self.set.split} of "
        what = f"{file}: variable {info.name}, sample {sample} of {of}this file holds {stored.item()} at {at}"
        if bool(torch.isfinite(stored)):
            return f"{what}, too large for {self.dtype}; take a wider dtype"
        return (
            f"{what}, need finite values; `sciml check {file}` lists them, then generate or copy this file again, or let "
            'them be left out with on_bad="skip" or "mask"'
        )

    def _check_names(self) -> None:
        names = set(self.set.variables)
        own = {"time", "mask"} if self.steps is not None else set()
        if self.items.window is not None:
            own |= {f"{name}{NEXT}" for name in (*self.set.states, "time")}
        if self.on_bad == "mask":
            own |= {f"{name}{MASK}" for name in names}
        if clash := sorted(names & own):
            raise ValueError(
                f"{self.set.path}: variable {clash[0]} has a name that a batch needs for something else; give it another one, "
                "such as by a `mapping`"
            )


def _good(piece: _Piece, there: Tensor | None) -> Tensor:
    """Where values are finite, and behind the end of no sample."""
    good = piece.values.isfinite()
    if there is None or piece.instants is None:
        return good
    return good & there.view(*there.shape, *[1] * (good.ndim - 2))


def on_device(found: Iterator[tuple[Task, Fetched]], device: torch.device) -> Iterator[tuple[Task, Fetched]]:
    """Bring batches to their device: to a GPU on a stream of its own, one batch ahead of the one that is given out."""
    if device.type != "cuda":
        for task, fetched in found:
            yield task, _moved(fetched, device)
        return
    side = torch.cuda.Stream(device)
    copied: deque[tuple[Task, Fetched, torch.cuda.Event]] = deque()
    held: deque[tuple[torch.cuda.Event, Fetched]] = deque()  # host memory must not change before the copy is done
    try:
        for task, fetched in found:
            with torch.cuda.stream(side):
                batch = _moved(fetched, device)
            event = torch.cuda.Event()
            event.record(side)
            held.append((event, fetched))
            copied.append((task, batch, event))
            while held and held[0][0].query():
                held.popleft()
            if len(copied) > 1:
                yield _handed_over(*copied.popleft(), device)
        while copied:
            yield _handed_over(*copied.popleft(), device)
    finally:
        side.synchronize()


def _moved(fetched: Fetched, device: torch.device) -> Fetched:
    if fetched.batch is None:
        return fetched
    batch = {name: values.to(device, non_blocking=True) for name, values in fetched.batch.items()}
    return Fetched(batch, fetched.bad)


def _handed_over(task: Task, fetched: Fetched, event: torch.cuda.Event, device: torch.device) -> tuple[Task, Fetched]:
    """To the CUDA stream on which the caller works."""
    user = torch.cuda.current_stream(device)
    user.wait_event(event)
    for values in (fetched.batch or {}).values():
        values.record_stream(user)
    return task, fetched


__all__ = ["Fetched", "Instants", "Plan", "Values", "on_device"]
