"""The manifest of a shard: a small JSON file beside it with its size, checksums, statistics and the card it was made from.

A shard is there when its manifest is there and agrees with it in size: the manifest is written last. Besides the checksum of
the whole file, `crc32`, it holds those of its blocks, so that damage has a place, and where the arrays lie, so that the place
has a name: what HDF5 would make of a damaged file need not be asked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from sciml.data.checksums import BLOCK, block_crc32s, file_crc32, joined_crc32

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


def checksums_of(file: Path) -> Manifest:
    """What the manifest says of the bytes of a file: `size`, `crc32` of the whole, and `blocks` with the CRC-32 of each.

    Raises:
        OSError: the file cannot be read.
    """
    size, blocks = file.stat().st_size, list(block_crc32s(file))
    return {"blocks": {"bytes": BLOCK, "crc32": blocks}, "crc32": joined_crc32(blocks, size), "size": size}


def first_bad_blocks(file: Path, manifest: Mapping[str, object], most: int = 64) -> list[int]:
    """Numbers of the blocks whose bytes are not those that were written, from the front, at most `most` of them.

    A manifest from before blocks were listed knows one block, the whole file.

    Raises:
        ValueError: the checksums of the manifest are not those of a file of this size.
        OSError: the file cannot be read.
    """
    found: list[int] = []
    block, listed = blocks_of(manifest)
    if not listed:
        return [] if file_crc32(file) == manifest["crc32"] else [0]
    for number, (there, written) in enumerate(zip_longest(block_crc32s(file, block), listed)):
        if there != written:
            found.append(number)
            if len(found) == most:
                break
    return found


def blocks_of(manifest: Mapping[str, object]) -> tuple[int, list[int]]:
    """Bytes of a block, and the CRC-32 of each; none where a manifest does not list them.

    Raises:
        ValueError: the list contradicts the size or the checksum of the whole.
    """
    listed = manifest.get("blocks")
    if listed is None:
        return BLOCK, []
    block, checksums = (listed.get("bytes"), listed.get("crc32")) if isinstance(listed, dict) else (None, None)
    whole, size = int(str(manifest["crc32"])), int(str(manifest["size"]))
    numbers = [number for number in checksums if isinstance(number, int)] if isinstance(checksums, list) else None
    if not isinstance(block, int) or block < 1 or numbers is None or numbers != checksums:
        raise ValueError(
            f"key 'blocks' of the manifest is {str(listed)[:60]}, need `bytes` and a list `crc32` of whole numbers"
        )
    if len(numbers) != -(-size // block) or joined_crc32(numbers, size, block) != whole:
        raise ValueError("the manifest contradicts itself: the checksums of the blocks do not give that of the whole")
    return block, numbers


def remade(path: Path) -> str:
    """The remedy for a damaged shard or manifest."""
    if not is_shard(path):
        return "Copy or write the file again"
    names = f"{path.with_suffix('.h5').name} and {path.with_suffix('.json').name}"
    if not _is_from_card(path):
        return f"Copy {names} again, or {again(path)}"
    return f"Delete {names} and {again(path)}: the same bytes come back"


def again(shard: Path) -> str:
    """What brings shards back that are not there."""
    if _is_from_card(shard):
        return f"run `sciml generate CARD --out {shard.parent.parent}` again"
    return "convert or write the set again, for it was not made from a card"


def _is_from_card(shard: Path) -> bool:
    """Whether a manifest that may be damaged names a card: its own, or where that is missing another one in the folder.

    With no manifest at all it is taken to be so: a run of `sciml generate` that was stopped leaves that.
    """
    for path in (manifest_path(shard), *sorted(shard.parent.glob("shard-*.json"))):
        try:
            return b'"card"' in path.read_bytes()
        except OSError:
            continue
    return True


__all__ = [
    "Manifest",
    "again",
    "blocks_of",
    "checksums_of",
    "file_crc32",
    "first_bad_blocks",
    "is_done",
    "is_shard",
    "manifest_of",
    "manifest_path",
    "read_manifest",
    "remade",
    "render",
]
