"""What the check says of values: not finite, zero frames, and sets whose files do not fit together."""

import os
import subprocess
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
import torch

from data.small_sets import DOMAIN, VARIABLES, values_of, write_shard
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter, TimeGrid
from sciml.generation.check import check

MOVING = (
    VariableInfo("u", "state", "m/s", "velocity", (2, 4, 3), torch.float32, 6),
    VariableInfo("place", "state", "m", "position", (3,), torch.float64, 6),
    VariableInfo("k", "coefficient", "m2", "permeability", (2, 4, 3), torch.float16),
    VariableInfo("mask", "input", "1", "fluid", (2, 4, 3), torch.bool, 6),
    VariableInfo("nu", "parameter", "m2/s", "viscosity", (2,), torch.float64),
)
LENGTHS = np.array([6, 6, 4, 6, 2])


def of_others(path, variables=MOVING, samples=5, time=None, **values):
    """A file that has our layout and no checksums."""
    draw = torch.Generator().manual_seed(0)
    made = {v.name: torch.randn(samples, *v.sample_shape, generator=draw) for v in variables}
    made |= {v.name: made[v.name] > 0 for v in variables if v.dtype == torch.bool} | values
    with ShardWriter(path, variables, range(samples), DOMAIN, {}, time) as file:
        file.append(made)
        file.finish({})
    path.with_suffix(".json").unlink()
    return path


def faults(path, **options):
    return [str(fault).replace(str(path), "OUT") for fault in check(path, **options).faults]


@pytest.fixture(params=[None, TimeGrid(None, LENGTHS)], ids=["equal", "ragged"])
def moving(request, tmp_path):
    return of_others(tmp_path / "some.h5", time=request.param)


def test_a_sound_set_in_time_has_neither_faults_nor_notes(moving):
    report = check(moving)
    assert (report.faults, report.notes, report.files, report.samples) == ([], [], 1, 5)
    assert report.bytes == moving.stat().st_size


@pytest.mark.parametrize(
    ("name", "place", "bad", "message"),
    [
        ("u", (1, 5, 1, 3, 2), np.nan, "variable u, sample 1: holds nan at instant 5, (1, 3, 2)"),
        ("u", (4, 1, 0, 0, 0), -np.inf, "variable u, sample 4: holds -inf at instant 1, (0, 0, 0)"),
        ("place", (2, 3, 1), np.inf, "variable place, sample 2: holds inf at instant 3, (1,)"),
        ("k", (3, 1, 2, 2), np.nan, "variable k, sample 3: holds nan at (1, 2, 2)"),
        ("nu", (0, 1), np.nan, "variable nu, sample 0: holds nan at (1,)"),
    ],
)
def test_a_value_that_is_not_finite_is_named_with_variable_sample_and_instant(moving, name, place, bad, message):
    with h5py.File(moving, "r+") as file:
        file[name][place] = bad
    assert faults(moving) == [f"OUT: {message}. Copy or write the file again"]


def test_how_many_samples_are_not_finite_is_said_once(tmp_path):
    path = of_others(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        file["u"][1:4, 2, 0] = np.nan
    assert faults(path) == [
        "OUT: variable u, sample 1: holds nan at instant 2, (0, 0, 0), and 2 more samples of this file. "
        "Copy or write the file again"
    ]


@pytest.mark.parametrize(
    ("name", "place", "message"),
    [
        ("u", np.s_[3, 4], "variable u, sample 3: 1 instant is zero throughout, as a writer leaves them that was stopped, "
                           "the first is instant 4"),
        ("u", np.s_[2:4, 3:], "variable u, sample 2: 6 instants are zero throughout, as a writer leaves them that was stopped, "
                              "the first is instant 3; 2 samples from 2 to 3"),
        ("u", np.s_[1], "variable u, sample 1: 6 instants are zero throughout, as a writer leaves them that was stopped, "
                        "the first is instant 0"),
        ("k", np.s_[2:], "variable k, sample 2: 3 samples are zero throughout, as a writer leaves them that was stopped; "
                         "3 samples from 2 to 4"),
        ("place", np.s_[4], "variable place, sample 4: 6 instants are zero throughout, as a writer leaves them that was "
                            "stopped, the first is instant 0"),
    ],
)  # fmt: skip
def test_frames_of_zeros_among_others_are_a_fault(tmp_path, name, place, message):
    path = of_others(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        file[name][place] = 0
    assert faults(path) == [f"OUT: {message}"]


def test_what_stands_behind_the_last_instant_is_no_frame(tmp_path):
    path = of_others(tmp_path / "some.h5", time=TimeGrid(None, LENGTHS))
    with h5py.File(path, "r+") as file:
        assert not file["u"][4, 2:].any()
        file["u"][4, 2:] = np.nan
    assert faults(path) == []


def test_zeros_from_the_first_instant_on_are_a_note(tmp_path):
    path = of_others(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        file["u"][:2, :2] = 0
        file["mask"][3, 4] = False
        file["nu"][1] = 0
        file["place"][1, 3] = 0
    report = check(path)
    assert report.faults == []
    assert report.notes == [
        f"{path}: variable u, sample 0: 4 instants are zero throughout, from the first instant on; 2 samples from 0 to 1",
        f"{path}: variable mask, sample 3: 1 instant is zero throughout, as a writer leaves them that was stopped, "
        "the first is instant 4",
    ]


def test_zeros_that_checksums_vouch_for_are_a_note(tmp_path):
    wide = [VariableInfo("u", "target", "1", "u", (2, 4, 3), torch.float32)]
    values = {"u": torch.ones(4, 2, 4, 3)}
    values["u"][2] = 0
    write_shard(tmp_path / "some.h5", range(4), values=values, variables=wide)
    report = check(tmp_path / "some.h5")
    assert report.faults == []
    assert [note.partition("variable ")[2][:40] for note in report.notes] == ["u, sample 2: 1 sample is zero throughout"]


def test_long_samples_are_looked_at_piece_by_piece(tmp_path):
    long = VariableInfo("u", "state", "1", "u", (1, 4, 3), torch.float64, 50_000)
    lorenz = VariableInfo("x", "state", "1", "x", (3,), torch.float64, 120_000)
    for info, place, at in ((long, (1, 43_210, 0, 2, 1), "43210, (0, 2, 1)"), (lorenz, (0, 99_999, 2), "99999, (2,)")):
        path = of_others(tmp_path / f"{info.name}.h5", [info], samples=2)
        assert faults(path) == []
        with h5py.File(path, "r+") as file:
            file[info.name][place] = np.inf
        assert f"sample {place[0]}: holds inf at instant {at}." in faults(path)[0]


def test_packed_fields_are_looked_at_too(tmp_path):
    path = of_others(tmp_path / "some.h5")
    with h5py.File(path, "r+") as file:
        values, attributes = file["u"][:], dict(file["u"].attrs)
        del file["u"]
        values[3, 2], values[4, 5, 1, 0, 0] = 0, np.nan
        packed = file.create_dataset("u", data=values, chunks=(2, 3, 2, 4, 3), compression="gzip", shuffle=True)
        for key in ("role", "units", "long_name", "layout", "time_varying"):
            packed.attrs[key] = attributes[key]
    found = faults(path)
    assert found[0].startswith("OUT: variable u, sample 4: holds nan at instant 5, (1, 0, 0)")
    assert found[1].startswith("OUT: variable u, sample 3: 1 instant is zero throughout")


def test_files_that_disagree_in_shape_or_type_are_named(tmp_path):
    of_others(tmp_path / "a.h5", VARIABLES, **values_of(range(5)))
    double = [VariableInfo(v.name, v.role, v.units, v.long_name, v.shape, torch.float64) for v in VARIABLES]
    of_others(tmp_path / "b.h5", double, **values_of(range(5)))
    (found,) = faults(tmp_path)
    assert "b.h5: differs from a.h5, variable a has dtype torch.float64 and not torch.float32" in found
    of_others(
        tmp_path / "b.h5", [VariableInfo("a", "coefficient", "m", "permeability", (2, 4, 3), torch.float32), VARIABLES[1]]
    )
    (found,) = faults(tmp_path)
    assert "b.h5: differs from a.h5, variable a has shape (2, 4, 3) and not (1, 4, 3)" in found


def test_every_split_is_looked_at(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        of_others(tmp_path / split / "some.h5")
    assert check(tmp_path).samples == 10
    with h5py.File(tmp_path / "test" / "some.h5", "r+") as file:
        file["nu"][1] = np.nan
    assert [line.partition(". ")[0] for line in faults(tmp_path)] == [
        "OUT/test/some.h5: variable nu, sample 1: holds nan at (0,)"
    ]


def test_a_file_that_is_still_being_written_or_was_not_finished_is_named(tmp_path):
    path = of_others(tmp_path / "some.h5")
    hold = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print(flush=True); input()"
    writer = subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with writer:
        writer.stdout.readline()
        found = faults(path)
        writer.communicate(b"\n")
    assert "is still being written, or its writer was stopped" in found[0]
    with h5py.File(path, "r+") as file:
        file.attrs["complete"] = 0
    assert faults(path) == ["OUT: attribute complete is 0, the file was not finished"]
    path.write_bytes(path.read_bytes()[:9000])
    assert "it is truncated or damaged" in faults(path)[0]
    path.write_bytes(b"")
    assert "is empty" in faults(path)[0]


@contextmanager
def forbidden(folder):
    """Nobody may look into a folder; root may look anywhere, so it steps back for a while."""
    folder.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    folder = tmp_path / "set"
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        of_others(folder / split / "some.h5")
    for above in (tmp_path, *tmp_path.parents[:3]):  # a folder of a worker may stand in between
        above.chmod(0o755)
    folder.chmod(0o755)
    with forbidden(folder / "test"):
        (found,) = check(folder).faults
    assert str(found) == f"{folder / 'test'}: cannot be read: Permission denied; see that you may read it"
    with forbidden(folder):
        (found,) = check(folder).faults
    assert str(found).startswith(f"{folder}: cannot be read: Permission denied")
