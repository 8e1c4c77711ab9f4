"""Which set a command means by a path."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sciml.data.set import splits_of

TRAINING = "train"
"""The split that stands for a set."""


def preferred(names: Collection[str]) -> str:
    """The split that is described where only one is: that of training, or the first."""
    return TRAINING if TRAINING in names else next(iter(names))


def chosen_split(path: Path, split: str | None) -> tuple[str | None, str]:
    """The split of a folder of splits that a command takes, and a line that says so where it was not named.

    Raises:
        ValueError: there are several, none is chosen and none is called train.
    """
    names = [] if split is not None else splits_of(path.expanduser())
    if len(names) > 1 and TRAINING not in names:
        raise ValueError(_which(path, names))
    if not names:
        return split, ""
    taken = preferred(names)
    others = [name for name in names if name != taken]
    return taken, f"split {taken}" + (f"; there are also {', '.join(others)}, choose with --split" if others else "")


def check_chosen(path: Path, split: str | None) -> None:
    """Raise a ValueError where a folder holds splits and none of them is chosen."""
    names = [] if split is not None else splits_of(path.expanduser())
    if names:
        raise ValueError(_which(path, names))


def _which(path: Path, names: list[str]) -> str:
    such = "test" if "test" in names else names[0]
    return f"{path}: holds the splits {', '.join(names)}; choose one, such as --split {such}"


__all__ = ["TRAINING", "check_chosen", "chosen_split", "preferred"]
