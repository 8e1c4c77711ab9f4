"""What a variable is to whoever learns from it: known to problems and files alike."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["input", "target", "coefficient", "state", "parameter"]
"""`input`, `coefficient` and `parameter` are given, `target` is asked for, `state` is both in turn."""

ROLES: tuple[Role, ...] = get_args(Role)
GIVEN: tuple[Role, ...] = ("input", "coefficient", "parameter")
"""Roles of what a model is given."""

__all__ = ["GIVEN", "ROLES", "Role"]
