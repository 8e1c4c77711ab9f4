"""Objects as plain containers, and back: what a checkpoint and a run folder say of a model.

A module is its import path and the arguments of its constructor, read from attributes of the same names; a frozen dataclass
its import path and fields. Nothing else that Python can hold is described, so nothing else is ever imported or run.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from sciml.imports import import_path, imported
from sciml.numerics.domain import Domain

Plain: TypeAlias = "bool | int | float | str | Tensor | torch.dtype | Sequence[Plain] | Mapping[str, Plain] | None"
"""The sequences are tuples and lists, the mappings dicts."""


def describe(value: object, name: str = "model") -> Plain:
    """`value` as plain containers and tensors.

    Args:
        name: how messages call it.
    Raises:
        ValueError: something in it cannot be described: the message says what and where.
    """
    if value is None or isinstance(value, bool | int | float | str | torch.dtype):
        return value
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple | list):
        return type(value)(describe(item, f"{name}[{i}]") for i, item in enumerate(value))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name}: got a dict with the keys {list(value)}, a checkpoint keeps text keys only")
        return {"kind": "dict", "items": {key: describe(item, f"{name}[{key!r}]") for key, item in value.items()}}
    if isinstance(value, Domain):
        return {"kind": "domain", **value.to_dict()}
    if isinstance(value, nn.Module):
        return {"kind": "module", "class": import_path(type(value)), "arguments": _arguments(value, name)}
    if is_dataclass(value) and not isinstance(value, type) and type(value).__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        parts = {f.name: describe(getattr(value, f.name), f"{name}.{f.name}") for f in fields(value) if f.init}
        return {"kind": "dataclass", "class": import_path(type(value)), "fields": parts}
    raise ValueError(
        f"{name}: got {type(value).__name__}, which a checkpoint cannot keep; "
        "it keeps numbers, texts, tuples, tensors, Domains, frozen dataclasses and modules"
    )


def build(description: Plain, trust: tuple[str, ...] = ()) -> Any:
    """The inverse of `describe`: imports from `sciml` and from the packages or modules named in `trust`, nowhere else.

    Raises:
        ValueError: a class that is not trusted, that does not exist, or whose constructor refuses the arguments.
    """
    if isinstance(description, tuple | list):
        return type(description)(build(item, trust) for item in description)
    if not isinstance(description, dict):
        return description
    parts = cast("dict[str, Any]", description)
    match parts:
        case {"kind": "dict", "items": dict(items)}:
            return {key: build(item, trust) for key, item in items.items()}
        case {"kind": "domain", **rest}:
            return Domain.from_dict(rest)
        case {"kind": "module", "class": str(path), "arguments": dict(arguments)}:
            return _call(path, arguments, trust, "module")
        case {"kind": "dataclass", "class": str(path), "fields": dict(arguments)}:
            return _call(path, arguments, trust, "dataclass")
        case _:
            raise ValueError(
                f"description: got an object of kind {parts.get('kind')!r} with {', '.join(parts)}; "
                "need dict, domain, module or dataclass, whole"
            )


def readable(description: Plain) -> Any:
    """The description in JSON's own types, tensors by shape and checksum: for run folders and for comparing settings."""
    if isinstance(description, Tensor):
        raw = description.detach().cpu().contiguous().flatten()
        checksum = zlib.crc32(raw.view(torch.uint8).numpy().tobytes()) if raw.numel() else 0
        return f"tensor {tuple(description.shape)} {description.dtype} crc32 {checksum:08x}"
    if isinstance(description, torch.dtype):
        return str(description)
    if isinstance(description, Mapping):
        return {key: readable(value) for key, value in description.items()}
    if isinstance(description, tuple | list):
        return [readable(item) for item in description]
    return description


def _arguments(module: nn.Module, name: str) -> dict[str, Plain]:
    cls = type(module)
    arguments: dict[str, Plain] = {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise ValueError(
                f"{name}: {cls.__name__} takes *{parameter.name}, so it cannot be made again from its arguments; "
                "wrap it in a module whose constructor names each one"
            )
        if not hasattr(module, parameter.name):
            raise ValueError(
                f"{name}: {cls.__name__} keeps no attribute {parameter.name!r}; "
                "a model that is saved keeps every constructor argument under its own name"
            )
        arguments[parameter.name] = describe(getattr(module, parameter.name), f"{name}.{parameter.name}")
    return arguments


def _call(path: str, arguments: Mapping[str, Plain], trust: tuple[str, ...], kind: str) -> object:
    cls = _import(path, trust, kind)
    try:
        return cls(**{key: build(value, trust) for key, value in arguments.items()})
    except TypeError as fact:
        raise ValueError(f"{path}: its constructor does not take the arguments that were saved ({fact})") from None


def _import(path: str, trust: tuple[str, ...], kind: str) -> type:
    found = imported(path, trust=trust)
    if isinstance(found, type) and (issubclass(found, nn.Module) if kind == "module" else is_dataclass(found)):
        return found
    raise ValueError(f"{path}: is no {kind} class; take the file from somebody who saved it with sciml")


__all__ = ["Plain", "build", "describe", "readable"]
