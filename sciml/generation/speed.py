"""How fast this machine is, beside the one on which the times in cards were measured."""

from __future__ import annotations

import time
from functools import cache

import torch

REFERENCE = 0.0042
"""Seconds of `_work` on one core of the machine where the times in the cards were measured."""


@cache
def slowness() -> float:
    """How much longer one core of this machine takes than that of the reference; found in about 0.2 seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _work()  # fills caches and makes plans of transforms
        times = []
        while len(times) < 5 or (sum(times) < 0.15 and len(times) < 50):
            start = time.perf_counter()
            _work()
            times.append(time.perf_counter() - start)
        return min(times) / REFERENCE
    finally:
        torch.set_num_threads(threads)


def _work() -> None:
    """A little of each thing that solvers do: transforms, products of matrices, passes over memory."""
    field = torch.ones(4, 256, 256, dtype=torch.float64)
    torch.fft.irfft2(torch.fft.rfft2(field) * 0.5)
    matrix = field[0]
    torch.linalg.lu_factor(matrix @ matrix + 300 * torch.eye(256, dtype=torch.float64))
    for _ in range(4):
        field = torch.addcmul(field, field, field, value=1e-3)


__all__ = ["REFERENCE", "slowness"]
