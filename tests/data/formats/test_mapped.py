import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import formula
from sciml.data.formats.mapped import Mapped, describe_mapped, how_to_map, read_mapping
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.numerics.domain import Domain

VELOCITY = Mapped("run/u", ("time", "sample", "y", "x", "channel"), "state", "m/s", "velocity")
MAPPING = {
    "velocity": VELOCITY,
    "depth": Mapped("run/h", ("-", "x", "y"), "coefficient"),
    "Re": Mapped("Re", ("sample",), "parameter"),
}


@pytest.fixture
def file(tmp_path):
    """Samples second, x behind y, channels last; one depth for all samples."""
    velocity = formula(3, (5, 6), steps=4, channels=2)
    with h5py.File(tmp_path / "mine.h5", "w") as opened:
        opened["run/u"] = velocity.transpose(1, 0, 4, 3, 2)
        opened["run/h"] = formula(1, (5, 6))[:, 0]
        opened["run/t"] = 0.5 * np.arange(4)
        opened["run/name"] = "first"
        opened["Re"] = 100.0 * np.arange(3)
    return StoredFile(tmp_path / "mine.h5")


def test_a_mapping_puts_every_axis_in_its_place(file):
    found = open_set(file.path, mapping=MAPPING)
    assert list(found.variables) == ["velocity", "depth", "Re"]
    info = found.variables["velocity"]
    assert (info.role, info.units, info.long_name, info.shape, info.steps) == ("state", "m/s", "velocity", (2, 5, 6), 4)
    assert torch.equal(found.read("velocity", [2, 0]), torch.from_numpy(formula(3, (5, 6), steps=4, channels=2)[[2, 0]]))
    assert torch.equal(found.read("depth", [2, 1]), torch.from_numpy(formula(1, (5, 6))[[0, 0]]))
    assert found.read("Re", slice(None)).tolist() == [[0.0], [100.0], [200.0]]
    assert found.made_up
    assert found.notes[0] == "all samples share depth, as the mapping names no axis of samples there"


def test_times_are_read_where_they_are_named(file):
    assert describe_mapped(file, MAPPING).times is None
    np.testing.assert_array_equal(describe_mapped(file, MAPPING, time="run/t").times, [0, 0.5, 1, 1.5])
    with pytest.raises(
        ValueError, match=r"mine.h5: times Re are float64 of shape \(3,\), need numbers of shape \(4,\) or \(3, 4\)"
    ):
        describe_mapped(file, MAPPING, time="Re")
    with pytest.raises(ValueError, match="got the times run/t, but no variable of the mapping has an axis of time"):
        describe_mapped(file, {"Re": MAPPING["Re"]}, time="run/t")


@pytest.mark.parametrize(
    ("meant", "message"),
    [
        (Mapped("run/v", VELOCITY.axes, "state"), r"has no array 'run/v', there are .*run/u \(4, 3, 6, 5, 2\).*names it for w"),
        (Mapped("run/name", ("sample",), "state"), "array run/name has values of type strings.*names it for w"),
        (
            Mapped("run/u", ("sample", "time", "x"), "state"),
            r"w has shape \(4, 3, 6, 5, 2\) \(array run/u\), need \(sample, time, x\)",
        ),
        (Mapped("run/u", ("time", "sample", "-", "x", "y"), "state"), "need 1 along the axis to drop"),
        (
            Mapped("run/u", ("time", "sample", "x", "y", "channel"), "state"),
            "differ in points along y, {'velocity': 6, 'depth': 6, 'w': 5",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_what_there_is(file, meant, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_set(file.path, mapping=MAPPING | {"w": meant})
    assert str(caught.value).startswith(f"{file.path}: ")


def test_an_entry_that_means_nothing_is_refused(file):
    for axes, message in (
        (("sample", "width"), "axes: got 'width', need some of sample, time"),
        (("sample", "x", "x"), "axes: got 'x' 2 times"),
        (("sample", "y"), "axes: got y for space, need x"),
    ):
        with pytest.raises(ValueError, match=message):
            Mapped("u", axes, "state")
    with pytest.raises(ValueError, match="got a mapping without variables"):
        describe_mapped(file, {})


TOML = """
time = "run/t"

[velocity]
array = "run/u"
axes = ["time", "sample", "y", "x", "channel"]
role = "state"
units = "m/s"
long_name = "velocity"
"""


def test_a_mapping_is_read_from_toml(tmp_path):
    (tmp_path / "mapping.toml").write_text(TOML)
    assert read_mapping(tmp_path / "mapping.toml") == {"velocity": VELOCITY, "time": Mapped("run/t", ("time",), "parameter")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[velocity]", "[velocity"), "mapping.toml: is no TOML"),
        ((TOML, ""), "holds no variable, need a table for each"),
        ((TOML, "velocity = 3"), "key velocity is 3, need a table"),
        (('role = "state"\n', ""), "variable velocity lacks the key 'role'"),
        (("units", "unit"), "variable velocity has the unknown key 'unit', there are array, axes, role"),
        (('"sample", ', '"sample", 3, '), "variable velocity has axes .*, need a list of names"),
        (('"m/s"', "5"), "variable velocity has units 5, need text"),
        (('role = "state"', 'role = "answer"'), "mapping.toml: variable velocity has role 'answer', need one of input"),
        (('"y", "x"', '"y", "w"'), "mapping.toml: variable velocity, axes: got 'w'"),
    ],
)
def test_a_mapping_that_cannot_be_is_named_by_key(tmp_path, change, message):
    (tmp_path / "mapping.toml").write_text(TOML.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_mapping(tmp_path / "mapping.toml")


def test_a_mapping_in_toml_may_give_the_domain(file, tmp_path):
    domain = Domain.box((2.0, 3.0), (5, 6), "neumann", origin=(1.0, 0.0))
    table = "[domain]\nlengths = [2, 3]\npoints = [5, 6]\nsides = 'neumann'\norigin = [1, 0]\n"
    (tmp_path / "mapping.toml").write_text(TOML + table)
    assert open_set(file.path, mapping=tmp_path / "mapping.toml").domain == domain
    other = Domain.box((1.0, 1.0), (5, 6), "dirichlet")
    assert open_set(file.path, mapping=tmp_path / "mapping.toml", domain=other).domain == other
    (tmp_path / "mapping.toml").write_text(TOML + table.replace("[5, 6]", "[6, 5]"))
    with pytest.raises(ValueError, match="domain"):
        open_set(file.path, mapping=tmp_path / "mapping.toml")
    (tmp_path / "mapping.toml").write_text(TOML + table.replace("neumann", "warm"))
    with pytest.raises(ValueError, match=r"mapping.toml: domain: sides: got condition 'warm'"):
        open_set(file.path, mapping=tmp_path / "mapping.toml")


def test_the_error_for_unknown_hdf5_shows_a_mapping_that_works(file, tmp_path):
    message = how_to_map(file)
    assert "run/u (4, 3, 6, 5, 2)" in message
    assert "variable Re has role None, need an attribute role with one of input" in message
    line = message[message.rindex("u = {") :]
    assert line == 'u = { array = "run/u", axes = ["sample", "time", "channel", "x", "y"], role = "state" }'
    (tmp_path / "mapping.toml").write_text(line)
    assert open_set(file.path, mapping=read_mapping(tmp_path / "mapping.toml")).variables["u"].sample_shape == (3, 6, 5, 2)
    with pytest.raises(ValueError, match=r"is HDF5 of no known format\. It holds "):
        open_set(file.path)
