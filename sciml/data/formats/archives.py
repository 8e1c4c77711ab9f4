"""Zip files of arrays (`.pt`, `.npz`): their checksums, and at which bytes the members lie."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of it before the name; its last four are the lengths of the name and of what follows that
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError, OverflowError)  # of the library


@dataclass(frozen=True)
class Member:
    """One file in an archive.

    Args:
        offset: of its first byte in the archive; None where it is packed.
        size: bytes, unpacked.
    """

    name: str
    offset: int | None
    size: int


def begins_as_archive(head: bytes) -> bool:
    """Whether these are the first bytes of a zip file."""
    return head.startswith(_SIGNATURE)


def names_in(path: Path) -> tuple[str, ...]:
    """Names of the members; none where it is no archive, or one that cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.namelist())
    except _DAMAGE:
        return ()


def verified(path: Path) -> str:
    """What stands for the content: all of it is read, and held against the checksums.

    Raises:
        OSError: a member is damaged.
    """
    damage, records = "", []
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
            damage = "" if record is None else f"record {record} fails its checksum"
            records = [
                (item.filename.partition("/")[2] or item.filename, item.CRC, item.file_size) for item in archive.infolist()
            ]
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGE as error:
        damage = " ".join(str(error).split()) or type(error).__name__
    if damage:
        raise OSError(f"{path}: its bytes were changed, {damage}; copy it again")
    return f"zip {hashlib.blake2b(json.dumps(records).encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def members_of(path: Path) -> Mapping[str, Member]:
    """The members by name, with the places of those that are not packed.

    Raises:
        OSError: it is no archive, or damaged.
    """
    found: dict[str, Member] = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
            for item in archive.infolist():
                raw.seek(item.header_offset)
                header = raw.read(_LOCAL_HEADER)
                if len(header) < _LOCAL_HEADER or not header.startswith(_SIGNATURE):
                    raise zipfile.BadZipFile(f"record {item.filename} does not begin where the archive says")
                skipped = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
                plain = item.compress_type == zipfile.ZIP_STORED and item.compress_size == item.file_size
                offset = item.header_offset + _LOCAL_HEADER + skipped if plain else None
                found[item.filename] = Member(item.filename, offset, item.file_size)
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGE as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{path}: cannot be read as an archive, {why}; it is truncated or damaged, copy it again") from error
    return found


__all__ = ["Member", "begins_as_archive", "members_of", "names_in", "verified"]
