"""Normalisation kept with the model: fields in and out in their own units, the model inside sees numbers of order one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.data.batch import MASK, Batch, joined
from sciml.data.mixed import Mixed
from sciml.data.stream import Stream
from sciml.data.variables import VariableInfo


class Normaliser(nn.Module):
    """Per channel, `encode` takes (x - shift) / scale and `decode` goes back.

    Args:
        shift: one per channel, in the unit of the channel.
        scale: one per channel, positive.
    Raises:
        ValueError: lengths differ, a value is not finite, a scale not positive.
    """

    def __init__(self, shift: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.shift = tuple(float(value) for value in shift)
        self.scale = tuple(float(value) for value in scale)
        if len(self.shift) != len(self.scale) or not self.shift:
            raise ValueError(f"scale: got {len(self.scale)} for {len(self.shift)} of shift, need one of each per channel")
        if not all(map(math.isfinite, self.shift)):
            raise ValueError(f"shift: got {self.shift}, need finite numbers")
        if not all(0 < value < math.inf for value in self.scale):
            raise ValueError(f"scale: got {self.scale}, need finite positive numbers")
        # Not in the weights: they are made again from the arguments, with all their digits.
        self.register_buffer("_shift", torch.tensor(self.shift, dtype=torch.float64), persistent=False)
        self.register_buffer("_scale", torch.tensor(self.scale, dtype=torch.float64), persistent=False)

    @classmethod
    def of(cls, stream: Stream | Mixed, names: Sequence[str], *, centre: bool = True) -> Normaliser:
        """Mean and standard deviation per channel over all samples and points of a stream, in float64.

        Several variables are put together along channels in the order of `names`, as `joined` does it: each instant of a
        window has its own channels, and numbers are channels, too. A channel that is constant keeps scale 1. Values that the
        stream masks do not count. Series without a grid, (batch, time, component), have a channel per component, whatever the
        instants; `encode` takes their instants as a batch, (batch, component).

        Args:
            centre: with False the shift is 0 and the scale the root mean square, so that zero stays zero.
        Raises:
            ValueError: a variable that the set does not have; particles, whose channels come last; series together with what is
                none; whole samples of different length on a grid, or a channel without any good value.
        """
        for name in names:
            _check_channels(stream.info(name), stream)
        series = _is_series(names, stream)
        count, mean, spread = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        for batch in stream:
            channels, good = _components(batch, names) if series else _channels(batch, names, _grid(batch, stream))
            size = good.sum(1).double()
            here = torch.where(good, channels, 0).sum(1) / size.clamp(min=1)
            # Means and squared distances of two sets of numbers joined (Chan, Golub & LeVeque 1983): no digits cancel.
            gap, total = here - mean, count + size
            part = size / total.clamp(min=1)
            spread = spread + torch.where(good, channels - here[:, None], 0).square().sum(1) + gap.square() * count * part
            mean = mean + gap * part
            count = total
        if not bool((count > 0).all()):
            raise ValueError(f"{stream.set.path}: got no value of {', '.join(names)} for some channel, need at least one")
        shift = mean if centre else torch.zeros_like(mean)
        scale = (spread / count if centre else spread / count + mean.square()).sqrt()
        # What rounding leaves of a constant is no scale.
        tiny = torch.finfo(torch.float64).eps * 8 * mean.abs()
        return cls(shift.tolist(), torch.where(scale > tiny, scale, 1.0).tolist())

    def encode(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """To order one."""
        shift, scale = self._like(x)
        return (x - shift) / scale

    def decode(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Back to physical units."""
        shift, scale = self._like(x)
        return x * scale + shift

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """The same as `encode`, so that it may stand in a chain of modules."""
        return self.encode(x)

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim < 2 or x.shape[1] != len(self.shift):
            raise ValueError(f"x: got shape {tuple(x.shape)}, need (batch, channel, *space) with {len(self.shift)} channels")
        shape = (-1, *[1] * (x.ndim - 2))
        shift, scale = self.get_buffer("_shift"), self.get_buffer("_scale")
        return shift.to(x.dtype).view(shape), scale.to(x.dtype).view(shape)


class Normalised(nn.Module):
    """A model between an encoding and a decoding: physical units in and out.

    Args:
        model: sees and gives numbers of order one.
        inputs, targets: of the channels it is given and gives.
    """

    def __init__(self, model: nn.Module, inputs: Normaliser, targets: Normaliser) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.targets = targets

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch out_channel *space"]:
        """Encode, apply the model, decode."""
        return self.targets.decode(self.model(self.inputs.encode(x)))


def _check_channels(info: VariableInfo, stream: Stream | Mixed) -> None:
    if info.particles:
        raise ValueError(
            f"{stream.set.path}: variable {info.name} has no grid and its channels come last; "
            "a Normaliser takes (batch, channel, *space)"
        )


def _is_series(names: Sequence[str], stream: Stream | Mixed) -> bool:
    """Whether these are (batch, time, component), without a grid.

    Raises:
        ValueError: some are and some are not.
    """
    kinds = {stream.set.domain is None and stream.info(name).steps is not None for name in names}
    if len(kinds) > 1:
        raise ValueError(f"{stream.set.path}: of {', '.join(names)} some are series and some are not; normalise them apart")
    return kinds == {True}


def _components(batch: Batch, names: Sequence[str]) -> tuple[Float[Tensor, "channel value"], Bool[Tensor, "channel value"]]:
    """Of series: the values of all samples and instants together, and which of them are good and no padding."""
    values = torch.cat([batch[name] for name in names], -1).to("cpu", torch.float64)
    good = torch.ones_like(values, dtype=torch.bool)
    if f"{names[0]}{MASK}" in batch:
        good = torch.cat([batch[f"{name}{MASK}"] for name in names], -1).cpu()
    padded = batch.get("mask")
    if padded is not None and padded.dtype == torch.bool:
        good = good & padded.cpu().unsqueeze(-1)
    return values.movedim(-1, 0).flatten(1), good.movedim(-1, 0).flatten(1)


def _grid(batch: Batch, stream: Stream | Mixed) -> tuple[int, ...] | None:
    if isinstance(stream, Mixed):
        return stream.domain_of(batch).shape
    if stream.window is None and "mask" in batch and "mask" not in stream.set.variables:
        raise ValueError(f"{stream.set.path}: samples differ in length; open the stream with a window")
    return None if stream.set.domain is None else stream.set.domain.shape


def _channels(
    batch: Batch, names: Sequence[str], grid: tuple[int, ...] | None
) -> tuple[Float[Tensor, "channel value"], Bool[Tensor, "channel value"]]:
    """The values of all samples and points together, and which of them are good."""
    values = joined(batch, names, grid).to("cpu", torch.float64)
    masks = [f"{name}{MASK}" for name in names]
    # A mask is there for every variable or none.
    good = joined(batch, masks, grid).cpu() if masks[0] in batch else torch.ones_like(values, dtype=torch.bool)
    return values.movedim(1, 0).flatten(1), good.movedim(1, 0).flatten(1)


__all__ = ["Normalised", "Normaliser"]
