"""Things by their import path `module:name`, as cards and checkpoints write them, and from trusted modules alone."""

from __future__ import annotations

import importlib
import types
from collections.abc import Sequence


def import_path(thing: type | types.FunctionType) -> str:
    """`module:name` of a class or function."""
    return f"{thing.__module__}:{thing.__qualname__}"


def imported(path: str, *, trust: Sequence[str] | None = (), home: str = "sciml") -> object:
    """What an import path names. To import is to run code, so a path from a file that anybody may have written needs trust.

    Args:
        trust: modules that it may be defined in or below, besides `home`. None trusts all of them: for a path of one's own.
        home: the part of `sciml` that is trusted always.
    Raises:
        ValueError: it is not trusted, is part of the command line, or cannot be imported.
    """
    module, _, name = path.partition(":")
    if not _within(module, home, trust):
        package = module.split(".")[0]
        raise ValueError(f"{path!r} is not part of {home} and not trusted; if you trust it, name {package!r} in `trust`")
    if _within(module, "sciml.cli", ()):  # it acts on the arguments of the process, and no card or checkpoint is made of it
        raise ValueError(f"{path!r} is part of the command line, which nothing is imported from; name what it stands for")
    try:
        found: object = importlib.import_module(module)
        for attribute in name.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as fact:
        raise ValueError(f"cannot import {path!r} ({fact}); use the version of the code that it was written with") from None
    # A trusted module imports others, whose classes and functions are not meant.
    where = str(getattr(found, "__module__", "")) or "no module"
    if not _within(where, home, trust):
        raise ValueError(f"{path!r} is not defined in a trusted module but in {where}; name the one that defines it")
    return found


def _within(module: str, home: str, trust: Sequence[str] | None) -> bool:
    return trust is None or any(module == name or module.startswith(f"{name}.") for name in (home, *trust))


__all__ = ["import_path", "imported"]
