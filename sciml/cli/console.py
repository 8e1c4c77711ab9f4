"""How the commands print."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 100
"""Columns where no terminal says how many there are, as in a file or a pipe."""


def console() -> Console:
    """The output, as wide as the terminal; long lines are not broken, tables are.

    Text is printed as it is: paths and names may hold square brackets and colons.
    """
    return Console(soft_wrap=True, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)


def counted(number: int, noun: str) -> str:
    """`1 fault`, `2 faults`, `1,000 samples`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


__all__ = ["WIDTH", "console", "counted"]
