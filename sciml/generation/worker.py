"""One worker process of `generate`, and the calling process's side of it.

A worker is started afresh (not forked, and without importing the caller's script), reads orders as JSON lines and answers in
JSON lines. It ends at once when its input closes, so it never outlives the process that started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Literal, TypedDict


class First(TypedDict):
    """The first order: what to make, where, on which device, and beside which folder the module of the problem may lie."""

    card: dict[str, object]
    folder: str | None
    out: str
    device: str


class Order(TypedDict):
    """A shard to make, by its place in the plan."""

    shard: int


class Samples(TypedDict):
    """So many more samples are made."""

    samples: int


class Done(TypedDict):
    """The shard at this place of the plan is finished."""

    done: int


class Failed(TypedDict):
    """What stopped the worker: the kind of error, its number if it has one, its line, and where it was raised."""

    error: Literal["OSError", "ValueError"]
    errno: int | None
    message: str
    trace: str


Answer = Samples | Done | Failed

# Set before the libraries load: one thread, whatever they are.
_ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB_MAXIMUM")}
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from sciml.generation.worker import serve; serve()"


def start_ahead(workers: int) -> None:
    """Start so many processes for workers to come, so that they import their libraries while the caller imports its own.

    Those that no worker takes end with the caller.
    """
    _ahead.extend(_start() for _ in range(workers))


_ahead: list[subprocess.Popen[str]] = []


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _START, json.dumps([path or os.getcwd() for path in sys.path])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT},
        text=True,
        encoding="utf-8",
    )


class Worker:
    """A worker process, seen from the process that started it.

    Args:
        first: its first order.
        replies: where its answers are put as (worker, answer); (worker, None) when it ended.
    """

    def __init__(self, first: First, replies: SimpleQueue[tuple[Worker, Answer | None]]) -> None:
        self.shard: int | None = None
        self._process = _ahead.pop() if _ahead else _start()
        self._thread = threading.Thread(target=self._listen, args=(replies,), daemon=True)
        self._thread.start()
        self._send(first)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def order(self, shard: int) -> None:
        """Let it make a shard, by its place in the plan."""
        self.shard = shard
        self._send(Order(shard=shard))

    def fate(self) -> str:
        """How it ended, in words."""
        code = self._process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def stop(self) -> None:
        """End it now and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # an order that was not taken
                if pipe is not None:
                    pipe.close()

    def _send(self, message: First | Order) -> None:
        pipe = self._process.stdin
        with suppress(BrokenPipeError):  # it died; the listener reports it
            if pipe is not None:
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()

    def _listen(self, replies: SimpleQueue[tuple[Worker, Answer | None]]) -> None:
        for line in self._process.stdout or ():
            replies.put((self, json.loads(line)))
        replies.put((self, None))


def serve() -> None:
    """The life of a worker process: take orders until the input closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a problem prints must not mix with the answers
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_take_lines, args=(lines,), daemon=True).start()

    def answer(message: Answer) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody is there any more
            os._exit(1)

    try:
        _work(lines, answer)
    except OSError as error:
        text = error.strerror or str(error)
        answer(Failed(error="OSError", errno=error.errno, message=text, trace=traceback.format_exc()))
    except ValueError as error:
        answer(Failed(error="ValueError", errno=None, message=str(error), trace=traceback.format_exc()))
    os._exit(1)  # not by the interpreter, which would wait for the thread that reads orders


def _work(lines: SimpleQueue[str], answer: Callable[[Answer], None]) -> None:
    # Imported while the other thread already listens, so that a worker ends with its caller at this time too.
    from dataclasses import replace
    from pathlib import Path

    import torch

    from sciml.generation.card import Card
    from sciml.generation.plan import shards_of
    from sciml.generation.samples import make_shard

    torch.set_num_threads(1)
    first: First = json.loads(lines.get())
    folder = None if first["folder"] is None else Path(first["folder"])
    card = replace(Card.from_dict(first["card"], "card"), folder=folder)
    problem, plan = card.make_problem(), shards_of(card, Path(first["out"]))
    while True:
        order: Order = json.loads(lines.get())
        shard = plan[order["shard"]]
        make_shard(card, problem, shard, lambda samples: answer(Samples(samples=samples)), device=first["device"])
        answer(Done(done=order["shard"]))


def _take_lines(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


__all__ = ["Answer", "Failed", "First", "Worker", "serve", "start_ahead"]
