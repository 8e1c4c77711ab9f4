"""Memory that is used again, and work that is done ahead by threads."""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

_KEPT, _SIZES = 8, 32
"""How many free pieces of one size are kept, and of how many sizes."""

_PAGE = 4096
"""The kernel copies to whole pages faster than to what begins a little behind one."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Buffers:
    """Arrays whose memory is used again once the array, and every tensor made from it, is gone.

    `torch.from_numpy(array)` and all its views hold the array object itself, so its end is the end of the last of them. Views
    made by numpy hold the memory and not the array: hand out tensors, not slices of the array. Memory that is used again needs
    no page faults, which cost more than the copy.

    Args:
        pinned: locked, so that CUDA copies from it without waiting.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self._pinned = pinned
        # No lock: a garbage collection may run a finaliser in the middle of `take`, in the thread that would hold it.
        # Appending to and popping from a deque are atomic.
        self._free: dict[int, deque[npt.NDArray[np.uint8]]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        """An array with values left over from anything."""
        size = math.prod(shape) * dtype.itemsize
        if len(self._free) > _SIZES:  # of samples of unequal length there may be any number of sizes
            self._free = {}
        free = self._free.setdefault(size, deque(maxlen=_KEPT))
        try:
            memory = free.pop()
        except IndexError:
            memory = self._new(size)
        array = memory.view(dtype).reshape(shape)
        weakref.finalize(array, free.append, memory).atexit = False
        return array

    def _new(self, size: int) -> npt.NDArray[np.uint8]:
        if self._pinned and size:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
        room = np.empty(size + _PAGE, np.uint8)
        start = -room.ctypes.data % _PAGE
        return room[start : start + size]


def ahead(tasks: Iterator[Task], work: Callable[[Task], Result], *, readers: int, depth: int) -> Generator[tuple[Task, Result]]:
    """Every task with what came of it, in order, while threads work on those that follow.

    Order and values do not depend on `readers`. Threads start with the first task and end when the iterator is exhausted,
    closed or dropped. In a process forked meanwhile, where there are no threads, work that was not given out is begun again.

    Args:
        readers: threads; with 0 everything is done when it is asked for.
        depth: how many tasks are begun beyond the one that is asked for.
    Raises:
        Exception: what `work` raised, at the turn of its task; that ends it.
    """
    if readers < 1:
        for task in tasks:
            yield task, work(task)
        return
    process, threads = os.getpid(), ThreadPoolExecutor(readers, "sciml-reader")
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    try:
        while True:
            if os.getpid() != process:
                process, threads = os.getpid(), ThreadPoolExecutor(readers, "sciml-reader")
                waiting = deque((task, threads.submit(work, task)) for task, _ in waiting)
            waiting.extend((task, threads.submit(work, task)) for task in islice(tasks, depth + 1 - len(waiting)))
            if not waiting:
                return
            # No name is bound to the result: while this waits for its turn it must not keep a batch, and so its memory.
            yield waiting[0][0], waiting.popleft()[1].result()
    finally:
        if os.getpid() == process:
            threads.shutdown(wait=True, cancel_futures=True)


__all__ = ["Buffers", "ahead", "cores"]
