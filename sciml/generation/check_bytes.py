"""Whether the bytes of a file are those that were written; where not, what lies there: by the manifest, not by the file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from sciml.data.checksums import flipped_bit
from sciml.data.manifest import Manifest, again, blocks_of, first_bad_blocks, manifest_of, manifest_path, remade
from sciml.generation.check_report import Fault, fault_of

_CHANGED = "its bytes were changed (CRC-32 differs from the manifest)"
_MOST = 8  # lines on one file


@dataclass(frozen=True)
class _Place:
    """Where the values of a variable lie.

    Args:
        start: the first byte.
        shape: (sample, *axes of one sample).
        width: bytes of a value.
        first: number of the first sample.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    width: int
    first: int

    @property
    def stop(self) -> int:
        """The byte behind the last value."""
        return self.start + prod(self.shape) * self.width

    def index(self, byte: int) -> tuple[int, ...]:
        """Of the value to which a byte of the file belongs: number of the sample, then its place within the sample."""
        row, *within = (int(i) for i in np.unravel_index((byte - self.start) // self.width, self.shape))
        return (self.first + row, *within)

    def samples(self, start: int, stop: int) -> str:
        """Which samples touch these bytes."""
        first, last = self.index(max(start, self.start))[0], self.index(min(stop, self.stop) - 1)[0]
        return f"variable {self.name} sample{f' {first}' if first == last else f's {first} to {last}'}"


def bytes_faults(file: Path, manifest: Manifest) -> list[Fault]:
    """What differs from the manifest: the size, or blocks of bytes.

    One flipped bit is named with variable, sample and place in the sample. Of other damage the blocks are named, with all
    variables and samples that touch them. The file itself is not interpreted: what HDF5 makes of wrong bytes is anything, up to
    the end of the process.

    Raises:
        OSError: the file cannot be read.
    """
    size, places = file.stat().st_size, _places(manifest)
    if size != manifest["size"]:
        missing = _described(size, int(str(manifest["size"])), places)
        cut = f"; missing are {missing}" if missing and size < int(str(manifest["size"])) else ""
        return [Fault(file, f"has {size} bytes, its manifest says {manifest['size']}{cut}. {remade(file)}")]
    try:
        block, listed = blocks_of(manifest)
        bad = first_bad_blocks(file, manifest)
    except ValueError as error:
        return [fault_of(manifest_path(file), error)]
    if not listed:
        return [Fault(file, f"{_CHANGED}. {remade(file)}")] if bad else []
    found: list[Fault] = []
    for start, stop in _runs(bad):
        bit = _flipped(file, start, block, listed) if stop == start + 1 else None
        if bit is not None:
            found.append(_bit_fault(file, bit, places))
            continue
        first, behind = start * block, min(stop * block, size)
        lies = _described(first, behind, places)
        where = f"Wrong are bytes {first} to {behind - 1}{f', which hold {lies}' if lies else ''}"
        found.append(Fault(file, f"{_CHANGED}. {where}. {remade(file)}"))
    if len(found) > _MOST:
        found[_MOST:] = [Fault(file, f"{len(found) - _MOST} or more further runs of bytes are wrong")]
    return found


def manifests_of(files: Sequence[Path]) -> tuple[dict[Path, Manifest], list[Fault]]:
    """The manifests of those files that have a whole one, and what is wrong with others."""
    found: dict[Path, Manifest] = {}
    faults: list[Fault] = []
    for file in files:
        try:
            manifest = manifest_of(file)
        except (OSError, ValueError) as error:
            faults.append(fault_of(manifest_path(file), error))
            continue
        if manifest is not None:
            found[file] = manifest
        elif file.name.startswith("shard-"):
            name = manifest_path(file).name
            message = f"has no manifest {name}, it was not finished; {again(file)}"
            faults.append(Fault(file, message))
    return found, faults


def _bit_fault(file: Path, bit: tuple[int, int], places: Sequence[_Place]) -> Fault:
    byte, number = bit
    looks = f"It looks like one flipped bit, bit {number} of byte {byte}"
    for place in places:
        if place.start <= byte < place.stop:
            sample, *within = place.index(byte)
            message = f"{_CHANGED}. {looks}, in the value at {tuple(within)}. {remade(file)}"
            return Fault(file, message, place.name, sample)
    return Fault(file, f"{_CHANGED}. {looks}{', in the header' if places else ''}. {remade(file)}")


def _flipped(file: Path, number: int, block: int, listed: Sequence[int]) -> tuple[int, int] | None:
    """Byte of the file and bit of the byte, where one flipped bit explains the checksum of a block."""
    with file.open("rb") as opened:
        opened.seek(number * block)
        content = opened.read(block)
    found = flipped_bit(zlib.crc32(content) ^ listed[number], len(content))
    return None if found is None else (number * block + found[0], found[1])


def _places(manifest: Mapping[str, object]) -> list[_Place]:
    """Where the arrays lie, in the order of the file; none where the manifest does not say."""
    arrays = manifest.get("arrays")
    try:
        found = [
            _Place(name, int(at["offset"]), tuple(map(int, at["shape"])), np.dtype(at["dtype"]).itemsize, int(str(first)))
            for first in [manifest["first_sample"]]
            for name, at in (arrays.items() if isinstance(arrays, dict) else ())
        ]
    except (KeyError, TypeError, ValueError):
        return []
    return sorted((place for place in found if place.stop > place.start), key=lambda place: place.start)


def _described(start: int, stop: int, places: Sequence[_Place]) -> str:
    """What lies between two bytes."""
    if not places or stop <= start:
        return ""
    touched = [place for place in places if place.start < stop and start < place.stop]
    held = sum(min(stop, place.stop) - max(start, place.start) for place in touched)
    parts = [place.samples(start, stop) for place in touched]
    return ", ".join([*(["the header"] if held < stop - start else []), *parts])


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbours, each from ... to before ..."""
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            yield numbers[start], numbers[i - 1] + 1
            start = i


__all__ = ["bytes_faults", "manifests_of"]
