"""From input fields to output fields, in physical units, with the grid and the units checked against the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.stream import Batch
from sciml.numerics.domain import Domain
from sciml.training.checkpoint import Checkpoint, Field, fields_of, read_checkpoint
from sciml.training.models import check_dtype, in_evaluation
from sciml.training.objectives import joined
from sciml.training.streams import Samples


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

    Units are physical on both sides: what scaling there is, is part of the model. The samples come in stored order.

    Args:
        source: a checkpoint, against which variables, units and grid are checked; or a model, which knows none of them and
            takes the names from the stream.
        given: a stream; or fields in memory, (sample, channel, *space), by name and in the units of the checkpoint.
        domain: of fields in memory; the checkpoint's if not given.
        any_grid: let the model run on another grid than the checkpoint's. Good for operators that were made for it; the
            number of axes and the conditions on the sides must still agree.
        batch_size: of fields in memory.
        trust: see `load`.
    Raises:
        ValueError: a variable that is missing, in other units or with other channels than the checkpoint's, another grid,
            values that are not finite, or a checkpoint that cannot be loaded.
        OSError: the checkpoint cannot be read.
    """
    if isinstance(source, nn.Module):
        if isinstance(given, Mapping):
            raise ValueError("source: a model does not know the names of fields; call it with a tensor, or give a checkpoint")
        inputs, targets, model = given.inputs, fields_of(given.set, given.targets), source
    else:
        checkpoint = read_checkpoint(source)
        _check(checkpoint, given, domain, any_grid)
        inputs, targets = tuple(field.name for field in checkpoint.inputs), checkpoint.targets
        model = checkpoint.model(trust=trust)
    batches = _batches(given, model, batch_size) if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping):
        model.to(given.device)
    with in_evaluation(model):
        made = torch.cat([_answer(model, joined(batch, inputs)) for batch in batches])
    channels = [field.channels for field in targets]
    if made.shape[1] != sum(channels):
        raise ValueError(f"model: gave {made.shape[1]} channels, the targets have {sum(channels)}")
    return {field.name: part for field, part in zip(targets, made.split(channels, dim=1), strict=True)}


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
        for what, got, need in (("units", have.units, want.units), ("channels", have.channels, want.channels)):
            if got != need:
                raise ValueError(
                    f"variable {want.name}: got {what} {got!r}, the checkpoint {checkpoint.path} has {need!r}; convert it"
                )


def check_grid(checkpoint: Checkpoint, domain: Domain | None, *, any_grid: bool = False) -> None:
    """Raise a ValueError when `domain` is not the one that the checkpoint was trained on."""
    trained = checkpoint.domain
    if trained is None or domain is None or domain == trained:
        return
    sides = [[axis.sides for axis in each.axes] for each in (domain, trained)]
    if any_grid and sides[0] == sides[1]:
        return
    remedy = "resample the fields" if any_grid else "resample the fields, or allow any grid if the model is made for it"
    raise ValueError(f"grid: got {domain}, the checkpoint {checkpoint.path} was trained on {trained}; {remedy}")


def _check(checkpoint: Checkpoint, given: Samples | Mapping[str, Tensor], domain: Domain | None, any_grid: bool) -> None:
    if not isinstance(given, Mapping):
        check_variables(checkpoint, fields_of(given.set, tuple(given.set.variables)), checkpoint.inputs)
        check_grid(checkpoint, given.set.domain, any_grid=any_grid)
        return
    units = {field.name: field.units for field in checkpoint.inputs}
    fields = [Field(name, units.get(name, "1"), values.shape[1]) for name, values in given.items()]
    check_variables(checkpoint, fields, checkpoint.inputs)
    check_grid(checkpoint, domain, any_grid=any_grid)
    grid = domain or checkpoint.domain
    for name, values in given.items():
        if grid is not None and name in units:
            if tuple(values.shape[2:]) != grid.shape:
                raise ValueError(
                    f"variable {name}: got shape {tuple(values.shape)}, the grid of {checkpoint.path} is {grid.shape}; "
                    "resample it, or give its `domain`"
                )
            if not values.isfinite().all():
                raise ValueError(f"variable {name}: holds values that are not finite; take those samples out")


def _batches(given: Mapping[str, Tensor], model: nn.Module, batch_size: int) -> Iterator[Batch]:
    """Pieces of the fields, where the model is; in another precision it would not take them."""
    weight = next(model.parameters(), torch.zeros(()))
    for name, values in given.items():
        if values.dtype != weight.dtype and not weight.is_complex():
            raise ValueError(f"variable {name}: got {values.dtype}, the model has {weight.dtype}; convert one of them")
    number = len(next(iter(given.values())))
    for start in range(0, number, batch_size):
        yield {name: values[start : start + batch_size].to(weight.device) for name, values in given.items()}


__all__ = ["check_grid", "check_variables", "predict"]
