import h5py
import numpy as np
import pytest
import torch
import xarray

from data.formats.files_a import formula
from data.formats.files_b import cut, poseidon, web_page
from sciml.data.formats import poseidon as format_poseidon
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile

VALUES = formula(3, (4, 6), steps=5, channels=4, dtype=np.float32)
TENSOR = torch.from_numpy(VALUES)


@pytest.mark.parametrize("name", ["velocity", "data", "solution"])
def test_flows(tmp_path, name):
    found = open_set(poseidon(tmp_path / "NS.nc", **{name: VALUES}))
    assert (len(found), found.states, found.inputs) == (3, (name,), ())
    assert torch.equal(found.read(name, [2, 0]), TENSOR[[2, 0]])
    assert torch.equal(found.read(name, [2, 0], first=1, count=2, stride=3), TENSOR[[2, 0], 1::3])
    assert found.notes[0] == "the file does not say what its axes are; they are taken as sample, time, channel, x, y"
    assert len(found.notes) == 3


def test_waves_and_reactions(tmp_path):
    found = open_set(poseidon(tmp_path / "Wave.nc", solution=VALUES[:, :, 1], c=VALUES[:, 0, 0]))
    assert (found.states, found.inputs) == (("solution",), ("c",))
    assert torch.equal(found.read("solution", [2, 0]), TENSOR[[2, 0], :, 1:2])
    assert torch.equal(found.read("c", [2, 0]), TENSOR[[2, 0], 0, :1])
    reaction = open_set(poseidon(tmp_path / "ACE.nc", solution=VALUES[:, :, 1]))
    assert torch.equal(reaction.read("solution", [2, 0]), TENSOR[[2, 0], :, 1:2])


def test_steady_problems(tmp_path):
    found = open_set(poseidon(tmp_path / "Poisson.nc", source=VALUES[:, 0, 0], solution=VALUES[:, 0, 1]))
    assert (found.inputs, found.targets) == (("source",), ("solution",))
    assert torch.equal(found.read("solution", [2, 0]), TENSOR[[2, 0], 0, 1:2])
    airfoil = open_set(poseidon(tmp_path / "SE-AF.nc", solution=VALUES[:, :2, 0]))
    assert (airfoil.inputs, airfoil.targets) == (("shape",), ("solution",))
    assert torch.equal(airfoil.read("shape", [2, 0]), TENSOR[[2, 0], 0, :1])
    assert torch.equal(airfoil.read("solution", [2, 0]), TENSOR[[2, 0], 1, :1])


def test_other_files_with_such_names_are_none_of_its(tmp_path):
    for name, arrays in {
        "d.h5": {"velocity": VALUES},
        "a.nc": {"velocity": VALUES, "other": VALUES},
        "b.nc": {"data": VALUES[0]},
        "c.nc": {"pressure": VALUES},
    }.items():
        assert not format_poseidon.recognises(StoredFile(poseidon(tmp_path / name, **arrays)))
    data = xarray.Dataset({"velocity": (("sample", "time", "channel", "lat", "lon"), VALUES)}, {"lat": np.arange(4.0)})
    data.to_netcdf(tmp_path / "e.nc", engine="h5netcdf")
    assert not format_poseidon.recognises(StoredFile(tmp_path / "e.nc"))
    assert torch.equal(open_set(tmp_path / "e.nc").read("velocity", [1]), TENSOR[[1]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"source": VALUES[:, 0, 0], "solution": VALUES[:2, 0, 0]},
            "variables differ in samples, {'source': 3, 'solution': 2}",
        ),
        ({"solution": VALUES[:, :, 0], "c": VALUES[:, 0, 0, :3]}, "variables differ in points along x"),
        (
            {"solution": VALUES[:, :, 0], "c": VALUES[0, 0, 0]},
            r"variable c has shape \(4, 6\) \(array c\), need \(sample, x, y\)",
        ),
        ({"velocity": VALUES[:0]}, "empty axis|no samples"),
    ],
)
def test_contradictions_are_named(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=rf"d.nc: .*({message})"):
        open_set(poseidon(tmp_path / "d.nc", **arrays))


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(OSError, match=r"d.nc: cannot be read as HDF5"):
        open_set(cut(poseidon(tmp_path / "d.nc", velocity=VALUES), 0.5))
    with pytest.raises(ValueError, match=r"e.nc: is a web page"):
        open_set(web_page(tmp_path / "e.nc"))
    with h5py.File(tmp_path / "f.nc", "w") as file:
        file["velocity"] = np.full(VALUES.shape, b"x")
    with pytest.raises(ValueError, match=r"f.nc: variable velocity has values of type \|S1, need numbers"):
        open_set(tmp_path / "f.nc")
