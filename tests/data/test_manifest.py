import json

import pytest

from data.small_sets import write_set, write_shard
from sciml.data.checksums import BLOCK
from sciml.data.convert import convert
from sciml.data.manifest import (
    checksums_of,
    first_bad_blocks,
    is_done,
    manifest_of,
    manifest_path,
    read_manifest,
    remade,
    render,
)
from sciml.data.set import open_set


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


@pytest.mark.parametrize("kept", ["own", "other", "none"])
def test_the_remedy_names_a_card_only_where_there_is_one(tmp_path, kept):
    """As far as the manifest says, or where that is missing the one of another shard."""
    write_set(tmp_path / "made", sizes=(2, 2))
    data = write_set(tmp_path / "source", sizes=(3,))
    convert(data, tmp_path / "converted", to="sciml")
    for folder, remedy in (("made", "run `sciml generate CARD --out"), ("converted", "convert or write the set again")):
        (shard, *_) = sorted((tmp_path / folder).rglob("shard-*.h5"))
        if kept != "own":
            manifest_path(shard).unlink()
        if kept == "other":
            (shard.parent / "shard-00001.json").write_text("{" + ('"card": {}' if folder == "made" else "") + "}")
        if kept == "none":
            (shard.parent / "shard-00001.json").unlink(missing_ok=True)
            remedy = "run `sciml generate CARD --out"
        assert remedy in remade(shard)


def test_a_missing_shard_of_a_converted_set_asks_for_another_conversion(tmp_path):
    write_set(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "out", to="sciml", file_bytes=1)
    shards = sorted((tmp_path / "out").rglob("shard-*.h5"))
    assert len(shards) > 1
    shards[-1].unlink()
    manifest_path(shards[-1]).unlink()
    with pytest.raises(
        ValueError, match=r"shards are missing, .*convert or write the set again, for it was not made from a card"
    ):
        open_set(shards[0].parent)
