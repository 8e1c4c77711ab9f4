"""Windows in time: which instants of which sample make an item of a stream, as a function and not a list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Instants that are given and, right behind them, instants that are asked for.

    Args:
        steps_in, steps_out: how many of each; with `steps_out` 0 nothing is asked for.
        stride: how many stored instants from one to the next.
    Raises:
        ValueError: `steps_in` or `stride` below 1, or `steps_out` below 0.
    """

    steps_in: int
    steps_out: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if self.steps_in < 1 or self.steps_out < 0 or self.stride < 1:
            raise ValueError(
                f"window: got steps_in {self.steps_in}, steps_out {self.steps_out}, stride {self.stride}, "
                "need at least 1, 0 and 1"
            )

    @property
    def steps(self) -> int:
        """Instants in all."""
        return self.steps_in + self.steps_out

    @property
    def span(self) -> int:
        """Stored instants from the first to the last, both counted."""
        return 1 + self.stride * (self.steps - 1)


def check_window(given: object) -> None:
    """Whether it is a window, or none.

    Raises:
        ValueError: it is something else, such as a number.
    """
    if given is not None and not isinstance(given, Window):
        raise ValueError(f"window: got {given!r}, need a Window, such as Window(2, 1) for two instants given and one asked for")


class Items:
    """The items of a stream: all windows of all rows, in the order of rows and instants; or without a window the rows.

    Costs memory per row, and nothing per window.

    Args:
        steps: instants of every row; None where nothing changes in time.
    Raises:
        ValueError: a window, but no row that is long enough for it.
    """

    def __init__(self, rows: int, steps: npt.NDArray[np.int64] | None, window: Window | None) -> None:
        self.window = window
        self.rows = rows
        self.too_short = 0
        self._ends: dict[torch.device, Tensor] = {}
        self._count = rows
        if window is None:
            return
        if steps is None:
            raise ValueError("window: got one, but no variable of the set changes in time")
        windows = np.maximum(steps - window.span + 1, 0)
        self.too_short = int((windows == 0).sum())
        self._count = int(windows.sum())
        if not self._count:
            raise ValueError(f"window: spans {window.span} instants, the longest sample has {int(steps.max(initial=0))}")
        self._ends[torch.device("cpu")] = torch.from_numpy(np.cumsum(windows))

    def __len__(self) -> int:
        return self._count

    def of(self, places: Int64[Tensor, "item"]) -> tuple[Int64[Tensor, "item"], Int64[Tensor, "item"]]:
        """The row and the first instant of each item, on the device of `places`."""
        if self.window is None:
            return places, torch.zeros_like(places)
        ends = self._ends.get(places.device)
        if ends is None:
            ends = self._ends[places.device] = self._ends[torch.device("cpu")].to(places.device)
        row = torch.searchsorted(ends, places, right=True)
        before = torch.where(row > 0, ends[(row - 1).clamp(min=0)], 0)
        return row, places - before


__all__ = ["Items", "Window", "check_window"]
