import re
import warnings
from itertools import product

import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import channel_last, formula, well
from sciml.data.formats import the_well
from sciml.data.formats.the_well_roles import ATTRIBUTE, Kept, told
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.data.variables import VariableInfo
from sciml.numerics.domain import Domain


def test_fields_scalars_grid_and_times_are_read(tmp_path):
    found = open_set(well(tmp_path / "some.hdf5"))
    roles = {name: (info.role, info.shape, info.steps) for name, info in found.variables.items()}
    assert roles == {
        "pressure": ("state", (1, 5, 6), 4),
        "floor": ("coefficient", (1, 5, 6), None),
        "velocity": ("state", (2, 5, 6), 4),
        "stress": ("state", (4, 5, 6), 4),
        "Re": ("parameter", (1,), None),
        "Pr": ("parameter", (1,), None),
        "mass": ("parameter", (1,), None),
        "drive": ("parameter", (1,), 4),
        "energy": ("parameter", (1,), 4),
    }
    for name, channels in (("pressure", 1), ("velocity", 2), ("stress", 4)):
        values = torch.from_numpy(formula(3, (5, 6), steps=4, channels=channels, dtype=np.float32))
        assert torch.equal(found.read(name, [2, 0, 1]), values[[2, 0, 1]])
    along_x = torch.from_numpy(formula(3, (5,), dtype=np.float32))[..., None]
    assert torch.equal(found.read("floor", slice(None)), along_x.expand(3, 1, 5, 6))
    assert found.read("Re", [1]).item() == 100.0
    assert found.read("mass", [2, 0]).tolist() == [[9.0], [7.0]]
    assert found.read("drive", [1]).tolist() == [[[0.0], [10.0], [20.0], [30.0]]]
    assert torch.equal(found.read("energy", [1]), torch.from_numpy(formula(3, steps=4)[[1]]))
    assert found.domain == Domain.box((2.0, 2.0), (5, 6), ("periodic", "open"), "cells")
    np.testing.assert_array_equal(found.times(np.array([0, 1])), [[0, 0.5, 1, 1.5]] * 2)
    assert found.notes == ()
    assert found.attributes["boundary_conditions"]["y_wall"]["bc_type"] == "WALL"
    assert found.variables["velocity"].long_name == "velocity (x, y)"
    assert found.variables["stress"].long_name == "stress (xx, xy, yx, yy)"


def test_tensors_may_have_one_axis_and_samples_their_own_times(tmp_path):
    found = open_set(well(tmp_path / "some.hdf5", square=True, per_sample_time=True))
    values = formula(3, (5, 6), steps=4, channels=4, dtype=np.float32)
    assert torch.equal(found.read("stress", slice(None)), torch.from_numpy(values))
    np.testing.assert_array_equal(found.times(np.array([2])), [[2, 2.5, 3, 3.5]])


@pytest.mark.parametrize("grid", [(5,), (3, 4, 5)])
def test_lines_and_boxes_are_read(tmp_path, grid):
    found = open_set(well(tmp_path / "some.hdf5", grid=grid, periodic=("x", "y", "z")))
    dim = len(grid)
    assert found.domain == Domain.box([2.0] * dim, grid, "periodic", "cells")
    values = formula(3, grid, steps=4, channels=dim**2, dtype=np.float32)
    assert torch.equal(found.read("stress", [1]), torch.from_numpy(values[[1]]))


@pytest.fixture
def oracle(tmp_path):
    """What The Well's own loader reads from a file: (sample, time, *space, channel), and all else of a sample."""
    data = pytest.importorskip("the_well.data")

    def read(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader = data.WellDataset(path=str(path.parent), n_steps_input=1, n_steps_output=3, normalize_time_grid=False)
            return [loader[i] for i in range(len(loader))]

    return read


def test_the_loader_of_the_well_reads_the_same(tmp_path, oracle):
    # Its loader cannot join scalars of shape () with those of shape (1,), and needs an axis of length 1 where one is missing.
    path = changed(tmp_path / "some.hdf5", with_shape("scalars/Pr", np.float64(0.7)))
    with h5py.File(path, "r+") as file:
        with_shape("t0_fields/floor", formula(3, (5, 1), dtype=np.float32)[:, 0])(file)
    found = open_set(path)
    samples = oracle(path)
    assert len(samples) == len(found) == 3
    fields = torch.cat([found.read(name, slice(None)) for name in ("pressure", "velocity", "stress")], 2).movedim(2, -1)
    constants = found.read("floor", slice(None)).movedim(1, -1)
    scalars = torch.cat([found.read(name, slice(None)) for name in ("Re", "Pr", "mass")], 1)
    for row, sample in enumerate(samples):
        assert torch.equal(torch.cat([sample["input_fields"], sample["output_fields"]]), fields[row])
        assert torch.equal(sample["constant_fields"], constants[row])
        assert torch.equal(sample["boundary_conditions"], torch.tensor([[2.0, 2.0], [0.0, 0.0]]))
        times = torch.cat([sample["input_time_grid"], sample["output_time_grid"]])
        np.testing.assert_array_equal(times.numpy(), found.times(np.array([row]))[0])
        x, y = found.domain.mesh()
        assert torch.allclose(sample["space_grid"].double(), torch.stack([x, y], -1), atol=1e-6)
        assert torch.equal(sample["constant_scalars"], scalars[row])


def test_what_the_well_writes_for_its_own_tests_is_read(tmp_path, oracle):
    write = pytest.importorskip("the_well.utils.dummy_data").write_dummy_data
    write(str(tmp_path / "dummy.hdf5"))
    found = open_set(tmp_path / "dummy.hdf5")
    assert (found.states, len(found)) == (("field",), 2)
    loader = oracle(tmp_path / "dummy.hdf5")
    assert torch.equal(loader[0]["output_fields"], found.read("field", [0], first=1, count=3)[0].movedim(1, -1))
    # Its masks mark nothing, which its own loader takes as open as well.
    assert found.domain.axes[0].sides == ("open", "open")
    assert torch.equal(loader[0]["boundary_conditions"], torch.ones(2, 2))
    assert "x_periodic does not mark all of both sides of x; x is taken as open" in found.notes[0]


def changed(path, change):
    """A valid file with one thing changed in it."""
    well(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def flags(**values):
    return lambda file: file["t0_fields/pressure"].attrs.update(values)


def with_shape(name, values, **attributes):
    def change(file):
        kept = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(kept | attributes)

    return change


@pytest.mark.parametrize("kept", [False, True], ids=["absent", "of length 1"])
def test_every_combination_of_flags_is_repeated_along_what_it_lacks(tmp_path, kept):
    whole = channel_last(formula(3, (5, 6), steps=4, channels=2, dtype=np.float32))
    fields = {}
    for sample, time, x, y in product((True, False), repeat=4):
        varies = (sample, time, x, y)
        values = whole[tuple(slice(None) if one else slice(1, 2) for one in varies)]
        lost = tuple(i for i, one in enumerate(varies) if not one and not (kept and i > 1))
        about = {"sample_varying": sample, "time_varying": time, "dim_varying": [x, y]}
        fields["".join("stxy"[i] if one else "-" for i, one in enumerate(varies))] = (values, lost, about)

    def change(file):
        file.pop("t1_fields")
        group = file.create_group("t1_fields")
        group.attrs["field_names"] = list(fields)
        for name, (values, lost, about) in fields.items():
            group[name] = np.squeeze(values, lost)
            group[name].attrs.update(about)

    found = open_set(changed(tmp_path / "some.hdf5", change))
    for name, (values, _, about) in fields.items():
        steps = (4,) if about["time_varying"] else (1,)
        expected = np.broadcast_to(values, (3, *steps, 5, 6, 2))
        read = found.read(name, [2, 0]).movedim(-3, -1)
        assert torch.equal(read.reshape(2, *steps, 5, 6, 2), torch.from_numpy(expected[[2, 0]].copy())), name
    assert found.notes == ()


def test_flags_that_the_shape_contradicts_give_way_with_a_note(tmp_path):
    # The example of the written format: (time, x, y) with sample_varying True and time_varying False.
    whole = formula(1, (5, 6), steps=4, dtype=np.float32)[0, :, 0]
    found = open_set(changed(tmp_path / "a.hdf5", with_shape("t0_fields/pressure", whole, time_varying=False)))
    assert found.variables["pressure"].role == "state"
    assert torch.equal(found.read("pressure", [2, 0]), torch.from_numpy(whole)[None, :, None].expand(2, 4, 1, 5, 6))
    assert "which its flags (sample_varying True, time_varying False, dim_varying [True, True]) contradict" in found.notes[0]
    assert "by the shape it is (time, x, y)" in found.notes[0]
    # And its other one: (sample, time, y) with dim_varying for x.
    line = formula(3, (6,), steps=4, dtype=np.float32)[:, :, 0]
    found = open_set(changed(tmp_path / "b.hdf5", with_shape("t0_fields/pressure", line, dim_varying=[True, False])))
    assert torch.equal(found.read("pressure", [1])[0, :, 0], torch.from_numpy(line)[1, :, None].expand(4, 5, 6))
    assert "by the shape it is (sample, time, y)" in found.notes[0]


def test_flags_that_are_missing_are_made_good_by_the_shape(tmp_path):
    def change(file):
        del file["t1_fields/velocity"].attrs["sample_varying"], file["scalars/mass"].attrs["time_varying"]

    found = open_set(changed(tmp_path / "some.hdf5", change))
    values = channel_last(formula(3, (5, 6), steps=4, channels=2, dtype=np.float32))
    assert torch.equal(found.read("velocity", [1])[0].movedim(1, -1), torch.from_numpy(values)[1])
    assert found.read("mass", [2]).item() == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_shape("t0_fields/pressure", np.zeros((3, 4, 5, 7))),
            r"pressure has shape \(3, 4, 5, 7\).* no reading is possible",
        ),
        (with_shape("t0_fields/floor", np.zeros((5, 5)), dim_varying=[True]), "dim_varying of t0_fields/floor is .*each of 2"),
        (with_shape("scalars/mass", np.zeros(7)), r"scalars/mass has shape \(7,\)"),
        (with_shape("dimensions/time", np.zeros((2, 4))), r"dimensions/time has shape \(2, 4\), need \(n,\) or \(3, n\)"),
        (
            with_shape("boundary_conditions/x_periodic/mask", np.ones(4, bool)),
            r"mask of boundary condition x_periodic has shape",
        ),
        (lambda file: file.pop("dimensions"), "has no group dimensions, there are boundary_conditions"),
        (lambda file: file.pop("dimensions/y"), "has no array 'dimensions/y'"),
        (lambda file: file.pop("t1_fields/velocity"), "has no array 't1_fields/velocity'"),
        (lambda file: file.attrs.pop("n_trajectories"), "attribute n_trajectories is None, need a whole number"),
        (lambda file: file.attrs.update(n_spatial_dims=3), r"n_spatial_dims is 3, dimensions has 2 \(x, y\)"),
        (lambda file: file["dimensions"].attrs.pop("spatial_dims"), "attribute spatial_dims of dimensions is None"),
        (lambda file: file["t0_fields"].attrs.update(field_names=["floor", "floor"]), "names one twice"),
        (
            lambda file: [file.pop(f"t{i}_fields") for i in (0, 1)] + [file["t2_fields"].attrs.update(field_names=[])],
            "no field",
        ),
        (
            lambda file: file["t1_fields"].move("velocity", "floor") or file["t1_fields"].attrs.update(field_names=["floor"]),
            "two of",
        ),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_named(tmp_path, change, message):
    path = changed(tmp_path / "some.hdf5", change)
    with pytest.raises(ValueError, match=message) as caught:
        open_set(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_shape_with_two_meanings_is_not_guessed(tmp_path):
    path = well(tmp_path / "some.hdf5", samples=4)  # as many samples as instants
    with h5py.File(path, "r+") as file:
        with_shape("t0_fields/pressure", np.zeros((4, 5, 6)))(file)
    with pytest.raises(ValueError, match=r"pressure has shape \(4, 5, 6\).*several readings are possible"):
        open_set(path)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda file: file["t0_fields"].attrs.pop("field_names"), "t0_fields has no attribute field_names; .*floor, pressure"),
        (lambda file: file["t0_fields"].attrs.update(field_names=["floor"]), "t0_fields holds pressure, which its field_names"),
        (lambda file: file.attrs.update(grid_type="spherical"), "the grid is spherical in x, y; .* nothing of their metric"),
        (with_shape("dimensions/x", np.arange(5.0) ** 2), "coordinate x is not equally spaced"),
        (with_shape("dimensions/x", np.arange(15.0).reshape(3, 5)), "dimensions/x differs between samples"),
    ],
)
def test_oddities_are_noted(tmp_path, change, note):
    found = open_set(changed(tmp_path / "some.hdf5", change))
    assert len(found.notes) == 1
    assert re.search(note, found.notes[0])


def test_parameters_that_stand_in_attributes_alone_are_found(tmp_path):
    def change(file):
        file.attrs["simulation_parameters"] = ["Re", "Pr", "gamma"]
        file.attrs["gamma"] = 1.4

    assert open_set(changed(tmp_path / "some.hdf5", change)).read("gamma", [0, 2]).tolist() == [[1.4], [1.4]]


def test_a_truncated_file_is_named(tmp_path):
    path = well(tmp_path / "some.hdf5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(OSError, match=r"some.hdf5: .*truncated or damaged"):
        open_set(path)


def test_other_content_is_not_taken_for_the_well(tmp_path):
    (tmp_path / "page.hdf5").write_text("<html>not found</html>")
    assert not the_well.recognises(StoredFile(tmp_path / "page.hdf5"))


def test_roles_that_we_kept_in_a_file_come_back(tmp_path):
    stress = formula(3, (5, 6), steps=4, channels=3, dtype=np.float32)
    kept = [
        Kept(VariableInfo("flow", "state", "m/s", "flow", (3, 5, 6), torch.float32, 4), ("velocity", "pressure")),
        Kept(VariableInfo("depth", "input", "m", "depth", (1, 5, 6), torch.float32), ("floor",)),
    ]
    domain = Domain.box((2.0, 2.0), (5, 6), (("neumann", "dirichlet"), "dirichlet"), "cells")
    text = told(kept, domain, times=False)
    found = open_set(changed(tmp_path / "some.hdf5", lambda file: file.attrs.update({ATTRIBUTE: text})))
    assert list(found.variables)[:2] == ["flow", "depth"]
    assert (found.variables["flow"].units, found.variables["depth"].role, found.domain) == ("m/s", "input", domain)
    assert torch.equal(found.read("flow", [1])[:, :, :2], torch.from_numpy(stress[[1], :, :2]))
    assert torch.equal(found.read("flow", [1])[:, :, 2:], torch.from_numpy(stress[[1], :, :1]))
    found = open_set(changed(tmp_path / "other.hdf5", lambda file: file.attrs.update({ATTRIBUTE: "{"})))
    assert (found.states, len(found.notes)) == (("pressure", "velocity", "stress"), 1)
