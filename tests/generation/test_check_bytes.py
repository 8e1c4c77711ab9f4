"""What the check says of files whose bytes were changed."""

import mmap
import random
import re

import numpy as np
import pytest
import torch

from data.small_sets import VARIABLES, write_shard
from sciml.data.checksums import BLOCK
from sciml.data.manifest import manifest_path, read_manifest, render
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter
from sciml.generation.check import check
from sciml.generation.check_bytes import bytes_faults, manifests_of
from sciml.numerics.domain import Domain

FILM = (
    VariableInfo("u", "state", "m/s", "velocity", (2, 20, 20), torch.float32, 50),
    VariableInfo("nu", "parameter", "m2/s", "viscosity", (2,), torch.float64),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two blocks and a half: 16 samples from number 100 on, 160 kB each."""
    path = tmp_path_factory.mktemp("film") / "shard-00002.h5"
    values = {v.name: torch.randn(16, *v.sample_shape, generator=torch.Generator().manual_seed(0)) for v in FILM}
    with ShardWriter(path, FILM, range(100, 116), Domain.box((1.0, 1.0), (20, 20), "periodic"), {}) as file:
        file.append(values)
        file.finish({})
    return path


def place_of(manifest, byte):
    """Variable, sample and index to which a byte belongs, by the shape alone; None in the header."""
    for name, at in manifest["arrays"].items():
        item = (byte - at["offset"]) // np.dtype(at["dtype"]).itemsize
        if byte >= at["offset"] and item < np.prod(at["shape"]):
            row, *index = np.unravel_index(item, at["shape"])
            return name, 100 + int(row), tuple(map(int, index))
    return None


def test_every_flipped_bit_is_found_and_named(film):
    manifest, chance = read_manifest(manifest_path(film)), random.Random(5)
    header = 0
    with film.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as content:
        # Nearly all bytes are values: half of the flips go to the header, the edges of blocks and the end.
        edges = [0, 9, BLOCK - 1, BLOCK, 2 * BLOCK, len(content) - 1, *(chance.randrange(4096) for _ in range(60))]
        for byte in edges + [chance.randrange(len(content)) for _ in range(60)]:
            bit = chance.randrange(8)
            content[byte] ^= 1 << bit
            (fault,) = bytes_faults(film, manifest)
            content[byte] ^= 1 << bit
            assert f"It looks like one flipped bit, bit {bit} of byte {byte}, in the " in fault.message
            place = place_of(manifest, byte)
            header += place is None
            if place is None:
                assert (fault.variable, fault.sample, ", in the header. Copy" in fault.message) == (None, None, True)
            else:
                assert (fault.variable, fault.sample) == place[:2]
                assert f", in the value at {place[2]}. Copy shard-00002.h5 and shard-00002.json again" in fault.message
    assert 10 < header < 100
    assert bytes_faults(film, manifest) == []


def test_other_damage_is_named_by_all_samples_it_may_touch(film, tmp_path):
    manifest, content = read_manifest(manifest_path(film)), bytearray(film.read_bytes())
    content[BLOCK + 100 : BLOCK + 200] = bytes(100)
    content[2 * BLOCK + 5 : 2 * BLOCK + 7] = b"??"
    path = tmp_path / film.name
    path.write_bytes(content)
    (fault,) = bytes_faults(path, manifest)
    start = manifest["arrays"]["u"]["offset"]
    samples = [100 + (byte - start) // 160_000 for byte in (BLOCK, start + 16 * 160_000 - 1)]
    assert f"Wrong are bytes {BLOCK} to {len(content) - 1}, which hold " in fault.message
    assert f"variable u samples {samples[0]} to {samples[1]}" in fault.message
    assert "variable nu" in fault.message or manifest["arrays"]["nu"]["offset"] < BLOCK


def test_of_many_wrong_places_the_first_are_named(tmp_path):
    path = tmp_path / "some.h5"
    write_shard(path, range(22_000), variables=VARIABLES)
    manifest, content = read_manifest(manifest_path(path)), np.fromfile(path, np.uint8)
    assert len(manifest["blocks"]["crc32"]) == 3
    content[[5, 2 * BLOCK + 5]] ^= 1
    content.tofile(path)
    first, second = bytes_faults(path, manifest)
    assert "bit 0 of byte 5, in the header" in str(first)
    assert "variable u, sample" in str(second)


def test_of_a_truncated_file_the_first_missing_sample_is_named(film, tmp_path):
    path = tmp_path / film.name
    manifest = read_manifest(manifest_path(film))
    start = manifest["arrays"]["u"]["offset"]
    path.write_bytes(film.read_bytes()[: start + 5 * 160_000 + 7])
    (fault,) = bytes_faults(path, manifest)
    size = manifest["size"]
    assert f"has {start + 5 * 160_000 + 7} bytes, its manifest says {size}; missing are " in fault.message
    assert "variable u samples 105 to 115" in fault.message
    path.write_bytes(film.read_bytes() + b"?")
    assert bytes_faults(path, manifest)[0].message.startswith(f"has {size + 1} bytes, its manifest says {size}. Delete")


def test_older_manifests_find_damage_without_a_place(film, tmp_path):
    manifest = {k: v for k, v in read_manifest(manifest_path(film)).items() if k not in ("blocks", "arrays")}
    path = tmp_path / film.name
    content = bytearray(film.read_bytes())
    path.write_bytes(content)
    assert bytes_faults(path, manifest) == []
    content[BLOCK] ^= 1
    path.write_bytes(content)
    (fault,) = bytes_faults(path, manifest)
    assert re.fullmatch(r"its bytes were changed \(CRC-32 differs from the manifest\)\. Delete .* come back", fault.message)


@pytest.mark.parametrize("arrays", [None, [], {"u": {}}, {"u": {"offset": "x", "shape": [1], "dtype": "<f4"}}, {"u": None}])
def test_a_manifest_that_does_not_say_where_arrays_lie_names_bytes(film, tmp_path, arrays):
    manifest = {**read_manifest(manifest_path(film)), "arrays": arrays}
    path = tmp_path / film.name
    content = bytearray(film.read_bytes())
    content[7000] ^= 4
    path.write_bytes(content)
    assert "one flipped bit, bit 2 of byte 7000. Delete" in bytes_faults(path, manifest)[0].message


def test_a_manifest_that_contradicts_itself_is_the_fault(tmp_path):
    path = tmp_path / "some.h5"
    manifest = write_shard(path, range(3))
    manifest_path(path).write_text(render({**manifest, "crc32": 7}))
    (fault,) = check(path).faults
    assert (fault.path, fault.message[:32]) == (manifest_path(path), "the manifest contradicts itself:")
    assert manifests_of([path])[1] == []


@pytest.mark.parametrize("workers", [1, 3])
def test_wrong_bytes_are_found_whatever_the_number_of_threads(tmp_path, workers):
    for number in range(5):
        write_shard(tmp_path / f"part-{number}.h5", range(4 * number, 4 * number + 4))
    seen = []
    report = check(tmp_path, workers=workers, progress=lambda done, total: seen.append((done, total)))
    assert (report.faults, report.files, report.samples) == ([], 5, 20)
    assert seen == [(done, 5) for done in range(1, 6)]
    for number in (1, 3):
        content = np.fromfile(tmp_path / f"part-{number}.h5", np.uint8)
        content[-1] ^= 8
        content.tofile(tmp_path / f"part-{number}.h5")
    assert [fault.path.name for fault in check(tmp_path, workers=workers).faults] == ["part-1.h5", "part-3.h5"]
    with pytest.raises(ValueError, match="workers: got 0"):
        check(tmp_path, workers=0)
