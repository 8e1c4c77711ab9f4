"""Objects as plain containers, and back: what a checkpoint and a run folder say of a model.

A module is its import path and the arguments of its constructor, read from attributes of the same names; a frozen dataclass
its import path and fields. Nothing else that Python can hold is described, so nothing else is ever imported or run.
"""

from __future__ import annotations

import importlib
import inspect
import types
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sciml.numerics.domain import Domain

Plain = object
"""None, bool, int, float, str, Tensor, torch.dtype, and tuples, lists and dicts of them."""


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
    match parts.get("kind"):
        case "dict":
            return {key: build(item, trust) for key, item in parts["items"].items()}
        case "domain":
            return Domain.from_dict({key: value for key, value in parts.items() if key != "kind"})
        case "module":
            return _call(parts["class"], parts["arguments"], trust, "module")
        case "dataclass":
            return _call(parts["class"], parts["fields"], trust, "dataclass")
        case other:
            raise ValueError(f"description: got an object of kind {other!r}, need dict, domain, module or dataclass")


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


def import_path(thing: type | types.FunctionType) -> str:
    """`module:name`, as cards and checkpoints write it."""
    return f"{thing.__module__}:{thing.__qualname__}"


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
    module, _, qualname = path.partition(":")
    if not any(module == name or module.startswith(name + ".") for name in ("sciml", *trust)):
        package = module.split(".")[0]
        raise ValueError(f"{path}: is not part of sciml; if you trust it, name it: trust=({package!r},)")
    try:
        found: object = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as fact:
        raise ValueError(f"{path}: cannot be imported ({fact}); use the version of the code that saved it") from None
    # The second test keeps to the trusted package: `sciml.x:torch.y` is found in sciml but comes from elsewhere.
    suitable = isinstance(found, type) and import_path(found) == path
    if not suitable or not (issubclass(found, nn.Module) if kind == "module" else is_dataclass(found)):  # pyright: ignore[reportArgumentType]
        raise ValueError(f"{path}: is not a {kind} class defined there")
    return cast(type, found)


__all__ = ["Plain", "build", "describe", "import_path", "readable"]
