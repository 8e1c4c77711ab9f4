import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.storage.layouts import LAYOUTS, write_array
from sciml.data.storage import tree as module
from sciml.data.storage.arrays import Chunked
from sciml.data.storage.sidecar import NAME, load, packed, places_of, unpacked
from sciml.data.storage.tree import tree_of, trees_of
from sciml.data.storage.walking import walk

DAY = 86_400


def same(a, b):
    """Two trees in all that they hold."""
    assert (a.attributes, a.groups, a.user_block, a.unreadable) == (b.attributes, b.groups, b.user_block, b.unreadable)
    assert list(a.arrays) == list(b.arrays)
    for x, y in zip(a.arrays.values(), b.arrays.values(), strict=True):
        assert (x.name, x.shape, x.dtype) == (y.name, y.shape, y.dtype)
        if not isinstance(x.layout, Chunked):
            assert x.layout == y.layout
            continue
        assert (x.layout.chunk, x.layout.filters, x.layout.fill) == (y.layout.chunk, y.layout.filters, y.layout.fill)
        for table in ("offsets", "sizes", "masks"):
            assert np.array_equal(getattr(x.layout, table), getattr(y.layout, table))
    return True


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Every walk is worth keeping, nothing is remembered but on disk, and the cache of the user is a folder of the test."""
    monkeypatch.setattr(module, "_WORTHWHILE", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    module._known.folders.clear()
    return folder


def write(folder, name="a.h5", start=0.0, age=DAY):
    path = write_array(folder / name, np.arange(24, dtype="f4").reshape(6, 4) + np.float32(start), "chunked", chunks=(1, 4))
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def forget():
    module._known.folders.clear()


def counted(monkeypatch):
    """The files that are walked through from now on."""
    walked = []

    def walk_and_count(path):
        walked.append(path.name)
        return walk(path)

    monkeypatch.setattr(module, "walk", walk_and_count)
    return walked


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tree_comes_out_as_it_went_in(tmp_path, layout):
    path = write_array(tmp_path / "a.h5", np.random.default_rng(0).normal(size=(7, 5)), layout)
    with h5py.File(path, "a") as file:
        file.attrs["numbers"], file.attrs["nan"], file.attrs["text"] = (
            [1, 2],
            np.nan,
            "é\ud800".encode("utf-8", "surrogatepass"),
        )
        file.create_dataset("i", (9,), "i8", chunks=(2,), fillvalue=-(2**63))
        file.create_dataset("c", (9,), "c8", chunks=(2,), fillvalue=1 + 2j)
        file.create_dataset("s", (2,), "S3")
        file["group/text"] = "words"
    tree = walk(path)
    again = unpacked(packed(tree))
    assert np.isnan(tree.attributes[""].pop("nan"))
    assert np.isnan(again.attributes[""].pop("nan"))
    assert same(again, tree)


def test_the_index_is_read_instead_of_the_files(kept, monkeypatch):
    paths = [write(kept, f"{i}.h5", i) for i in range(5)]
    first = trees_of(paths)
    assert len(json.loads((kept / NAME).read_bytes())["files"]) == 5
    forget()
    walked = counted(monkeypatch)
    again = trees_of(paths[::-1])[::-1]
    assert walked == []
    assert all(map(same, again, first))
    assert same(tree_of(paths[3]), first[3])
    assert walked == []


def test_a_small_set_leaves_no_file_behind(kept, monkeypatch):
    monkeypatch.setattr(module, "_WORTHWHILE", 60.0)
    path = write(kept)
    trees_of([path])
    tree_of(path)
    assert os.listdir(kept) == ["a.h5"]
    walked = counted(monkeypatch)
    tree_of(path)
    assert walked == []


def test_a_file_that_changed_is_walked_through_again(kept, monkeypatch):
    path, other = write(kept), write(kept, "b.h5")
    trees_of([path, other])
    status = path.stat()
    forget()
    walked = counted(monkeypatch)
    with h5py.File(path, "a") as file:
        file.attrs["new"] = 1
    assert tree_of(path).attributes[""] == {"new": 1}
    tree_of(other)
    assert walked == ["a.h5"]
    # Size, time and inode as before: only the first bytes tell.
    trees_of([path, other])
    walked.clear()
    with path.open("r+b") as file:
        file.seek(4000)
        byte = file.read(1)
        file.seek(4000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    tree_of(path)
    assert walked == ["a.h5"]


def test_a_file_younger_than_the_tick_of_the_clock_is_not_kept(kept, monkeypatch):
    path = write(kept, age=-1e-3)
    walked = counted(monkeypatch)
    for _ in range(2):
        tree_of(path)
    assert walked == ["a.h5"] * 2
    assert not (kept / NAME).exists()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_damaged_index_is_built_again(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("damaged")
    path = write(folder)
    truth = walk(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTHWHILE", 0.0)
        forget()
        tree_of(path)
        rng = np.random.default_rng(seed)
        data = bytearray((folder / NAME).read_bytes())
        if rng.integers(4):
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] ^= 1 << rng.integers(8)
        else:
            del data[rng.integers(len(data)) :]
        (folder / NAME).write_bytes(data)
        forget()
        assert same(tree_of(path), truth)


FOREIGN = (
    b"",
    b"[]",
    b'{"version": 1, "files": []}',
    b'{"version": 1, "files": {"a.h5": 3}}',
    b'{"version": 2, "files": {}}',
    b"[" * 100_000,
    b"\xff",
    b"NaN",
)


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_index_is_not_trusted(kept, content):
    path = write(kept)
    (kept / NAME).write_bytes(content)
    assert same(tree_of(path), walk(path))
    forget()
    assert load(kept / NAME)["a.h5"].tree == packed(walk(path))


def test_the_index_of_a_folder_that_cannot_be_written_goes_to_the_cache_of_the_user(kept, monkeypatch):
    path = write(kept)
    # Nothing can be renamed onto a folder, also by a user who may write everywhere.
    (kept / NAME).mkdir()
    tree = tree_of(path)
    assert [place.is_file() for place in places_of(kept)] == [False, True]
    assert places_of(kept)[1].parent == kept.parent / "cache" / "sciml"
    forget()
    walked = counted(monkeypatch)
    assert same(tree_of(path), tree)
    assert walked == []
    assert sorted(os.listdir(kept)) == [NAME, "a.h5"]


def test_where_no_index_can_be_written_there_is_none(kept, monkeypatch):
    path = write(kept)
    (kept / NAME).mkdir()
    (kept.parent / "cache").write_text("no folder")
    assert same(tree_of(path), walk(path))


def test_an_index_keeps_what_others_added_and_drops_files_that_are_gone(kept):
    paths = [write(kept, f"{i}.h5", i) for i in range(3)]
    trees_of(paths[:2])
    forget()
    paths[0].unlink()
    tree_of(paths[2])
    assert sorted(load(kept / NAME)) == ["1.h5", "2.h5"]


def test_trees_of_many_folders_come_in_the_order_asked_for(kept):
    folders = [kept / "x", kept / "y"]
    for folder in folders:
        folder.mkdir()
    paths = [write(folders[i % 2], f"{i}.h5", i) for i in range(6)]
    with ThreadPoolExecutor(4) as threads:
        for trees in threads.map(trees_of, [paths] * 4):
            assert all(same(tree, walk(path)) for tree, path in zip(trees, paths, strict=True))
    assert [sorted(load(folder / NAME)) for folder in folders] == [["0.h5", "2.h5", "4.h5"], ["1.h5", "3.h5", "5.h5"]]


def test_a_bad_file_among_good_ones_is_named_and_the_others_are_kept(kept):
    paths = [write(kept, f"{i}.h5", i) for i in range(3)]
    paths[2].write_bytes(b"<html>")
    with pytest.raises(OSError, match=r"2\.h5: cannot be read as HDF5"):
        trees_of(paths)
    assert sorted(load(kept / NAME)) == ["0.h5", "1.h5"]
