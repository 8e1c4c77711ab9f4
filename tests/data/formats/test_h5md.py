import h5py
import numpy as np
import pytest
import torch

from data.formats.files_b import cut, element, h5md, particle_formula, web_page
from sciml.data.formats import h5md as format_h5md
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere
from sciml.data.storage.files import StoredFile

VALUES = torch.from_numpy(particle_formula(4, 5))[None]
# Particle 3 is absent in frame 2, particle 5 comes in its place.
CHANGING = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 2, 5, 4], [5, 1, 0, -1, 4]]


@pytest.mark.parametrize("increments", [False, True])
def test_particles_in_time_and_without(tmp_path, increments):
    found = open_set(h5md(tmp_path / "d.h5", increments=increments))
    assert (len(found), found.states) == (1, ("position", "image", "velocity"))
    assert found.inputs == ("mass", "species", "box")
    assert found.variables["position"].dims == ("time", "particle", "position_component")
    assert torch.equal(found.read("position", [0]), VALUES)
    assert torch.equal(found.read("velocity", [0], first=1, count=2, stride=2), -VALUES[:, 1::2])
    assert torch.equal(found.read("image", [0]), VALUES.int())
    assert found.read("mass", [0]).tolist() == [[[i + 0.5] for i in range(5)]]
    assert found.read("species", [0]).tolist() == [[[i % 2] for i in range(5)]]
    assert found.read("box", [0]).tolist() == [[10.0, 20.0, 30.0]]
    assert found.times(np.array([0])).tolist() == [[5.0, 5.5, 6.0, 6.5]]
    assert found.attributes["boundary"] == ["periodic", "periodic", "none"]
    assert (found.domain, found.notes) == (None, ())
    assert isinstance(found.parts[0].file.description.arrays["particles/all/position/value"].layout, Contiguous)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ("cell", [[10.0, 1.0, 0.0, 0.0, 20.0, 1.0, 0.0, 0.0, 30.0]]),
        ("still", [[10.0, 20.0, 30.0]]),
        ("moving", [[[10.0 + i, 20.0 + i, 30.0 + i] for i in range(4)]]),
    ],
)
def test_the_box_is_a_parameter(tmp_path, edges, expected, increments):
    found = open_set(h5md(tmp_path / "d.h5", edges=edges, increments=increments))
    assert found.read("box", [0]).tolist() == expected
    assert found.variables["box"].role == "parameter"
    assert "box" not in open_set(h5md(tmp_path / "e.h5", edges="none")).variables


def test_particles_whose_order_changes_come_by_number(tmp_path):
    order = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 0, 2, 4, 3], [2, 1, 0, 3, 4]]
    found = open_set(h5md(tmp_path / "d.h5", order=order))
    assert torch.equal(found.read("position", [0]), VALUES)
    assert torch.equal(found.read("velocity", [0], first=1, count=2, stride=2), -VALUES[:, 1::2])
    assert torch.equal(found.read("image", [0]), VALUES.int())
    assert found.notes[0] == "the order of the particles changes, as `id` says; they come in the order of their numbers"
    assert isinstance(found.parts[0].file.description.arrays["particles/all/position/value"].layout, Elsewhere)


def test_absent_particles_are_nan(tmp_path):
    values = torch.from_numpy(particle_formula(4, 6))
    path = h5md(tmp_path / "d.h5", particles=6, order=[[*row, -1] for row in CHANGING])
    found = open_set(path)
    for i, row in enumerate(CHANGING):
        there = sorted(number for number in row if number >= 0)
        gone = sorted(set(range(6)) - set(there))
        read = found.read("position", [0], first=i, count=1)[0, 0]
        assert torch.equal(read[there], values[i, there])
        assert read[gone].isnan().all()
        assert found.read("image", [0], first=i, count=1)[0, 0, gone].isnan().all()
    assert found.variables["position"].shape == (6, 3)
    assert found.notes[1] == "particles are absent at times; their values are NaN then"
    part = format_h5md.read(path, "particles/all/position/value", Box((1, 0, 2), (2, 3, 1), (2, 2, 1)))
    np.testing.assert_array_equal(part, found.read("position", [0])[0, 1::2, ::2, 2:])


def test_particles_may_also_come_and_go_where_all_places_are_taken(tmp_path):
    order = [[0, 1, 2, 3, 4], [0, 1, 2, 5, 4]]
    with pytest.raises(IndexError):
        h5md(tmp_path / "x.h5", frames=2, order=order)
    path = h5md(tmp_path / "d.h5", frames=2)
    with h5py.File(path, "r+") as file:
        element(file["particles/all"], "id", np.array(order), False)
        del file["particles/all/mass"], file["particles/all/species"]
    found = open_set(path)
    read = found.read("position", [0])[0]
    assert read.shape == (2, 6, 3)
    assert torch.equal(read[1, 5], VALUES[0, 1, 3])
    assert read[0, 5].isnan().all()
    assert read[1, 3].isnan().all()


def test_a_constant_order_is_that_of_the_file(tmp_path):
    path = h5md(tmp_path / "d.h5", order=[[4, 0, 2, 3, 1]] * 4)
    found = open_set(path)
    assert torch.equal(found.read("position", [0]), VALUES[:, :, [4, 0, 2, 3, 1]])
    assert found.notes == ("left out: id, the numbers of the particles",)


def test_groups_are_splits(tmp_path):
    path = h5md(tmp_path / "d.h5", groups=("fluid", "wall"))
    assert format_h5md.splits(StoredFile(path)) == ("fluid", "wall")
    with pytest.raises(ValueError, match=r"d.h5: holds the groups of particles fluid, wall; choose one of them as `split`"):
        open_set(path)
    assert torch.equal(open_set(path, split="wall").read("position", [0]), VALUES)
    with pytest.raises(ValueError, match=r"got the group of particles 'gas', it holds fluid, wall"):
        format_h5md.describe(StoredFile(path), "gas")


def test_what_does_not_fit_is_left_out_with_a_note(tmp_path):
    path = h5md(tmp_path / "d.h5")
    with h5py.File(path, "r+") as file:
        group = file["particles/all"]
        element(group, "force", particle_formula(2, 5), False)
        group.create_group("nothing")
        group["name"] = np.array([b"a"] * 5)
        file["observables/energy"] = np.arange(3.0)
    found = open_set(path)
    assert found.notes == (
        "left out: nothing, neither an array nor a group with `value`",
        "left out: force, its frames are not those of position",
        "left out: name, values of type |S1",
        "left out: observables, which are of the whole system",
    )


def test_times_may_be_steps_or_nothing(tmp_path):
    path = h5md(tmp_path / "d.h5", edges="none")
    with h5py.File(path, "r+") as file:
        for name in ("position", "velocity", "image"):
            del file[f"particles/all/{name}/time"]
    found = open_set(path)
    assert found.times(np.array([0])).tolist() == [[100.0, 110.0, 120.0, 130.0]]
    assert found.notes == ("the file does not say its times; they are numbers of steps",)


def change_shape(file):
    del file["particles/all/velocity/value"]
    file["particles/all/velocity/value"] = np.zeros((4, 6, 3))


def change_times(file):
    del file["particles/all/position/time"]
    file["particles/all/position/time"] = np.zeros(3)


def change_offset(file):
    del file["particles/all/position/time"]
    file["particles/all/position/time"] = 0.5
    file["particles/all/position/time"].attrs["offset"] = "late"


def change_ids(file):
    element(file["particles/all"], "id", np.array([[0, 1, 2, 3, 3]] * 4), False)


def change_id_shape(file):
    element(file["particles/all"], "id", np.zeros((3, 5), int), False)


def remove_elements(file):
    for name in ("position", "velocity", "image", "species", "mass"):
        del file[f"particles/all/{name}"]


def remove_groups(file):
    del file["particles/all"]


def change_edges(file):
    del file["particles/all/box/edges"]
    file["particles/all/box/edges"] = np.float64(3.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_shape, r"particles/all/velocity/value has shape \(4, 6, 3\), need 5 particles as the other elements"),
        (change_times, r"particles/all/position/time has shape \(3,\) and .*, need one for each frame, or an increment"),
        (change_offset, r"attribute offset of particles/all/position/time is 'late', need a number"),
        (change_ids, r"particles/all/id/value holds 3 twice in frame 0, need each particle once"),
        (change_id_shape, r"particles/all/id/value has shape \(3, 5\) and .*, need the same frames and particles"),
        (remove_elements, r"particles/all holds no values of particles"),
        (remove_groups, r"got the group of particles '', it holds none"),
        (change_edges, r"particles/all/box/edges is float64 of shape \(\), need \(D,\) or \(D, D\) per frame"),
    ],
)
def test_contradictions_are_named(tmp_path, change, message):
    path = h5md(tmp_path / "d.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=f"d.h5: {message}"):
        open_set(path)


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(OSError, match=r"d.h5: cannot be read as HDF5"):
        open_set(cut(h5md(tmp_path / "d.h5"), 0.5))
    with pytest.raises(ValueError, match=r"e.h5: is a web page"):
        open_set(web_page(tmp_path / "e.h5"))
    with pytest.raises(ValueError, match=r"f.h5: no array"):
        format_h5md.read(h5md(tmp_path / "f.h5", order=CHANGING[:2] * 2, particles=6), "particles/all/q/value", Box((), (), ()))
