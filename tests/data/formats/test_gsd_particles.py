import sys

import numpy as np
import pytest
import torch

from data.formats.files_b import cut, particle_formula
from data.formats.files_b import gsd as trajectory_file
from sciml.data.formats import gsd_particles
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box
from sciml.data.storage.files import StoredFile

pytest.importorskip("gsd.hoomd")
VALUES = torch.from_numpy(particle_formula(4, 5).astype(np.float32))[None]


def test_a_trajectory_is_one_sample(tmp_path):
    found = open_set(trajectory_file(tmp_path / "d.gsd"))
    assert (len(found), found.states, found.inputs) == (1, ("position", "velocity"), ("typeid", "mass", "box"))
    assert torch.equal(found.read("position", [0]), VALUES)
    assert torch.equal(found.read("position", [0], first=1, count=2, stride=2), VALUES[:, 1::2])
    # What a frame does not hold is as in the first one.
    assert torch.equal(found.read("velocity", [0]), -VALUES[:, [0, 1, 0, 3]])
    assert found.read("typeid", [0]).tolist() == [[[0], [1], [0], [1], [0]]]
    assert found.read("mass", [0]).flatten().tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert found.read("box", [0]).tolist() == [[10.0, 20.0, 30.0, 0.0, 0.0, 0.0]]
    assert found.times(np.array([0])).tolist() == [[0.0, 100.0, 200.0, 300.0]]
    assert found.attributes == {"types": ["A", "B"]}
    assert (found.domain, found.notes) == (None, ("the file does not say its times; they are numbers of steps",))


def test_the_same_as_by_hoomds_own_reader(tmp_path):
    import gsd.hoomd

    path = trajectory_file(tmp_path / "d.gsd", moving_box=True)
    found = open_set(path)
    with gsd.hoomd.open(str(path)) as trajectory:
        for i, frame in enumerate(trajectory):
            for name in ("position", "velocity"):
                np.testing.assert_array_equal(found.read(name, [0], first=i, count=1)[0, 0], getattr(frame.particles, name))
            np.testing.assert_array_equal(found.read("box", [0], first=i, count=1)[0, 0], frame.configuration.box)


def test_particles_that_come_and_go_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"d.gsd: frame 0 has 3 particles and frame 2 4, need the same particles in all frames"
    ):
        open_set(trajectory_file(tmp_path / "d.gsd", counts=[3, 3, 4, 3]))


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = trajectory_file(tmp_path / "d.gsd")
    monkeypatch.setitem(sys.modules, "gsd.fl", None)
    with pytest.raises(OSError, match=r"d.gsd: is GSD, and the package gsd is not installed; pip install sciml\[particles\]"):
        open_set(path)


def test_files_without_frames_or_positions_are_refused(tmp_path):
    import gsd.fl
    import gsd.hoomd

    with gsd.fl.open(name=str(tmp_path / "d.gsd"), mode="w", application="", schema="other", schema_version=(1, 0)):
        pass
    with pytest.raises(ValueError, match=r"d.gsd: has 0 frames of schema 'other', need frames of schema 'hoomd'"):
        open_set(tmp_path / "d.gsd")
    with gsd.hoomd.open(str(tmp_path / "e.gsd"), mode="w") as trajectory:
        frame = gsd.hoomd.Frame()
        frame.configuration.step = 5
        trajectory.append(frame)
    with pytest.raises(ValueError, match=r"e.gsd: holds no particles"):
        open_set(tmp_path / "e.gsd")


@pytest.mark.parametrize(("place", "what"), [(16, "index"), (32, "list of names")])
def test_a_header_that_points_out_of_the_file_does_not_reach_the_library(tmp_path, place, what):
    path = trajectory_file(tmp_path / "d.gsd")
    content = bytearray(path.read_bytes())
    content[place + 7] ^= 32
    path.write_bytes(content)
    with pytest.raises(OSError, match=rf"d.gsd: cannot be read as GSD, its {what} from byte \d+ to \d+ leaves the file"):
        open_set(path)


@pytest.mark.parametrize("part", [0.005, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path, part):
    with pytest.raises(OSError, match=r"d.gsd: cannot be read as GSD, .*truncated or damaged"):
        open_set(cut(trajectory_file(tmp_path / "d.gsd"), part)).read("position", [0])


def test_parts_that_are_not_there_are_refused(tmp_path):
    path = trajectory_file(tmp_path / "d.gsd")
    with pytest.raises(ValueError, match=r"d.gsd: no array 'particles/spin' of particles"):
        gsd_particles.read(path, "particles/spin", Box((0,), (1,), (1,)))
    with pytest.raises(ValueError, match=r"d.gsd: array particles/position has 4 frames"):
        gsd_particles.read(path, "particles/position", Box((4, 0, 0), (1, 5, 3), (1, 1, 1)))
    assert not gsd_particles.splits(StoredFile(path))
