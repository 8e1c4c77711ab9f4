import json

import pytest

from data.small_sets import write_shard
from sciml.data.checksums import BLOCK
from sciml.data.manifest import checksums_of, first_bad_blocks, is_done, manifest_of, manifest_path, read_manifest, render


@pytest.fixture
def file(tmp_path):
    """Three blocks and a bit."""
    path = tmp_path / "shard-00000.h5"
    path.write_bytes(bytes(range(256)) * (3 * BLOCK // 256) + b"end")
    return path


def test_bad_blocks_are_named_from_the_front(file):
    manifest = checksums_of(file)
    assert (manifest["size"], len(manifest["blocks"]["crc32"])) == (3 * BLOCK + 3, 4)
    assert first_bad_blocks(file, manifest) == []
    with file.open("r+b") as opened:
        for place in (BLOCK, 3 * BLOCK + 2):
            opened.seek(place)
            opened.write(b"\xff")
    assert first_bad_blocks(file, manifest) == [1, 3]
    assert first_bad_blocks(file, manifest, most=1) == [1]
    file.write_bytes(file.read_bytes()[: BLOCK + 7])
    assert first_bad_blocks(file, manifest) == [1, 2, 3]


def test_a_manifest_from_before_blocks_were_listed_knows_the_whole_file(file):
    old = {key: value for key, value in checksums_of(file).items() if key != "blocks"}
    assert first_bad_blocks(file, old) == []
    file.write_bytes(b"?" + file.read_bytes()[1:])
    assert first_bad_blocks(file, old) == [0]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"bytes": BLOCK, "crc32": [1, 2, 3, 4]}, "the manifest contradicts itself"),
        ({"bytes": BLOCK, "crc32": [1]}, "the manifest contradicts itself"),
        ({"bytes": 0, "crc32": []}, "need `bytes` and a list `crc32`"),
        ([1, 2], "need `bytes` and a list `crc32`"),
        ({"bytes": BLOCK, "crc32": ["a", None, {}, []]}, "need `bytes` and a list `crc32`"),
    ],
)
def test_checksums_of_blocks_that_contradict_the_rest_are_refused(file, blocks, message):
    with pytest.raises(ValueError, match=message):
        first_bad_blocks(file, {**checksums_of(file), "blocks": blocks})


def test_only_files_with_a_manifest_of_ours_have_one(tmp_path):
    write_shard(tmp_path / "some.h5", range(2))
    assert manifest_of(tmp_path / "some.h5") == read_manifest(tmp_path / "some.json")
    (tmp_path / "other.h5").write_bytes(b"")
    (tmp_path / "other.json").write_text("{}")
    assert manifest_of(tmp_path / "other.h5") is None
    assert manifest_of(tmp_path / "none.h5") is None


def test_a_manifest_must_hold_what_is_asked_of_it_and_nothing_changed(tmp_path):
    path = tmp_path / "shard-00000.h5"
    manifest = write_shard(path, range(2))
    assert is_done(path)
    for key, value in (("samples", "2"), ("statistics", None), ("size", 1.5)):
        manifest_path(path).write_text(render({**manifest, key: value}))
        with pytest.raises(ValueError, match=f"key '{key}' is {value!r}, need a"):
            read_manifest(manifest_path(path))
    for text in ("[]", "", json.dumps(manifest), "\x00", "[" * 100_000):
        manifest_path(path).write_text(text)
        with pytest.raises(ValueError, match="the manifest is damaged"):
            read_manifest(manifest_path(path))
        assert not is_done(path)
