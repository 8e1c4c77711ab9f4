"""Heaps of texts that are damaged are errors and no endless search; no heap that is whole is refused."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from sciml.data.storage.attributes import attributes_of
from sciml.data.storage.tree import tree_of

HEAP = b"GCOL"


def damaged(path, first=None, content=bytes(64)):
    """Write `content` into the first heap of a file: from byte `first` of it, else over its free space."""
    data = bytearray(path.read_bytes())
    heap = data.index(HEAP)
    place = heap + 16
    while first is None and data[place : place + 2] != bytes(2):
        place += 16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
    place = heap + first if first else place
    data[place : place + len(content)] = content
    path.write_bytes(data)


def asked(paths):
    """What `tree_of` says of each of these files, in a process that can be ended should it hang."""
    code = """
import sys
from pathlib import Path
from sciml.data.storage.tree import tree_of
for path in sys.stdin.read().splitlines():
    try:
        tree_of(Path(path))
        print("read")
    except OSError as error:
        print(str(error).replace(path, "PATH"))
"""
    reader = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(map(str, paths)), capture_output=True, text=True, timeout=60, check=True
    )
    return reader.stdout.splitlines()


def test_a_broken_heap_of_texts_is_an_error_that_names_the_file(tmp_path):
    paths = []
    for libver in ("earliest", "latest"):
        for user_block in (0, 512):
            for where in ("root", "array", "group"):
                for first, content in ((None, bytes(64)), (16, bytes(64)), (24, b"\xf0" + b"\xff" * 7)):
                    path = tmp_path / f"{len(paths)}.h5"
                    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as file:
                        file["array"], _ = np.zeros(3), file.create_group("group")
                        item = file if where == "root" else file[where]
                        item.attrs["text"], item.attrs["texts"] = "some words", ["a", "few", "more"]
                    damaged(path, first, content)
                    paths.append(path)
    said = asked(paths)
    assert len(said) == len(paths)
    for line in said:
        assert line.startswith("PATH: cannot be read as HDF5, a heap of texts at byte "), line
        assert line.endswith("; it is truncated or damaged, copy or generate it again")


def test_a_broken_heap_is_found_in_virtual_arrays_and_behind_links_to_other_files(tmp_path):
    virtual, other, linking = (tmp_path / name for name in ("virtual.h5", "other.h5", "linking.h5"))
    with h5py.File(virtual, "w") as file:
        file["source"] = np.zeros(4)
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(".", "source", (4,))
        file.create_virtual_dataset("values", layout)
    with h5py.File(other, "w") as file:
        file["values"] = np.zeros(4)
        file["values"].attrs["units"] = "m/s"
    with h5py.File(linking, "w") as file:
        file["away"] = h5py.ExternalLink("other.h5", "values")
    assert tree_of(linking).attributes["away"] == {"units": "m/s"}
    damaged(virtual)
    damaged(other)
    for line in asked([virtual, linking]):
        assert line.startswith("PATH: cannot be read as HDF5, a heap of texts at byte "), line


def texts_of(path):
    with h5py.File(path, "r") as file:
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in file.attrs.items()}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("user_block", [0, 1024])
def test_texts_written_anew_many_times_are_read_as_h5py_reads_them(tmp_path, libver, user_block):
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(3)
    # Opened again each time, so that heaps are left with holes, and lengths that leave less than the head of an object.
    for _ in range(4):
        with h5py.File(path, "a", libver=libver, **({} if path.exists() else {"userblock_size": user_block})) as file:
            for number in rng.integers(0, 200, 100).tolist():
                file.attrs[f"text{number}"] = "x" * int(rng.integers(0, 700))
            for number in rng.integers(0, 200, 20).tolist():
                file.attrs.pop(f"text{number}", None)
            file.attrs["long"], file.attrs["list"] = "y" * int(rng.integers(10**5, 10**6)), ["z" * 5000, "", "Ω"]
    assert path.read_bytes().count(HEAP) > 3
    assert tree_of(path).attributes[""] == texts_of(path)


def test_heaps_filled_to_every_last_byte_are_read(tmp_path):
    for free in range(0, 64, 4):
        path = tmp_path / f"{free}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["text"] = "x" * (4096 - 16 - 16 - free)
        assert tree_of(path).attributes[""] == texts_of(path)


def test_heaps_with_lengths_of_four_bytes_are_read(tmp_path):
    path = tmp_path / "a.h5"
    settings = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    settings.set_sizes(4, 4)
    with h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, fcpl=settings)) as file:
        for number in range(100):
            file.attrs[f"text{number}"] = "x" * 37 * number
    assert tree_of(path).attributes[""] == texts_of(path)


def test_bytes_that_look_like_a_broken_heap_do_not_matter_outside_of_heaps(tmp_path):
    path = tmp_path / "a.h5"
    false = HEAP + bytes([1, 0, 0, 0]) + (4096).to_bytes(8, "little") + bytes(64)
    with h5py.File(path, "w") as file:
        file.attrs["text"], file.attrs["bytes"] = "words", np.frombuffer(false, "u1")
        file.attrs["fixed"] = np.bytes_(false[:5])
        file["GCOL"], file["plain"] = np.zeros(3), np.frombuffer(false, "u1")
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((len(false),))
        compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_UINT8, space, dcpl=settings)
        h5py.Dataset(compact)[...] = np.frombuffer(false, "u1")
    assert path.read_bytes().count(HEAP) > 4
    tree = tree_of(path)
    assert tree.attributes[""] == {"text": "words", "bytes": list(false), "fixed": "GCOL\x01"}
    assert set(tree.arrays) == {"GCOL", "plain", "compact"}


def test_files_of_xarray_are_read(tmp_path):
    path = tmp_path / "a.nc"
    names = {f"text{i}": "x" * 29 * i for i in range(40)}
    values = xarray.DataArray(np.zeros((2, 3)), dims=("t", "x"), attrs=names, coords={"x": [0.0, 1.0, 2.0]})
    xarray.Dataset({"values": values}, attrs=names).to_netcdf(path, engine="h5netcdf")
    tree = tree_of(path)
    assert names.items() <= tree.attributes[""].items()
    assert names.items() <= tree.attributes["values"].items()


def test_every_group_and_array_has_its_own_attributes(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in ("a", "a/b", "a/b/c"):
            file.create_group(name).attrs["name"] = name
            file[f"{name}/values"] = np.zeros(2)
            file[f"{name}/values"].attrs["name"] = f"{name}/values"
        file["soft"], file["again"] = h5py.SoftLink("/a/b/values"), file["a/b"]
    found = tree_of(path).attributes
    assert {path: own["name"] for path, own in found.items() if own} == {
        **{name: name for name in ("a", "a/b", "a/b/c", "a/values", "a/b/values", "a/b/c/values")},
        "soft": "a/b/values", "again": "a/b", "again/values": "a/b/values",
        "again/c": "a/b/c", "again/c/values": "a/b/c/values",
    }  # fmt: skip
    # One entry for each object, whatever leads to it.
    assert len(attributes_of(Path(path))) == 7
