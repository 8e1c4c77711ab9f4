"""Make the files of a card: `generate(card, out)`. Stopped at any moment and started again, it ends with the same bytes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import torch

from sciml.generation.card import Card, find_card, read_card
from sciml.generation.cluster import in_cluster
from sciml.generation.plan import Shard, check_same_card, shards_of
from sciml.generation.samples import make_samples, make_shard, one_thread, variables_of
from sciml.generation.worker import Answer, Failed, First, Worker
from sciml.problems.problem import Problem

_PATIENCE = 20.0
"""Seconds that a dry run may take to tell the time."""

Progress = Callable[[int, int], None]
"""Called with the samples made so far and the samples to make, in this call."""


@dataclass(frozen=True)
class Report:
    """What `generate` did, or with `dry_run` would do.

    Args:
        card: with the changes asked for.
        planned: the files of this job.
        skipped: those that were there already.
        written: those that were made now; empty in a dry run.
        bytes: of the fields in all planned files.
        seconds: that it took; in a dry run an estimate of the time for all that is missing, on one worker.
    """

    card: Card
    out: Path
    planned: tuple[Shard, ...]
    skipped: tuple[Shard, ...]
    written: tuple[Shard, ...]
    bytes: int
    seconds: float


def generate(
    card: Card,
    out: str | Path,
    *,
    samples: int | Mapping[str, int] | None = None,
    resolution: int | Sequence[int] | None = None,
    seed: int | None = None,
    precision: str | None = None,
    workers: int = 1,
    job: tuple[int, int] = (0, 1),
    split: str | None = None,
    device: str = "cpu",
    scheduler: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Make the shards of a card that are not there yet, as `out/SPLIT/shard-00000.h5`, each with its manifest.

    The bytes are the same for any number of workers, any split into jobs, and however often it was stopped. It computes on one
    thread per worker, in the precision of the card; with one worker, in this process.

    Args:
        samples, resolution, seed, precision: make another card of this one first (`Card.changed`).
        workers: processes at work.
        job: (i, N) takes every N-th shard from the i-th, i from 0, so that N calls on N machines share the work.
        split: make this split alone; jobs share its shards.
        device: where answers are computed, such as "cuda"; they agree with those of the CPU to rounding.
        scheduler: address of the scheduler of a Dask cluster whose workers make the shards, such as "tcp://host:8786". They
            must see the folder `out` under the same path and have the same version of sciml.
        dry_run: write nothing and make one sample, to tell sizes and time.
        progress: called in this process after every block of samples.
    Raises:
        ValueError: the folder holds shards of another card or code version (nothing is touched), the card does not work, or a
            sample is not solved to tolerance or not finite; no such device; workers and a scheduler at once.
        OSError: no space, a worker was killed, or no scheduler answers. Finished shards are kept in each case.
    """
    out = Path(out).expanduser()
    card = card.changed(samples=samples, resolution=resolution, seed=seed, precision=precision)
    _check_work(card, workers, job, split)
    _check_device(device)
    if scheduler is not None and workers > 1:
        raise ValueError(f"workers: got {workers} beside a scheduler, which has workers of its own")
    check_same_card(card, out)
    planned = tuple(s for s in shards_of(card, out) if split in (None, s.split))[job[0] :: job[1]]
    done = [shard.done for shard in planned]
    skipped = tuple(shard for shard, there in zip(planned, done, strict=True) if there)
    missing = tuple(shard for shard, there in zip(planned, done, strict=True) if not there)
    problem = card.make_problem()
    start = time.perf_counter()
    if dry_run:
        size = sum(v.bytes for v in variables_of(card, problem)) * sum(len(s.samples) for s in planned)
        seconds = _seconds_per_sample(card, problem, device) * sum(len(s.samples) for s in missing)
        return Report(card, out, planned, skipped, (), size, seconds)
    tell = _Told(progress, sum(len(shard.samples) for shard in missing))
    if scheduler is not None:
        in_cluster(card, out, missing, scheduler, device, tell)
    elif workers > 1 and len(missing) > 1:
        _in_workers(card, out, missing, min(workers, len(missing)), device, tell)
    else:
        with one_thread():
            for shard in missing:
                make_shard(card, problem, shard, tell, device=device)
    size = sum(shard.path.stat().st_size for shard in planned)
    return Report(card, out, planned, skipped, missing, size, time.perf_counter() - start)


def _check_work(card: Card, workers: int, job: tuple[int, int], split: str | None) -> None:
    if workers < 1:
        raise ValueError(f"workers: got {workers}, need at least 1")
    if not 0 <= job[0] < job[1]:
        raise ValueError(f"job: got {job[0]}/{job[1]}, need i/N with 0 <= i < N")
    if split is not None and split not in card.samples:
        raise ValueError(f"split: got {split!r}, the card has {', '.join(card.samples)}")


class _Told:
    """Adds up samples and passes the sum on."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total

    def __call__(self, samples: int) -> None:
        self.done += samples
        if self.progress is not None:
            self.progress(self.done, self.total)


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ValueError(f"device: got {device!r}, need one of torch, such as 'cpu' or 'cuda'") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: got {device!r}, torch finds no GPU here; leave it out to compute on the CPU")


def _seconds_per_sample(card: Card, problem: Problem, device: str) -> float:
    """By making some: sample 0, once more where that is fast, as the first time makes tables; and then a block, if that is."""

    def seconds(samples: int) -> float:
        start = time.perf_counter()
        make_samples(card, problem, range(samples), device=device)
        return time.perf_counter() - start

    count = min(card.storage.block, sum(card.samples.values()))
    with one_thread():
        alone = seconds(1)
        if alone < _PATIENCE / 10:
            alone = seconds(1)
        return alone if count == 1 or alone * count > _PATIENCE else seconds(count) / count


def _in_workers(
    card: Card, out: Path, missing: Sequence[Shard], workers: int, device: str, tell: Callable[[int], None]
) -> None:
    plan, wanted = shards_of(card, out), set(missing)
    todo, left = deque(place for place, shard in enumerate(plan) if shard in wanted), len(missing)
    replies: SimpleQueue[tuple[Worker, Answer | None]] = SimpleQueue()
    folder = None if card.folder is None else str(card.folder)
    first = First(card=card.to_dict(), folder=folder, out=str(out), device=device)
    crew: list[Worker] = []
    try:
        for _ in range(workers):
            crew.append(Worker(first, replies))
            crew[-1].order(todo.popleft())
        while left:
            worker, answer = replies.get()
            if answer is None or "error" in answer:
                raise _failure(worker, answer, plan)
            if "samples" in answer:
                tell(answer["samples"])
            else:
                left -= 1
                if todo:
                    worker.order(todo.popleft())
    finally:
        for worker in crew:
            worker.stop()


def _failure(worker: Worker, answer: Failed | None, plan: Sequence[Shard]) -> Exception:
    if answer is None:
        path = plan[worker.shard].path if worker.shard is not None else "the first shard"
        return OSError(
            f"{path}: the worker process (pid {worker.pid}) that made it {worker.fate()}; run `sciml generate` again, "
            "finished shards are kept"
        )
    text, number = answer["message"], answer["errno"]
    error = ValueError(text)
    if answer["error"] == "OSError":
        error = OSError(text) if number is None else OSError(number, text)
    error.add_note(answer["trace"])
    return error


def made(card: str, folder: Path, *, resolution: int | None = None, split: str | None = None) -> Path:
    """The folder of a set that comes with the package, made on all cores where it is not there yet.

    Args:
        card: its name.
        resolution, split: as of `generate`: another grid, and one split alone.
    Raises:
        ValueError, OSError: as `generate`.
    """
    print(f"{folder}: generating what is not there yet")
    generate(read_card(find_card(card)), folder, resolution=resolution, split=split, workers=os.cpu_count() or 1)
    return folder


__all__ = ["Progress", "Report", "generate", "made"]
