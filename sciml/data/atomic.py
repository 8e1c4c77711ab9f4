"""Files that appear whole or not at all: written beside their name, synced, renamed."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path


def part_of(path: Path) -> Path:
    """Where to write what will be `path`.

    A name of its own for every attempt: two processes that write one file must not meet in it, and one that was left behind
    by a killed run must not rename another's work.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def remove_parts(path: Path) -> None:
    """Remove what killed runs left of the file or folder `path`, and of the manifest beside a file."""
    for name in {path.name, path.with_suffix(".json").name}:
        for pattern in (f".{glob.escape(name)}.part", f".{glob.escape(name)}.{'[0-9a-f]' * 8}.part"):
            for stale in path.parent.glob(pattern):
                if stale.is_dir():
                    shutil.rmtree(stale, ignore_errors=True)
                else:
                    stale.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file beside its name, sync it, rename it, sync the folder.

    Raises:
        OSError: as the system gives it; what stood there before is untouched.
    """
    part = part_of(path)
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["part_of", "remove_parts", "sync_folder", "write_whole"]
