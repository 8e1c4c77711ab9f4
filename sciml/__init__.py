"""Operator learning and physics in PyTorch, organised around function-space problems.

The verbs stand here, such as `sciml.stream`, `sciml.fit`, `sciml.evaluate`; everything else is imported from its own module.
Importing this package imports nothing else until a verb is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sciml.data.set import open_set
    from sciml.data.stream import stream
    from sciml.generation.check import check
    from sciml.generation.generate import generate
    from sciml.training.checkpoint import load, save
    from sciml.training.evaluate import evaluate
    from sciml.training.fit import fit
    from sciml.training.predict import predict

__version__ = "0.1.0"

_HOMES = {
    "check": "sciml.generation.check",
    "evaluate": "sciml.training.evaluate",
    "fit": "sciml.training.fit",
    "generate": "sciml.generation.generate",
    "load": "sciml.training.checkpoint",
    "open_set": "sciml.data.set",
    "predict": "sciml.training.predict",
    "save": "sciml.training.checkpoint",
    "stream": "sciml.data.stream",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sciml' has no attribute {name!r}; its verbs are {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)


__all__ = ["__version__", "check", "evaluate", "fit", "generate", "load", "open_set", "predict", "save", "stream"]
