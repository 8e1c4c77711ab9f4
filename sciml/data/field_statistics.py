"""Statistics of a set per variable and channel: of its values, and of what changes between neighbouring instants.

One pass in blocks, by threads; memory holds one block per thread. The blocks are joined in their order, so that the digits do
not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.atomic import write_whole
from sciml.data.blocks import Block, blocks
from sciml.data.buffers import cores
from sciml.data.set import Set

Numbers = npt.NDArray[np.float64]

KEYS = ("mean", "std", "rms", "mean_delta", "std_delta", "rms_delta")
"""Keys of `stats.yaml`, the file of The Well."""

# Values taken to float64 at a time, so that they stay in the cache of the processor.
_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Moments:
    """Of some numbers per channel, each an array (channel,).

    Args:
        count: of finite numbers.
        mean: of them.
        spread: sum of their squared distances from the mean.
        least, greatest: of them.
        missing: how many were not finite; they count nowhere else.
    """

    count: npt.NDArray[np.int64]
    mean: Numbers
    spread: Numbers
    least: Numbers
    greatest: Numbers
    missing: npt.NDArray[np.int64]

    @classmethod
    def none(cls, channels: int) -> Moments:
        """Of no numbers."""
        zero, zeros, ends = np.zeros(channels, np.int64), np.zeros(channels), np.full(channels, np.inf)
        return cls(zero, zeros, zeros, ends, -ends, zero)

    @classmethod
    def of(cls, values: npt.NDArray[np.generic]) -> Moments:
        """Of numbers (row, channel, point).

        Raises:
            ValueError: they are complex.
        """
        if values.dtype.kind == "c":
            raise ValueError(f"statistics: got values of type {values.dtype}, need real numbers")
        total = cls.none(values.shape[1])
        width = max(_AT_ONCE // max(values.shape[1] * values.shape[2], 1), 1)
        for start in range(0, len(values), width):
            for channel_wise in _narrow(values[start : start + width]):
                total = total.joined(_of_few(channel_wise))
        return total

    def joined(self, other: Moments) -> Moments:
        """Of both together (Chan, Golub & LeVeque 1983): no digits cancel."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        gap = other.mean - self.mean
        with np.errstate(over="ignore", invalid="ignore"):  # `ChannelStatistics` says what overflows
            spread = self.spread + other.spread + np.square(gap) * (self.count * share)
        return Moments(
            count,
            self.mean + gap * share,
            spread,
            np.minimum(self.least, other.least),
            np.maximum(self.greatest, other.greatest),
            self.missing + other.missing,
        )


_Both = tuple[Moments, Moments | None]
"""Of values and of increments."""


@dataclass(frozen=True)
class ChannelStatistics:
    """Of one variable, each a number per channel; NaN where there is nothing to count.

    Args:
        mean, std, rms: of all finite values; `std` divides by their number.
        least, greatest: of them.
        mean_delta, std_delta, rms_delta: of the differences between neighbouring instants, not divided by the time between
            them; None where the variable does not change in time.
        missing: how many values are not finite.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rms: tuple[float, ...]
    least: tuple[float, ...]
    greatest: tuple[float, ...]
    missing: tuple[int, ...]
    mean_delta: tuple[float, ...] | None = None
    std_delta: tuple[float, ...] | None = None
    rms_delta: tuple[float, ...] | None = None

    def shift_and_scale(self, *, centre: bool = True) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What a `Normaliser` takes: mean and standard deviation, or 0 and the root mean square without `centre`.

        A channel that is constant has scale 1.
        """
        shift = self.mean if centre else (0.0,) * len(self.mean)
        spread = self.std if centre else self.rms
        # What rounding leaves of a constant is no scale.
        tiny = [8 * np.finfo(np.float64).eps * abs(mean) for mean in self.mean]
        return shift, tuple(s if s > t else 1.0 for s, t in zip(spread, tiny, strict=True))


def field_statistics(
    source: Set,
    *,
    workers: int | None = None,
    block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, ChannelStatistics]:
    """Per variable, over all samples, instants, points and particles.

    Args:
        workers: threads; as many as there are cores if not given, at most 8.
        block: bytes read at a time by each, as `blocks`.
        progress: called with the bytes done and to do.
    Raises:
        ValueError: values are complex, or their squares are beyond float64.
        OSError: a file cannot be read.
    """
    workers = workers or min(cores(), 8)
    rows = range(len(source))
    work = [one for name in source.variables for one in blocks(source, name, rows, most=block, overlap=1)]
    sizes = [_bytes(source, one) for one in work]
    found: dict[str, _Both] = {}
    done = 0
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        try:
            for one, size, moments in zip(work, sizes, pool.map(lambda one: _of_block(source, one), work), strict=True):
                found[one.name] = _joined(found.get(one.name), moments)
                done += size
                if progress is not None:
                    progress(done, sum(sizes))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {name: _channel_statistics(f"{source.path}: variable {name}", *moments) for name, moments in found.items()}


def render_yaml(statistics: Mapping[str, ChannelStatistics], source: Set) -> str:
    """The text of `stats.yaml`: by key and field a number, a list for a vector, a list of lists for a tensor.

    Variables of files of The Well have the names and shapes that they have there.

    Raises:
        ValueError: a number is not finite.
    """
    import yaml

    out: dict[str, dict[str, object]] = {key: {} for key in KEYS}
    for name, found in statistics.items():
        if source.variables[name].grid is None:  # The Well has none for numbers
            continue
        for key in KEYS:
            numbers = getattr(found, key)
            if numbers is None:
                continue
            if not all(map(math.isfinite, numbers)):
                raise ValueError(f"{source.path}: {key} of variable {name} is {numbers}, need finite numbers for stats.yaml")
            begin = 0
            for field, shape in _fields(source, name, len(numbers)):
                count = math.prod(shape)
                out[key][field] = np.reshape(numbers[begin : begin + count], shape).tolist()
                begin += count
    return yaml.safe_dump(out, sort_keys=True)


def write_yaml(path: Path, statistics: Mapping[str, ChannelStatistics], source: Set) -> None:
    """Write `stats.yaml`, whole or not at all.

    Raises:
        ValueError: a number is not finite.
        OSError: it cannot be written.
    """
    write_whole(path, render_yaml(statistics, source).encode())


def _fields(source: Set, name: str, channels: int) -> list[tuple[str, tuple[int, ...]]]:
    """Under which names The Well has the channels of a variable, and in which shape: (), (D,) or (D, D)."""
    described = source.parts[0].file.description
    fields: list[tuple[str, tuple[int, ...]]] = []
    for part in described.sources[name]:
        group, _, field = getattr(part, "arrays", ("",))[0].partition("/")
        dim = 0 if source.domain is None else source.domain.dim
        if group not in ("t0_fields", "t1_fields", "t2_fields"):
            return [(name, () if channels == 1 else (channels,))]
        fields.append((field, (dim,) * int(group[1])))
    return fields


def _of_block(source: Set, block: Block) -> _Both:
    """Of the values of a block, without the instant that repeats one of the block before, and of its increments."""
    values = block.read(source)
    info = source.variables[block.name]
    if info.particles:
        values = np.swapaxes(values, -1, -2)
    if block.count is None:
        return Moments.of(values.reshape(*values.shape[:2], -1)), None
    fresh = values[:, block.repeated :]
    own = Moments.of(fresh.reshape(-1, values.shape[2], math.prod(values.shape[3:])))
    steps = Moments.none(values.shape[2])
    for row in values.reshape(*values.shape[:3], -1):
        width = max(_AT_ONCE // max(row[0].size, 1), 1)
        for start in range(0, len(row) - 1, width):
            some = row[start : start + width + 1].astype(np.float64)
            steps = steps.joined(Moments.of(np.diff(some, axis=0)))
    return own, steps


def _joined(one: _Both | None, other: _Both) -> _Both:
    if one is None:
        return other
    deltas = None if one[1] is None or other[1] is None else one[1].joined(other[1])
    return one[0].joined(other[0]), deltas


def _of_few(values: npt.NDArray[np.generic]) -> Moments:
    """Of numbers (row, channel, point) that are few."""
    numbers = values.astype(np.float64)
    channels = numbers.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = numbers.mean(axis=(0, 2))
        if np.isfinite(mean).all():  # then so are the numbers
            gap = numbers - mean[:, None]
            count = np.full(channels, numbers.shape[0] * numbers.shape[2])
            least, greatest = numbers.min(axis=(0, 2)), numbers.max(axis=(0, 2))
            return Moments(count, mean, np.square(gap).sum(axis=(0, 2)), least, greatest, np.zeros(channels, np.int64))
        there = np.isfinite(numbers)
        count = there.sum(axis=(0, 2))
        mean = np.where(there, numbers, 0.0).sum(axis=(0, 2)) / np.maximum(count, 1)
        gap = np.where(there, numbers - mean[:, None], 0.0)
        least = np.where(there, numbers, np.inf).min(axis=(0, 2))
        greatest = np.where(there, numbers, -np.inf).max(axis=(0, 2))
        missing = numbers.shape[0] * numbers.shape[2] - count
        return Moments(count, mean, np.square(gap).sum(axis=(0, 2)), least, greatest, missing)


def _narrow(values: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    """Along the points in parts that are few."""
    width = max(_AT_ONCE // max(values.shape[0] * values.shape[1], 1), 1)
    return [values[:, :, start : start + width] for start in range(0, values.shape[2], width)]


def _channel_statistics(where: str, values: Moments, deltas: Moments | None) -> ChannelStatistics:
    def numbers(of: Moments) -> tuple[tuple[float, ...], ...]:
        if not np.isfinite(of.spread).all() or not np.isfinite(of.mean).all():
            raise ValueError(
                f"{where} has values of {of.least.min():g} to {of.greatest.max():g}, whose squares are beyond float64"
            )
        nothing = np.where(of.count > 0, 0.0, np.nan)
        variance = of.spread / np.maximum(of.count, 1)
        rms = np.sqrt(variance + np.square(of.mean))
        return tuple(tuple((one + nothing).tolist()) for one in (of.mean, np.sqrt(variance), rms))

    mean, std, rms = numbers(values)
    nothing = np.where(values.count > 0, 0.0, np.nan)
    with np.errstate(invalid="ignore"):
        least, greatest = (tuple((one + nothing).tolist()) for one in (values.least, values.greatest))
    missing = tuple(values.missing.tolist())
    if deltas is None or not deltas.count.any():  # one instant
        return ChannelStatistics(mean, std, rms, least, greatest, missing)
    return ChannelStatistics(mean, std, rms, least, greatest, missing, *numbers(deltas))


def _bytes(source: Set, block: Block) -> int:
    info = source.variables[block.name]
    return len(block.rows) * (block.count or 1) * math.prod(info.shape) * info.dtype.itemsize


__all__ = ["KEYS", "ChannelStatistics", "Moments", "field_statistics", "render_yaml", "write_yaml"]
