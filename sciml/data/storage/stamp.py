"""What tells that a file was changed: size, time of the last change, and which file it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stamp:
    """Of a file at the time it was looked at.

    Args:
        modified: nanoseconds since 1970.
    """

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From what the system says of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file now.

    Raises:
        OSError: it is not there, or may not be looked at.
    """
    return Stamp.of(path.stat())


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """That a file is still the one that was looked at.

    Raises:
        OSError: it is not, or is gone.
    """
    if not path.exists() or stamp_of(path) != stamp:
        raise OSError(f"{path}: was changed since it was opened; open the set again")


__all__ = ["Stamp", "check_unchanged", "stamp_of"]
