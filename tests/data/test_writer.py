import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from data.small_sets import DOMAIN, VARIABLES, values_of, write_shard
from sciml.data import writer
from sciml.data.manifest import is_done, manifest_path, read_manifest
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter, TimeGrid
from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train" / "shard-00000.h5"
    write_shard(path, range(7, 12), attributes={"problem": "a:b", "seed": 2**62})
    return path


def test_xarray_reads_names_coordinates_and_units(shard):
    with xarray.open_dataset(shard, engine="h5netcdf") as data:
        assert data.u.dims == ("sample", "u_channel", "x", "y")
        assert data.u.attrs == {"role": "target", "units": "Pa", "long_name": "pressure"}
        assert data.a.attrs["role"] == "coefficient"
        assert data.sample.values.tolist() == [7, 8, 9, 10, 11]
        assert data.x.values.tolist() == [0, 1, 2, 3]
        assert data.x.dtype == np.float64
        assert data.x.attrs["units"] == "1"
        assert float(data.u.sel(sample=9, x=2.0, y=1.0).squeeze()) == 921
        assert Domain.from_dict(json.loads(data.attrs["domain"])) == DOMAIN
        assert (data.attrs["problem"], data.attrs["seed"], data.attrs["complete"]) == ("a:b", 2**62, 1)


def test_bare_h5py_reads_contiguous_uncompressed_fields(shard):
    with h5py.File(shard) as file:
        assert np.array_equal(file["u"][:], values_of(range(7, 12))["u"].float().numpy())
        assert (file["u"].chunks, file["u"].compression, file["u"].dtype) == (None, None, np.float32)
        assert [dim[0].name for dim in file["u"].dims] == ["/sample", "/u_channel", "/x", "/y"]


def test_fields_of_a_page_or_more_begin_on_a_page(tmp_path):
    write_shard(tmp_path / "shard-00000.h5", range(200))
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        assert [file[name].id.get_offset() % 4096 for name in "au"] == [0, 0]


def test_the_manifest_says_what_the_file_is(shard):
    manifest, content = read_manifest(manifest_path(shard)), shard.read_bytes()
    assert (manifest["file"], manifest["first_sample"], manifest["samples"]) == ("shard-00000.h5", 7, 5)
    assert (manifest["size"], manifest["crc32"]) == (len(content), zlib.crc32(content))
    assert manifest["statistics"]["a"] == pytest.approx({"min": 7, "max": 14, "mean": 10.5, "rms": (10.5**2 + 2 + 1.25) ** 0.5})
    assert is_done(shard)
    text = manifest_path(shard).read_text()
    assert list(json.loads(text)) == [*sorted(manifest), "manifest_crc32"]


def test_a_manifest_with_one_changed_digit_is_refused(shard):
    path = manifest_path(shard)
    path.write_text(path.read_text().replace('"first_sample": 7', '"first_sample": 8'))
    with pytest.raises(ValueError, match=r"shard-00000.json: the manifest is damaged .* `sciml generate"):
        read_manifest(path)
    assert not is_done(shard)


def test_the_same_content_gives_the_same_bytes_in_any_blocks_and_any_process(tmp_path, shard):
    with ShardWriter(tmp_path / "shard-00000.h5", VARIABLES, range(7, 12), DOMAIN, {"problem": "a:b", "seed": 2**62}) as file:
        for samples in (range(7, 8), range(8, 12)):
            file.append(values_of(samples))
        file.finish({"card": {}, "code_version": "0", "residual": 0.0, "residuals": [0.0] * 5})
    for there in (shard, manifest_path(shard)):
        assert (tmp_path / there.name).read_bytes() == there.read_bytes()
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:]; from data.small_sets import write_shard;"
        "write_shard(pathlib.Path(sys.argv[1]), range(7, 12), attributes={'problem': 'a:b', 'seed': 2**62})"
    )
    other = tmp_path / "other" / "shard-00000.h5"
    subprocess.run([sys.executable, "-c", code, str(other), *[p or "." for p in sys.path]], check=True)
    assert other.read_bytes() == shard.read_bytes()


def test_nothing_is_left_of_a_shard_that_was_not_finished(tmp_path):
    path = tmp_path / "shard-00000.h5"
    with ShardWriter(path, VARIABLES, range(5), DOMAIN, {}) as file:
        file.append(values_of(range(3)))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept_up_and_harmless(tmp_path):
    for name in (".shard-00000.h5.0badcafe.part", ".shard-00000.json.0badcafe.part"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".shard-00001.h5.0badcafe.part").write_bytes(b"of another worker")
    write_shard(tmp_path / "shard-00000.h5", range(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".shard-00001.h5.0badcafe.part", "shard-00000.h5", "shard-00000.json"]


@pytest.mark.parametrize(
    ("bad", "dtype", "message"),
    [
        (float("nan"), torch.float32, r"variable u, sample 2: got nan at \(0, 1, 1\); only finite"),
        (1e39, torch.float32, r"variable u, sample 2: got 1e\+39 at \(0, 1, 1\), too large for float32"),
        (float("-inf"), torch.float64, r"variable u, sample 2: got -inf"),
    ],
)
def test_values_that_cannot_be_stored_are_named(tmp_path, bad, dtype, message):
    values = values_of(range(4))
    values["u"][2, 0, 1, 1] = bad
    variables = [VariableInfo(v.name, v.role, v.units, v.long_name, v.shape, dtype) for v in VARIABLES]
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path / "shard-00000.h5", range(4), values=values, variables=variables)
    assert list(tmp_path.iterdir()) == []


def test_wrong_shapes_names_and_counts_are_refused(tmp_path):
    path = tmp_path / "shard-00000.h5"
    with pytest.raises(ValueError, match=r"variable u: got shape \(1, 4, 4\) per sample, its grid must be \(4, 3\)"):
        ShardWriter(path, [VariableInfo("u", "target", "1", "u", (1, 4, 4), torch.float32)], range(2), DOMAIN, {})
    for names in (("sample",), ("u", "u_channel"), ("x", "x_coordinate")):
        variables = [VariableInfo(name, "target", "1", "x", (1, 4, 3), torch.float32) for name in names]
        with pytest.raises(ValueError, match=f"variable {names[-1]}: a coordinate of the file has this name"):
            ShardWriter(path, variables, range(2), DOMAIN, {})
    with pytest.raises(ValueError, match="attributes: got 'domain', which the writer sets"):
        ShardWriter(path, VARIABLES, range(2), DOMAIN, {"domain": "{}"})
    with ShardWriter(path, VARIABLES, range(2), DOMAIN, {}) as file:
        with pytest.raises(ValueError, match=r"got variables \['a'\], need \['a', 'u'\]"):
            file.append({"a": values_of(range(2))["a"]})
        with pytest.raises(ValueError, match="got 3 samples, this shard has 2"):
            file.append(values_of(range(3)))
        with pytest.raises(ValueError, match="got 0 samples, need 2"):
            file.finish({})


def test_variables_may_have_the_names_of_axes(tmp_path):
    values = {"x": values_of(range(2))["a"], "y": values_of(range(2))["u"]}
    variables = [VariableInfo(name, v.role, v.units, name, v.shape, v.dtype) for name, v in zip("xy", VARIABLES, strict=True)]
    write_shard(tmp_path / "some.h5", range(2), values=values, variables=variables)
    found = open_set(tmp_path / "some.h5")
    assert (list(found.variables), found.domain) == (["x", "y"], DOMAIN)
    assert all(torch.equal(found.read(name, slice(None)), values[name].float()) for name in "xy")
    with xarray.open_dataset(tmp_path / "some.h5", engine="h5netcdf") as data:
        assert data.y.dims == ("sample", "y_channel", "x_coordinate", "y_coordinate")
        assert data.x_coordinate.values.tolist() == [0, 1, 2, 3]


def test_numbers_without_a_grid_are_stored_beside_fields(tmp_path):
    viscosity = VariableInfo("viscosity", "parameter", "m2/s", "viscosity", (2,), torch.float64)
    values = {**values_of(range(3)), "viscosity": torch.arange(6.0, dtype=torch.float64).view(3, 2)}
    write_shard(tmp_path / "shard-00000.h5", range(3), values=values, variables=(viscosity, *VARIABLES))
    with xarray.open_dataset(tmp_path / "shard-00000.h5", engine="h5netcdf") as data:
        assert data.viscosity.dims == ("sample", "viscosity_channel")
        assert data.viscosity.values.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_no_room_is_said_before_any_work_and_leaves_nothing_behind(tmp_path):
    """A limit on the size of files stands for a full disk: the system refuses to let the file grow."""
    write_shard(tmp_path / "shard-00000.h5", range(5))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(
            OSError, match=r"cannot write .*shard-00001.h5: .*make room and run `sciml generate` again"
        ) as caught:
            write_shard(tmp_path / "shard-00001.h5", range(5, 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_disk_that_fills_up_while_writing_leaves_nothing_behind(tmp_path, monkeypatch, call):
    """Where room cannot be reserved, the system says so only at a write, or at the end."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "_reserve", lambda *_: None)
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"shard-00000.h5: No space left on device; make room") as caught:
        write_shard(tmp_path / "shard-00000.h5", range(5))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=r"predicted.h5: No space left on device; make room and try again$"):
        write_shard(tmp_path / "predicted.h5", range(5))
    assert list(tmp_path.iterdir()) == []


def test_values_whose_squares_overflow_are_refused_in_words(tmp_path):
    values = values_of(range(2))
    values["a"][0] = 1e200
    variables = [VariableInfo(v.name, v.role, v.units, v.long_name, v.shape, torch.float64) for v in VARIABLES]
    with pytest.raises(ValueError, match=r"1e\+200 have squares beyond float64, choose other units"):
        write_shard(tmp_path / "shard-00000.h5", range(2), values=values, variables=variables)


DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
KINDS = ("field", "numbers", "particles")


@st.composite
def layouts(draw):
    """What to write, in plain words: variables as (kind, channels, role, dtype, timed), sizes, and what is said of time."""
    samples, steps = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kind = st.tuples(*map(st.sampled_from, (KINDS, (1, 2, 3), ROLES, DTYPES, (True, False))))
    return {
        "variables": draw(st.lists(kind, min_size=1, max_size=4)),
        "samples": samples,
        "steps": steps,
        "grid": draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)),
        "particles": draw(st.integers(1, 5)),
        "lengths": draw(st.none() | st.lists(st.integers(1, steps), min_size=samples, max_size=samples)),
        "times": draw(st.sampled_from(("unknown", "shared", "of each"))),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def variables_of(layout):
    for number, (kind, channels, role, dtype, timed) in enumerate(layout["variables"]):
        ends = {"field": layout["grid"], "numbers": [], "particles": [channels]}[kind]
        shape = (layout["particles"] if kind == "particles" else channels, *ends)
        about = (
            f"v{number}",
            role,
            "m",
            f"variable {number}",
            shape,
            getattr(torch, dtype),
            layout["steps"] if timed else None,
        )
        yield VariableInfo(*about, particles=kind == "particles")


def any_values(info, samples, random):
    """Bits of every kind that make finite numbers: also negative zeros and subnormal ones."""
    shape, dtype = (samples, *info.sample_shape), np.dtype(str(info.dtype).removeprefix("torch."))
    raw = np.frombuffer(random.bytes(int(np.prod(shape)) * dtype.itemsize), np.uint8)
    values = ((raw & 1).astype(bool) if dtype.kind == "b" else raw.view(dtype)).reshape(shape)
    if dtype.kind != "f":
        return torch.from_numpy(values.copy())
    largest = dtype.type(min(1e150, float(np.finfo(dtype).max)))  # squares must not overflow
    return torch.from_numpy(np.where(np.abs(values) <= largest, values, dtype.type(-0.0)))


@given(layouts())
@settings(deadline=None, max_examples=60)
def test_whatever_is_written_is_read_again_bit_by_bit(layout):
    variables, samples, steps = list(variables_of(layout)), layout["samples"], layout["steps"]
    domain = None
    if any(info.grid for info in variables):
        domain = Domain.box([1.0] * len(layout["grid"]), layout["grid"], "open")
    lengths = np.array(layout["lengths"] or [steps] * samples)
    behind = np.arange(steps) >= lengths[:, None]
    times = {
        "unknown": None,
        "shared": np.arange(steps) / 3,
        "of each": np.where(behind, np.nan, np.arange(samples * steps).reshape(samples, steps) / 7),
    }[layout["times"]]
    moves = any(info.steps for info in variables)
    time = TimeGrid(times, lengths if layout["lengths"] else None) if moves else None
    random = np.random.default_rng(layout["seed"])
    values = {info.name: any_values(info, samples, random) for info in variables}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.h5"
        with ShardWriter(path, variables, range(7, 7 + samples), domain, {"seed": 3}, time) as file:
            file.append(values)
            file.finish({})
        found = open_set(path)
        assert list(found.variables.values()) == variables
        assert (found.domain, len(found), found.notes) == (domain, samples, ())
        assert (found.steps.tolist() == lengths.tolist()) if moves else found.steps is None
        for info in variables:
            for row in range(samples):
                there = values[info.name][row] if info.steps is None else values[info.name][row, : lengths[row]]
                assert found.read(info.name, [row])[0].numpy().tobytes() == there.contiguous().numpy().tobytes()
        told = found.times(np.arange(samples))
        assert (told is None) == (times is None or not moves)
        for row, length in enumerate(lengths if told is not None else ()):
            assert told[row, :length].tolist() == (times if times.ndim == 1 else times[row])[:length].tolist()


MOVING = (
    VariableInfo("u", "state", "m/s", "velocity", (2, 4, 3), torch.float32, 5),
    VariableInfo("force", "state", "N", "force", (3,), torch.float64, 5),
    VariableInfo("place", "state", "m", "position", (7, 2), torch.float32, 5, particles=True),
    VariableInfo("mass", "parameter", "kg", "mass", (7, 1), torch.float32, particles=True),
    VariableInfo("k", "coefficient", "m2", "permeability", (1, 4, 3), torch.float32),
    VariableInfo("nu", "parameter", "m2/s", "viscosity", (1,), torch.float64),
)


def moving(path, time, samples=3, variables=MOVING):
    draw = torch.Generator().manual_seed(0)
    values = {v.name: torch.randn(samples, *v.sample_shape, generator=draw, dtype=torch.float64) for v in variables}
    with ShardWriter(path, variables, range(samples), DOMAIN, {}, time) as file:
        file.append(values)
        return values, file.finish({})


def test_xarray_reads_fields_series_and_particles_in_time(tmp_path):
    values, _ = moving(tmp_path / "some.h5", TimeGrid(np.array([0.0, 0.1, 0.2, 0.4, 0.8])))
    with xarray.open_dataset(tmp_path / "some.h5", engine="h5netcdf") as data:
        assert {name: data[name].dims[1:] for name in data.data_vars} == {
            "u": ("time", "u_channel", "x", "y"),
            "force": ("time", "force_channel"),
            "place": ("time", "particle", "place_component"),
            "mass": ("particle", "mass_component"),
            "k": ("k_channel", "x", "y"),
            "nu": ("nu_channel",),
        }
        kinds = {name: (data[name].attrs.get("layout"), data[name].attrs.get("time_varying")) for name in data.data_vars}
        assert kinds == {
            "u": ("field", 1),
            "force": ("series", 1),
            "place": ("particles", 1),
            "mass": ("particles", 0),
            "k": (None, None),
            "nu": (None, None),
        }
        assert (data.time.dtype, data.time.values.tolist()) == (np.float64, [0, 0.1, 0.2, 0.4, 0.8])
        assert float(data.force.sel(time=0.4, sample=2)[1]) == float(values["force"][2, 3, 1])


def test_samples_of_unequal_length_are_padded_with_zeros_that_count_nowhere(tmp_path):
    steps = np.array([5, 1, 2])
    times = np.where(np.arange(5) < steps[:, None], np.arange(5) / 4, np.nan)
    values, manifest = moving(tmp_path / "some.h5", TimeGrid(times, steps))
    with h5py.File(tmp_path / "some.h5") as file:
        assert file["steps"][:].tolist() == [5, 1, 2]
        assert np.array_equal(file["times"][:], times, equal_nan=True)
        assert np.array_equal(file["force"][2, :2], values["force"][2, :2])
        assert not file["force"][2, 2:].any()
        assert not file["u"][1, 1:].any()
    there = np.concatenate([values["force"][row, :count].numpy().ravel() for row, count in enumerate(steps)])
    said = manifest["statistics"]["force"]
    assert (said["min"], said["max"], said["mean"]) == (there.min(), there.max(), pytest.approx(there.mean(), rel=1e-14))
    with xarray.open_dataset(tmp_path / "some.h5", engine="h5netcdf") as data:
        assert (data.times.dims, data.steps.dims, "time" in data.coords) == (("sample", "time"), ("sample",), False)


def test_the_manifest_says_where_the_values_lie(tmp_path):
    values, manifest = moving(tmp_path / "some.h5", None)
    content = (tmp_path / "some.h5").read_bytes()
    for name, place in manifest["arrays"].items():
        array = np.frombuffer(content, place["dtype"], int(np.prod(place["shape"])), place["offset"]).reshape(place["shape"])
        assert np.array_equal(array, values[name].numpy().astype(place["dtype"]))


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (TimeGrid(np.arange(4.0)), r"times: got shape \(4,\), need \(5,\) or \(3, 5\)"),
        (TimeGrid(np.array([0, 1, np.nan, 3, 4])), "times: got nan, need only finite ones"),
        (TimeGrid(np.full((3, 5), np.inf)), "times: got inf at instant 0 of sample 0, which has 5 instants"),
        (TimeGrid(np.zeros((3, 5)), np.array([5, 5, 4])), "times: got 0.0 at instant 4 of sample 2, which has 4 instants"),
        (TimeGrid(None, np.array([5, 5])), r"steps: .* need 1 to 5 for 3 samples"),
        (TimeGrid(None, np.array([5, 5, 6])), r"steps: .* need 1 to 5 for 3 samples"),
        (TimeGrid(None, np.array([5, 0, 5])), r"steps: .* need 1 to 5 for 3 samples"),
    ],
)
def test_grids_in_time_that_do_not_fit_are_refused(tmp_path, time, message):
    with pytest.raises(ValueError, match=message):
        moving(tmp_path / "some.h5", time)


@pytest.mark.parametrize(
    ("variables", "domain", "message"),
    [
        ([VariableInfo("u", "state", "1", "u", (1, 4, 3), torch.float32, 5)], None, r"variable u: .* no domain"),
        ([VariableInfo("u", "state", "1", "u", (1,), torch.complex64)], None, "variable u: got torch.complex64, need whole or"),
        ([VariableInfo("u", "state", "1", "u", (1,), torch.bfloat16)], None, "variable u: got torch.bfloat16, need whole or"),
        ([VariableInfo("a/b", "state", "1", "u", (1,), torch.float32)], None, "variable 'a/b': arrays of a file"),
        ([VariableInfo("steps", "state", "1", "u", (1,), torch.float32, 5)], None, "variable steps: a coordinate"),
        ([VariableInfo("u", "state", "1", "u", (1,), torch.float32)] * 2, None, "need every name once"),
        (
            [VariableInfo(name, "state", "1", "u", (1,), torch.float32, steps) for name, steps in (("u", 5), ("v", 6))],
            None,
            "variables differ in instants, {'u': 5, 'v': 6}",
        ),
        (
            [VariableInfo(f"p{n}", "state", "1", "u", (n, 2), torch.float32, particles=True) for n in (2, 3)],
            None,
            "variables differ in particles, {'p2': 2, 'p3': 3}",
        ),
    ],
)
def test_variables_that_cannot_share_a_file_are_refused(tmp_path, variables, domain, message):
    with pytest.raises(ValueError, match=message):
        ShardWriter(tmp_path / "some.h5", variables, range(3), domain, {})


def test_a_grid_in_time_needs_something_that_changes(tmp_path):
    with pytest.raises(ValueError, match="no variable changes in time"):
        ShardWriter(tmp_path / "some.h5", VARIABLES, range(3), DOMAIN, {}, TimeGrid())


@pytest.mark.parametrize(("bad", "words"), [(2.5, "2.5"), (300.0, "300"), (float("nan"), "nan")])
def test_values_that_whole_numbers_cannot_hold_are_named(tmp_path, bad, words):
    info = VariableInfo("label", "target", "1", "kind of flow", (2,), torch.int8)
    values = {"label": torch.tensor([[1.0, 2.0], [3.0, bad]])}
    message = rf"variable label, sample 8: got {words} at \(1,\), which is no int8"
    with ShardWriter(tmp_path / "some.h5", [info], range(7, 9), None, {}) as file, pytest.raises(ValueError, match=message):
        file.append(values)
