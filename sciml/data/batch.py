"""Batches: plain dictionaries of tensors, sample axis first, and how the variables of one become the input of an operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

Batch = dict[str, Tensor]
"""Variables by name, in the order of the set: (sample, channel, *space), (sample, time, channel, *space), ..."""

NEXT = "_next"
"""Ends the name under which a window brings what is asked for of a state."""

MASK = "_mask"
"""Ends the name of what says where the values of a variable are good."""


def joined(
    batch: Mapping[str, Tensor], names: Sequence[str], grid: Sequence[int] | None = None
) -> Shaped[Tensor, "batch channel *space"]:
    """Several variables of a batch as one tensor, channels one after the other in the order of `names`.

    Args:
        grid: points per side of the fields. With it, instants of a field are put one after the other along the channels, and
            numbers, (batch, channel) or (batch, time, channel), are spread over the grid as constant channels.
    Raises:
        ValueError: no names, a name that the batch does not have, or a variable that is no field on this grid and no number.
    """
    if not names:
        raise ValueError(f"names: got none to join, need at least one of {', '.join(batch)}")
    for name in names:
        if name not in batch:
            raise ValueError(f"variable {name}: not in the batch, which has {', '.join(batch)}")
    parts = [batch[name] if grid is None else _on_grid(name, batch[name], tuple(grid)) for name in names]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def whole(batches: Iterable[Batch]) -> Batch:
    """All batches of a stream as one on the CPU, numbers with a fraction in float64: for closed forms and `polish`.

    Raises:
        ValueError: no batch, or a variable whose samples differ in shape.
    """
    held = list(batches)
    if not held:
        raise ValueError("batches: got none, need at least one")
    return {name: _one_after_the_other(name, [batch[name] for batch in held]) for name in held[0]}


def _one_after_the_other(name: str, parts: list[Tensor]) -> Tensor:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"variable {name}: got samples of shapes {sorted(shapes)}, need all of one")
    values = torch.cat([part.cpu() for part in parts])
    return values.double() if values.is_floating_point() else values


def _on_grid(name: str, values: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(batch, channel, *grid)."""
    axes = values.ndim - len(grid)
    if axes in (2, 3) and tuple(values.shape[axes:]) == grid:
        return values if axes == 2 else values.flatten(1, 2)
    if values.ndim in (2, 3) and axes < 2:  # of three axes a line of its own could be meant, on another grid
        numbers = values.flatten(1)
        return numbers.view(*numbers.shape, *[1] * len(grid)).expand(*numbers.shape, *grid)
    raise ValueError(
        f"variable {name}: got shape {tuple(values.shape)}, need a field on {grid}, (batch, channel, *grid) or "
        "(batch, time, channel, *grid), or numbers (batch, channel)"
    )


__all__ = ["MASK", "NEXT", "Batch", "joined", "whole"]
