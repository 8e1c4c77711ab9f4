"""The folder of a run: config.json, last.pt with the whole state, best.pt chosen by validation."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

import sciml
from sciml.data.atomic import remove_parts
from sciml.imports import import_path
from sciml.training.checkpoint import content, fields_of, read_checkpoint, weights_of, write, write_bytes
from sciml.training.description import Plain, describe, readable
from sciml.training.ranks import Ranks
from sciml.training.state import Captured
from sciml.training.streams import TrainingStream, domains_of, window_of

_EMPTY = CellType()


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
        # Those of the first process, which hands its weights to all the others.
        weights = self._ranks.gather(_initial(self._model))[0]
        self._settings = json.loads(json.dumps(settings | {"weights": weights}))
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
            ValueError: it is damaged, or of another model.
        """
        if self.path is None:
            return None
        best = self.path / "best.pt"
        remedy = "put back the one of this run, or start anew in another folder"
        try:
            weights = read_checkpoint(best).weights
        except FileNotFoundError as fact:
            raise FileNotFoundError(fact.errno, f"the run in last.pt goes on from it; {remedy}", str(best)) from None
        shapes, needed = ({name: tuple(w.shape) for name, w in each.items()} for each in (weights, weights_of(self._model)))
        difference = _first_difference(shapes, needed)
        if difference is not None:
            raise ValueError(f"{best}: is of another model: {difference}; {remedy}")
        return weights

    def _write(
        self, name: str, weights: Mapping[str, Tensor], metrics: Mapping[str, float], training: Mapping[str, Plain] | None
    ) -> None:
        if self.path is not None and self._ranks.first:
            stream, domains = self._stream, domains_of(self._stream)
            whole = content(
                self._model,
                domain=domains[0] if len(domains) == 1 else None,
                inputs=fields_of(stream, stream.inputs),
                targets=fields_of(stream, stream.targets),
                metrics=metrics,
                weights=weights,
                training=training,
                window=window_of(stream),
                criterion=self._criterion(),
            )
            write(self.path / name, whole)

    def _criterion(self) -> str | None:
        """The import path of what validation errors are means of."""
        part = self._settings.get("criterion") or self._settings.get("objective")
        return part.get("class") if isinstance(part, dict) else None if part is None else str(part)


def settings_of(model: nn.Module, stream: TrainingStream, parts: Mapping[str, object]) -> dict[str, Any]:
    """What decides the course of a run, in JSON's types.

    Raises:
        ValueError: the model cannot be kept in a checkpoint.
    """
    dtype = getattr(stream, "dtype", None)  # a stream of one's own need not tell
    data = {"batch_size": stream.batch_size, "stream": _identity(stream) | {"dtype": readable(dtype)}}
    return {"model": readable(describe(model)), **data, **{name: _loosely(part) for name, part in parts.items()}}


def _loosely(part: object) -> Any:
    """A description where there is one, else where the thing was defined and what it does: a lambda is an objective, too."""
    if isinstance(part, FunctionType):
        return f"{import_path(part)}, crc32 of its code {zlib.crc32(repr(_function(part)).encode()):08x}"
    if hasattr(part, "state_dict") and not isinstance(part, nn.Module):
        return _identity(part)
    try:
        return readable(describe(part))
    except ValueError:
        return import_path(part if hasattr(part, "__qualname__") else type(part))  # pyright: ignore[reportArgumentType]


def _function(function: FunctionType) -> list[Any]:
    """Code, defaults and what it closes over, as far as that is constant."""
    held = [cell.cell_contents for cell in function.__closure__ or () if cell != _EMPTY]
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [_code(function.__code__), [_constant(value) for value in given + held]]


def _code(code: CodeType) -> list[Any]:
    """What it does, without file and line numbers."""
    constants: list[Any] = []
    for value in code.co_consts:
        if isinstance(value, CodeType):
            constants.append(_code(value))
        else:  # a set has another order in every process
            constants.append(sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value))
    return [code.co_code, code.co_names, code.co_varnames, constants]


def _constant(value: object) -> Any:
    """The value where it cannot change as the run goes; of all else, such as a list of losses, the type."""
    frozen = is_dataclass(value) and not isinstance(value, type)
    if isinstance(value, FunctionType):  # without what it holds, which may be itself
        return _code(value.__code__)
    if value is None or frozen or isinstance(value, bool | int | float | str | tuple | torch.dtype):
        return _loosely(value)
    return import_path(type(value))


def _initial(model: nn.Module) -> dict[str, Any]:
    """Which weights a run begins with."""
    checksum = 0
    weights = weights_of(model)
    for name in sorted(weights):
        checksum = zlib.crc32(f"{name} {readable(weights[name])}".encode(), checksum)
    dtypes = sorted({str(weight.dtype) for weight in weights.values()})
    return {"dtypes": ", ".join(dtypes), "crc32 of the initial ones": f"{checksum:08x}"}


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
