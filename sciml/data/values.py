"""Values of a stream from disk, or from memory where the whole set is kept."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.data.bad_data import all_finite
from sciml.data.buffers import Buffers
from sciml.data.fetching import Instants, Plan
from sciml.data.variables import VariableInfo, numpy_type

_READ_AT_ONCE = 64 * 2**20


class DiskValues:
    """Reads what is asked for, into memory that is used again.

    Args:
        pinned: whether that memory is locked for copies to a GPU.
    """

    finite = False

    def __init__(self, plan: Plan, *, pinned: bool = False) -> None:
        self._plan = plan
        self._buffers = Buffers(pinned=pinned)
        self._scratch = Buffers()

    def take(self, info: VariableInfo, row: Int64[Tensor, "row"], instants: Instants | None) -> Tensor:
        """(row, [time], *shape) in the dtype of the stream."""
        time = () if instants is None else (instants.count,)
        shape = (len(row), *time, *info.shape)
        out = self._empty(shape)
        stored = out
        if info.dtype != self._plan.dtype:
            stored = torch.from_numpy(self._scratch.take(shape, numpy_type(info.dtype)))
        self._read(info, self._plan.rows[row.numpy()], instants, stored)
        return out if stored is out else _cast(stored, out)

    def times(self, row: Int64[Tensor, "row"], instants: Instants) -> Float[Tensor, "row time"]:
        """Of instants, zero behind the last one of a row."""
        times = self._plan.set.times(self._plan.rows[row.numpy()], instants.numbers.numpy())
        assert times is not None
        return torch.from_numpy(np.nan_to_num(times, nan=0.0)).to(self._plan.dtype)

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        if self._plan.dtype == torch.bfloat16:
            return torch.from_numpy(self._buffers.take(shape, np.dtype(np.int16))).view(torch.bfloat16)
        return torch.from_numpy(self._buffers.take(shape, numpy_type(self._plan.dtype)))

    def _read(self, info: VariableInfo, rows: np.ndarray, instants: Instants | None, out: Tensor) -> None:
        place = out.numpy()
        if instants is None:
            self._plan.set.read_into(info.name, rows, place)
            return
        first = instants.first.numpy()
        if instants.lengths is None:
            self._plan.set.read_into(info.name, rows, place, first=first, stride=instants.stride)
            return
        place[...] = 0
        lengths = instants.lengths.numpy()
        for length in np.unique(lengths):
            here = np.flatnonzero(lengths == length)
            values = np.empty((len(here), int(length), *info.shape), place.dtype)
            self._plan.set.read_into(info.name, rows[here], values, first=first[here], stride=instants.stride)
            place[here, :length] = values


def _cast(stored: Tensor, out: Tensor) -> Tensor:
    """Into the dtype of the stream; what is too large becomes infinite, and is found by the check that follows."""
    if out.dtype == torch.bfloat16:
        return out.copy_(stored)
    with np.errstate(over="ignore", invalid="ignore"):  # by numpy, in the thread of this reader alone
        np.copyto(out.numpy(), stored.numpy(), casting="unsafe")
    return out


class MemoryValues:
    """Keeps every row of a stream, on the device where batches are put together.

    Read and checked once; files with a checksum in their manifest are held against it.

    Raises:
        ValueError: the bytes of a file were changed, or a value is not finite where that is to be refused.
        OSError: a file cannot be read.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self._plan = plan
        plan.set.verify(plan.rows)
        self._starts: Tensor | None = None
        if plan.steps is not None:
            self._starts = (plan.steps.cumsum(0) - plan.steps).to(device)
        disk = DiskValues(plan)
        self._kept = {info.name: self._keep(info, disk, device) for info in plan.set.variables.values()}
        self._times = self._kept_times(disk, device)
        self.finite = all(map(all_finite, self._kept.values()))

    def take(self, info: VariableInfo, row: Int64[Tensor, "row"], instants: Instants | None) -> Tensor:
        """(row, [time], *shape) in the dtype of the stream."""
        kept = self._kept[info.name]
        return kept.index_select(0, row) if instants is None else self._gathered(kept, row, instants)

    def times(self, row: Int64[Tensor, "row"], instants: Instants) -> Float[Tensor, "row time"]:
        """Of instants, zero behind the last one of a row."""
        assert self._times is not None
        return self._gathered(self._times, row, instants)

    def _gathered(self, kept: Tensor, row: Tensor, instants: Instants) -> Tensor:
        """From all instants of all rows, one after the other."""
        assert self._starts is not None
        numbers = instants.numbers
        lengths = instants.lengths
        if lengths is not None:
            numbers = numbers.minimum(lengths[:, None] - 1)
        index = self._starts[row][:, None] + numbers
        values = kept.index_select(0, index.reshape(-1)).view(*index.shape, *kept.shape[1:])
        if lengths is None:
            return values
        there = instants.numbers < lengths[:, None]
        return torch.where(there.view(*there.shape, *[1] * (kept.ndim - 1)), values, 0)

    def _keep(self, info: VariableInfo, disk: DiskValues, device: torch.device) -> Tensor:
        plan, rows = self._plan, len(self._plan.rows)
        if info.steps is None or plan.steps is None:
            kept = torch.empty((rows, *info.shape), dtype=plan.dtype, device=device)
            step = max(1, _READ_AT_ONCE // max(info.bytes, 1))
            for start in range(0, rows, step):
                row = torch.arange(start, min(start + step, rows))
                kept[start : start + step] = disk.take(info, row, None)
            return kept
        kept = torch.empty((int(plan.steps.sum()), *info.shape), dtype=plan.dtype, device=device)
        at = 0
        most = max(1, _READ_AT_ONCE * info.steps // max(info.bytes, 1))
        for row, steps in enumerate(plan.steps.tolist()):
            for first in range(0, steps, most):
                count = min(most, steps - first)
                taken = disk.take(info, torch.tensor([row]), Instants(torch.tensor([first]), count))
                kept[at : at + count] = taken[0]
                at += count
        return kept

    def _kept_times(self, disk: DiskValues, device: torch.device) -> Tensor | None:
        plan = self._plan
        if plan.steps is None or not plan.set.has_times:
            return None
        rows = (
            disk.times(torch.tensor([i]), Instants(torch.zeros(1, dtype=torch.int64), n))[0]
            for i, n in enumerate(plan.steps.tolist())
        )
        return torch.cat(list(rows)).to(device)


__all__ = ["DiskValues", "MemoryValues"]
