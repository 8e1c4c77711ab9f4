"""The folder of a run: config.json, last.pt with the whole state, best.pt chosen by validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sciml
from sciml.data.atomic import remove_parts
from sciml.imports import import_path
from sciml.training.checkpoint import content, fields_of, read_checkpoint, write, write_bytes
from sciml.training.description import Plain, describe, readable
from sciml.training.ranks import Ranks
from sciml.training.state import Captured
from sciml.training.streams import TrainingStream


class RunFolder:
    """Reads and writes the files of one run. All processes of a run read, the first one writes.

    Args:
        path: of the folder; with None nothing is read or written.
    """

    def __init__(self, path: Path | None, model: nn.Module, stream: TrainingStream, ranks: Ranks) -> None:
        self.path = path
        self.saved: Captured | None = None
        self.log_position: dict[str, int] | None = None
        self._model, self._stream, self._ranks = model, stream, ranks
        self._settings: dict[str, Any] = {}

    def claim(self, settings: dict[str, Any]) -> None:
        """Find the state of an earlier start in `saved`, or begin a new run; without a path, neither.

        Raises:
            ValueError: the folder holds a run with other settings.
        """
        if self.path is None:
            return
        self._settings = json.loads(json.dumps(settings))
        last = self.path / "last.pt"
        if last.exists():
            training = read_checkpoint(last).training
            if training is None:
                raise ValueError(f"{last}: holds a model without the state of its run; use another folder")
            difference = _first_difference(json.loads(training["settings"]), self._settings)
            if difference is not None:
                raise ValueError(f"{last}: {difference}; ask for the same to go on with it, or use another folder")
            self.saved = training["state"]
            self.log_position = training["log"]
        # Until all have told what they see, nobody writes.
        seen = self._ranks.gather(None if self.saved is None else self.saved["progress"])
        if any(one != seen[0] for one in seen):
            raise ValueError(f"{last}: the processes do not all see the same file; use a folder that they share")
        if self._ranks.first:
            for name in ("config.json", "last.pt", "best.pt"):
                remove_parts(self.path / name)
        if self.saved is None and self._ranks.first:
            about = {"code_version": sciml.__version__, "torch_version": str(torch.__version__)}
            write_bytes(self.path / "config.json", json.dumps(self._settings | about, indent=2).encode() + b"\n")

    def save_last(self, weights: Mapping[str, Tensor], state: Captured, log_position: Mapping[str, int]) -> None:
        """Write last.pt, which a later start goes on from.

        Args:
            weights: those that the model is to be used with, the average where there is one.
            state: of the run.
            log_position: where the files of the log end.
        Raises:
            OSError: it cannot be written.
        """
        training = {"settings": json.dumps(self._settings), "state": state, "log": dict(log_position)}
        self._write("last.pt", weights, {}, training)

    def save_best(self, weights: Mapping[str, Tensor], metrics: Mapping[str, float]) -> None:
        """Write best.pt: the weights of least validation error so far, and what was measured of them.

        Raises:
            OSError: it cannot be written.
        """
        self._write("best.pt", weights, metrics, None)

    def best_weights(self) -> Mapping[str, Tensor] | None:
        """What best.pt holds; None without a folder.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged.
        """
        return None if self.path is None else read_checkpoint(self.path / "best.pt").weights

    def _write(
        self, name: str, weights: Mapping[str, Tensor], metrics: Mapping[str, float], training: Mapping[str, Plain] | None
    ) -> None:
        if self.path is not None and self._ranks.first:
            source = self._stream.set
            whole = content(
                self._model,
                domain=source.domain,
                inputs=fields_of(source, self._stream.inputs),
                targets=fields_of(source, self._stream.targets),
                metrics=metrics,
                weights=weights,
                training=training,
            )
            write(self.path / name, whole)


def settings_of(model: nn.Module, stream: TrainingStream, parts: Mapping[str, object]) -> dict[str, Any]:
    """What decides the course of a run, in JSON's types.

    Raises:
        ValueError: the model cannot be kept in a checkpoint.
    """
    data = {"batch_size": stream.batch_size, "stream": _identity(stream)}
    return {"model": readable(describe(model)), **data, **{name: _loosely(part) for name, part in parts.items()}}


def _loosely(part: object) -> Any:
    """A description where there is one, else where the thing was defined: a lambda is an objective, too."""
    if hasattr(part, "state_dict") and not isinstance(part, nn.Module):
        return _identity(part)
    try:
        return readable(describe(part))
    except ValueError:
        return import_path(part if hasattr(part, "__qualname__") else type(part))  # pyright: ignore[reportArgumentType]


def _identity(stream: Any) -> dict[str, Any]:
    """Of the state of a stream, what does not move."""
    return {key: value for key, value in stream.state_dict().items() if key not in ("epoch", "position")}


def _first_difference(saved: Any, asked: Any, name: str = "") -> str | None:
    if isinstance(saved, dict) and isinstance(asked, dict):
        for key in saved | asked:
            difference = _first_difference(saved.get(key), asked.get(key), f"{name}.{key}" if name else key)
            if difference is not None:
                return difference
        return None
    return None if saved == asked else f"was made with {name} = {saved!r}, asked for is {asked!r}"


__all__ = ["RunFolder", "settings_of"]
