"""The `.pt` files of neuraloperator: a dict of tensors `x` (given) and `y` (asked for), saved by torch.save.

There is no channel axis unless a tensor has four axes or more: three axes are (sample, *space), a plane without channels, never
(sample, channel, x). Only where `x` is (sample, x) and `y` (sample, time, x) on as many points, `y` changes in time. Nothing is
said of the domain, and values may be bool (two phases) and lie in memory in any order. Numbers beside `x` and `y`, one for all
samples or one for each, are parameters.

Tensors that fill their part of an uncompressed file are read by position; others come from torch, and stay in memory.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sciml.data.formats.archives import begins_as_archive, members_of, names_in, verified
from sciml.data.formats.axes import Stored, constant, pair_described, stored
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside
from sciml.data.variables import Description, Given, VariableInfo, numpy_type, space_names
from sciml.numerics.roles import Role

# How torch.save began before it wrote zip files.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_WORDS = {"x": "input function", "y": "output function"}
# Bytes of a value, by what torch calls the storage.
_WIDTHS = {
    f"{name}Storage": width
    for width, names in ((1, "Bool Byte Char"), (2, "Half Short"), (4, "Float Int"), (8, "Double Long ComplexFloat"))
    for name in names.split()
} | {"ComplexDoubleStorage": 16}
_ROLES: dict[str, Role] = {"x": "input", "y": "target"}


def recognises(file: StoredFile) -> bool:
    """Whether the file was written by torch.save, or says so by its name and is damaged."""
    return file.head.startswith(_LEGACY) or _is_zipped(file.path) or (file.path.suffix == ".pt" and not file.is_hdf5)


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Shapes, types and places of `x` and `y`, and the numbers beside them. The file gives no units and no domain.

    All of it is read once to verify its checksums, which torch does not; files from before torch 1.6 have none.

    Raises:
        ValueError: not a dict with `x` and `y`, or they differ in samples or grid.
        OSError: it cannot be read, as when it is truncated, or its bytes were changed.
    """
    path = file.path
    zipped = _is_zipped(path)
    identity = verified(path) if zipped else None
    content = _loaded(path, mapped=zipped)
    tensors: dict[str, Tensor] = {name: content[name] for name in "xy"}
    notes = ["the file does not say on which grid its fields lie; give `domain` where that matters"]
    axes = _axes(path, tensors, notes)
    places = _places(path) if zipped else {}
    found: dict[str, Stored] = {}
    for name, role in _ROLES.items():
        array, order = _stored_array(path, name, tensors[name], places.get(name))
        as_stored = tuple(axes[name][i] for i in order)
        found[name] = stored(file, name, [array], as_stored, role, long_name=_WORDS[name])
    samples = len(tensors["x"])
    numbers = _numbers(file, content, samples, notes)
    return pair_described(found, numbers, samples, identity=identity, notes=notes)


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of `x` or `y` that cannot be read by position; the tensors of the last files stay in memory.

    Raises:
        ValueError: no such tensor, or the box leaves it.
        OSError: it cannot be read.
    """
    if array not in ("x", "y"):
        raise ValueError(f"{path}: no array {array!r}, there are x and y")
    with _kept.use(path) as content:
        values = content[array]
        check_inside(f"{path}: array {array}", tuple(values.shape), box)
        return np.ascontiguousarray(values.numpy()[box.slices])


def _axes(path: Path, tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, tuple[str, ...]]:
    x, y = tensors["x"].shape, tensors["y"].shape
    for name, shape in (("x", x), ("y", y)):
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"{path}: {name} has shape {tuple(shape)}, need (sample, *space) or (sample, channel, *space)")
    if len(x) == 2 and len(y) == 3 and x[0] == y[0] and x[1] == y[2]:
        notes.append(f"x is {tuple(x)} and y {tuple(y)}; the second axis of y is taken as time")
        return {"x": ("sample", "x"), "y": ("sample", "time", "x")}
    lead = {name: ("sample", "channel") if t.ndim >= 4 else ("sample",) for name, t in tensors.items()}
    if x[0] != y[0] or x[len(lead["x"]) :] != y[len(lead["y"]) :]:
        raise ValueError(
            f"{path}: x is {_with_channel(x)} and y {_with_channel(y)}, need (sample, channel, *space) alike but for channels"
        )
    return {name: (*axes, *space_names(tensors[name].ndim - len(axes))) for name, axes in lead.items()}


def _with_channel(shape: torch.Size) -> tuple[int, ...]:
    return tuple(shape) if len(shape) >= 4 else (shape[0], 1, *shape[1:])


def _numbers(
    file: StoredFile, content: Mapping[Any, Any], samples: int, notes: list[str]
) -> dict[str, tuple[VariableInfo, Given]]:
    """What stands beside `x` and `y`, where it is one number, or one for each sample."""
    found = {}
    for key, value in content.items():
        if key in ("x", "y"):
            continue
        numbers = value.detach() if torch.is_tensor(value) else value
        if isinstance(numbers, bool | int | float):
            numbers = torch.tensor(numbers, dtype=torch.float64 if isinstance(numbers, float) else None)
        fits = torch.is_tensor(numbers) and _has_numpy_type(numbers) and numbers.numel() in (1, samples)
        if not fits or not isinstance(key, str) or (numbers.numel() > 1 and numbers.shape[0] != samples):
            shape = f" {tuple(value.shape)}" if torch.is_tensor(value) else ""
            notes.append(f"left out: {key!s}{shape}, neither one number nor one for each of {samples} samples")
            continue
        found[key] = constant(file, key, numbers.numpy().reshape(-1, 1))
    return found


def _stored_array(path: Path, name: str, tensor: Tensor, place: _Place | None) -> tuple[StoredArray, tuple[int, ...]]:
    """The tensor as it lies in the file, and which of its axes those of the stored array are."""
    where = f"{path}: variable {name}"
    if not _has_numpy_type(tensor):
        raise ValueError(f"{where} has values of type {str(tensor.dtype).removeprefix('torch.')}, which NumPy does not have")
    dtype, shape, axes = numpy_type(tensor.dtype), tuple(tensor.shape), tuple(range(tensor.ndim))
    if place is None or place.shape != shape or place.stride != tensor.stride():
        return StoredArray(name, shape, dtype, Elsewhere("not saved as plain values of a zip file")), axes
    order = tuple(sorted(axes, key=lambda axis: (-place.stride[axis], axis)))
    dense, expected = True, 1
    for axis in reversed(order):
        dense &= shape[axis] == 1 or place.stride[axis] == expected
        expected *= shape[axis]
    if not dense:
        return StoredArray(name, shape, dtype, Elsewhere("a part of a larger tensor")), axes
    return StoredArray(name, tuple(shape[axis] for axis in order), dtype, Contiguous(place.offset)), order


def _has_numpy_type(tensor: Tensor) -> bool:
    try:
        return numpy_type(tensor.dtype).kind in "fiubc" and tensor.layout == torch.strided
    except TypeError:
        return False


def _loaded(path: Path, *, mapped: bool) -> dict[Any, Any]:
    try:
        if not (mapped or _is_legacy(path)):
            raise EOFError("part is missing")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (FileNotFoundError, PermissionError):
        raise
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: holds more than tensors, need a dict of tensors x and y") from error
    except Exception as error:  # a damaged file takes torch through any of its own mistakes
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"{path}: cannot be read as a file of torch.save, {why}; it is truncated or damaged, copy it again"
        ) from error
    if isinstance(content, dict) and str(content.get("format")).endswith("checkpoint"):
        raise ValueError(f"{path}: is a checkpoint of a model, not a set; give a set, or a file with tensors x and y")
    keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(torch.is_tensor(content.get(name)) for name in "xy"):
        raise ValueError(f"{path}: holds {keys}, need a dict of two tensors, x and y")
    return content | {name: content[name].detach().resolve_conj().resolve_neg() for name in "xy"}


_kept = Kept(lambda path, _: _loaded_whole(path), most=2)


def _loaded_whole(path: Path) -> dict[str, Tensor]:
    # Not mapped: a file that is cut while it is mapped would end the process.
    zipped = _is_zipped(path)
    content = _loaded(path, mapped=zipped)
    return {name: content[name].clone() for name in "xy"}


def _is_legacy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LEGACY)) == _LEGACY


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        if not begins_as_archive(file.read(4)):
            return False
    return any(name.endswith("/data.pkl") or name == "data.pkl" for name in names_in(path))


# Where the tensors lie, which torch does not tell.


@dataclass(frozen=True)
class _Place:
    """A tensor in the file: byte of its first value, shape, and distance of neighbours along each axis in values."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Storage:
    key: str
    width: int


@dataclass(frozen=True)
class _Frame:
    """A tensor without its values; `changed` where these are the conjugate or the negative of what is stored."""

    storage: _Storage
    first: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool = False
    hooks: object = None
    changed: object = None


def _places(path: Path) -> dict[str, _Place]:
    """Of the tensors of the dict, as far as they can be found; torch has the last word on what the file holds."""
    members = members_of(path)
    home = next(name for name in members if name.endswith("data.pkl")).removesuffix("data.pkl")
    with zipfile.ZipFile(path) as archive:
        if f"{home}byteorder" in members and archive.read(f"{home}byteorder") != b"little":
            return {}
        try:
            with archive.open(f"{home}data.pkl") as file:
                content = _Places(file).load()
        except Exception:  # it holds more than plain tensors: torch reads them
            return {}
    places = {}
    for name, tensor in content.items() if isinstance(content, dict) else ():
        member = members.get(f"{home}data/{tensor.storage.key}") if isinstance(tensor, _Frame) else None
        if member is not None and member.offset is not None and not tensor.changed:
            offset = member.offset + tensor.first * tensor.storage.width
            places[name] = _Place(offset, tuple(tensor.shape), tuple(tensor.stride))
    return places


class _Places(pickle.Unpickler):
    """Reads the frame of a dict of tensors, and calls nothing but what is defined here."""

    def find_class(self, module: str, name: str, /) -> object:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Frame
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _WIDTHS:
            return _WIDTHS[name]
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: tuple[object, ...]) -> _Storage:
        _, width, key, *_ = pid
        if not isinstance(width, int):
            raise pickle.UnpicklingError(f"storage of {width!r}")
        return _Storage(str(key), width)


__all__ = ["describe", "read", "recognises", "splits"]
