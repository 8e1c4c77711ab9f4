"""From input fields to output fields, in physical units, with the grid and the units checked against the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.batch import Batch, joined
from sciml.data.window import Window
from sciml.numerics.domain import Domain
from sciml.training.checkpoint import Checkpoint, Field, fields_of, read_checkpoint
from sciml.training.models import check_dtype, in_evaluation
from sciml.training.streams import Samples, domains_of, grid_of, window_of


def predict(
    source: str | Path | nn.Module,
    given: Samples | Mapping[str, Tensor],
    *,
    domain: Domain | None = None,
    any_grid: bool = False,
    batch_size: int = 32,
    trust: Sequence[str] = (),
) -> dict[str, Tensor]:
    """The output fields of every sample, (sample, channel, *space), on the CPU, by name.

    Units are physical on both sides: what scaling there is, is part of the model. The samples come in stored order. A model
    of windows answers with the next instants of every window, `u_next` of (window, instant, channel, *space).

    Args:
        source: a checkpoint, against which variables, units and grid are checked; or a model, which knows none of them and
            takes the names from the stream.
        given: a stream, for a model of windows one that gives as many instants as it was trained with; or by name and in the
            units of the checkpoint fields in memory, (sample, [instant], channel, *space), and numbers, (sample, channel).
        domain: of fields in memory; the checkpoint's if not given.
        any_grid: let the model run on another grid than the checkpoint's. Good for operators that were made for it; the
            number of axes and the conditions on the sides must still agree.
        batch_size: of fields in memory.
        trust: see `load`.
    Raises:
        ValueError: a variable that is missing, in other units or with other channels or instants than the checkpoint's,
            another grid or several, values that are not finite, or a checkpoint that cannot be loaded.
        OSError: the checkpoint cannot be read.
    """
    if isinstance(source, nn.Module):
        if isinstance(given, Mapping):
            raise ValueError("source: a model does not know the names of fields; call it with a tensor, or give a checkpoint")
        inputs, targets, model = given.inputs, fields_of(given, given.targets), source
        domains = domains_of(given)
    else:
        checkpoint = read_checkpoint(source)
        _check(checkpoint, given, domain, any_grid)
        inputs, targets = tuple(field.name for field in checkpoint.inputs), checkpoint.targets
        model = checkpoint.model(trust=trust)
        kept = () if checkpoint.domain is None else (checkpoint.domain,)
        domains = domains_of(given) if not isinstance(given, Mapping) else kept if domain is None else (domain,)
    batches = _batches(given, model, batch_size) if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping):
        model.to(given.device)
    with in_evaluation(model):
        answers = [_answer(model, joined(batch, inputs, grid_of(batch, inputs, domains))) for batch in batches]
    if len({answer.shape[1:] for answer in answers}) > 1:
        raise ValueError("stream: brings samples of several grids, which cannot be answered as one tensor; give one at a time")
    made = torch.cat(answers)
    channels = [field.channels for field in targets]
    if made.shape[1] != sum(channels):
        raise ValueError(f"model: gave {made.shape[1]} channels, the targets have {sum(channels)}")
    return {field.name: _instants(part, field) for field, part in zip(targets, made.split(channels, dim=1), strict=True)}


def _instants(answer: Tensor, field: Field) -> Tensor:
    """(sample, instant, channel, *space) of a variable that changes in time."""
    return answer if field.steps is None else answer.unflatten(1, (field.steps, -1))


def _answer(model: nn.Module, given: Tensor) -> Tensor:
    check_dtype(model, given)
    return model(given).cpu()


def check_variables(checkpoint: Checkpoint, given: Sequence[Field], wanted: Sequence[Field]) -> None:
    """Raise a ValueError when `given` lacks one of the `wanted` variables of the checkpoint, or has it in other units."""
    named = {field.name: field for field in given}
    for want in wanted:
        have = named.get(want.name)
        if have is None:
            raise ValueError(
                f"variable {want.name}: the checkpoint {checkpoint.path} needs it, there are {', '.join(named)}; rename yours"
            )
        for what, got, need in (
            ("units", have.units, want.units),
            ("instants", have.steps, want.steps),
            ("channels", have.channels, want.channels),
        ):
            if got != need:
                raise ValueError(
                    f"variable {want.name}: got {what} {got!r}, the checkpoint {checkpoint.path} has {need!r}; convert it"
                )


def check_window(checkpoint: Checkpoint, window: Window | None) -> None:
    """Raise a ValueError when a stream does not give the instants that the model of a checkpoint was trained on.

    How many are asked for is left open: with none, the last windows reach to the end of each sample.
    """
    trained = checkpoint.window
    if trained is None:
        return
    if window is None or (window.steps_in, window.stride) != (trained.steps_in, trained.stride):
        raise ValueError(
            f"window: got {window}, the checkpoint {checkpoint.path} was trained with {trained}; open the stream with that one"
        )


def check_grid(checkpoint: Checkpoint, domain: Domain | None, *, any_grid: bool = False) -> None:
    """Raise a ValueError when `domain` is not the one that the checkpoint was trained on."""
    trained = checkpoint.domain
    if trained is None or domain is None or domain == trained:
        return
    sides = [[axis.sides for axis in each.axes] for each in (domain, trained)]
    if any_grid and sides[0] == sides[1]:
        return
    remedy = "resample the fields" if any_grid else "resample the fields, or pass any_grid=True if the model is made for it"
    raise ValueError(f"grid: got {domain}, the checkpoint {checkpoint.path} was trained on {trained}; {remedy}")


def _check(checkpoint: Checkpoint, given: Samples | Mapping[str, Tensor], domain: Domain | None, any_grid: bool) -> None:
    if not isinstance(given, Mapping):
        check_window(checkpoint, window_of(given))
        check_variables(checkpoint, fields_of(given, (*given.inputs, *given.targets)), checkpoint.inputs)
        check_grid(checkpoint, given.set.domain, any_grid=any_grid)
        return
    check_grid(checkpoint, domain, any_grid=any_grid)
    grid = domain or checkpoint.domain
    wanted = {field.name: field for field in checkpoint.inputs}
    for name, values in given.items():
        if grid is not None and name in wanted:
            if values.ndim >= grid.dim + 2 and tuple(values.shape[-grid.dim :]) != grid.shape:
                raise ValueError(
                    f"variable {name}: got shape {tuple(values.shape)}, the grid of {checkpoint.path} is {grid.shape}; "
                    "resample it, or give its `domain`"
                )
            if not values.isfinite().all():
                raise ValueError(f"variable {name}: holds values that are not finite; take those samples out")
    axes = {name: values.ndim for name, values in given.items() if name in wanted}
    if grid is None and len(set(axes.values())) > 1:
        raise ValueError(f"domain: {checkpoint.path} names no grid that {', '.join(axes)} could be joined on; give one")
    fields = [_given_field(name, values, wanted.get(name), grid) for name, values in given.items()]
    check_variables(checkpoint, fields, checkpoint.inputs)


def _given_field(name: str, values: Tensor, wanted: Field | None, domain: Domain | None) -> Field:
    """What is given of a variable in memory, taken to be in the units that are wanted."""
    if wanted is None:
        return Field(name)
    if domain is None:
        return Field(name, wanted.units, wanted.channels, wanted.steps)
    shape = values.shape[1 : -domain.dim] if values.ndim >= domain.dim + 2 else values.shape[1:]
    return Field(name, wanted.units, shape.numel(), shape[0] if len(shape) == 2 else None)


def _batches(given: Mapping[str, Tensor], model: nn.Module, batch_size: int) -> Iterator[Batch]:
    """Pieces of the fields, where the model is; in another precision it would not take them."""
    weight = next(model.parameters(), torch.zeros(()))
    for name, values in given.items():
        if values.dtype != weight.dtype and not weight.is_complex():
            raise ValueError(f"variable {name}: got {values.dtype}, the model has {weight.dtype}; convert one of them")
    number = len(next(iter(given.values())))
    for start in range(0, number, batch_size):
        yield {name: values[start : start + batch_size].to(weight.device) for name, values in given.items()}


__all__ = ["check_grid", "check_variables", "check_window", "predict"]
