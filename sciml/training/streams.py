"""What training needs of a stream: `sciml.data.stream.Stream` has it all, and so may a class of your own.

Some members are used where a stream has them, and not asked for: `window`, how it cuts samples in time; `domains`, the grids
where there are several; `told`, a sentence on where the samples are kept; `bad`, an account of values that were not finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from sciml.data.batch import Batch
from sciml.data.variables import VariableInfo
from sciml.data.window import Window
from sciml.numerics.domain import Domain


@runtime_checkable
class HasVariables(Protocol):
    """A set."""

    @property
    def variables(self) -> Mapping[str, VariableInfo]: ...
    @property
    def domain(self) -> Domain | None: ...


@runtime_checkable
class Described(Protocol):
    """What every stream says of its batches."""

    @property
    def set(self) -> HasVariables: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def device(self) -> torch.device: ...
    def info(self, name: str) -> VariableInfo:
        """Of an input or target as a batch holds it: `steps` are the instants there; a ValueError where there is none."""
        ...


@runtime_checkable
class Samples(Described, Protocol):
    """One pass over samples, in whole batches: for validation, evaluation, prediction and baselines."""

    def __iter__(self) -> Iterator[Batch]: ...


@runtime_checkable
class TrainingStream(Described, Protocol):
    """Batches without end, which may be made as they go: (this process's rows, their share), and a state to go on from.

    The share is (rows here) x ranks / (rows of the batch), so that the mean over the processes of share x (mean over the rows
    here) is the mean over the batch. `state_dict` holds plain values; all but `epoch` and `position` say which stream it is.
    """

    @property
    def batch_size(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    def endless(self) -> Iterator[tuple[Batch, float]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def domains_of(stream: Described) -> tuple[Domain, ...]:
    """The grids of a stream: none, one, or several where it mixes resolutions."""
    one = () if stream.set.domain is None else (stream.set.domain,)
    return tuple(getattr(stream, "domains", one))


def window_of(stream: Described) -> Window | None:
    """How a stream cuts its samples in time; None where it brings them whole."""
    return getattr(stream, "window", None)


def domain_of(batch: Batch, names: Sequence[str], domains: Sequence[Domain]) -> Domain:
    """The one of several grids on which the variables of a batch lie; a single one is not looked at.

    Args:
        domains: with the same number of axes, no two of one shape.
    Raises:
        ValueError: none of them fits; or the samples differ in length, so that their instants are no channels.
    """
    padded = batch.get("mask")  # bool where the stream made it: variables are numbers
    if padded is not None and padded.dtype == torch.bool:
        raise ValueError("batch: its samples differ in length and are padded with zeros; open the stream with a window")
    if len(domains) == 1:
        return domains[0]
    for domain in domains:
        for name in names:
            shape = tuple(batch[name].shape) if name in batch else ()
            if len(shape) - domain.dim in (2, 3) and shape[-domain.dim :] == domain.shape:
                return domain
    got = ", ".join(f"{name} {tuple(batch[name].shape)}" for name in names if name in batch)
    raise ValueError(f"batch: got {got or 'none of ' + ', '.join(names)}; the grids are {[d.shape for d in domains]}")


def check_names(inputs: Sequence[str], targets: Sequence[str]) -> None:
    """Whether something is given and something asked for, so that a model can be held against the truth.

    Raises:
        ValueError: no inputs or no targets, as of states in time that are brought whole.
    """
    for role, names in (("targets", targets), ("inputs", inputs)):
        if not names:
            raise ValueError(
                f"{role}: got none, need at least one variable; where the set has states in time, "
                "open the stream with window=Window(1, 1)"
            )


def grid_of(batch: Batch, names: Sequence[str], domains: Sequence[Domain]) -> tuple[int, ...] | None:
    """Points per side of a batch, for `joined`; None where there is no grid."""
    return domain_of(batch, names, domains).shape if domains else None


__all__ = [
    "Described",
    "HasVariables",
    "Samples",
    "TrainingStream",
    "check_names",
    "domain_of",
    "domains_of",
    "grid_of",
    "window_of",
]
