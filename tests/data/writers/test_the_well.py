import warnings

import h5py
import numpy as np
import pytest
import torch

from data.made_sets import FIELDS, LINE, PLANE, TIMES, WAVES, fields_in_time, values_of, waves, write_folder
from sciml.data.convert import convert
from sciml.data.layout import TimeGrid
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo
from sciml.data.writers import the_well
from sciml.numerics.domain import Domain


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Fields in time, ours and as The Well in two files."""
    folder = tmp_path_factory.mktemp("well")
    ours = fields_in_time(folder / "train")
    size = sum(info.bytes for info in FIELDS)
    convert(ours, folder / "toy", to="the-well", file_bytes=3 * size)
    return open_set(ours), folder / "toy"


def loaded(folder, **options):
    """What The Well's own loader makes of it."""
    datasets = pytest.importorskip("the_well.data.datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, such as of files it leaves open
        source = datasets.WellDataset(path=str(folder), well_split_name="train", **options)
        return source, [source[i] for i in range(len(source))]


@pytest.mark.filterwarnings("ignore")
def test_the_loader_of_the_well_gives_the_same_values(written):
    ours, folder = written
    source, items = loaded(folder, n_steps_input=3, n_steps_output=1, normalize_time_grid=False)
    assert len(items) == len(ours) == 5
    assert source.metadata.dataset_name == "toy"
    assert source.metadata.n_trajectories_per_file == [2, 3]
    assert source.metadata.field_names == {0: ["c_0", "c_1", "c_2", "p"], 1: ["v_x", "v_y"], 2: []}
    assert source.metadata.constant_scalar_names == ["nu", "law_0", "law_1"]
    assert source.metadata.scalar_names == ["drag_0", "drag_1"]
    for row, item in enumerate(items):
        truth = {name: ours.read(name, [row])[0] for name in ours.variables}
        fields = torch.cat([item["input_fields"], item["output_fields"]]).movedim(-1, 1)  # (time, channel, x, y)
        assert torch.equal(fields, torch.cat([truth["c"], truth["p"], truth["v"]], 1))
        assert torch.equal(item["constant_fields"].movedim(-1, 0), torch.cat([truth["kappa"], truth["inside"]]))
        assert torch.equal(item["constant_scalars"], torch.cat([truth["nu"], truth["law"]]))
        assert torch.equal(torch.cat([item["input_scalars"], item["output_scalars"]]), truth["drag"])
        assert item["boundary_conditions"].tolist() == [[2, 2], [0, 0]]  # periodic, wall
        assert torch.equal(item["space_grid"], torch.stack(PLANE.mesh(), -1))
        assert torch.equal(torch.cat([item["input_time_grid"], item["output_time_grid"]]), torch.from_numpy(TIMES))


@pytest.mark.filterwarnings("ignore")
def test_the_loader_normalises_with_our_statistics(tmp_path):
    kind = pytest.importorskip("the_well.data.normalization").ZScoreNormalization
    numbers = [info for info in FIELDS if info.dtype != torch.bool]  # it cannot subtract from truth values
    write_folder(tmp_path / "train", numbers, PLANE, values_of(numbers, 5))
    convert(tmp_path / "train", tmp_path / "out", to="the-well")
    options = {"use_normalization": True, "normalization_type": kind}
    _, items = loaded(tmp_path / "out", n_steps_input=3, n_steps_output=1, **options)
    fields = torch.stack([torch.cat([item["input_fields"], item["output_fields"]]) for item in items]).double()
    assert fields.mean((0, 1, 2, 3)).abs().max() < 1e-6
    assert torch.allclose(fields.std((0, 1, 2, 3), correction=0), torch.ones(6, dtype=torch.float64), atol=1e-6)


def test_its_layout_is_that_of_the_written_format(written):
    _, folder = written
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == [
        "data/train/toy-00000.hdf5",
        "data/train/toy-00001.hdf5",
        "stats.yaml",
    ]
    with h5py.File(folder / "data/train/toy-00001.hdf5") as file:
        assert (file.attrs["n_trajectories"], file.attrs["n_spatial_dims"], file.attrs["grid_type"]) == (3, 2, "cartesian")
        # One value for all samples is a parameter of the simulation: an attribute, and a scalar.
        assert list(file.attrs["simulation_parameters"]) == ["nu"]
        assert file.attrs["nu"] == 0.1
        for group in ("scalars", "t0_fields", "t1_fields", "t2_fields"):
            assert sorted(file[group].attrs["field_names"]) == sorted(file[group])
        velocity = file["t1_fields/v"]
        assert (velocity.shape, velocity.dtype, velocity.chunks) == ((3, 4, 6, 5, 2), np.float32, None)
        assert velocity.id.get_offset() is not None
        assert isinstance(velocity.attrs["time_varying"], np.bool_)
        assert velocity.attrs["dim_varying"].tolist() == [True, True]
        assert file["t0_fields/kappa"].shape == (3, 6, 5)
        assert not file["t0_fields/kappa"].attrs["time_varying"]
        assert file["boundary_conditions/x_periodic/mask"][:].tolist() == [True, False, False, False, False, True]
        assert file["boundary_conditions/y_wall"].attrs["bc_type"] == "wall"


def test_sides_that_differ_are_two_conditions(tmp_path):
    domain = Domain.box((1.0,), (8,), (("dirichlet", "open"),), "both_ends")
    write_folder(tmp_path / "train", WAVES, domain, values_of(WAVES, 2))
    convert(tmp_path / "train", tmp_path / "out", to="the-well")
    with h5py.File(tmp_path / "out/data/train/out-00000.hdf5") as file:
        masks = {name: np.flatnonzero(group["mask"][:]).tolist() for name, group in file["boundary_conditions"].items()}
    assert masks == {"x_wall": [0], "x_open": [7]}
    assert open_set(tmp_path / "out/data/train").domain == domain


def test_what_the_well_cannot_say_comes_back(written):
    ours, folder = written
    back = open_set(folder / "data" / "train")
    assert list(back.variables.values()) == list(ours.variables.values())
    assert back.domain == ours.domain
    assert back.notes == ()
    for name in ours.variables:
        assert torch.equal(back.read(name, slice(None)), ours.read(name, slice(None)))


@pytest.mark.parametrize("text", [None, "{", '{"variables": [{"name": "u", "parts": ["w"]}]}', "[]", '{"variables": []}'])
def test_without_our_attribute_or_with_a_broken_one_it_is_any_file_of_the_well(tmp_path, text):
    convert(waves(tmp_path / "train"), tmp_path / "out", to="the-well")
    file = tmp_path / "out/data/train/out-00000.hdf5"
    with h5py.File(file, "r+") as opened:
        del opened.attrs["sciml"]
        if text is not None:
            opened.attrs["sciml"] = text
    found = open_set(file)
    assert found.variables["u"].long_name == "u"
    assert torch.equal(found.read("u", slice(None)), open_set(tmp_path / "train").read("u", slice(None)))
    assert any("attribute sciml contradicts the file" in note for note in found.notes) == (text is not None)


def test_times_of_each_sample_are_kept(tmp_path):
    times = np.arange(8.0).reshape(2, 4) ** 2
    write_folder(tmp_path / "train", WAVES, LINE, values_of(WAVES, 2), TimeGrid(times))
    convert(tmp_path / "train", tmp_path / "out", to="the-well")
    found = open_set(tmp_path / "out/data/train")
    assert np.array_equal(found.times(np.arange(2)), times)


def test_two_variables_that_would_be_one_array_are_refused(tmp_path):
    names = (VariableInfo("c", "state", "1", "c", (3, 8), torch.float32, 4), *WAVES)
    names += (VariableInfo("c_1", "coefficient", "1", "c", (1, 8), torch.float32),)
    write_folder(tmp_path / "train", names, LINE, values_of(names, 2))
    with pytest.raises(ValueError, match="variables c and c_1 would both have an array c_1"):
        the_well.check(open_set(tmp_path / "train"))
