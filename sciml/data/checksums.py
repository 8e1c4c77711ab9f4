"""CRC-32 of files block by block: that of the whole follows from those of the blocks, as does the place of one flipped bit.

A CRC is the remainder of the bits, read as a polynomial over {0, 1}, on division by P = x³² + x²⁶ + ... + 1 (Peterson & Brown
1961). So checksums can be calculated with: that of A followed by n bits B is crc(A) xⁿ + crc(B), and of two texts that differ
in the bit which is k-th from the end the checksums differ by x^(k + 32), which no other bit of a block gives.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from io import FileIO
from pathlib import Path

BLOCK = 1 << 20
"""Bytes of a block. Small enough to say where the damage is, large enough that the list of checksums is short."""

# Bit 31 is x⁰ and bit 0 is x³¹, as zlib has it.
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
# P is primitive: the powers of x repeat after this many.
_PERIOD = 2**32 - 1
_SMALL_STEPS = 4096


def block_crc32s(path: Path, block: int = BLOCK) -> Iterator[int]:
    """CRC-32 of every block of a file, one after the other; the last block may be shorter.

    Raises:
        OSError: the file cannot be read.
    """
    buffer = memoryview(bytearray(block))
    with FileIO(path) as file:
        while filled := _fill(buffer, file):
            yield zlib.crc32(buffer[:filled])


def file_crc32(path: Path) -> int:
    """CRC-32 of all bytes of a file."""
    value = 0
    buffer = memoryview(bytearray(BLOCK))
    with FileIO(path) as file:
        while filled := _fill(buffer, file):
            value = zlib.crc32(buffer[:filled], value)
    return value


def joined_crc32(blocks: Sequence[int], size: int, block: int = BLOCK) -> int:
    """CRC-32 of a whole file from those of its blocks.

    Args:
        blocks: checksum of every block.
        size: bytes of the file, of which the last block may hold fewer than `block`.
    Raises:
        ValueError: `size` bytes do not make so many blocks.

    >>> joined_crc32([zlib.crc32(b"abcd"), zlib.crc32(b"ef")], 6, 4) == zlib.crc32(b"abcdef")
    True
    """
    if len(blocks) != -(-size // block):
        raise ValueError(f"blocks: got {len(blocks)} checksums, {size} bytes in blocks of {block} need {-(-size // block)}")
    if not blocks:
        return 0
    shift, value = _power(8 * block), 0
    for checksum in blocks[:-1]:
        value = _product(value, shift) ^ checksum
    return _product(value, _power(8 * (size - block * (len(blocks) - 1)))) ^ blocks[-1]


def flipped_bit(difference: int, size: int) -> tuple[int, int] | None:
    """The one bit whose flip changes the checksum of a block by `difference`, if there is one.

    Damage of other kinds looks like that of one bit once in 2³² / (8 size) cases: 1 in 512 for a block of 1 MiB.

    Args:
        difference: exclusive or of the checksum as it is and as it should be.
        size: bytes of the block, at most 2²⁸.
    Returns:
        Number of the byte within the block, and of the bit within the byte, 0 the lowest; None where no single bit explains it.
    """
    # Which power of x is `difference`? Small steps are listed, giant steps are walked (Shanks 1971).
    small, giant = _steps()
    value = _product(difference, _power(_PERIOD - 32))
    for walked in range(0, 8 * size, _SMALL_STEPS):
        if value in small:
            from_end = walked + small[value]
            return (size - 1 - from_end // 8, 7 - from_end % 8) if from_end < 8 * size else None
        value = _product(value, giant)
    return None


@cache
def _steps() -> tuple[dict[int, int], int]:
    """The exponents of the first powers of x, and the power that takes as many off."""
    small, value = {}, _ONE
    for exponent in range(_SMALL_STEPS):
        small[value] = exponent
        value = _product(value, _ONE >> 1)
    return small, _power(_PERIOD - _SMALL_STEPS)


def _product(a: int, b: int) -> int:
    """a b modulo P."""
    total = 0
    while a:
        if a & _ONE:
            total ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return total


def _power(exponent: int) -> int:
    """x to the power of `exponent` modulo P."""
    total, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            total = _product(total, square)
        square = _product(square, square)
        exponent >>= 1
    return total


def _fill(buffer: memoryview, file: FileIO) -> int:
    """Fill the buffer, or as much of it as is left of the file; a read may bring less than asked for."""
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return filled


__all__ = ["BLOCK", "block_crc32s", "file_crc32", "flipped_bit", "joined_crc32"]
