import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import arena_line, arena_maxwell, arena_smoke, formula
from sciml.data.formats import pdearena
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.numerics.domain import Domain


def test_smoke(tmp_path):
    found = open_set(arena_smoke(tmp_path / "some.h5"))
    assert (found.states, found.inputs) == (("u", "vx", "vy"), ("buo_y", "dt", "dx", "dy"))
    values = formula(3, (5, 6), steps=4)
    for i, name in enumerate(found.states):
        assert torch.equal(found.read(name, [2, 0]), torch.from_numpy(values[[2, 0]] + i))
    assert found.read("buo_y", [2, 0]).tolist() == [[0.4], [0.2]]
    assert found.domain == Domain.box((32.0, 32.0), (5, 6), "open")
    np.testing.assert_array_equal(found.times(np.array([1])), [0.2 * np.arange(4)])


def test_a_group_is_a_split(tmp_path):
    path = arena_smoke(tmp_path / "some.h5", modes=("valid", "test"))
    assert pdearena.splits(StoredFile(path)) == ("valid", "test")
    test = open_set(path, split="test")
    assert torch.equal(test.read("u", slice(None)), torch.from_numpy(formula(6, (5, 6), steps=4)[3:]))
    with pytest.raises(ValueError, match=r"some.h5: holds the splits valid, test; "):
        open_set(path)
    with pytest.raises(ValueError, match="got split 'train'"):
        open_set(path, split="train")
    with pytest.raises(ValueError, match="got split 'train', it holds valid, test"):
        pdearena.describe(StoredFile(path), "train")


def test_kuramoto_sivashinsky(tmp_path):
    found = open_set(arena_line(tmp_path / "some.h5"))
    assert (found.states, found.inputs) == (("u",), ("v", "dt", "dx"))
    assert found.variables["u"].long_name == "solution"
    assert torch.equal(found.read("u", [3, 1]), torch.from_numpy(formula(4, (8,), steps=5)[[3, 1]]))
    assert found.read("v", [3]).item() == 1.25
    np.testing.assert_allclose(found.times(np.array([0, 3])), np.outer([0.2, 0.23], np.arange(5)))
    assert found.domain.coordinates()[0].tolist() == (0.25 * np.arange(8)).tolist()
    assert found.notes == (
        "train holds no x; it is taken as 0, dx, 2 dx, ...",
        "train holds no times; they are taken as 0, dt, 2 dt, ...",
    )


def test_grids_that_differ_between_trajectories_give_no_domain(tmp_path):
    found = open_set(arena_line(tmp_path / "some.h5", dx=np.array([0.2, 0.2, 0.2, 0.21]), viscosity=False))
    assert found.inputs == ("dt", "dx")
    assert "the grid along x differs between samples; give `domain` where that matters" in found.notes
    assert found.domain == Domain.box((1.0,), (8,), "open", "cells")


def test_maxwell(tmp_path):
    found = open_set(arena_maxwell(tmp_path / "some.h5"))
    values = formula(2, (4, 4, 4), steps=3, channels=3, dtype=np.float32)
    assert torch.equal(found.read("d_field", [1, 0]), torch.from_numpy(values[[1, 0]]))
    assert torch.equal(found.read("h_field", [1], first=2, count=1), torch.from_numpy(values[[1], 2:] + 1))
    assert found.times(np.array([0])) is None
    assert "give `domain`" in found.notes[0]
    assert found.notes[1] == "test holds no times and no dt"


@pytest.mark.parametrize(
    ("write", "name", "values", "message"),
    [
        (arena_smoke, "vx", None, "has no array 'train/vx'"),
        (arena_smoke, "vy", np.zeros((3, 4, 5, 7)), "variables differ in points along y, .*'vy': 7"),
        (arena_smoke, "u", np.zeros((3, 4, 5)), r"variable u has shape \(3, 4, 5\).* need \(sample, time, x, y\)"),
        (arena_smoke, "t", np.zeros((3, 5)), r"train/t has shape \(3, 5\), need \(3, 4\)"),
        (arena_smoke, "x", np.zeros((3, 4)), r"train/x has shape \(3, 4\), need \(3, 5\)"),
        (arena_smoke, "buo_y", np.zeros(2), r"train/buo_y is float64 of shape \(2,\), need a number for each of 3"),
        (arena_smoke, "buo_y", np.array([b"a", b"b", b"c"]), r"train/buo_y is .S1 of shape \(3,\), need a number"),
        (arena_line, "pde_5-8", np.zeros((4, 5)), r"has shape \(4, 5\)"),
        (arena_line, "dt", np.zeros(5), "train/dt is float64"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_named(tmp_path, write, name, values, message):
    path = write(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        del file[f"train/{name}"]
        if values is not None:
            file[f"train/{name}"] = values
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_second_equation_is_noted(tmp_path):
    path = arena_line(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        file["train/pde_9-9"] = np.zeros((4, 9, 9))
    assert open_set(path).notes[0] == "train holds pde_5-8, pde_9-9; the first is taken, as by the published program"


def test_a_truncated_file_is_named(tmp_path):
    path = arena_smoke(tmp_path / "some.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(OSError, match=r"some.h5: .*truncated or damaged"):
        open_set(path)


def test_other_content_is_not_taken_for_pdearena(tmp_path):
    (tmp_path / "page.h5").write_text("<html>not found</html>")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["train/values"] = np.zeros((3, 4))
    assert not pdearena.recognises(StoredFile(tmp_path / "page.h5"))
    assert not pdearena.recognises(StoredFile(tmp_path / "other.h5"))


def test_two_splits_of_a_file_are_two_sets_though_they_have_as_many_samples(tmp_path):
    path = arena_smoke(tmp_path / "some.h5", modes=("train", "valid"))
    train, valid = (open_set(path, split=split) for split in ("train", "valid"))
    assert len(train) == len(valid)
    assert train.fingerprint == open_set(path, split="train").fingerprint != valid.fingerprint
