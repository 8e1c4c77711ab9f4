"""What training needs of a stream: `sciml.data.stream.Stream` has it all, and so may a class of your own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from sciml.data.stream import Batch
from sciml.data.variables import VariableInfo
from sciml.numerics.domain import Domain


@runtime_checkable
class HasVariables(Protocol):
    """Of a set, what a checkpoint keeps."""

    @property
    def variables(self) -> Mapping[str, VariableInfo]: ...
    @property
    def domain(self) -> Domain | None: ...


@runtime_checkable
class Samples(Protocol):
    """One pass over samples, in whole batches: for validation, evaluation, prediction and baselines."""

    @property
    def set(self) -> HasVariables: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def device(self) -> torch.device: ...
    def __iter__(self) -> Iterator[Batch]: ...


@runtime_checkable
class TrainingStream(Protocol):
    """Batches without end, which may be made as they go: (this process's rows, their share), and a state to go on from.

    The share is (rows here) x ranks / (rows of the batch), so that the mean over the processes of share x (mean over the rows
    here) is the mean over the batch. `state_dict` holds plain values; all but `epoch` and `position` say which stream it is.
    """

    @property
    def set(self) -> HasVariables: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    def endless(self) -> Iterator[tuple[Batch, float]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


__all__ = ["HasVariables", "Samples", "TrainingStream"]
