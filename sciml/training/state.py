"""The state of a run: everything that a step reads or changes, as plain containers that can be kept, written and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from sciml.training.checkpoint import weights_of
from sciml.training.ranks import Ranks
from sciml.training.streams import TrainingStream


class RandomNumbers(TypedDict):
    """State of every generator that a model or an objective may draw from, as plain containers."""

    torch: Tensor
    device: Tensor | None
    numpy: dict[str, Any]
    python: tuple[Any, ...]


class Captured(TypedDict):
    """A `State` as plain containers and tensors on the CPU; `random` has one entry per process."""

    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    average: list[Tensor] | None
    stream: dict[str, Any]
    random: list[RandomNumbers]
    progress: dict[str, float | None]


foreach_copy_ = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
foreach_lerp_ = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]


class Average:
    """Exponential moving average of the weights.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the first steps do not linger.

    Args:
        weights: averaged from their present values on, in place.
        decay: part of the average that a step keeps, between 0 and 1; 1 / (1 - decay) steps are remembered.
    """

    def __init__(self, weights: list[nn.Parameter], decay: float) -> None:
        self.decay = decay
        # Complex weights as pairs of reals, which every kernel takes; these share memory with the weights.
        self._weights = [torch.view_as_real(w.detach()) if w.is_complex() else w.detach() for w in weights]
        self.tensors = [w.clone() for w in self._weights]

    def update(self, step: int) -> None:
        foreach_lerp_(self.tensors, self._weights, 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the average inside the block, and its own weights again after it."""
        kept = [w.clone() for w in self._weights]
        foreach_copy_(self._weights, self.tensors)
        try:
            yield
        finally:
            foreach_copy_(self._weights, kept)


@dataclass
class Progress:
    """How far a run is.

    Args:
        step: steps taken.
        best, best_step: least validation error so far, and where; None before the first.
        returns: how often the run went back to a good state.
        seconds: of wall time, over all its starts.
        loss_sum, loss_count: of the steps since the last line of the log.
        first_loss, least_loss: mean loss at the first look at it and the least at any; None before the first.
    """

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    returns: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    first_loss: float | None = None
    least_loss: float | None = None


@dataclass(frozen=True)
class State:
    """All parts of a run that change while it goes.

    Args:
        weights: those of the model that are trained.
    """

    model: nn.Module
    weights: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    average: Average | None
    stream: TrainingStream
    progress: Progress
    device: torch.device
    ranks: Ranks

    def capture(self) -> Captured:
        """A copy of it all on the CPU. Called by all processes together, as each has its own random numbers."""
        return _copied(
            {
                "weights": weights_of(self.model),
                "optimiser": self.optimiser.state_dict(),
                "average": None if self.average is None else self.average.tensors,
                "stream": self.stream.state_dict(),
                "random": self.ranks.gather(_random_numbers(self.device)),
                "progress": asdict(self.progress),
            }
        )

    def restore(self, captured: Captured, *, data: bool = True) -> None:
        """Put a captured state back; without `data`, the stream and the random numbers go on from where they are."""
        self.model.load_state_dict(captured["weights"])
        self.optimiser.load_state_dict(captured["optimiser"])
        if self.average is not None and captured["average"] is not None:
            foreach_copy_(self.average.tensors, captured["average"])
        vars(self.progress).update(captured["progress"])
        if data:
            self.stream.load_state_dict(captured["stream"])
            # With another number of processes there is no state for each, and two must not draw the same numbers.
            if len(captured["random"]) == self.ranks.size:
                _set_random_numbers(captured["random"][self.ranks.rank], self.device)

    def usable_weights(self) -> dict[str, Tensor]:
        """Those that the model is to be used with, the average where there is one; a copy on the CPU."""
        if self.average is None:
            return _copied(weights_of(self.model))
        with self.average.applied():
            return _copied(weights_of(self.model))

    def finite(self) -> bool:
        """Whether the weights, what the optimiser remembers and the average are finite; waits for the device."""
        tensors = [*self.model.parameters(), *_tensors(self.optimiser.state_dict())]
        tensors += self.average.tensors if self.average is not None else []
        flags = torch.stack([t.detach().isfinite().all().to(self.device) for t in tensors])
        return not self.ranks.any(not bool(flags.all()), self.device)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)


def _random_numbers(device: torch.device) -> RandomNumbers:
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 (the global one, which user code may draw from)
    numpy["state"]["key"] = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": numpy,
        "python": random.getstate(),
    }


def _set_random_numbers(state: RandomNumbers, device: torch.device) -> None:
    torch.set_rng_state(state["torch"])
    if state["device"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["device"], device)
    numpy = state["numpy"]
    key = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})  # noqa: NPY002
    random.setstate(state["python"])


__all__ = ["Average", "Captured", "State"]
