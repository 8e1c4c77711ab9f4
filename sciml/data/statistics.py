"""Statistics of stored values, gathered block by block: the same digits whatever the blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class Statistics:
    """Smallest and largest value, mean and root mean square over all values added so far.

    Sums are taken per sample in float64 and added exactly, so that they do not depend on how samples came in blocks.
    """

    count: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    _sums: list[float] = field(default_factory=list)
    _squares: list[float] = field(default_factory=list)

    def add(self, values: npt.NDArray[np.generic]) -> None:
        """Add samples along the first axis."""
        if not values.size:
            return
        rows = values.reshape(len(values), -1).astype(np.float64)
        self.count += rows.size
        self.smallest = min(self.smallest, float(rows.min()))
        self.largest = max(self.largest, float(rows.max()))
        with np.errstate(over="ignore", invalid="ignore"):  # `result` says what overflows
            self._sums += rows.sum(axis=1).tolist()
            self._squares += np.square(rows).sum(axis=1).tolist()

    def join(self, other: Statistics) -> None:
        """Add everything that was added to another."""
        self.count += other.count
        self.smallest, self.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        self._sums += other._sums
        self._squares += other._squares

    def result(self) -> dict[str, float]:
        """`min`, `max`, `mean` and `rms`.

        Raises:
            ValueError: nothing was added, or a sum is beyond float64.
        """
        if not self.count:
            raise ValueError("statistics: got no values, need at least one")
        if not all(map(math.isfinite, self._squares)):
            raise ValueError(f"values of {self.smallest:g} to {self.largest:g} have squares beyond float64, choose other units")
        mean, square = math.fsum(self._sums) / self.count, math.fsum(self._squares) / self.count
        return {"min": self.smallest, "max": self.largest, "mean": mean, "rms": math.sqrt(square)}


__all__ = ["Statistics"]
