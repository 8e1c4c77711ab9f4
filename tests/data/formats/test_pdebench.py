import re

import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import (
    formula,
    pdebench_darcy,
    pdebench_fluid,
    pdebench_incompressible,
    pdebench_line,
    pdebench_seeds,
)
from sciml.data.formats import pdebench
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.data.stream import stream
from sciml.numerics.domain import Domain


def equal(found, values):
    return torch.equal(found, torch.from_numpy(values))


@pytest.mark.parametrize("numbers", [{"beta": 0.4}, {"Nu": 0.01}, {"Nu": 0.5, "rho": 2.0}])
def test_one_unknown_on_a_line(tmp_path, numbers):
    found = open_set(pdebench_line(tmp_path / "some.hdf5", **numbers))
    values = formula(20, (8,), steps=4, dtype=np.float32)
    assert (found.states, found.inputs) == (("tensor",), tuple(numbers))
    assert equal(found.read("tensor", [3, 19, 0]), values[[3, 19, 0]])
    assert equal(found.read("tensor", [7], first=1, count=2, stride=2), values[[7], 1::2])
    for name, value in numbers.items():
        assert found.read(name, [0, 19]).tolist() == [[value]] * 2
    assert found.domain == Domain.box((1.0,), (8,), "open", "cells")


def test_a_time_more_than_there_are_frames_is_left_out(tmp_path):
    found = open_set(pdebench_line(tmp_path / "a.hdf5", times=5))
    np.testing.assert_array_equal(found.times(np.array([0])), [[0, 0.25, 0.5, 0.75]])
    assert found.notes == ("t-coordinate has 5 values for 4 instants; the last, 1, belongs to none",)
    assert open_set(pdebench_line(tmp_path / "b.hdf5", times=4)).notes == ()
    for times in (3, 6):
        path = pdebench_line(tmp_path / "c.hdf5", times=times)
        with pytest.raises(
            ValueError, match=f"c.hdf5: t-coordinate has {times} values for 4 instants, need as many, or one more"
        ):
            open_set(path)


def test_files_with_one_array_test_on_the_first_tenth(tmp_path):
    path = pdebench_line(tmp_path / "some.hdf5")
    values = formula(20, (8,), steps=4, dtype=np.float32)
    assert pdebench.splits(StoredFile(path)) == ("train", "test")
    assert equal(open_set(path, split="test").read("tensor", slice(None)), values[:2])
    train = open_set(path, split="train")
    assert equal(train.read("tensor", slice(None)), values[2:])
    assert equal(train.read("tensor", [17, 3], first=1, count=1), values[[19, 5], 1:2])
    with pytest.raises(ValueError, match=r"some.hdf5: got split 'valid', its files hold train, test$"):
        open_set(path, split="valid")
    few = pdebench_line(tmp_path / "few.hdf5", samples=9)
    with pytest.raises(ValueError, match=r"few.hdf5: of 9 samples none is in the split test, the first 10 %"):
        open_set(few, split="test")


def test_darcy(tmp_path):
    path = pdebench_darcy(tmp_path / "some.hdf5")
    found = open_set(path, split="test")
    values = formula(20, (6, 7), dtype=np.float32)
    assert (found.inputs, found.targets, found.states) == (("nu", "beta"), ("tensor",), ())
    assert found.variables["nu"].role == "coefficient"
    assert equal(found.read("nu", [1, 0]), values[[1, 0]] + np.float32(0.5))
    assert equal(found.read("tensor", [1, 0]), values[[1, 0]])
    assert found.domain == Domain.box((1.0, 1.0), (6, 7), "open", "cells")


@pytest.mark.parametrize("grid", [(8,), (4, 6), (3, 4, 5)])
def test_compressible_flow(tmp_path, grid):
    found = open_set(pdebench_fluid(tmp_path / "some.hdf5", grid=grid), split="train")
    names = ("density", "pressure", "Vx", "Vy", "Vz")[: 2 + len(grid)]
    assert found.states == names
    assert found.inputs == (("eta", "zeta", "M") if len(grid) > 1 else ("eta", "zeta"))
    values = formula(20, grid, steps=3, dtype=np.float32)
    for i, name in enumerate(names):
        assert equal(found.read(name, [17, 0]), values[[19, 2]] + i)
    assert found.domain == Domain.box([1.0] * len(grid), grid, "open", "cells")
    np.testing.assert_allclose(found.times(np.array([5])), [[0, 0.1, 0.2]])


@pytest.mark.parametrize(("grid", "channels", "storage"), [((8,), 1, {}), ((4, 6), 2, {"compression": "lzf"}), ((4, 6), 1, {})])
def test_a_group_per_seed(tmp_path, grid, channels, storage):
    path = pdebench_seeds(tmp_path / "some.h5", grid=grid, channels=channels, **storage)
    found = open_set(path)
    values = formula(20, grid, steps=3, channels=channels, dtype=np.float32)
    assert (len(found), found.states) == (20, ("data",))
    assert equal(found.read("data", [11, 2, 11]), values[[11, 2, 11]])
    assert equal(found.read("data", [4, 5], first=1, count=2), values[[4, 5], 1:])
    assert found.domain == Domain.box([2.0] * len(grid), grid, "open", "cells", [-1.0] * len(grid))
    np.testing.assert_allclose(found.times(np.array([19])), [[0, 0.05, 0.1]], rtol=1e-6)
    assert found.attributes["config"] == {"sim": {"k": 0.005}}
    # Files with a group per seed test on the last tenth.
    assert equal(open_set(path, split="test").read("data", slice(None)), values[18:])
    assert equal(open_set(path, split="train").read("data", slice(None)), values[:18])


def test_settings_that_are_no_yaml_are_kept_as_text(tmp_path):
    text = "sim: [1, 2\nother: }"
    found = open_set(pdebench_seeds(tmp_path / "some.h5", config=text))
    assert found.attributes["config"] == text
    assert re.match("attribute config is no YAML .* kept as text", found.notes[0])


def test_incompressible_flow(tmp_path):
    path = pdebench_incompressible(tmp_path / "some.h5")
    found = open_set(path)
    assert pdebench.splits(StoredFile(path)) == ()
    assert (found.states, found.inputs, len(found)) == (("velocity", "particles"), ("force",), 3)
    assert equal(found.read("velocity", [2, 0]), formula(3, (4, 6), steps=4, channels=2, dtype=np.float32)[[2, 0]])
    assert equal(found.read("particles", [1]), formula(3, (4, 6), steps=4, dtype=np.float32)[[1]])
    assert equal(found.read("force", [1]), formula(3, (4, 6), channels=2, dtype=np.float32)[[1]])
    np.testing.assert_array_equal(found.times(np.array([1])), [[0, 0.5, 1, 1.5]])
    assert found.attributes["config"] == {"NU": 0.01, "seed": 3}


def test_frames_that_a_run_did_not_reach_are_left_out(tmp_path):
    found = open_set(pdebench_incompressible(tmp_path / "a.h5", written=3))
    assert found.steps.tolist() == [3, 3, 3]
    assert equal(found.read("velocity", [2]), formula(3, (4, 6), steps=4, channels=2, dtype=np.float32)[[2], :3])
    assert found.times(np.array([0])).tolist() == [[0, 0.5, 1]]
    assert found.notes[0] == "latestIndex is 2: 3 of 4 instants were written, the others are left out"
    path = pdebench_incompressible(tmp_path / "b.h5", written=0)
    with pytest.raises(ValueError, match=r"b.h5: attribute latestIndex is -1, no frame of it was written"):
        open_set(path)


def replaced(name, values):
    def change(file):
        del file[name]
        if values is not None:
            file[name] = values

    return change


@pytest.mark.parametrize(
    ("write", "change", "message"),
    [
        (pdebench_line, replaced("x-coordinate", None), "has no array 'x-coordinate', there are t-coordinate"),
        (pdebench_line, replaced("t-coordinate", None), "has no array 't-coordinate'"),
        (pdebench_line, replaced("x-coordinate", np.arange(7.0)), "coordinate x has 7 values, the fields 8 points along x"),
        (pdebench_line, replaced("x-coordinate", np.zeros((8, 1))), r"x-coordinate is float64 of shape \(8, 1\), need numbers"),
        (pdebench_line, replaced("tensor", np.zeros((20, 4))), r"tensor has shape \(20, 4\), need \(sample, time, x\)"),
        (pdebench_line, replaced("tensor", np.zeros((20, 4, 8), "S1")), "tensor has values of type"),
        (pdebench_darcy, replaced("nu", np.zeros((19, 6, 7))), "variables differ in samples, {'nu': 19, 'tensor': 20}"),
        (pdebench_darcy, replaced("nu", np.zeros((20, 6, 6))), "variables differ in points along y, {'nu': 6, 'tensor': 7}"),
        (pdebench_darcy, replaced("tensor", None), "has no array 'density'|no known format"),
        (pdebench_fluid, replaced("pressure", None), "has no array 'pressure'"),
        (pdebench_fluid, replaced("Vy", np.zeros((20, 2, 4, 6))), "variables differ in instants, .*'Vy': 2"),
        (pdebench_fluid, replaced("y-coordinate", np.zeros(1)), "coordinate y has 1 values"),
        (
            pdebench_seeds,
            replaced("0007/data", np.zeros((3, 4, 6, 1))),
            r"group 0007 has data of shape .*, group 0000 of shape",
        ),
        (pdebench_seeds, replaced("0007/data", None), "has no array '0007/data'"),
        (pdebench_seeds, replaced("0007/data", np.zeros((3, 4, 6, 2))), "array 0007/data is float64 .*need all alike"),
        (pdebench_seeds, replaced("0000/grid/t", np.zeros(7)), "0000/grid/t has 7 values for 3 instants"),
        (pdebench_incompressible, replaced("t", None), "has no array 't'"),
        (pdebench_incompressible, replaced("t", np.zeros((3, 5))), r"t has shape \(3, 5\), need \(3, 4\)"),
        (pdebench_incompressible, replaced("force", np.zeros((3, 5, 6, 2))), "variables differ in points along x"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_named(tmp_path, write, change, message):
    path = write(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("write", [pdebench_line, pdebench_seeds, pdebench_incompressible])
def test_a_truncated_file_is_named(tmp_path, write):
    path = write(tmp_path / "some.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(OSError, match=r"some.h5: .*truncated or damaged"):
        open_set(path)


def test_other_content_is_not_taken_for_pdebench(tmp_path):
    (tmp_path / "page.h5").write_text("<html>not found</html>")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["tensor"], file["0000/values"] = np.zeros((3, 4)), np.zeros(3)
    assert not pdebench.recognises(StoredFile(tmp_path / "page.h5"))
    assert not pdebench.recognises(StoredFile(tmp_path / "other.h5"))


def test_a_stream_names_the_split_of_a_bad_sample(tmp_path):
    path = pdebench_line(tmp_path / "some.hdf5")
    with h5py.File(path, "r+") as file:
        file["tensor"][3, 2, 5] = np.nan
    message = r"some.hdf5: variable tensor, sample 1 of split train of this file holds nan at \(2, 0, 5\)"
    with pytest.raises(ValueError, match=message):
        list(stream(path, split="train", batch_size=4))


def test_numbers_stored_as_lists_of_one_are_numbers(tmp_path):
    found = open_set(pdebench_line(tmp_path / "some.hdf5", Nu=np.array([0.25])))
    assert found.read("Nu", [0, 19]).tolist() == [[0.25], [0.25]]
