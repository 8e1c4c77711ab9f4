import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import formula
from data.formats.files_b import cut, pbdl, web_page
from sciml.data.formats import pbdl as format_pbdl
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.numerics.domain import Domain

VALUES = torch.from_numpy(formula(3, (4, 6), steps=4, channels=4, dtype=np.float32))


def test_fields_by_the_scheme(tmp_path):
    found = open_set(pbdl(tmp_path / "d.hdf5"))
    assert (len(found), found.states, found.inputs) == (3, ("Velocity", "Density", "Pressure"), ("Nu",))
    assert torch.equal(found.read("Velocity", [2, 0]), VALUES[[2, 0], :, :2])
    assert torch.equal(found.read("Density", [2, 0], first=1, count=2), VALUES[[2, 0], 1:3, 2:3])
    assert torch.equal(found.read("Pressure", [2, 2, 1]), VALUES[[2, 2, 1], :, 3:])
    np.testing.assert_allclose(found.read("Nu", [2, 0]), [[0.3], [0.1]])
    assert found.domain == Domain.box((2.0, 2.0), (4, 6), ["periodic", "open"], "cells")
    assert found.times(np.array([1])).tolist() == [[0.0, 0.25, 0.5, 0.75]]
    assert found.attributes["PDE"] == "Navier-Stokes"
    assert len(found.notes) == 2


def test_simulations_of_different_length(tmp_path):
    found = open_set(pbdl(tmp_path / "d.hdf5", lengths=(4, 2, 3)))
    assert found.steps.tolist() == [4, 2, 3]
    assert torch.equal(found.read("Velocity", [1]), VALUES[[1], :2, :2])
    assert torch.equal(
        found.read("Velocity", [2, 1], first=np.array([1, 0]), count=2), torch.stack([VALUES[2, 1:3, :2], VALUES[1, :2, :2]])
    )
    np.testing.assert_array_equal(found.times(np.array([1])), [[0.0, 0.25, np.nan, np.nan]])
    with pytest.raises(ValueError, match=r"row 1: got instants 1 to 2 with stride 1, there are 0 to 1"):
        found.read("Velocity", [1], first=1, count=2)


def test_letters_apart_are_one_vector_and_simulations_come_by_number(tmp_path):
    found = open_set(pbdl(tmp_path / "d.hdf5", scheme="VdVp", fields=["Velocity", "Density", "Pressure"]))
    assert torch.equal(found.read("Velocity", [2, 0]), VALUES[[2, 0]][:, :, [0, 2]])
    many = open_set(pbdl(tmp_path / "e.hdf5", lengths=(2,) * 12, scheme="a", fields=["a"]))
    assert many.read("a", slice(None))[:, 0, 0, 0, 0].tolist() == [1000.0 * i for i in range(12)]


def test_what_the_file_does_not_say(tmp_path):
    bare = {"Dt": None, "Domain Extent": None, "Constants": None, "Boundary Conditions": None}
    found = open_set(pbdl(tmp_path / "d.hdf5", **bare))
    assert (found.inputs, found.times(np.array([0]))) == ((), None)
    assert found.domain == Domain.box((1.0, 1.0), (4, 6), "open", "cells")
    assert found.notes == (
        "the file does not say on which grid its fields lie (Domain Extent is None); give `domain`",
        "the file does not say its times (Dt is None)",
    )
    long = open_set(pbdl(tmp_path / "e.hdf5", **{"Domain Extent": [2.0, 3.0], "Boundary Conditions": "periodic"}))
    assert long.domain == Domain.box((2.0, 3.0), (4, 6), "periodic", "cells")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shapes": ((4, 6), (4, 6), (4, 5))},
            r"sims/sim2 is float32 of shape \(4, 4, 4, 5\), sims/sim0 .*; need the same channels and grid",
        ),
        ({"Fields Scheme": "VVd"}, "Fields Scheme is 'VVd', the simulations have 4 channels, need a letter for each"),
        ({"Fields Scheme": None}, "sims has no attribute Fields Scheme"),
        ({"Fields": ["a", "b"]}, r"Fields is \['a', 'b'\], need a name for each channel of 'VVdp' or for each letter"),
        ({"Fields": ["a", "b", "c", "c"]}, "two fields are called 'c'"),
        ({"Constants": ["Nu", "Re"]}, "sims/sim0 has Re = None, which Constants names; need a number"),
        ({"Fields": ["Nu", "Nu", "b", "c"]}, "Nu is a field and a constant"),
    ],
)
def test_contradictions_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=f"d.hdf5: {message}"):
        open_set(pbdl(tmp_path / "d.hdf5", **options))


def test_other_versions_and_damaged_files_are_named(tmp_path):
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["sims/sim0/0"] = np.zeros((2, 4, 4))
        file["sims"].attrs["Fields Scheme"] = "ab"
    with pytest.raises(ValueError, match=r"d.hdf5: sims/sim0 is a group \(an array per frame\), need simulations"):
        open_set(tmp_path / "d.hdf5")
    with h5py.File(tmp_path / "e.hdf5", "w") as file:
        file["sims/sim0"] = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"e.hdf5: sims/sim0 has shape \(2, 4\), need \(time, channel, \*space\)"):
        open_set(tmp_path / "e.hdf5")
    with pytest.raises(OSError, match=r"f.hdf5: cannot be read as HDF5"):
        open_set(cut(pbdl(tmp_path / "f.hdf5"), 0.6))
    with pytest.raises(ValueError, match=r"g.hdf5: is a web page"):
        open_set(web_page(tmp_path / "g.hdf5"))
    assert not format_pbdl.splits(StoredFile(tmp_path / "e.hdf5"))
