import h5py
import numpy as np
import pytest
import scipy.io
import torch

from data.formats.files_a import burgers_arrays, darcy_arrays, formula, mat_5, mat_73, navier_stokes_arrays
from sciml.data.formats import fno_mat
from sciml.data.set import open_set
from sciml.data.storage.arrays import Elsewhere
from sciml.data.storage.files import StoredFile

VERSIONS = pytest.mark.parametrize("write", [mat_73, mat_5], ids=["7.3", "5"])


def equal(found, values):
    return torch.equal(found, torch.from_numpy(np.ascontiguousarray(values)))


@VERSIONS
def test_burgers(tmp_path, write):
    found = open_set(write(tmp_path / "some.mat", burgers_arrays()))
    assert (found.inputs, found.targets, len(found)) == (("a",), ("u",), 5)
    assert equal(found.read("a", [4, 0, 2]), formula(5, (8,))[[4, 0, 2]])
    assert equal(found.read("u", slice(None)), formula(5, (8,)) + 0.5)
    assert found.notes == ("the file does not say on which grid its fields lie; give `domain` where that matters",)


@VERSIONS
def test_darcy_with_what_stands_beside_it(tmp_path, write):
    found = open_set(write(tmp_path / "some.mat", darcy_arrays()))
    assert [(name, info.role, info.shape) for name, info in found.variables.items()] == [
        ("coeff", "coefficient", (1, 5, 6)),
        ("sol", "target", (1, 5, 6)),
        ("visc", "parameter", (1,)),
    ]
    assert equal(found.read("coeff", [3, 1]), formula(4, (5, 6))[[3, 1]])
    assert equal(found.read("sol", [3, 1]), formula(4, (5, 6), dtype=np.float32)[[3, 1]] + np.float32(1))
    assert found.variables["sol"].dtype == torch.float32
    assert found.read("visc", [2]).item() == 0.25
    assert "left out: Kcoeff" in found.notes[1]


@VERSIONS
def test_navier_stokes_has_time_last(tmp_path, write):
    found = open_set(write(tmp_path / "some.mat", navier_stokes_arrays()))
    values = formula(3, (4, 6), steps=5)
    assert (found.inputs, found.states) == (("a",), ("u",))
    assert equal(found.read("u", [2, 0]), values[[2, 0]])
    assert equal(found.read("u", [1], first=1, count=2, stride=3), values[[1], 1::3])
    assert equal(found.read("a", [1]), values[[1], 0] - 100)
    assert found.times(np.array([0])).tolist() == [[0.5, 1.0, 1.5, 2.0, 2.5]]


@VERSIONS
def test_a_solution_alone_is_a_trajectory(tmp_path, write):
    arrays = {"u": navier_stokes_arrays()["u"]}
    found = open_set(write(tmp_path / "some.mat", arrays))
    assert (list(found.variables), found.times(np.array([0]))) == (["u"], None)
    assert equal(found.read("u", [2]), formula(3, (4, 6), steps=5)[[2]])


def test_version_73_is_read_by_position_and_version_5_through_its_library(tmp_path):
    new = fno_mat.describe(StoredFile(mat_73(tmp_path / "new.mat", burgers_arrays())))
    old = fno_mat.describe(StoredFile(mat_5(tmp_path / "old.mat", burgers_arrays())))
    assert not isinstance(new.arrays["u"].layout, Elsewhere)
    assert isinstance(old.arrays["u"].layout, Elsewhere)
    assert new.attributes == {}
    assert "MATLAB 5.0 MAT-file" in old.attributes["header"]


def test_compressed_files_of_version_73_are_read(tmp_path):
    path = mat_73(tmp_path / "some.mat", navier_stokes_arrays())
    with h5py.File(path, "r+") as file:
        values = file["u"][()]
        del file["u"]
        file.create_dataset("u", data=values, compression="gzip", shuffle=True, chunks=(2, 6, 4, 2))
    assert equal(open_set(path).read("u", [2, 0]), formula(3, (4, 6), steps=5)[[2, 0]])


def test_a_file_of_version_5_that_changed_is_read_again(tmp_path):
    path = mat_5(tmp_path / "some.mat", burgers_arrays())
    assert open_set(path).read("u", [0])[0, 0, 0] == 0.5
    mat_5(path, {name: values + 1 for name, values in burgers_arrays(6).items()})
    assert open_set(path).read("u", [0])[0, 0, 0] == 1.5


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "i8", "u2", "?"])
def test_types_of_version_5_stay(tmp_path, dtype):
    values = (formula(3, (4,))[:, 0] % 7).astype(dtype)
    found = open_set(mat_5(tmp_path / "some.mat", {"a": values, "u": values}))
    assert equal(found.read("a", slice(None)), values[:, None])


def test_octave_and_matlab_uncompressed_files_are_read(tmp_path):
    found = open_set(mat_5(tmp_path / "some.mat", burgers_arrays(), compressed=False))
    assert equal(found.read("u", [4]), formula(5, (8,))[[4]] + 0.5)


@VERSIONS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": None}, "has no arrays coeff and sol, and no u; it holds a "),
        ({"u": np.zeros((4, 8))}, "variables differ in samples, {'a': 5, 'u': 4}"),
        ({"u": np.zeros((5, 7))}, "variables differ in points along x, {'a': 8, 'u': 7}"),
        ({"u": np.zeros((5, 7, 3))}, "variables differ in points along x, {'a': 8, 'u': 7}"),
        ({"a": None}, r"u has shape .* there is no a, need \(sample, \*space, time\)"),
        ({"u": np.zeros((5, 8, 3)), "t": np.zeros((1, 4))}, "t has 4 values for 3 instants of u"),
        ({"u": np.zeros((5, 8, 3, 2))}, "variable a has shape"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_named(tmp_path, write, change, message):
    arrays = {name: values for name, values in (burgers_arrays() | change).items() if values is not None}
    path = write(tmp_path / "some.mat", arrays)
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_complex_values_of_version_5_are_refused(tmp_path):
    path = mat_5(tmp_path / "some.mat", {"a": np.zeros((3, 4)), "u": np.full((3, 4), 1j)})
    with pytest.raises(ValueError, match=r"some.mat: array u holds values of type complex128, need real numbers"):
        open_set(path).read("u", [0])


def test_text_and_cells_are_passed_over(tmp_path):
    extra = {"about": "made by hand", "cells": np.array([[1, "a"]], object)}
    path = tmp_path / "some.mat"
    scipy.io.savemat(path, burgers_arrays() | extra)
    assert list(open_set(path).variables) == ["a", "u"]
    with h5py.File(mat_73(tmp_path / "new.mat", burgers_arrays()), "r+") as file:
        file["about"] = np.frombuffer(b"made", np.uint8).astype(np.uint16)
        file["about"].attrs["MATLAB_class"] = np.bytes_("char")
    assert list(open_set(tmp_path / "new.mat").variables) == ["a", "u"]


@VERSIONS
@pytest.mark.parametrize("part", [0.01, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, write, part):
    path = write(tmp_path / "some.mat", navier_stokes_arrays(grid=(16, 16)))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(OSError, match=r"some.mat: .*truncated or damaged"):
        open_set(path)


def test_damage_inside_a_compressed_array_is_named(tmp_path):
    path = mat_5(tmp_path / "some.mat", burgers_arrays())
    content = bytearray(path.read_bytes())
    content[-40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"some.mat: cannot be read as a MATLAB file, .*damaged, copy it again"):
        open_set(path).read("u", slice(None))


def test_other_content_is_not_taken_for_matlab(tmp_path):
    (tmp_path / "page.mat").write_text("<html>not found</html>")
    assert not fno_mat.recognises(StoredFile(tmp_path / "page.mat"))
