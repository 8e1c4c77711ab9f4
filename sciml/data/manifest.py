"""The manifest of a shard: a small JSON file beside it with its size, checksum, statistics and the card it was made from.

A shard is there when its manifest is there and agrees with it in size: the manifest is written last.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

Manifest = dict[str, object]

# What the writer says of every file; who wrote it may say more.
_KEYS: dict[str, type] = {
    "complete": int,
    "crc32": int,
    "file": str,
    "first_sample": int,
    "samples": int,
    "size": int,
    "statistics": dict,
}


def manifest_path(shard: Path) -> Path:
    """The manifest that stands beside a shard."""
    return shard.with_suffix(".json")


def render(manifest: Mapping[str, object]) -> str:
    """The text of a manifest, with the checksum of everything else in it as its last key."""
    body = json.dumps(manifest, sort_keys=True, indent=1, allow_nan=False)
    return f'{body[:-2]},\n "manifest_crc32": {zlib.crc32(body.encode())}\n}}\n'


def read_manifest(path: Path) -> Manifest:
    """The manifest in the file `path`, without its own checksum.

    Raises:
        ValueError: the text was changed since it was written, or a key is missing.
        OSError: it cannot be read.
    """
    manifest: Manifest = {}
    try:
        text = path.read_text(encoding="utf-8")
        manifest = json.loads(text)
        manifest.pop("manifest_crc32")
        intact = render(manifest) == text
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise ValueError(f"{path}: the manifest is damaged (its text does not give its checksum). {remade(path)}")
    for key, kind in _KEYS.items():
        if not isinstance(manifest.get(key), kind):
            raise ValueError(f"{path}: key {key!r} is {manifest.get(key)!r}, need a {kind.__name__}. {remade(path)}")
    return manifest


def manifest_of(file: Path) -> Manifest | None:
    """The manifest beside a file, if there is one.

    Raises:
        ValueError: it is damaged.
    """
    path = manifest_path(file)
    # Another program may have put a JSON file of its own beside a file that is no shard.
    if file.suffix != ".h5" or not path.exists() or not (is_shard(file) or b'"manifest_crc32"' in path.read_bytes()):
        return None
    return read_manifest(path)


def is_shard(path: Path) -> bool:
    """Whether the name is that of a shard, which `sciml generate` can make again."""
    return path.name.startswith("shard-")


def is_done(shard: Path) -> bool:
    """Whether the shard was finished: its manifest is there, whole, and agrees with its size."""
    try:
        return read_manifest(manifest_path(shard))["size"] == shard.stat().st_size
    except (OSError, ValueError):
        return False


def file_crc32(path: Path) -> int:
    """CRC-32 of all bytes of a file."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            value = zlib.crc32(piece, value)
    return value


def remade(path: Path) -> str:
    """The remedy for a damaged shard or manifest."""
    if not is_shard(path):
        return "Copy or write the file again"
    names = f"{path.with_suffix('.h5').name} and {path.with_suffix('.json').name}"
    return f"Delete {names} and run `sciml generate CARD --out {path.parent.parent}` again: the same bytes come back"


__all__ = ["Manifest", "file_crc32", "is_done", "is_shard", "manifest_of", "manifest_path", "read_manifest", "remade", "render"]
