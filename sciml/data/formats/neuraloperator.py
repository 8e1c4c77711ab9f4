"""The `.pt` files of neuraloperator: a dict of tensors `x` (given) and `y` (asked for), saved by torch.save.

There is no channel axis unless a tensor has four axes or more: three axes are (sample, *space), a plane without channels, never
(sample, channel, x). Nothing is said of the domain, and values may be bool (two phases) and lie in memory in any order.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from sciml.data.variables import Description, VariableInfo

# How torch.save began before it wrote zip files.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def recognises(path: Path) -> bool:
    """Whether the file was written by torch.save, or says so by its name and is damaged."""
    return _is_legacy(path) or _is_zipped(path) or path.suffix == ".pt"


def describe(path: Path) -> Description:
    """Shapes and types of `x` and `y`. The file gives no units and no domain.

    All of it is read once to verify its checksums, which torch does not; files from before torch 1.6 have none.

    Raises:
        ValueError: not a dict with `x` and `y` alone, or they differ in samples or grid.
        OSError: it cannot be read, as when it is truncated, or its bytes were changed.
    """
    identity = _verified(path)
    x, y = (_with_channel(path, name, tensor) for name, tensor in _loaded(path).items())
    if x.shape[0] != y.shape[0] or x.shape[2:] != y.shape[2:]:
        raise ValueError(
            f"{path}: x is {tuple(x.shape)} and y {tuple(y.shape)}, need (sample, channel, *space) alike but for channels"
        )
    variables = {
        "x": VariableInfo("x", "input", "1", "input function", tuple(x.shape[1:]), x.dtype),
        "y": VariableInfo("y", "target", "1", "output function", tuple(y.shape[1:]), y.dtype),
    }
    return Description(variables, len(x), None, {}, identity)


def read(path: Path, name: str, rows: npt.NDArray[np.int64]) -> Shaped[Tensor, "row channel *space"]:
    """The rows of `x` or `y` in the order given, in the stored dtype, with a channel axis."""
    return _with_channel(path, name, _loaded(path)[name])[torch.from_numpy(rows)].contiguous()


def _verified(path: Path) -> str | None:
    """What the checksums in the file give together, once they are found right; None where there are none."""
    if not _is_zipped(path):
        return None
    damage, records = "", []
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
            damage = "" if record is None else f"record {record} fails its checksum"
            records = [(item.filename.partition("/")[2], item.CRC, item.file_size) for item in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        damage = str(error)
    if damage:
        raise OSError(f"{path}: its bytes were changed, {damage}; copy it again")
    return f"zip {hashlib.blake2b(json.dumps(records).encode(), digest_size=16).hexdigest()}"


def _loaded(path: Path) -> dict[str, Tensor]:
    if not (_is_zipped(path) or _is_legacy(path)):
        raise OSError(
            f"{path}: cannot be read as a file of torch.save, part is missing; it is truncated or damaged, copy it again"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zipped(path))
    except (FileNotFoundError, PermissionError):
        raise
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        if isinstance(error, pickle.UnpicklingError):
            raise ValueError(f"{path}: holds more than tensors, need a dict of tensors x and y") from error
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"{path}: cannot be read as a file of torch.save, {why}; it is truncated or damaged, copy it again"
        ) from error
    if isinstance(content, dict) and str(content.get("format")).endswith("checkpoint"):
        raise ValueError(f"{path}: is a checkpoint of a model, not a set; give a set, or a file with tensors x and y")
    keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or set(content) != {"x", "y"} or not all(torch.is_tensor(v) for v in content.values()):
        raise ValueError(f"{path}: holds {keys}, need a dict of two tensors, x and y")
    return {"x": content["x"].detach(), "y": content["y"].detach()}


def _is_legacy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LEGACY)) == _LEGACY


def _is_zipped(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") or name == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def _with_channel(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.ndim < 2 or 0 in tensor.shape:
        raise ValueError(f"{path}: {name} has shape {tuple(tensor.shape)}, need (sample, *space) or (sample, channel, *space)")
    return tensor if tensor.ndim >= 4 else tensor.unsqueeze(1)
