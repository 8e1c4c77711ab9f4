import threading

import h5py
import numpy as np
import pytest
import torch
import xarray

from data.formats.files_a import cells, formula
from data.formats.files_b import cut, shallow_water, web_page, written
from sciml.data.formats import netcdf
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere
from sciml.data.storage.files import StoredFile
from sciml.numerics.domain import Domain

ENGINES = ("h5netcdf", "scipy")


def dataset(**variables):
    """Dimensions and values by name."""
    return xarray.Dataset(variables)


def layouts(path):
    return {name: type(array.layout) for name, array in netcdf.describe(StoredFile(path)).arrays.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("levels", [0, 1])
def test_the_shallow_water_of_pdearena(tmp_path, engine, levels):
    path = shallow_water(tmp_path / "output.nc", engine=engine, levels=levels)
    found = open_set(path)
    values = formula(1, (5, 6), steps=4, dtype=np.float32)
    assert (len(found), found.states) == (1, ("u", "v", "vor", "pres"))
    for i, name in enumerate(found.states):
        assert torch.equal(found.read(name, [0]), torch.from_numpy(values + i))
        assert torch.equal(found.read(name, [0], first=1, count=2, stride=2), torch.from_numpy(values[:, 1::2] + i))
    assert [info.units for info in found.variables.values()] == ["m/s", "m/s", "1/s", "Pa"]
    assert set(layouts(path).values()) == {Contiguous if engine == "h5netcdf" else Elsewhere}
    assert found.domain == Domain.box((1.0, 1.0), (5, 6), "open", "cells")
    assert found.times(np.array([0])).tolist() == [[0.0, 21600.0, 43200.0, 64800.0]]
    assert found.attributes["Conventions"] == "CF-1.7"
    dropped = ("dimension lev has length 1 and is dropped",) * bool(levels)
    assert found.notes == (*dropped, "times are seconds since 2000-01-01", "no dimension of samples; the file is one sample")


@pytest.mark.parametrize("engine", ENGINES)
def test_packed_values_are_unpacked_and_missing_ones_are_nan(tmp_path, engine):
    values = formula(1, (5, 6), steps=4)[0, :, 0]
    values[2, 1, 3] = np.nan
    encoding = {"u": {"dtype": "int16", "scale_factor": 0.1, "add_offset": 100.0, "_FillValue": -32768}}
    data = dataset(u=(("time", "x", "y"), values), v=(("time", "x", "y"), np.nan_to_num(values)))
    path = written(data, tmp_path / "d.nc", engine=engine, encoding=encoding)
    found = open_set(path)
    with xarray.open_dataset(path, engine=engine) as reference:
        expected = reference["u"].values
    read = found.read("u", [0])[0, :, 0].numpy()
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_allclose(read, values, atol=1e-9)
    assert np.isnan(read[2, 1, 3])
    assert found.variables["u"].dtype == torch.float64
    assert layouts(path) == {"u": Elsewhere, "v": Contiguous if engine == "h5netcdf" else Elsewhere}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_of_axis_in_any_order(tmp_path, engine):
    values = formula(3, (4, 5), steps=2, channels=2)
    data = dataset(
        w=(("time", "lat", "member", "component", "lon"), values.transpose(1, 3, 0, 2, 4)),
        still=(("lon", "lat", "member"), values[:, 0, 0].transpose(2, 1, 0)),
        strength=(("member",), values[:, 0, 0, 0, 0]),
        drive=(("time", "member"), values[:, :, 0, 0, 0].T),
        zonal=(("member", "lat"), values[:, 0, 0, :, 0]),
        gravity=((), np.float64(9.81)),
    )
    found = open_set(written(data, tmp_path / "d.nc", engine=engine))
    assert len(found) == 3
    roles = {name: info.role for name, info in found.variables.items()}
    assert roles == {
        "w": "state", "still": "coefficient", "strength": "parameter", "drive": "state", "zonal": "coefficient",
        "gravity": "parameter",
    }  # fmt: skip
    rows = [2, 0]
    assert torch.equal(found.read("w", rows), torch.from_numpy(values[rows]))
    assert torch.equal(found.read("still", rows), torch.from_numpy(values[rows, 0, :1]))
    assert torch.equal(found.read("strength", rows), torch.from_numpy(values[rows, 0, :1, 0, 0]))
    assert torch.equal(found.read("drive", rows), torch.from_numpy(values[rows, :, :1, 0, 0]))
    assert torch.equal(found.read("zonal", rows), torch.from_numpy(np.repeat(values[rows, 0, :1, :, :1], 5, -1)))
    assert found.read("gravity", rows).tolist() == [[9.81], [9.81]]
    assert "variable zonal has no dimension lon and is the same along it" in found.notes
    assert any(note.startswith("dimension lat, lon has no coordinates; the points are taken as") for note in found.notes)


def test_a_role_in_the_file_is_taken(tmp_path):
    values = formula(3, (4,))[:, 0]
    data = dataset(
        a=(("sample", "x"), values, {"role": "input"}), u=(("sample", "x"), values, {"role": "target", "units": "K"})
    )
    found = open_set(written(data, tmp_path / "d.nc", engine="scipy"))
    assert (found.inputs, found.targets, found.variables["u"].units) == (("a",), ("u",), "K")
    data["u"].attrs["role"] = "answer"
    with pytest.raises(ValueError, match=r"e.nc: variable u has role 'answer', need an attribute role with one of"):
        open_set(written(data, tmp_path / "e.nc", engine="scipy"))


@pytest.mark.parametrize(
    ("units", "factor", "note"),
    [
        ("hours since 1990-01-01 00:00", 3600, "times are seconds since 1990-01-01 00:00"),
        ("days since 2000-01-01", 86400, "times are seconds since 2000-01-01"),
        ("seconds since 2000-01-01", 1, "times are seconds since 2000-01-01"),
        ("months since 2000-01-01", 1, "times are in months since 2000-01-01"),
        ("L/U", 1, "times are in L/U"),
    ],
)
def test_times_are_numbers_in_the_units_of_the_file(tmp_path, units, factor, note):
    data = dataset(u=(("time", "x"), formula(1, (4,), steps=3)[0, :, 0]))
    data["time"] = ("time", np.array([0, 2, 3]), {"units": units, "calendar": "360_day"})
    found = open_set(written(data, tmp_path / "d.nc"))
    assert found.times(np.array([0])).tolist() == [[0.0, 2.0 * factor, 3.0 * factor]]
    assert note in found.notes


def test_the_grid_is_that_of_the_coordinates(tmp_path):
    data = dataset(u=(("time", "lat", "lon"), formula(1, (4, 5), steps=3)[0, :, 0]))
    data["lat"], data["lon"] = np.linspace(0, 3, 4), cells(5, 10.0)
    found = open_set(written(data, tmp_path / "d.nc"))
    assert found.domain == Domain.box((3.0, 10.0), (4, 5), "open", ["both_ends", "cells"])
    data["lat"] = [0.0, 1.0, 5.0, 6.0]
    uneven = open_set(written(data, tmp_path / "e.nc"))
    assert uneven.domain == Domain.box((1.0, 1.0), (4, 5), "open", "cells")
    assert any("coordinate x is not equally spaced" in note for note in uneven.notes)


def test_helpers_and_what_has_no_numbers_are_left_out(tmp_path):
    data = dataset(u=(("time", "x"), formula(1, (4,), steps=3)[0, :, 0]), name=(("x",), list("abcd")))
    data["time"] = ("time", np.arange(3.0), {"bounds": "time_bnds"})
    data["time_bnds"] = (("time", "nv"), np.zeros((3, 2)))
    found = open_set(written(data, tmp_path / "d.nc"))
    assert list(found.variables) == ["u"]
    assert any(note.startswith("left out: ") and "time_bnds" in note and "name" in note for note in found.notes)


def test_chunks_are_read_by_position_and_other_filters_by_the_library(tmp_path):
    values = formula(3, (4, 5), steps=2)[:, :, 0]
    data = dataset(u=(("sample", "time", "x", "y"), values))
    path = written(data, tmp_path / "d.nc", encoding={"u": {"zlib": True, "shuffle": True, "chunksizes": (1, 1, 4, 5)}})
    assert torch.equal(open_set(path).read("u", [2, 0])[:, :, 0], torch.from_numpy(values[[2, 0]]))
    assert layouts(path)["u"] is not Elsewhere
    summed = written(data, tmp_path / "e.nc", encoding={"u": {"fletcher32": True, "chunksizes": (1, 1, 4, 5)}})
    assert torch.equal(open_set(summed).read("u", [2, 0])[:, :, 0], torch.from_numpy(values[[2, 0]]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (
            ("sample", "cell"),
            r"cannot tell what the dimensions cell mean. It holds u \(sample, cell\). Rename them .*rename\({\"cell\"",
        ),
        (("sample", "run"), r"variable u: dimensions sample, run would all be sample. .*rename\({\"run\""),
        (("time", "t"), r"variable u: dimensions time, t would all be time"),
    ],
)
def test_dimensions_that_cannot_be_told_are_named_with_a_remedy(tmp_path, engine, dims, message):
    path = written(dataset(u=(dims, np.zeros((3, 4)))), tmp_path / "d.nc", engine=engine)
    with pytest.raises(ValueError, match=f"d.nc: {message}"):
        open_set(path)


def test_two_dimensions_of_samples_in_different_variables_are_refused(tmp_path):
    data = dataset(u=(("sample", "x"), np.zeros((3, 4))), v=(("run", "x"), np.zeros((2, 4))))
    with pytest.raises(ValueError, match=r"d.nc: dimensions sample, run would all be sample"):
        open_set(written(data, tmp_path / "d.nc", engine="scipy"))


def test_a_file_without_fields_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"d.nc: holds no fields, there are name"):
        open_set(written(dataset(name=(("x",), list("abcd"))), tmp_path / "d.nc", engine="scipy"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, engine, part):
    path = cut(shallow_water(tmp_path / "d.nc", engine=engine), part)
    with pytest.raises(OSError, match=r"d.nc: cannot be read as (HDF5|netCDF), .*truncated or damaged"):
        open_set(path)


def test_other_content_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"d.nc: is a web page"):
        open_set(web_page(tmp_path / "d.nc"))
    (tmp_path / "e.nc").write_bytes(b"CDF\x05" + bytes(100))
    with pytest.raises(ValueError, match=r"e.nc: is netCDF of the kind 64-bit data \(CDF-5\), need netCDF 4: nccopy"):
        open_set(tmp_path / "e.nc")
    (tmp_path / "f.nc").write_bytes(b"CDF\x01" + bytes(range(256)))
    with pytest.raises((ValueError, OSError), match=r"f.nc: "):
        open_set(tmp_path / "f.nc")


def test_parts_that_are_not_there_are_refused(tmp_path):
    path = shallow_water(tmp_path / "d.nc", engine="scipy")
    with pytest.raises(ValueError, match=r"d.nc: no array 'q'"):
        netcdf.read(path, "q", Box((), (), ()))
    with pytest.raises(ValueError, match=r"d.nc: array u: got starts \(4, 0, 0\)"):
        netcdf.read(path, "u", Box((4, 0, 0), (1, 1, 1), (1, 1, 1)))


def test_threads_read_packed_values_of_many_files_at_once(tmp_path):
    values = formula(1, (5, 6), steps=4, dtype=np.float32)[0, :, 0]
    pack = {"u": {"dtype": "int32", "scale_factor": 0.1, "_FillValue": -1}}
    paths = [shallow_water(tmp_path / f"{i}.nc", engine=ENGINES[i % 2], encoding=pack) for i in range(6)]
    wrong = []

    def work(seed):
        for i in np.random.default_rng(seed).integers(0, 6, 20):
            read = netcdf.read(paths[i], "u", Box((1, 0, 0), (2, 5, 6), (2, 1, 1)))
            if not np.allclose(read, values[1::2], atol=1e-4):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_of_our_own_layout_is_no_netcdf_here(tmp_path):
    path = shallow_water(tmp_path / "d.nc")
    assert netcdf.recognises(StoredFile(path))
    with h5py.File(path, "r+") as file:
        file.attrs["complete"], file.attrs["variables"] = 1, "[]"
    assert not netcdf.recognises(StoredFile(path))
