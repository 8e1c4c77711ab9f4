"""Checkpoints that stand alone: class, arguments, weights, grid, variables with units, metric values, code version.

The file is a `torch.save` of plain containers and tensors and is read with `weights_only=True`, so reading one runs no code;
only `load` imports, from `sciml` and from what the caller names.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

import sciml
from sciml.data.atomic import write_whole
from sciml.data.window import Window
from sciml.numerics.domain import Domain
from sciml.training.description import Plain, build, describe
from sciml.training.streams import Described, HasVariables

FORMAT = "sciml checkpoint"
VERSION = 1

ModelType = TypeVar("ModelType", bound=nn.Module)
Part = TypeVar("Part")


@dataclass(frozen=True)
class Field:
    """One input or output variable of a model.

    Args:
        units: of the values that the model takes or gives.
        channels: how many of the model's channels are this variable, all its instants together.
        steps: how many instants that are; None where it does not change in time.
    """

    name: str
    units: str = "1"
    channels: int = 1
    steps: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file says, before anything of it is imported.

    Args:
        description: class and arguments of the model, as plain containers.
        weights: its state dict, on the CPU.
        domain: the grid it was trained on; None where that was not told, or there were several.
        inputs, targets: variables in the order of the channels.
        metrics: by name, as the one who saved it measured them.
        training: the rest of the state of a run (`last.pt`), or None.
        window: how the stream that it was trained on cut samples in time; None where it did not.
        criterion: import path of what the metric `validation` is the mean of; None where the file was not written by `fit`.
    """

    path: Path
    description: Plain
    weights: Mapping[str, Tensor]
    domain: Domain | None
    inputs: tuple[Field, ...]
    targets: tuple[Field, ...]
    metrics: Mapping[str, float]
    code_version: str
    training: Mapping[str, Any] | None
    window: Window | None = None
    criterion: str | None = None

    def model(self, *, trust: Sequence[str] = ()) -> nn.Module:
        """The model, on the CPU, in evaluation mode; see `load`."""
        try:
            with torch.random.fork_rng(devices=[]):  # the initial weights, drawn in vain, must not move the caller's numbers
                model = build(self.description, tuple(trust))
            _take_dtypes(model, self.weights)
            model.load_state_dict(self.weights)
        except (ValueError, RuntimeError) as fact:
            raise ValueError(f"{self.path}: saved by sciml {self.code_version}: {_line(fact)}") from None
        return model.eval()


def fields_of(source: Described | HasVariables, names: Sequence[str]) -> tuple[Field, ...]:
    """Names, units, channels and instants of some variables, as the batches of a stream have them, or the samples of a set.

    Raises:
        ValueError: no variable of such a name.
    """
    return tuple(_field(source, name) for name in names)


def _field(source: Described | HasVariables, name: str) -> Field:
    if isinstance(source, Described):
        info, gridded = source.info(name), source.set.domain is not None
    elif name in source.variables:
        info, gridded = source.variables[name], source.domain is not None
    else:
        raise ValueError(f"variable {name}: not in the set, which has {', '.join(source.variables)}")
    # On a grid, instants are joined along the channels; without one a model sees numbers and particles as they are.
    channels = (info.steps or 1) * info.shape[0] if gridded else info.shape[-1]
    return Field(name, info.units, channels, info.steps)


def save(
    path: str | Path,
    model: nn.Module,
    *,
    domain: Domain | None,
    inputs: Sequence[Field],
    targets: Sequence[Field],
    metrics: Mapping[str, float] | None = None,
    window: Window | None = None,
) -> None:
    """Write a checkpoint: beside its name first, then renamed, so that a half-written one is never met.

    Every argument of the model's constructor must be kept as an attribute of the same name: a number, text, tuple, tensor,
    Domain, frozen dataclass of those, or module.

    Args:
        inputs, targets: in the order of the model's channels; `fields_of` a stream gives them.
        window: of the stream that it was trained on.
    Raises:
        ValueError: an argument is not kept, or is something else.
        OSError: the file cannot be written; what stood there before is untouched.
    """
    write(Path(path), content(model, domain=domain, inputs=inputs, targets=targets, metrics=metrics, window=window))


def load(path: str | Path, *, trust: Sequence[str] = (), kind: type[ModelType] = nn.Module) -> ModelType:
    """The model of a checkpoint, on the CPU, in evaluation mode, ready for fields in physical units.

    Args:
        trust: packages or modules, besides `sciml`, that classes may be imported from. Importing runs their code.
        kind: the class that is needed.
    Raises:
        OSError: the file cannot be read.
        ValueError: it is no checkpoint, cut short or damaged, written by a newer sciml, of another class than `kind`, of a
            class that is not trusted or not there, or its weights do not fit the class.
    """
    model = read_checkpoint(path).model(trust=trust)
    if not isinstance(model, kind):
        raise ValueError(f"{path}: holds a {type(model).__name__}, need a {kind.__name__}; give the checkpoint of one")
    return model


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Everything a checkpoint says; imports nothing of the model.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no checkpoint, cut short or damaged, or written by a newer sciml.
    """
    path = Path(path)
    found = _read(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{path}: is not a sciml checkpoint; give a file written by sciml's `save` or `fit`")
    version = found.get("version")
    if not isinstance(version, int):
        raise ValueError(f"{path}: got the checkpoint format {version!r}, need a whole number; take another copy")
    if version > VERSION:
        raise ValueError(f"{path}: checkpoint format {version}, this sciml knows up to {VERSION}; install a newer one")
    try:
        return Checkpoint(
            path=path,
            description=_of(dict, found, "model"),
            weights=_tensors(_of(dict, found, "weights")),
            domain=None if found["domain"] is None else Domain.from_dict(found["domain"]),
            inputs=tuple(Field(**field) for field in _of(list, found, "inputs")),
            targets=tuple(Field(**field) for field in _of(list, found, "targets")),
            metrics=_of(dict, found, "metrics"),
            code_version=_of(str, found, "code_version"),
            training=None if found["training"] is None else _of(dict, found, "training"),
            window=None if found.get("window") is None else Window(**_of(dict, found, "window")),
            criterion=None if found.get("criterion") is None else _of(str, found, "criterion"),
        )
    except KeyError as fact:
        raise ValueError(f"{path}: a sciml checkpoint without {fact}; take another copy") from None
    except (TypeError, AttributeError, ValueError) as fact:
        raise ValueError(f"{path}: a sciml checkpoint with odd content ({_line(fact)}); take another copy") from None


def _of(kind: type[Part], found: Mapping[str, Any], name: str) -> Part:
    value = found[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name}: got {type(value).__name__}, need {kind.__name__}")
    return value


def _tensors(weights: dict[str, Any]) -> dict[str, Tensor]:
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"weights: got {type(value).__name__} as {name!r}, need tensors")
    return weights


def content(
    model: nn.Module,
    *,
    domain: Domain | None,
    inputs: Sequence[Field],
    targets: Sequence[Field],
    metrics: Mapping[str, float] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Plain] | None = None,
    window: Window | None = None,
    criterion: str | None = None,
) -> dict[str, Plain]:
    """What the file of a checkpoint holds; `weights` stands for the model's own where given."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": describe(model),
        "weights": weights_of(model) if weights is None else dict(weights),
        "domain": None if domain is None else domain.to_dict(),
        "inputs": [vars(field) for field in inputs],
        "targets": [vars(field) for field in targets],
        "metrics": dict(metrics or {}),
        "code_version": sciml.__version__,
        "training": training,
        "window": None if window is None else dict(vars(window)),
        "criterion": criterion,
    }


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict, tensors only.

    Raises:
        ValueError: a module keeps something else in it.
    """
    weights = dict(model.state_dict())
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"model: its state dict holds {type(value).__name__} as {name!r}, a checkpoint keeps tensors only")
    return weights


def write(path: Path, state: Mapping[str, Plain]) -> None:
    """`torch.save` to a file that appears whole or not at all."""
    buffer = io.BytesIO()  # whole in memory first: torch turns errors of the disk into others
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """A file that appears whole or not at all, and its folder where there is none.

    Raises:
        OSError: naming the file and the remedy; what stood there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as fact:
        raise OSError(
            fact.errno,
            f"{fact.strerror} while writing {len(data)} bytes; make room or use another folder, what was there is unharmed",
            str(path),
        ) from None


def _take_dtypes(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """A model trained in float64 comes back in float64, though its constructor makes the default type."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name in weights:
            tensor.data = tensor.data.to(weights[name].dtype)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:  # torch itself does not look at the checksums
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{path}: damaged, {damaged} fails its checksum; take another copy")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
        except (zipfile.BadZipFile, EOFError, NotImplementedError):
            size = os.fstat(file.fileno()).st_size
            raise ValueError(f"{path}: {size} bytes that are no checkpoint, or one cut short; take another copy") from None
        except (pickle.UnpicklingError, RuntimeError) as fact:
            raise ValueError(f"{path}: holds more than plain tensors, or is damaged ({_line(fact)})") from None


def _line(fact: Exception) -> str:
    """The first lines of a message as one."""
    return " ".join(cast(str, str(fact)).split())[:300]


__all__ = ["Checkpoint", "Field", "fields_of", "load", "read_checkpoint", "save", "weights_of"]
