import numpy as np
import pytest
import torch
import xarray

from data.made_sets import FIELDS, KINDS, LINE, PLANE, TIMES, fields_in_time, series_of_unequal_length, values_of, write_folder
from sciml.data.convert import convert
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo


def test_xarray_reads_what_was_written(tmp_path):
    ours = open_set(fields_in_time(tmp_path / "train"))
    convert(ours.path, tmp_path / "out.nc", to="netcdf")
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as data:
        assert data.attrs["Conventions"].startswith("CF-")
        assert (data.attrs["title"], data.attrs["problem"]) == ("out", "made up")
        assert data["v"].dims == ("sample", "time", "v_channel", "x", "y")
        assert data["kappa"].dims == ("sample", "kappa_channel", "x", "y")
        assert np.array_equal(data["time"], TIMES)
        assert np.array_equal(data["x"], PLANE.coordinates()[0])
        assert data["x"].attrs["axis"] == "X"
        assert data["inside"].dtype == bool
        for info in FIELDS:
            attributes = data[info.name].attrs
            assert (attributes["role"], attributes["units"], attributes["long_name"]) == (info.role, info.units, info.long_name)
            assert np.array_equal(data[info.name].values, ours.read(info.name, slice(None)).numpy())


def test_samples_of_unequal_length_have_zeros_and_nan_behind(tmp_path):
    ours = open_set(series_of_unequal_length(tmp_path / "train"))
    convert(ours.path, tmp_path / "out.nc", to="netcdf")
    with xarray.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as data:
        assert data["steps"].values.tolist() == [9, 4, 4, 1, 6]
        assert np.array_equal(np.isfinite(data["times"]).sum("time"), data["steps"])
        assert not data["x1"][1, 4:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_values_lie_in_one_piece_and_are_not_compressed(tmp_path, kind):
    convert(KINDS[kind](tmp_path / "train"), tmp_path / "out.nc", to="netcdf")
    described = open_set(tmp_path / "out.nc").parts[0].file.description
    assert {type(array.layout).__name__ for array in described.arrays.values()} == {"Contiguous"}


def test_half_precision_is_refused_before_anything_is_written(tmp_path):
    half = (VariableInfo("u", "target", "1", "u", (1, 8), torch.float16),)
    write_folder(tmp_path / "train", half, LINE, values_of(half, 2))
    with pytest.raises(ValueError, match="variable u: netCDF has no numbers of type float16"):
        convert(tmp_path / "train", tmp_path / "out.nc", to="netcdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]
