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
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue

Message = dict[str, object]

# Set before the libraries load: one thread, whatever they are.
_ENVIRONMENT = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB_MAXIMUM")}
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from sciml.generation.worker import serve; serve()"


class Worker:
    """A worker process, seen from the process that started it.

    Args:
        first: its first order, the card and the folder.
        replies: where its answers are put as (worker, message); (worker, None) when it ended.
    """

    def __init__(self, first: Mapping[str, object], replies: SimpleQueue[tuple[Worker, Message | None]]) -> None:
        self.shard: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps([path or os.getcwd() for path in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ENVIRONMENT},
            text=True,
            encoding="utf-8",
        )
        self._thread = threading.Thread(target=self._listen, args=(replies,), daemon=True)
        self._thread.start()
        self._send(first)

    @property
    def pid(self) -> int:
        return self._process.pid

    def order(self, shard: int) -> None:
        """Let it make a shard, by its place in the plan."""
        self.shard = shard
        self._send({"shard": shard})

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

    def _send(self, message: Mapping[str, object]) -> None:
        pipe = self._process.stdin
        with suppress(BrokenPipeError):  # it died; the listener reports it
            if pipe is not None:
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()

    def _listen(self, replies: SimpleQueue[tuple[Worker, Message | None]]) -> None:
        for line in self._process.stdout or ():
            replies.put((self, json.loads(line)))
        replies.put((self, None))


def serve() -> None:
    """The life of a worker process: take orders until the input closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a problem prints must not mix with the answers
    orders: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_take_orders, args=(orders,), daemon=True).start()

    def answer(message: Message) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody is there any more
            os._exit(1)

    try:
        _work(orders, answer)
    except (OSError, ValueError) as error:
        kind = "OSError" if isinstance(error, OSError) else "ValueError"
        number = error.errno if isinstance(error, OSError) else None
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        answer({"error": kind, "errno": number, "message": text, "trace": traceback.format_exc()})
    os._exit(1)  # not by the interpreter, which would wait for the thread that reads orders


def _work(orders: SimpleQueue[Message], answer: Callable[[Message], None]) -> None:
    # Imported while the other thread already listens, so that a worker ends with its caller at this time too.
    from pathlib import Path

    import torch

    from sciml.generation.card import Card
    from sciml.generation.plan import shards_of
    from sciml.generation.samples import make_shard

    torch.set_num_threads(1)
    first = orders.get()
    given, out = first["card"], Path(str(first["out"]))
    card = Card.from_dict(given if isinstance(given, dict) else {}, "card")
    problem, plan = card.make_problem(), shards_of(card, out)
    while True:
        place = orders.get()["shard"]
        make_shard(card, problem, plan[int(str(place))], lambda samples: answer({"samples": samples}))
        answer({"done": place})


def _take_orders(orders: SimpleQueue[Message]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


__all__ = ["Worker", "serve"]
