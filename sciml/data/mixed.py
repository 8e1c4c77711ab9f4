"""Several streams as one: every batch comes whole from one of them, so that each has one grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np
import torch

from sciml.data.bad_data import BadData
from sciml.data.batch import Batch
from sciml.data.order import permuted, place_in
from sciml.data.set import Set
from sciml.data.stream import Stream
from sciml.data.variables import VariableInfo
from sciml.data.window import Window
from sciml.numerics.domain import Domain


class Mixed:
    """Streams of the same variables on different grids; for training, shuffled batch by batch.

    Args:
        streams: each with its own batch size. They share device and ranks.
        seed: of the order of batches, and of samples within them.
    Raises:
        ValueError: no streams; streams whose variables differ in more than the grid, or whose windows, devices or ranks differ;
            or two on one grid.
    """

    def __init__(self, streams: Sequence[Stream], *, seed: int = 0) -> None:
        if not streams:
            raise ValueError("streams: got none, need at least one")
        self.streams = tuple(streams)
        self.seed = seed
        first = streams[0]
        for other in streams[1:]:
            if (other.inputs, other.targets) != (first.inputs, first.targets):
                raise ValueError(f"streams: {other.set.path} has other variables than {first.set.path}")
            for name in (*first.inputs, *first.targets):
                if _without_grid(other.info(name)) != _without_grid(first.info(name)):
                    raise ValueError(f"streams: variable {name} of {other.set.path} differs from that of {first.set.path}")
            if other.window != first.window:
                raise ValueError(f"streams: {other.set.path} has {other.window}, {first.set.path} has {first.window}")
            if (other.device, other.rank, other.ranks) != (first.device, first.rank, first.ranks):
                raise ValueError(f"streams: {other.set.path} is on another device or rank than {first.set.path}")
        grids = [domain.shape for domain in self.domains]
        if len(set(grids)) < len(grids):
            raise ValueError(f"streams: got grids {grids}, need each once; one stream may hold all samples of a grid")
        self._ends = np.cumsum([len(stream) for stream in streams])
        self._epoch, self._position = 0, 0

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The grids, one per stream."""
        return tuple(stream.domain for stream in self.streams)

    @property
    def set(self) -> Set:
        """Of the first stream, for names and units."""
        return self.streams[0].set

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what is given."""
        return self.streams[0].inputs

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is asked for."""
        return self.streams[0].targets

    @property
    def device(self) -> torch.device:
        """Of the batches."""
        return self.streams[0].device

    @property
    def batch_size(self) -> int:
        """The largest of the streams."""
        return max(stream.batch_size for stream in self.streams)

    @property
    def ranks(self) -> int:
        """How many processes share each batch."""
        return self.streams[0].ranks

    @property
    def window(self) -> Window | None:
        """Of all streams."""
        return self.streams[0].window

    @property
    def told(self) -> str:
        """Where the samples of each stream are kept."""
        return "; ".join(f"{stream.domain.shape}: {stream.told}" for stream in self.streams)

    @property
    def bad(self) -> BadData:
        """What was found in the batches of all streams."""
        found = BadData()
        for stream in self.streams:
            found.add(stream.bad)
        return found

    def info(self, name: str) -> VariableInfo:
        """What a batch of the first stream holds under a name."""
        return self.streams[0].info(name)

    def __len__(self) -> int:
        """Batches per epoch."""
        return int(self._ends[-1])

    def __iter__(self) -> Iterator[Batch]:
        for stream in self.streams:
            yield from stream

    def domain_of(self, batch: Batch) -> Domain:
        """The grid on which the fields of a batch lie.

        Raises:
            ValueError: none of ours.
        """
        for stream in self.streams:
            fields = [name for name in (*stream.inputs, *stream.targets) if stream.info(name).grid is not None]
            if all(tuple(batch[name].shape[-stream.domain.dim :]) == stream.domain.shape for name in fields):
                return stream.domain
        shapes = {name: tuple(values.shape) for name, values in batch.items()}
        raise ValueError(f"batch: got {shapes}, the grids are {[domain.shape for domain in self.domains]}")

    def endless(self) -> Generator[tuple[Batch, float]]:
        """Batches without end, from the state on, with their share; see `Stream.endless`.

        Batches are read when they are asked for: keep the samples in memory or on the device where that matters.
        """
        empty = 0
        while True:
            epoch, position = self._epoch, self._position
            number = int(permuted([position], len(self), seed=self.seed, epoch=epoch)[0])
            home = int(np.searchsorted(self._ends, number, side="right"))
            stream = self.streams[home]
            start = (number - int(self._ends[home - 1] if home else 0)) * stream.batch_size
            fetched = stream.training_batch(epoch, start)
            self._epoch, self._position = (epoch, position + 1) if position + 1 < len(self) else (epoch + 1, 0)
            empty = 0 if fetched is not None else empty + 1
            if fetched is not None:
                yield fetched
            elif empty >= len(self):
                raise ValueError(f"{self.set.path}: an epoch brings no sample without bad values; {self.bad}")

    def state_dict(self) -> dict[str, int | str]:
        """Where `endless` is; the position counts batches."""
        return {"epoch": self._epoch, "position": self._position, "seed": self.seed, "fingerprint": self.fingerprint}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from a state.

        Raises:
            ValueError: it is of other streams or another seed, or no state.
        """
        own = {"fingerprint": self.fingerprint, "seed": self.seed}
        self._epoch, self._position = place_in(state, own, len(self), what="got a state of mixed streams", whose="these have")

    @property
    def fingerprint(self) -> str:
        """Of all streams and their batch sizes: what a state may be loaded into."""
        text = json.dumps([(stream.fingerprint, stream.seed, stream.batch_size) for stream in self.streams])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def mixed(streams: Sequence[Stream], *, seed: int = 0) -> Mixed:
    """Several resolutions in one stream; see `Mixed`."""
    return Mixed(streams, seed=seed)


def _without_grid(info: VariableInfo) -> tuple[object, ...]:
    grid = 0 if info.grid is None else len(info.grid)
    return info.name, info.role, info.units, info.shape[0], info.steps, info.particles, grid


__all__ = ["Mixed", "mixed"]
