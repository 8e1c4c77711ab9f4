import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.made_sets import KINDS, LINE, fields_in_time, maps, series_of_unequal_length, values_of, waves, write_folder
from sciml.data.convert import TARGETS, convert
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo
from sciml.data.writers import the_well
from sciml.generation.check import check

HELD = [
    (kind, to)
    for kind in KINDS
    for to in TARGETS
    if to != "the-well" or kind not in ("particles", "series of unequal length", "values at points")
]


def split_of(folder, to):
    return folder / "data" / "train" if to == "the-well" else folder


def same(one, other):
    """Everything a stream sees, bit for bit."""
    assert list(one.variables.values()) == list(other.variables.values())
    assert one.domain == other.domain
    assert (one.steps is None) == (other.steps is None)
    rows = np.arange(len(one))
    assert len(one) == len(other)
    if one.steps is not None:
        assert np.array_equal(one.steps, other.steps)
        times, others = one.times(rows), other.times(rows)
        assert (times is None) == (others is None)
        assert times is None or others is None or np.array_equal(times, others, equal_nan=True)
    for name in one.variables:
        for row in rows:
            a, b = one.read(name, rows[row : row + 1]), other.read(name, rows[row : row + 1])
            assert a.dtype == b.dtype
            assert a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize(("kind", "to"), HELD)
def test_there_and_back_again_is_the_same_set(tmp_path, kind, to):
    ours = open_set(KINDS[kind](tmp_path / "train"))
    report = convert(ours.path, tmp_path / "there", to=to, file_bytes=300)
    there = open_set(split_of(tmp_path / "there", to))
    assert report.files == len(there.parts) > 1
    assert report.samples == len(ours)
    same(ours, there)
    convert(there.path, tmp_path / "back", to="sciml")
    back = open_set(tmp_path / "back")
    same(ours, back)
    assert back.attributes["problem"] == "made up"


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([torch.float32, torch.float64, torch.int16, torch.bool]),
    st.sampled_from(TARGETS),
)
@settings(max_examples=12, deadline=None)
def test_any_number_of_samples_instants_and_channels_comes_back(tmp_path_factory, samples, steps, channels, dtype, to):
    folder = tmp_path_factory.mktemp("any")
    info = (VariableInfo("u", "state", "1", "u", (channels, 8), dtype, steps),)
    write_folder(folder / "train", info, LINE, values_of(info, samples))
    convert(folder / "train", folder / "out", to=to, file_bytes=1)
    same(open_set(folder / "train"), open_set(split_of(folder / "out", to)))


def test_converted_to_ours_it_is_sound(tmp_path):
    convert(series_of_unequal_length(tmp_path / "train"), tmp_path / "out", to="sciml", file_bytes=1)
    report = check(tmp_path / "out")
    assert report.faults == []
    assert (report.files, report.samples) == (5, 5)


@pytest.mark.parametrize("to", TARGETS)
def test_all_splits_of_a_folder_are_written(tmp_path, to):
    for split in ("test", "train", "valid"):
        waves(tmp_path / "set" / split)
    report = convert(tmp_path / "set", tmp_path / "out", to=to)
    assert (report.samples, report.files) == (12, 3)
    for split in ("test", "train", "valid"):
        assert len(open_set(tmp_path / "out", split=split)) == 4
    convert(tmp_path / "set", tmp_path / "one", to=to, split="valid")
    where = tmp_path / "one/data/valid" if to == "the-well" else tmp_path / "one"
    assert len(open_set(where)) == 4


@pytest.mark.parametrize(("ending", "to"), [(".h5", "sciml"), (".nc", "netcdf")])
def test_one_file_when_that_is_asked_for(tmp_path, ending, to):
    ours = open_set(fields_in_time(tmp_path / "train"))
    out = tmp_path / f"one{ending}"
    seen = []
    convert(ours.path, out, to=to, file_bytes=1, progress=lambda done, total: seen.append((done, total)))
    same(ours, open_set(out))
    assert seen[-1][0] == seen[-1][1] == sum(info.bytes for info in ours.variables.values()) * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"train", out.name} | ({"one.json"} if to == "sciml" else set())
    )


def test_long_samples_are_taken_in_parts(tmp_path, monkeypatch):
    ours = fields_in_time(tmp_path / "train")
    asked = []
    whole = type(open_set(ours)).read_into

    def watched(self, name, rows, out, **options):
        asked.append(out.nbytes)
        whole(self, name, rows, out, **options)

    monkeypatch.setattr("sciml.data.blocks.BLOCK", 500)
    monkeypatch.setattr("sciml.data.set.Set.read_into", watched)
    for to in ("netcdf", "the-well"):
        asked.clear()
        convert(ours, tmp_path / to, to=to)
        assert max(asked) <= 2 * 6 * 5 * 3 * 8  # two instants of the largest variable, for increments
        same(open_set(ours), open_set(split_of(tmp_path / to, to)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("series of unequal length", "no variable is a field on a grid"),
        ("particles", "variable position is of particles and has no grid; convert to sciml or netcdf"),
    ],
)
def test_what_the_well_cannot_hold_is_refused_before_anything_is_written(tmp_path, kind, words):
    path = KINDS[kind](tmp_path / "train")
    with pytest.raises(ValueError, match=words):
        convert(path, tmp_path / "out", to="the-well")
    assert sorted(child.name for child in tmp_path.iterdir()) == ["train"]


def test_fields_of_unequal_length_are_refused_by_the_well(tmp_path):
    from sciml.data.layout import TimeGrid

    info = (VariableInfo("u", "state", "1", "u", (1, 8), torch.float32, 4),)
    write_folder(tmp_path / "train", info, LINE, values_of(info, 2), TimeGrid(None, np.array([4, 2])))
    with pytest.raises(ValueError, match="samples have 2 to 4 instants and need equally many"):
        the_well.check(open_set(tmp_path / "train"))
    convert(tmp_path / "train", tmp_path / "out", to="netcdf")
    same(open_set(tmp_path / "train"), open_set(tmp_path / "out"))


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing_new_and_what_was_there(tmp_path, monkeypatch, to, there):
    path = waves(tmp_path / "train")
    if there:
        convert(maps(tmp_path / "maps"), tmp_path / "out", to=to)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    reads = []

    def failing(self, name, rows, **options):
        reads.append(name)
        if len(reads) > 2:
            raise OSError(errno.EIO, "the disk is gone")
        return type(self)._old_read(self, name, rows, **options)

    opened = type(open_set(path))
    monkeypatch.setattr(opened, "_old_read", opened.read, raising=False)
    monkeypatch.setattr(opened, "read", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        convert(path, tmp_path / "out", to=to, force=there, file_bytes=1)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_what_is_there_is_replaced_only_when_told(tmp_path):
    path = waves(tmp_path / "train")
    for out, to in ((tmp_path / "out", "netcdf"), (tmp_path / "out.h5", "sciml"), (tmp_path / "out.nc", "netcdf")):
        convert(path, out, to=to)
        with pytest.raises(ValueError, match="is there already; take another name, or"):
            convert(path, out, to=to)
    convert(maps(tmp_path / "maps"), tmp_path / "out", to="the-well", force=True)
    convert(maps(tmp_path / "maps2"), tmp_path / "out.h5", to="sciml", force=True)
    assert "a" in open_set(tmp_path / "out/data/train").variables
    assert "a" in open_set(tmp_path / "out.h5").variables
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    message = r"holds thesis\.tex, which is no part of a set that was written here; remove it yourself"
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / "out", to="sciml", force=True)


@pytest.mark.parametrize(
    ("out", "to", "words"),
    [
        ("train", "sciml", "lies within what is read"),
        ("train/out", "sciml", "lies within what is read"),
        (".", "netcdf", "lies within what is read, or holds it"),
        ("out.nc", "sciml", r"sciml is written to a folder or to a file ending in \.h5"),
        ("out.h5", "the-well", "the-well is written to a folder$"),
        ("shard-00000.h5", "sciml", "names that begin with shard- are those of sets"),
    ],
)
def test_places_that_do_not_fit_are_refused(tmp_path, out, to, words):
    path = waves(tmp_path / "train")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=words):
        convert(path, tmp_path / out, to=to, force=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_several_splits_do_not_fit_into_one_file(tmp_path):
    for split in ("train", "test"):
        waves(tmp_path / "set" / split)
    with pytest.raises(ValueError, match="one file cannot hold the splits test, train; give a folder, or --split"):
        convert(tmp_path / "set", tmp_path / "out.nc", to="netcdf")


def test_values_that_ours_do_not_hold_are_named(tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["u"] = np.ones((3, 1, 8), "f4")
        file["u"][1, 0, 2] = np.nan
        file["u"].attrs["role"] = "target"
    with pytest.raises(ValueError, match=r"variable u, sample 1: got nan at \(0, 2\)"):
        convert(tmp_path / "in.h5", tmp_path / "out", to="sciml")
    assert os.listdir(tmp_path) == ["in.h5"]
    convert(tmp_path / "in.h5", tmp_path / "out", to="netcdf")
    assert open_set(Path(tmp_path / "out")).read("u", [1]).isnan().sum() == 1


def test_what_is_no_set_is_never_replaced(tmp_path):
    source = maps(tmp_path / "maps" / "train")
    folder, file = tmp_path / "run", tmp_path / "notes.h5"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"weights")
    file.write_bytes(b"mine")
    for out in (folder, file):
        with pytest.raises(ValueError, match="is no part of a set that was written here; remove it yourself"):
            convert(source, out, to="sciml", force=True)
    assert (folder / "model.pt").read_bytes() == b"weights"
    assert file.read_bytes() == b"mine"
