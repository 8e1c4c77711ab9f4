"""The workers of an existing Dask cluster as workers of `generate`: one task per shard, and nothing else is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sciml import __version__
from sciml.generation.card import Card, importable
from sciml.generation.plan import Shard, shards_of
from sciml.generation.samples import make_shard

if TYPE_CHECKING:
    import distributed

_WAIT = 10
"""Seconds for the scheduler to answer."""


def in_cluster(card: Card, out: Path, missing: Sequence[Shard], address: str, device: str, tell: Callable[[int], None]) -> None:
    """Let the cluster make these shards. A task whose worker is lost is done again by another one, up to three times.

    Args:
        address: of the scheduler.
        tell: called with the samples of every finished shard.
    Raises:
        ValueError: Dask is not installed, the cluster has no workers, one has another version of sciml, or as `make_shard`.
        OSError: no scheduler answers, workers are lost again and again, or as `make_shard`. Finished shards are kept.
    """
    distributed = _distributed()
    plan = shards_of(card, out.resolve())
    places = {shard.path.resolve(): place for place, shard in enumerate(plan)}
    with _client(distributed, address) as client, client.as_current():
        if not client.scheduler_info()["workers"]:
            raise ValueError(f"scheduler: {address} has no workers; start some with `dask worker {address}`")
        orders = [places[shard.path.resolve()] for shard in missing]
        folder = None if card.folder is None else str(card.folder)
        given = (card.to_dict(), folder, str(out.resolve()), device, __version__)
        futures = {client.submit(_make, *given, place, pure=False): place for place in orders}
        try:
            for future in distributed.as_completed(futures):
                _result(distributed, future, plan[futures[future]].path)
                tell(len(plan[futures[future]].samples))
        finally:
            client.cancel(list(futures))


def _make(card: dict[str, object], folder: str | None, out: str, device: str, version: str, place: int) -> None:
    """On a worker: make one shard of the plan."""
    if version != __version__:
        raise ValueError(f"a worker of the cluster has sciml {__version__}, this is {version}; install the same")
    # For good, as other tasks of this worker want the same: the digits of a sum may depend on it.
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    made = replace(Card.from_dict(card, "card"), folder=None if folder is None else Path(folder))
    with importable(made.folder):
        make_shard(made, made.make_problem(), shards_of(made, Path(out))[place], lambda samples: None, device=device)


def _result(distributed: Any, future: distributed.Future, path: Path) -> None:
    """Raise what went wrong as an error of our own kinds."""
    try:
        future.result()
    except distributed.KilledWorker:
        raise OSError(
            f"{path}: workers of the cluster were lost while they made it; run `sciml generate` again, finished shards are kept"
        ) from None
    except (ValueError, OSError):
        raise
    except CancelledError as error:
        raise OSError(
            f"{path}: the scheduler was lost ({error}); run `sciml generate` again, finished shards are kept"
        ) from None
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}; finished shards are kept") from error


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise ValueError("scheduler: needs Dask, which is not installed; pip install 'sciml[cluster]'") from None
    return distributed


def _client(distributed: Any, address: str) -> distributed.Client:
    try:
        return distributed.Client(address, timeout=_WAIT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise OSError(
            f"scheduler: none answers at {address} ({error}); start one with `dask scheduler` and give the address it prints"
        ) from error


__all__ = ["in_cluster"]
