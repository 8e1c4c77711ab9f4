"""What a run tells while it goes: log.csv, log.jsonl, and a progress bar on a terminal or plain lines elsewhere."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = ("step", "loss", "validation", "learning_rate", "seconds")

Record = dict[str, float | None]
"""One line of the log: a value for each of `COLUMNS`, None where there is none."""


class Log:
    """The log of one run; a context manager. Raises an OSError that names the file when a line cannot be written.

    Lines are complete on disk when `line` returns. `position` goes into the checkpoint that belongs to them and back into
    the constructor when the run goes on: what was written after that checkpoint is cut off, so no line is there twice.

    Args:
        folder: of log.csv and log.jsonl; None writes no file.
        steps: of the whole run.
        position: of an earlier log that goes on, or None for a new one.
        silent: neither files nor lines, for all processes but the first.
    """

    def __init__(self, folder: Path | None, steps: int, position: Mapping[str, int] | None, silent: bool) -> None:
        self.steps = steps
        self.history: list[Record] = []
        self._files: dict[str, io.FileIO] = {}
        self._console = Console(stderr=True, quiet=silent)
        self._bar: Progress | None = None
        if folder is not None and position is not None:
            self.history = _records(folder / "log.jsonl", position["log.jsonl"])
        if folder is not None and not silent:
            for name in ("log.csv", "log.jsonl"):
                self._files[name] = _opened(folder / name, 0 if position is None else position[name])
            if self._files["log.csv"].tell() == 0:
                self._append("log.csv", ",".join(COLUMNS))

    def line(self, record: Record) -> None:
        """One line, on disk and for the eye; keys are `COLUMNS`."""
        self.history.append(record)
        self._append("log.csv", ",".join("" if record[name] is None else f"{record[name]}" for name in COLUMNS))
        self._append("log.jsonl", json.dumps(record))
        if self._bar is None:
            self._console.print(self._words(record), highlight=False, soft_wrap=True)
        else:
            self._bar.update(self._bar.task_ids[0], completed=int(record["step"] or 0), words=self._words(record))

    def event(self, step: int, text: str) -> None:
        """Something out of the ordinary, in words."""
        self._append("log.jsonl", json.dumps({"step": step, "event": text}))
        self._console.print(f"step {step}: {text}", highlight=False, soft_wrap=True, markup=False)

    def progress(self, step: int) -> None:
        """Move the bar, if there is one."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step)

    def position(self) -> dict[str, int]:
        """Where the files end; empty without files."""
        return {name: file.tell() for name, file in self._files.items()}

    def __enter__(self) -> Log:
        if self._console.is_terminal and not self._console.quiet:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[words]}"))
            self._bar = Progress(*columns, console=self._console)
            done = int(self.history[-1]["step"] or 0) if self.history else 0
            self._bar.add_task("fit", total=self.steps, completed=done, words="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        for file in self._files.values():
            file.close()

    def _append(self, name: str, text: str) -> None:
        if name in self._files:
            file, data = self._files[name], text.encode() + b"\n"
            end = file.tell()
            try:
                written = file.write(data)
                if written < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError as fact:
                with contextlib.suppress(OSError):
                    file.seek(file.truncate(end))
                remedy = f"{fact.strerror} while writing a line; make room and start again"
                raise OSError(fact.errno, remedy, str(file.name)) from None

    def _words(self, record: Record) -> str:
        words = [] if self._bar else [f"step {record['step']:>{len(str(self.steps))}}/{self.steps}"]
        words.append(f"loss {record['loss']:.4e}")
        if record["validation"] is not None:
            words.append(f"validation {record['validation']:.4e}")
        return "  ".join([*words, f"rate {record['learning_rate']:.2e}", f"{record['seconds']:.0f} s"])


def _opened(path: Path, position: int) -> io.FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab", buffering=0)  # a buffer would be lost with a kill, and raise a second time on a full disk
    file.truncate(min(position, file.tell()))
    file.seek(0, os.SEEK_END)
    return file


def _records(path: Path, position: int) -> list[Record]:
    if not path.exists():
        return []
    lines = path.read_bytes()[:position].decode().splitlines()
    return [record for record in map(json.loads, lines) if "event" not in record]


__all__ = ["COLUMNS", "Log", "Record"]
