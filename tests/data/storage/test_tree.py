import ctypes
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from data.storage.layouts import stored, write_array
from sciml.data.storage.arrays import Box, Chunked, Contiguous, Elsewhere
from sciml.data.storage.reading import read_box, read_by_hdf5
from sciml.data.storage.stamp import stamp_of
from sciml.data.storage.tree import tree_of


def whole(shape):
    return Box((0,) * len(shape), tuple(shape), (1,) * len(shape))


def test_groups_arrays_and_attributes_are_found_by_path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["sims/sim1"], file["sims/sim0"], file["t"] = np.zeros((3, 2)), np.zeros((3, 2), "f4"), 1.5
        file.create_group("empty/deep")
        file.attrs["title"], file.attrs["flag"], file.attrs["grid"] = "Ωm", True, [[1, 2], [3, 4]]
        file.attrs["old"], file.attrs["none"] = np.bytes_(b"fixed"), h5py.Empty("f4")
        file.attrs["names"], file.attrs["link"] = ["a", "b"], file["t"].ref
        file["t"].attrs["dt"] = np.float32(0.5)
    tree = tree_of(path)
    assert set(tree.arrays) == {"sims/sim0", "sims/sim1", "t"}
    assert sorted(tree.groups) == ["empty", "empty/deep", "sims"]
    assert (tree.children(""), tree.children("sims")) == (("empty", "sims", "t"), ("sim0", "sim1"))
    assert (tree.children("empty/deep"), tree.children("nowhere")) == ((), ())
    assert tree.attributes[""] == {
        "title": "Ωm", "flag": True, "grid": [[1, 2], [3, 4]], "old": "fixed", "names": ["a", "b"],
    }  # fmt: skip
    assert tree.attributes["t"] == {"dt": 0.5}
    assert (tree.arrays["t"].shape, tree.arrays["t"].dtype, tree.user_block) == ((), np.dtype("f8"), 0)
    assert float(read_box(path, stamp_of(path), tree.arrays["t"], Box((), (), ()))) == 1.5


def test_what_is_no_array_of_numbers_is_named_with_its_type(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["text"], file["pair"] = "words", np.zeros(3, [("a", "i4"), ("b", "f4")])
        file["opaque"], file["empty"] = np.zeros(3, "V5"), h5py.Empty("f4")
        file.create_dataset("lists", (3,), h5py.vlen_dtype(np.int32))
        file.create_dataset("links", (3,), h5py.ref_dtype)
        file.create_dataset("blocks", (3,), np.dtype(("f4", (2,))))
        file["kind"] = np.dtype("i4")
        file["fixed"] = np.array([b"ab", b"c"])
        file["complex"], file["bool"] = np.array([1 + 2j]), np.array([True, False])
    tree = tree_of(path)
    assert tree.unreadable == {
        "text": "strings of variable length",
        "pair": "compound",
        "opaque": "opaque",
        "empty": "nothing: an empty data space",
        "lists": "lists of variable length",
        "links": "references",
        "blocks": "arrays",
        "kind": "a named type",
    }
    assert {name: array.dtype for name, array in tree.arrays.items()} == {
        "fixed": np.dtype("S2"), "complex": np.dtype("c16"), "bool": np.dtype("?"),
    }  # fmt: skip
    assert isinstance(tree.arrays["fixed"].layout, Elsewhere)
    assert isinstance(tree.arrays["bool"].layout, Contiguous)
    assert read_by_hdf5(path, "fixed", Box((1,), (1,), (1,))).tolist() == [b"c"]


def test_links_inside_the_file_are_followed_others_read_by_hdf5_and_circles_end(tmp_path):
    path = tmp_path / "a.h5"
    write_array(tmp_path / "b.h5", np.arange(6, dtype="f4"), "contiguous")
    with h5py.File(path, "w") as file:
        file["g/values"] = np.arange(4.0)
        file["g/again"] = file["g/values"]
        file["g/up"] = file["/"]
        file["soft"], file["lost"] = h5py.SoftLink("/g/values"), h5py.SoftLink("/nowhere")
        file["away"], file["gone"] = h5py.ExternalLink("b.h5", "values"), h5py.ExternalLink("c.h5", "values")
        file["elsewhere"] = h5py.ExternalLink("b.h5", "/")
    tree = tree_of(path)
    assert set(tree.arrays) == {"g/values", "g/again", "soft", "away"}
    assert set(tree.unreadable) == {"g/up", "lost", "gone", "elsewhere"}
    assert "a link to what is not there" in tree.unreadable["lost"]
    assert tree.arrays["away"].layout == Elsewhere("a link to another file")
    assert tree.arrays["soft"].layout == tree.arrays["g/values"].layout
    assert read_by_hdf5(path, "away", Box((2,), (2,), (1,))).tolist() == [2, 3]


@pytest.mark.parametrize("libver", [None, "latest"])
@pytest.mark.parametrize("prepended", [False, True])
@pytest.mark.parametrize("size", [512, 1024, 2048])
def test_behind_a_user_block_every_array_is_found(tmp_path, libver, prepended, size):
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", userblock_size=0 if prepended else size, libver=libver) as file:
        file["c"], file["zero"], file["one"] = rng.normal(size=(5, 7)), np.zeros((50, 70)), 3.0
        file["line"] = rng.normal(size=70_000)
        file.create_dataset("k", data=rng.normal(size=(5, 7)), chunks=(2, 7))
        file.create_dataset("z", data=rng.normal(size=(5, 7)), chunks=(2, 3), compression="gzip", shuffle=True)
    data = path.read_bytes()
    path.write_bytes(bytes(size) + data if prepended else b"MATLAB 7.3 MAT-file".ljust(size, b"\0") + data[size:])
    tree = tree_of(path)
    assert tree.user_block == size
    for name, array in tree.arrays.items():
        assert not isinstance(array.layout, Elsewhere)
        assert np.array_equal(read_box(path, stamp_of(path), array, whole(array.shape)), stored(path, name))


def test_behind_a_user_block_bytes_that_cannot_tell_are_left_to_hdf5(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["zero"] = np.zeros((500, 70))
    # Zeros behind it, so that 512 bytes more or less make no difference.
    path.write_bytes(path.read_bytes() + bytes(512))
    array = tree_of(path).arrays["zero"]
    assert array.layout == Elsewhere("behind a user block, where its bytes are not found")
    assert not read_by_hdf5(path, "zero", whole(array.shape)).any()


def test_the_map_of_equal_chunks_is_one_number_each_for_size_and_mask(tmp_path):
    path = write_array(tmp_path / "a.h5", np.zeros((2048, 4), "f4"), "chunked", chunks=(1, 4))
    layout = tree_of(path).arrays["values"].layout
    assert isinstance(layout, Chunked)
    assert (layout.sizes.strides, layout.masks.strides) == ((0, 0), (0, 0))
    assert (layout.offsets.shape, layout.offsets.dtype) == ((2048, 1), np.int64)


def test_more_chunks_than_a_map_is_kept_of_are_left_to_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (2**40,), "f4", chunks=(1,))[7] = 1
    array = tree_of(path).arrays["values"]
    assert isinstance(array.layout, Elsewhere)
    assert read_by_hdf5(path, "values", Box((6,), (3,), (1,))).tolist() == [0, 1, 0]


def test_without_a_fill_value_chunks_never_written_are_left_to_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, rows, moment in (("whole", 4, h5py.h5d.FILL_TIME_NEVER), ("part", 2, h5py.h5d.FILL_TIME_NEVER)):
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_chunk((2,))
            settings.set_fill_time(moment)
            space = h5py.h5s.create_simple((4,))
            h5py.Dataset(h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, dcpl=settings))[:rows] = 1
    arrays = tree_of(path).arrays
    assert isinstance(arrays["whole"].layout, Chunked)
    assert arrays["part"].layout == Elsewhere("chunks never written, and no fill value")


@pytest.mark.parametrize("packing", ["shuffle", "deflate"])
def test_chunks_at_the_ends_that_were_not_packed_are_left_to_hdf5(tmp_path, packing):
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        library = ctypes.CDLL(next(line.split()[-1] for line in lines if "/libhdf5" in line and "_hl" not in line))
    except (OSError, StopIteration):
        pytest.skip("the HDF5 library of h5py is not found")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4, 4))
        # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS, of which h5py knows nothing.
        assert library.H5Pset_chunk_opts(ctypes.c_int64(settings.id), ctypes.c_uint(2)) == 0
        settings.set_shuffle() if packing == "shuffle" else settings.set_deflate(4)
        space = h5py.h5s.create_simple((10, 10))
        values = np.random.default_rng(0).normal(size=(10, 10)).astype("f4")
        h5py.Dataset(h5py.h5d.create(file.id, b"values", h5py.h5t.IEEE_F32LE, space, dcpl=settings))[...] = values
    array = tree_of(path).arrays["values"]
    assert array.layout == Elsewhere("packed but for the chunks at the ends, as far as can be seen")
    assert np.array_equal(read_by_hdf5(path, "values", whole((10, 10))), values)


def test_a_chunk_outside_of_its_array_is_damage_and_not_the_fill_value(tmp_path):
    path = write_array(tmp_path / "a.h5", np.ones((6, 5), "f4"), "chunked", chunks=(2, 3))
    # Bytes, filters left out, and the first value along each axis and within a value.
    key = struct.pack("<IIQQQ", 24, 0, 4, 0, 0)
    data = path.read_bytes()
    assert data.count(key) == 1
    path.write_bytes(data.replace(key, struct.pack("<IIQQQ", 24, 0, 4 + 2**20, 0, 0)))
    # HDF5 itself reads zeros there.
    assert not stored(path)[4:, :3].any()
    with pytest.raises(OSError, match=f"^{path}: cannot be read as HDF5, array values: blocks lie outside of an array"):
        tree_of(path)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>not found</html>", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4096)]
)
def test_what_is_no_hdf5_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"^{path}: cannot be read as HDF5, .*; it is truncated or damaged"):
        tree_of(path)


def test_a_truncated_file_is_an_error_that_names_it(tmp_path):
    path = write_array(tmp_path / "a.h5", np.zeros((100, 100)), "contiguous")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OSError, match=f"^{path}: cannot be read as HDF5, .*truncated file"):
        tree_of(path)
    with pytest.raises(OSError, match=f"^{path}: cannot be read as HDF5, .*truncated file"):
        read_by_hdf5(path, "values", Box((0, 0), (1, 1), (1, 1)))


def test_a_file_that_is_not_there_or_a_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        tree_of(tmp_path / "a.h5")
    with pytest.raises(IsADirectoryError):
        tree_of(tmp_path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_file_that_another_process_writes_is_said_to_be_written(tmp_path, libver):
    path = tmp_path / "a.h5"
    code = f"""
        import h5py, os, sys
        file = h5py.File({str(path)!r}, "w", libver={libver!r})
        file["values"] = [1.0, 2.0]
        file.flush()
        print("written", flush=True)
        sys.stdin.read()
        os._exit(0)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(OSError, match=f"^{path}: is still being written"):
            tree_of(path)
        with pytest.raises(OSError, match=f"^{path}: is still being written"):
            read_by_hdf5(path, "values", Box((0,), (1,), (1,)))
    if libver == "latest":
        # Killed before it closed the file, which bears the mark of a writer from then on.
        with pytest.raises(OSError, match=f"^{path}: is still being written, or its writer was stopped.*h5clear"):
            tree_of(path)
