import json

import h5py
import numpy as np
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.files_a import formula, ours
from data.small_sets import DOMAIN, VARIABLES, values_of, write_shard
from sciml.data.formats import hdf5
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.numerics.domain import Domain

BOX = {"complete": 1, "domain": json.dumps(Domain.box((4.0, 5.0), (5, 6), "open").to_dict())}
STATE = {"role": "state", "units": "m", "long_name": "height", "layout": "field", "time_varying": 1}


def fields(samples=3, steps=4, grid=(5, 6), channels=2):
    return formula(samples, grid, steps=steps, channels=channels)


def test_a_file_without_time_is_described_as_it_was_written(tmp_path):
    write_shard(tmp_path / "some.h5", range(4))
    found = hdf5.describe(StoredFile(tmp_path / "some.h5"))
    assert tuple(found.variables.values()) == VARIABLES
    assert (found.samples, found.domain, found.steps, found.times, found.notes) == (4, DOMAIN, None, None, ())
    assert found.attributes["seed"] == 3
    assert torch.equal(open_set(tmp_path / "some.h5").read("u", [3, 1]), values_of([3, 1])["u"].float())


def test_everything_that_changes_in_time_is_read(tmp_path):
    positions = np.moveaxis(formula(3, (7,), steps=4, channels=2), 2, -1)
    path = ours(
        tmp_path / "timed.h5",
        {
            "u": (fields(), STATE),
            "energy": (formula(3, steps=4, channels=2), {"role": "state", "layout": "series", "time_varying": 1}),
            "r": (positions, {"role": "state", "layout": "particles", "time_varying": 1}),
            "mass": (positions[:, 0], {"role": "coefficient", "layout": "particles", "time_varying": 0}),
            "k": (formula(3, (5, 6)), {"role": "coefficient"}),
            "Re": (formula(3), {"role": "parameter"}),
        },
        scales={"time": np.array([0.0, 0.5, 1.0, 2.0])},
        **BOX,
        variables=json.dumps(["u", "energy", "r", "mass", "k", "Re"]),
    )
    found = open_set(path)
    shapes = {name: (info.shape, info.steps, info.particles) for name, info in found.variables.items()}
    assert shapes == {
        "u": ((2, 5, 6), 4, False),
        "energy": ((2,), 4, False),
        "r": ((7, 2), 4, True),
        "mass": ((7, 2), None, True),
        "k": ((1, 5, 6), None, False),
        "Re": ((1,), None, False),
    }
    assert (found.variables["u"].units, found.variables["u"].long_name) == ("m", "height")
    assert (found.states, found.inputs) == (("u", "energy", "r"), ("mass", "k", "Re"))
    assert torch.equal(found.read("u", [2, 0]), torch.from_numpy(fields()[[2, 0]]))
    assert torch.equal(found.read("r", [1], first=1, count=2), torch.from_numpy(positions[[1], 1:3]))
    assert torch.equal(found.read("mass", [2]), torch.from_numpy(positions[[2], 0]))
    assert torch.equal(found.read("energy", [1]), torch.from_numpy(formula(3, steps=4, channels=2)[[1]]))
    np.testing.assert_array_equal(found.times(np.array([0, 2])), [[0, 0.5, 1, 2]] * 2)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_samples_of_unequal_length_come_with_their_own_times(tmp_path_factory, data):
    steps = np.array(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    samples, most = len(steps), steps.max()
    times = np.where(np.arange(most) < steps[:, None], np.arange(most) + 10.0 * np.arange(samples)[:, None], np.nan)
    values = fields(samples, most)
    path = tmp_path_factory.mktemp("ragged") / "some.h5"
    ours(path, {"u": (values, STATE), "times": (times, {}), "steps": (steps, {"about": "steps"})}, **BOX)
    found = open_set(path)
    assert found.steps.tolist() == steps.tolist()
    np.testing.assert_array_equal(found.times(np.arange(samples)), times)
    row = data.draw(st.integers(0, samples - 1))
    assert torch.equal(found.read("u", [row]), torch.from_numpy(values[[row], : steps[row]]))


def test_a_length_without_values_is_no_time_grid(tmp_path):
    path = ours(tmp_path / "some.h5", {"u": (fields(), STATE)}, **BOX)
    with h5py.File(path, "r+") as file:
        file.create_dataset("time", (4,), ">f4").make_scale("This is a netCDF dimension but not a netCDF variable.         4")
    assert hdf5.describe(StoredFile(path)).times is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"u": (fields()[:, 0, 0], {"role": "state", "layout": "grid"})}, "u has layout 'grid', need one of field, series"),
        ({"u": (fields()[:, 0, 0, 0], STATE | {"layout": "particles"})}, r"need \(sample, time, particle, component\)"),
        ({"u": (fields()[:, 0, 0, 0, 0], STATE)}, r"has shape \(3,\), need \(sample, time, channel, \*space\)"),
        ({"u": (fields(), {"role": "state", "layout": "series"})}, r"need \(sample, time, channel\) of layout 'series'"),
        ({"u": (fields(), STATE), "w": (fields(steps=3), STATE)}, "variables differ in instants, {'u': 4, 'w': 3}"),
        ({"u": (fields(), STATE), "w": (fields(2), STATE)}, "variables differ in samples, {'u': 3, 'w': 2}"),
        ({"u": (fields(grid=(5, 7)), STATE)}, r"u has shape \(2, 5, 7\) per sample, the domain of the file \(5, 6\)"),
        ({"u": (fields().astype("S8"), STATE)}, "has values of type .*S8, need numbers"),
        ({"u": (np.zeros((3, 4, 0, 5, 6)), STATE)}, "u: got shape .* need a channel axis first and no empty axis"),
    ],
)
def test_variables_that_cannot_be_are_named(tmp_path, arrays, message):
    path = ours(tmp_path / "some.h5", arrays, **BOX)
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"steps": (np.array([4, 5, 1]), {"about": "steps"})}, "steps is 5 for sample 1, need 1 to 4"),
        ({"steps": (np.array([4, 1]), {"about": "steps"})}, r"steps is int64 of shape \(2,\), need an integer for each of 3"),
        ({"steps": (np.ones(3), {"about": "steps"})}, r"steps is float64 of shape \(3,\), need an integer"),
        ({"times": (np.zeros((3, 5)), {})}, r"times is float64 of shape \(3, 5\), need numbers of shape \(3, 4\)"),
        ({"times": (np.full((3, 4), np.nan), {})}, r"times is not finite at \(0, 0\), need a time for each instant"),
        ({"time": (np.zeros(5), {})}, r"time is float64 of shape \(5,\), need numbers of shape \(4,\)"),
        ({"time": (np.array([0, 1, np.inf, 2]), {})}, r"time is not finite at \(2,\)"),
    ],
)
def test_a_time_grid_that_does_not_fit_is_named(tmp_path, arrays, message):
    path = ours(tmp_path / "some.h5", {"u": (fields(), STATE)} | arrays, **BOX)
    with pytest.raises(ValueError, match=message):
        open_set(path)


@pytest.mark.parametrize("about", [{"complete": 0}, {"domain": "[1, 2]"}, {"domain": "{"}, {"domain": '{"lengths": 3}'}])
def test_what_the_file_says_of_itself_is_checked(tmp_path, about):
    path = ours(tmp_path / "some.h5", {"u": (fields(), STATE)}, **BOX | about)
    with pytest.raises(ValueError, match=f"some.h5: attribute {next(iter(about))}"):
        open_set(path)


def test_a_truncated_file_is_named(tmp_path):
    path = ours(tmp_path / "some.h5", {"u": (fields(), STATE)}, **BOX)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(OSError, match=r"some.h5: .*truncated or damaged"):
        open_set(path)


def written_by_xarray(path, dims, encoding=None, **about):
    data = xarray.Dataset(
        {"u": (dims, np.arange(60.0).reshape([3, 4, 5][: len(dims)] if len(dims) < 4 else [3, 2, 2, 5]), about)}
    )
    data = data.assign_coords(time=np.arange(float(data.sizes["time"]))) if "time" in dims else data
    data.to_netcdf(path, engine="h5netcdf", encoding={"u": encoding or {}})
    return StoredFile(path)


def test_netcdf_is_ours_only_where_its_axes_can_be_nothing_else(tmp_path):
    state = {"role": "state"}
    with_channel = ("sample", "u_channel", "x")
    assert hdf5.recognises(written_by_xarray(tmp_path / "a.nc", with_channel, **state))
    assert not hdf5.recognises(written_by_xarray(tmp_path / "b.nc", with_channel))
    assert not hdf5.recognises(written_by_xarray(tmp_path / "c.nc", ("sample", "x", "y"), **state))
    assert not hdf5.recognises(written_by_xarray(tmp_path / "d.nc", ("sample", "time", "u_channel", "x"), **state))
    assert hdf5.recognises(written_by_xarray(tmp_path / "e.nc", ("sample", "time", "u_channel", "x"), time_varying=1, **state))
    packed = {"scale_factor": 0.1, "dtype": "int16", "_FillValue": -1}
    assert not hdf5.recognises(written_by_xarray(tmp_path / "f.nc", with_channel, packed, **state))


def test_other_content_is_not_taken_for_ours(tmp_path):
    (tmp_path / "page.h5").write_text("<html>not found</html>")
    ours(tmp_path / "other.h5", {"u": (fields(), {})})
    assert not hdf5.recognises(StoredFile(tmp_path / "page.h5"))
    assert not hdf5.recognises(StoredFile(tmp_path / "other.h5"))


def test_truth_values_of_netcdf_and_its_lists_of_one_are_understood(tmp_path):
    inside = formula(3, (5, 6)) % 2 < 1
    about = {"role": "coefficient", "dtype": "bool", "layout": np.array(["field"], h5py.string_dtype()), "time_varying": [0]}
    path = ours(tmp_path / "some.nc", {"inside": (inside.astype(np.int8), about)}, **BOX | {"complete": [1]})
    found = open_set(path)
    assert found.variables["inside"].dtype == torch.bool
    assert torch.equal(found.read("inside", [2, 0]), torch.from_numpy(inside[[2, 0]]))


def test_coordinates_that_were_moved_contradict_the_domain_of_the_file(tmp_path):
    path = tmp_path / "some.h5"
    write_shard(path, range(3))
    with h5py.File(path, "r+") as file:
        file["x"][...] = 10 * file["x"][...] + 5
    with pytest.raises(ValueError, match=r"some.h5: coordinates x contradict its attribute domain"):
        hdf5.describe(StoredFile(path))
