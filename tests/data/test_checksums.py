import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.data.checksums import block_crc32s, file_crc32, flipped_bit, joined_crc32


@given(st.binary(max_size=300), st.integers(1, 70))
@settings(deadline=None)
def test_the_checksum_of_the_whole_follows_from_those_of_the_blocks(content, block):
    checksums = [zlib.crc32(content[at : at + block]) for at in range(0, len(content), block)]
    assert joined_crc32(checksums, len(content), block) == zlib.crc32(content)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 5])
def test_files_of_any_length_are_taken_block_by_block(tmp_path, size):
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    checksums = list(block_crc32s(tmp_path / "file"))
    assert checksums == [zlib.crc32(content[at : at + (1 << 20)]) for at in range(0, size, 1 << 20)]
    assert joined_crc32(checksums, size) == file_crc32(tmp_path / "file") == zlib.crc32(content)


@pytest.mark.parametrize("size", [1, 8, 4097, 1 << 20])
def test_one_flipped_bit_is_found_from_two_checksums(size):
    chance = random.Random(size)
    content = bytearray(chance.randbytes(size))
    right = zlib.crc32(content)
    for byte in {0, size - 1, *(chance.randrange(size) for _ in range(10))}:
        for bit in (0, 7, chance.randrange(8)):
            content[byte] ^= 1 << bit
            assert flipped_bit(zlib.crc32(content) ^ right, size) == (byte, bit)
            content[byte] ^= 1 << bit


def test_other_damage_is_not_taken_for_one_bit():
    content = bytearray(random.Random(0).randbytes(1000))
    right = zlib.crc32(content)
    content[7] ^= 3  # CRC-32 tells two bits from one in blocks of less than 11 kB (Koopman 2002)
    assert flipped_bit(zlib.crc32(content) ^ right, 1000) is None
    assert flipped_bit(0, 1000) is None


def test_a_list_of_checksums_that_does_not_fit_the_size_is_refused():
    with pytest.raises(ValueError, match="got 2 checksums, 9 bytes in blocks of 4 need 3"):
        joined_crc32([1, 2], 9, 4)
