"""Values that are not finite: refused, left out or masked, and always counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

OnBad = Literal["raise", "skip", "mask"]

ON_BAD: tuple[OnBad, ...] = get_args(OnBad)


@dataclass
class BadData:
    """What was found so far in the batches that were given out.

    Args:
        samples: how often a sample was met that held a bad value; every pass meets it again.
        values: how often a bad value was met.
        places: the same by file and variable.
    """

    samples: int = 0
    values: int = 0
    places: Counter[tuple[Path, str]] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return self.samples > 0

    def __str__(self) -> str:
        if not self:
            return "no bad values"
        most = ", ".join(f"{name} of {file} ({count:,})" for (file, name), count in self.places.most_common(3))
        more = f" and {len(self.places) - 3} more" if len(self.places) > 3 else ""
        times = f"{self.values:,} time{'s' if self.values > 1 else ''}"
        return f"values that are not finite were met {times} in the batches given out: {most}{more}"

    def add(self, other: BadData) -> None:
        """Count what another found, too."""
        self.samples += other.samples
        self.values += other.values
        self.places.update(other.places)


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite, by one sum where that is finite itself."""
    if not (values.is_floating_point() or values.is_complex()) or not values.numel():
        return True
    return _sum_is_finite(values) or bool(values.isfinite().all())


def _sum_is_finite(values: Tensor) -> bool:
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:
        return bool(values.sum().isfinite())
    # By numpy in the thread that asks: torch, and the products of BLAS, would wake their own threads for it in every reader.
    array = values.numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        if values.is_contiguous() and array.dtype in (np.float32, np.float64):
            return bool(np.isfinite(np.einsum("i->", array.reshape(-1))))  # twice as fast as `np.add.reduce`
        return bool(np.isfinite(np.add.reduce(array, axis=None)))


def bad_rows(values: Mapping[str, Tensor]) -> Bool[Tensor, "row"]:
    """Which rows hold a value that is not finite, in any variable."""
    found: Tensor | None = None
    for tensor in values.values():
        if not all_finite(tensor):
            here = ~tensor.isfinite().flatten(1).all(1)
            found = here if found is None else found | here
    if found is None:
        first = next(iter(values.values()))
        return torch.zeros(len(first), dtype=torch.bool, device=first.device)
    return found


__all__ = ["ON_BAD", "BadData", "OnBad", "all_finite", "bad_rows"]
