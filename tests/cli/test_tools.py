import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from data.made_sets import KINDS, LINE, PLANE, fields_in_time, values_of, waves, write_folder
from sciml.cli.tools import _box, _instants, _sample
from sciml.data.convert import convert
from sciml.data.field_statistics import KEYS, field_statistics
from sciml.data.set import open_set
from sciml.data.variables import VariableInfo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return {kind: write(folder / kind.replace(" ", "-") / "train") for kind, write in KINDS.items()}


@pytest.mark.parametrize("to", ["sciml", "the-well", "netcdf"])
def test_convert_says_what_it_wrote(sciml, made, tmp_path, to):
    status, out, err = sciml("convert", made["fields in time"], tmp_path / "out", "--to", to)
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out'}: 5 samples in 1 file as {to}, ")
    where = tmp_path / "out" / "data" / "train" if to == "the-well" else tmp_path / "out"
    assert len(open_set(where)) == 5


def test_convert_takes_a_mapping(sciml, tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["deep/v"] = np.arange(24.0).reshape(2, 3, 4)
    (tmp_path / "map.toml").write_text('[u]\narray = "deep/v"\naxes = ["sample", "time", "x"]\nrole = "state"\nunits = "m"\n')
    out = tmp_path / "out.nc"
    status, _, err = sciml("convert", tmp_path / "mine.h5", out, "--to", "netcdf", "--mapping", tmp_path / "map.toml")
    assert (status, err) == (0, "")
    assert open_set(out).variables["u"].units == "m"
    assert open_set(out).read("u", [1]).flatten().tolist() == list(range(12, 24))


def test_stats_are_printed_and_written_beside_the_split(sciml, made):
    path = made["fields in time"]
    status, out, err = sciml("stats", path, "--write", "--workers", 2)
    assert (status, err) == (0, "")
    found = field_statistics(open_set(path))
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert f"{found['v'].mean[1]:.4g}" in lines["v[1]"]
    assert f"{found['p'].rms_delta[0]:.4g}" in lines["p"]
    assert "m2/s" in lines["nu"]
    written = path.parent / "stats.yaml"
    assert f"wrote {written}" in out
    assert set(yaml.safe_load(written.read_text())) == set(KEYS)
    status, _, err = sciml("stats", path, "--write")
    assert (status, err) == (1, f"sciml: {written}: is there already; replace it with --force\n")
    written.write_text("<html>")
    assert sciml("stats", path, "--write", "--force")[0] == 0
    assert yaml.safe_load(written.read_text())["std"]["v"] == list(found["v"].std)
    assert open_set(path)  # what was written is no file of samples


def test_stats_of_the_well_and_of_a_file_have_their_place(sciml, tmp_path):
    convert(waves(tmp_path / "train"), tmp_path / "well", to="the-well")
    (tmp_path / "well" / "stats.yaml").unlink()
    assert sciml("stats", tmp_path / "well" / "data" / "train", "--write")[0] == 0
    (tmp_path / "well" / "stats.yaml").unlink()
    assert sciml("stats", tmp_path / "well", "--split", "train", "--write")[0] == 0
    assert (tmp_path / "well" / "stats.yaml").exists()
    convert(tmp_path / "train", tmp_path / "file" / "one.nc", to="netcdf")
    assert sciml("stats", tmp_path / "file" / "one.nc", "--write")[0] == 0
    assert sorted(file.name for file in (tmp_path / "file").iterdir()) == ["one-stats.yaml", "one.nc"]


def test_stats_of_several_sets_in_one_place_do_not_replace_each_other(sciml, tmp_path):
    for split in ("test", "train", "valid"):
        waves(tmp_path / "set" / split)
    status, out, _ = sciml("stats", tmp_path / "set", "--write")
    assert status == 0
    assert "split train; there are also test, valid, choose with --split" in out.splitlines()
    whole = (tmp_path / "set/stats.yaml").read_text()
    status, out, _ = sciml("stats", tmp_path / "set", "--split", "test", "--write")
    assert status == 0
    assert "there are also" not in out
    assert sciml("stats", tmp_path / "set/valid", "--write")[0] == 0
    assert {file.name for file in (tmp_path / "set").glob("*.yaml")} == {"stats.yaml", "test-stats.yaml", "valid-stats.yaml"}
    assert (tmp_path / "set/stats.yaml").read_text() == whole


def test_splits_inside_of_a_file_have_statistics_of_their_own_and_convert_says_that_they_are_joined(sciml, tmp_path):
    with h5py.File(tmp_path / "1D_Burgers.hdf5", "w") as file:
        file["tensor"] = np.random.default_rng(0).normal(size=(10, 5, 16)).astype("f4")
        file["x-coordinate"], file["t-coordinate"] = (np.arange(16) + 0.5) / 16, np.arange(6) / 10
    path = tmp_path / "1D_Burgers.hdf5"
    for split in ("train", "test"):
        assert sciml("stats", path, "--split", split, "--write")[0] == 0
        assert (tmp_path / f"1D_Burgers-{split}-stats.yaml").exists()
    joined = "note: the files hold the splits train, test; all samples were written as one set, choose one with --split"
    status, out, _ = sciml("convert", path, tmp_path / "all", "--to", "sciml")
    assert status == 0
    assert joined in out.splitlines()
    status, out, _ = sciml("convert", path, tmp_path / "some", "--to", "sciml", "--split", "train")
    assert status == 0
    assert joined not in out.splitlines()


def test_values_that_are_not_finite_are_told(sciml, made, tmp_path):
    convert(made["fields in time"], tmp_path / "out.nc", to="netcdf")
    with h5py.File(tmp_path / "out.nc", "r+") as file:
        file["p"][0, 0, 0, :2] = np.nan
    status, out, _ = sciml("stats", tmp_path / "out.nc")
    assert status == 0
    assert "p: 10 values not finite, left out" in out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_show_draws_every_kind_of_set(sciml, made, tmp_path, kind, ending):
    out = tmp_path / "pictures" / f"one{ending}"
    one = ("--variable", "v") if kind == "fields in time" else ()
    status, told, err = sciml("show", made[kind], "--sample", 2, *one, "-o", out)
    if kind in ("maps", "values at points") and ending == ".gif":
        assert status == 1
        assert "nothing in this sample changes in time" in err
        assert not list(out.parent.iterdir())
        return
    assert (status, err) == (0, "")
    assert f"wrote {out}" in told
    with Image.open(out) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 20
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_show_draws_values_at_the_points_of_their_set(sciml, made, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, out: (drawn.append(figure), out.write_bytes(b"picture")))
    source = open_set(made["values at points"])
    y, s = (source.read(name, [2])[0].numpy() for name in ("y", "s"))
    for one, fields in ((), 1), (("--variable", "s"), 0):
        status, told, err = sciml("show", made["values at points"], "--sample", 2, *one, "-o", tmp_path / f"{fields}.png")
        assert (status, err) == (0, "")
        assert "not shown" not in told
        axes = drawn[-1].axes
        assert len([ax for ax in axes if ax.lines]) == fields
        dots = [ax.collections[0] for ax in axes if ax.get_xlabel() == "y[0] [m]"]
        assert [one.colorbar.ax.get_ylabel() for one in dots] == ["s[0] [K]", "s[1] [K]"]
        for component, one in enumerate(dots):
            assert np.array_equal(one.get_offsets(), y.astype(np.float64))
            assert np.array_equal(one.get_array(), s[:, component])


def test_show_names_the_picture_after_the_set_and_takes_one_variable(sciml, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sciml("show", made["fields in time"], "--variable", "drag")[0] == 0
    (picture,) = tmp_path.iterdir()
    assert picture.name == "fields-in-time-train-0.png"


def test_show_replaces_a_picture_only_when_told_and_takes_the_training_split(sciml, tmp_path, monkeypatch):
    for split in ("test", "train"):
        waves(tmp_path / "set" / split)
    monkeypatch.chdir(tmp_path)
    status, out, _ = sciml("show", "set")
    assert status == 0
    assert out == "split train; there are also test, choose with --split\nwrote set-train-0.png\n"
    picture = tmp_path / "set-train-0.png"
    picture.write_bytes(b"mine")
    for path in ("set", "set/train"):
        status, _, err = sciml("show", path)
        assert status == 1
        assert "set-train-0.png: is there already; take another name with --out, or replace it with --force" in err
    assert picture.read_bytes() == b"mine"
    assert sciml("show", "set", "--force")[0] == 0
    assert picture.read_bytes() != b"mine"
    assert sciml("show", "set", "--split", "test")[0] == 0
    assert (tmp_path / "set-test-0.png").exists()


def test_a_folder_of_splits_without_train_asks_which(sciml, tmp_path):
    for split in ("test", "valid"):
        waves(tmp_path / "set" / split)
    for command in ("stats", "show"):
        status, _, err = sciml(command, tmp_path / "set")
        assert (status, err) == (
            1,
            f"sciml: {tmp_path / 'set'}: holds the splits test, valid; choose one, such as --split test\n",
        )


def test_info_describes_the_training_split_and_says_so(sciml, tmp_path):
    waves(tmp_path / "set" / "test")
    fields_in_time(tmp_path / "set" / "train")
    status, out, _ = sciml("info", tmp_path / "set")
    assert status == 0
    assert "split train in what follows; another with --split" in out.splitlines()
    assert "dimensions: sample 5, time 4, x 6, y 5" in out


def test_commands_take_a_mapping_as_the_page_on_formats_has_it(sciml, tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs/how_to/formats.md").read_text(encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "map.toml").write_text(toml.replace("points = [64, 64]", "points = [6, 5]"))
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["solutions"] = np.random.default_rng(0).normal(size=(2, 3, 6, 5, 1))
        file["t"] = np.array([[0.0, 0.5, 1.0], [0.0, 1.0, 2.5]])
    told = ("--mapping", tmp_path / "map.toml")
    status, out, _ = sciml("info", tmp_path / "mine.h5", *told)
    assert status == 0
    assert "times 0 to 2.5, other ones for each sample" in out
    assert "domain: [0, 1] 6 points (first_end, periodic)" in out
    assert "note:" not in out
    status, out, _ = sciml("stats", tmp_path / "mine.h5", *told)
    assert status == 0
    assert "m/s" in out
    assert sciml("show", tmp_path / "mine.h5", *told, "-o", tmp_path / "a.png")[0] == 0
    status, out, _ = sciml("convert", tmp_path / "mine.h5", tmp_path / "ours", "--to", "sciml", *told)
    assert status == 0
    assert "note:" not in sciml("info", tmp_path / "ours")[1]  # what is written has its grid


def test_what_has_no_room_is_told(sciml, tmp_path):
    many = (VariableInfo("u", "target", "1", "u", (11, 8), torch.float32),)
    write_folder(tmp_path / "train", many, LINE, values_of(many, 1))
    status, out, _ = sciml("show", tmp_path / "train", "-o", tmp_path / "a.png")
    assert status == 0
    assert "not shown: u[8], u[9], u[10]; choose with --variable" in out


def test_info_tells_instants_layout_and_what_is_slow(sciml, made, tmp_path):
    status, out, err = sciml("info", made["fields in time"])
    assert (status, err) == (0, "")
    assert "dimensions: sample 5, time 4, x 6, y 5" in out
    assert "instants: 4 per sample, 20 in all; times 0 to 0.7" in out
    assert "on disk: in one piece: kappa, inside, v, c, p, drag, nu, law" in out
    assert "slow" not in out
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("u", data=np.zeros((4, 1, 64), "f4"), chunks=(4, 1, 64), compression="gzip").attrs["role"] = (
            "target"
        )
    status, out, _ = sciml("info", tmp_path / "packed.h5")
    assert status == 0
    assert "slow: u: chunks hold 4 samples each, so reading one sample of 256 B decodes 1.0 kB, 4 times as much" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", "SERIES", "out", "--to", "the-well"), "no variable is a field on a grid; convert to sciml or netcdf"),
        (("convert", "FIELDS", "out", "--to", "zarr"), "--to: got 'zarr', need one of sciml, the-well, netcdf"),
        (("convert", "FIELDS", "FIELDS", "--to", "netcdf"), "lies within what is read"),
        (("convert", "nowhere", "out", "--to", "netcdf"), "nothing is there"),
        (("convert", "FIELDS", "out", "--to", "sciml", "--split", "quick"), "quick"),
        (("convert", "FIELDS", "out", "--to", "sciml", "--mapping", "no.toml"), "no.toml"),
        (("stats", "nowhere"), "nothing is there"),
        (("show", "nowhere"), "nothing is there"),
        (("show", "FIELDS", "-o", "a.pdf"), "--out: got 'a.pdf', need a name that ends in .png or .gif"),
        (("show", "FIELDS", "--sample", "5"), "--sample: got 5"),
        (("show", "FIELDS", "--sample", "-1"), "--sample: got -1"),
        (("show", "FIELDS", "--variable", "w"), "--variable: got 'w'"),
        (("show", "POINTS", "--variable", "y"), "variable y: has no grid and does not change in time"),
        (("show", "FIELDS", "--variable", "nu"), "variable nu: has no grid and does not change in time"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(sciml, made, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"FIELDS": made["fields in time"], "SERIES": made["series of unequal length"], "POINTS": made["values at points"]}
    status, _, err = sciml(*(known.get(argument, argument) for argument in arguments))
    assert status == 1
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_page_on_converting_does_what_it_says(sciml, tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs/how_to/convert.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    fields_in_time(tmp_path / "data/flow/train")
    lines = re.findall(r"^    sciml (.*)$", page, re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        status, _, err = sciml(*line.split())
        assert (status, err) == (0, ""), line
    there = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {"flow.png", "flow.gif", "data/flow/stats.yaml", "converted/flow.nc", "converted/flow/stats.yaml"} <= there
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["normaliser"].shift == names["found"]["v"].mean


@pytest.mark.parametrize(("shift", "corners"), [(0.0, (0.0, 4.0)), (-2.0, (-2.0, 2.0)), (-9.0, None)])
def test_the_box_of_particles_is_the_one_that_holds_them(tmp_path, shift, corners):
    infos = (
        VariableInfo("r", "state", "m", "r", (5, 2), torch.float32, 3, particles=True),
        VariableInfo("box", "parameter", "m", "edges", (2,), torch.float64),
    )
    positions = torch.rand(1, 3, 5, 2, generator=torch.Generator().manual_seed(0)) * 4 + shift
    values = {"r": positions, "box": torch.full((1, 2), 4.0)}
    source = open_set(write_folder(tmp_path / "train", infos, None, values))
    box = _box(source, 0, positions[0].double().numpy())
    assert box is None if corners is None else box.T.tolist() == [list(corners)] * 2


def test_only_what_is_drawn_is_read(sciml, tmp_path, monkeypatch):
    infos = (VariableInfo("u", "state", "m", "u", (1, 6, 5), torch.float32, 300),)
    write_folder(tmp_path / "train", infos, PLANE, values_of(infos, 2))
    opened = open_set(tmp_path / "train")
    values = opened.read("u", [1])[0].double().numpy()
    index = _instants(opened, 1, 5)
    assert index.tolist() == [0, 75, 150, 224, 299]
    assert np.array_equal(_sample(opened, infos[0], 1, index), values[index])
    asked = []
    whole = type(opened).read_into

    def watched(self, name, rows, out, **options):
        asked.append(out.shape)
        whole(self, name, rows, out, **options)

    monkeypatch.setattr("sciml.data.set.Set.read_into", watched)
    assert sciml("show", tmp_path / "train", "--sample", 1, "-o", tmp_path / "a.png")[0] == 0
    assert asked == [(5, 1, 1, 6, 5)]
