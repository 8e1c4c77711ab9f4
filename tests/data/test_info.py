import json

import h5py
import numpy as np
import pytest

from data.made_sets import fields_in_time, maps, particles, series_of_unequal_length, waves
from sciml.data.convert import convert
from sciml.data.info import dimensions, in_bytes, instants, layouts, notes, slow_parts
from sciml.data.set import open_set


@pytest.fixture
def packed(tmp_path):
    """One variable per way of storing it, (4, 20, 1, 64, 64)."""
    ways = {
        "whole": {},
        "gzip": {"chunks": (1, 20, 1, 8, 8), "compression": "gzip"},
        "instants": {"chunks": (1, 1, 1, 64, 64)},
        "lzf": {"chunks": (1, 1, 1, 64, 64), "compression": "lzf"},
    }
    values = np.random.default_rng(0).normal(size=(4, 20, 1, 64, 64)).astype("f4")
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        for name, way in ways.items():
            array = file.create_dataset(name, data=values, **way)
            array.attrs["role"], array.attrs["layout"], array.attrs["time_varying"] = "state", "field", 1
        file.attrs["domain"] = json.dumps({"lengths": [1, 1], "points": [64, 64], "sides": "open", "layout": "cells"})
    return open_set(tmp_path / "packed.h5")


def test_dimensions_are_named_with_their_sizes(tmp_path):
    assert dimensions(open_set(fields_in_time(tmp_path / "a"))) == {
        "sample": 5,
        "time": 4,
        "x": 6,
        "y": 5,
        "v_channel": 2,
        "c_channel": 3,
        "drag_channel": 2,
        "law_channel": 2,
    }
    assert dimensions(open_set(particles(tmp_path / "b")))["particle"] == 7


def test_instants_are_counted_and_their_times_told(tmp_path):
    assert instants(open_set(fields_in_time(tmp_path / "a"))) == "4 per sample, 20 in all; times 0 to 0.7, 0.1 to 0.4 apart"
    uneven = instants(open_set(series_of_unequal_length(tmp_path / "b")))
    assert uneven == "1 to 9 per sample, 24 in all; times 0 to 3.125, other ones for each sample, 0.125 to 0.625 apart"
    assert instants(open_set(maps(tmp_path / "c"))) == ""


def test_where_values_lie_is_told_of_each_variable(packed):
    assert layouts(packed) == {
        "in one piece": ["whole"],
        "in chunks of 1 x 20 x 1 x 8 x 8, gzip": ["gzip"],
        "in chunks of 1 x 1 x 1 x 64 x 64": ["instants"],
        next(words for words in layouts(packed) if "lzf" in words): ["lzf"],
    }


def test_what_is_slow_is_told_with_numbers_and_a_remedy(packed):
    lines = slow_parts(packed)
    ratio = packed.parts[0].file.description.arrays["gzip"]
    stored = int(ratio.layout.sizes.sum())
    assert lines[:3] == [
        "gzip: chunks hold 20 instants each, so reading one instant of 16.4 kB decodes 327.7 kB, 20 times as much",
        "gzip: small chunks, one instant of 16.4 kB lies in 64 chunks of 5.1 kB",
        f"gzip: compressed by gzip to 1/{ratio.bytes / stored:.2f} of 1.3 MB, all of it is decoded when read",
    ]
    assert lines[3].startswith("lzf: ")
    assert "1.3 MB go through the library of the format, in 1 thread" in lines[3]
    assert lines[4].startswith(f"`sciml convert {packed.path} OUT --to sciml`")
    assert len(lines) == 5


def test_the_remedy_helps(packed, tmp_path):
    convert(packed.path, tmp_path / "out", to="sciml")
    found = open_set(tmp_path / "out")
    assert slow_parts(found) == []
    assert list(layouts(found)) == ["in one piece"]


def test_axes_in_another_order_are_told(tmp_path):
    matlab = pytest.importorskip("sciml.data.formats.fno_mat")
    with h5py.File(tmp_path / "ns.mat", "w", userblock_size=512) as file:  # as MATLAB writes u of (samples, x, y, time)
        file["u"] = np.zeros((10, 16, 16, 3), "f4")
        file["u"].attrs["MATLAB_class"] = np.bytes_("single")
    with (tmp_path / "ns.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    source = open_set(tmp_path / "ns.mat")
    assert source.parts[0].format is matlab
    line = slow_parts(source)[0]
    assert line == "u: its axes on disk are (time, y, x, sample), one instant of 1.0 kB lies in 256 pieces of 4 B"


def test_many_small_files_are_told(tmp_path):
    convert(maps(tmp_path / "train"), tmp_path / "few", to="netcdf", file_bytes=1)
    assert slow_parts(open_set(tmp_path / "few")) == []
    for copy in range(17):
        for file in (tmp_path / "few").glob("few-*.nc"):
            (tmp_path / "few" / f"copy-{copy}-{file.name}").write_bytes(file.read_bytes())
    lines = slow_parts(open_set(tmp_path / "few"))
    assert lines[0].startswith("72 files of ")
    assert "on average, each of which must be opened" in lines[0]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e13, "30.0 TB")]
)
def test_bytes_have_a_unit(count, words):
    assert in_bytes(count) == words


def test_a_domain_that_is_made_up_is_noted(tmp_path):
    np.save(tmp_path / "series.npy", np.zeros((3, 2)))
    assert not any("made up" in note for note in notes(open_set(tmp_path / "series.npy")))  # no field, no domain
    np.savez(tmp_path / "pairs.npz", a=np.zeros((3, 4, 5)), u=np.zeros((3, 4, 5)))
    source = open_set(tmp_path / "pairs.npz")
    assert notes(source)[-1] == f"the files do not say on which grid the fields lie; the domain is made up: {source.domain}"
    assert notes(open_set(waves(tmp_path / "train"))) == ()
