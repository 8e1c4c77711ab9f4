import json
import shutil

import h5py
import numpy as np
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from data.small_sets import DOMAIN, VARIABLES, values_of, write_set, write_shard
from sciml.data.manifest import manifest_path, read_manifest, render
from sciml.data.set import open_set
from sciml.numerics.domain import Domain


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set") / "train", sizes=(5, 5, 3), first=20)


def numbers(values):
    """Which samples these rows of a are."""
    return values[:, 0, 0, 0].tolist()


def test_a_folder_of_shards_is_one_set(folder):
    found = open_set(folder)
    assert len(found) == 13
    assert (found.inputs, found.targets) == (("a",), ("u",))
    assert found.domain == DOMAIN
    assert tuple(found.variables.values()) == VARIABLES
    assert found.attributes["shards"] == 3
    assert torch.equal(found.read("u", slice(None)), values_of(range(20, 33))["u"].float())


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(0, 12), max_size=30))
def test_rows_come_in_the_order_asked_for_repeated_ones_too(folder, rows):
    assert numbers(open_set(folder).read("a", rows)) == [20 + row for row in rows]


def test_slices_are_those_of_a_list(folder):
    found = open_set(folder)
    for rows in (slice(3, 11, 3), slice(None, None, -1), slice(-2, None)):
        assert numbers(found.read("a", rows)) == list(range(20, 33))[rows]
    assert found.locate(11) == (folder / "shard-00002.h5", 1)


def test_one_shard_is_a_set_too_and_keeps_float64(tmp_path):
    variables = [type(v)(v.name, v.role, v.units, v.long_name, v.shape, torch.float64) for v in VARIABLES]
    write_shard(tmp_path / "some.h5", range(4), variables=variables)
    found = open_set(tmp_path / "some.h5")
    assert torch.equal(found.read("u", [2, 0]), values_of([2, 0])["u"])
    assert found.domain == DOMAIN


def test_a_file_of_ours_without_its_grid_is_refused_rather_than_guessed_at(tmp_path):
    write_shard(tmp_path / "old.h5", range(4))
    manifest_path(tmp_path / "old.h5").unlink()
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        del file.attrs["domain"]
    with pytest.raises(ValueError, match=r"old.h5: does not say on which grid its fields lie.* give `domain`") as caught:
        open_set(tmp_path / "old.h5")
    assert one_line(caught)
    assert open_set(tmp_path / "old.h5", domain=DOMAIN).domain == DOMAIN


def test_what_xarray_wrote_is_read(tmp_path):
    field = np.arange(24.0).reshape(2, 1, 4, 3)
    data = xarray.Dataset(
        {
            "w": (("sample", "w_channel", "x", "y"), field, {"role": "target", "units": "1/s", "long_name": "vorticity"}),
            "f": (("sample", "f_channel", "x", "y"), field.astype(">f4"), {"role": "input"}),
        },
        coords={"x": np.linspace(0, 1, 4)},
    )
    data.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    found = open_set(tmp_path / "other.nc")
    assert list(found.variables) == ["f", "w"]
    assert found.variables["w"].units == "1/s"
    assert torch.equal(found.read("f", [1, 0]), torch.from_numpy(field.astype(np.float32))[[1, 0]])


def test_the_fingerprint_goes_with_the_content(folder, tmp_path):
    same = write_set(tmp_path / "copy", sizes=(5, 5, 3), first=20)
    other = write_set(tmp_path / "other", sizes=(5, 5, 3), first=21)
    assert open_set(same).fingerprint == open_set(folder).fingerprint != open_set(other).fingerprint


def test_questions_without_an_answer_are_refused(folder):
    found = open_set(folder)
    with pytest.raises(ValueError, match="no variable 'b', there are a, u"):
        found.read("b", [0])
    with pytest.raises(IndexError, match="got rows 0 to 13, there are 0 to 12"):
        found.read("a", [0, 13])
    with pytest.raises(ValueError, match=r"got domain \[0, 1\].*the file has \[0, 3\]"):
        open_set(folder, domain=Domain.box((1.0, 1.0), (4, 3), "open"))


@pytest.fixture
def broken(tmp_path):
    """A set to break, OUT/train with shards of 5, 5 and 3."""
    return write_set(tmp_path / "train")


def one_line(caught):
    return "\n" not in str(caught.value)


def test_a_missing_shard_is_named(broken):
    for path in (broken / "shard-00001.h5", broken / "shard-00001.json"):
        path.unlink()
    with pytest.raises(
        ValueError, match=r"1 of 3 shards are missing, first shard-00001.h5; run `sciml generate .* again"
    ) as caught:
        open_set(broken)
    assert one_line(caught)


def test_a_shard_without_a_manifest_was_not_finished(broken):
    (broken / "shard-00002.json").unlink()
    with pytest.raises(ValueError, match=r"shard-00002.h5: has no manifest .* was not finished; run `sciml generate") as caught:
        open_set(broken)
    assert one_line(caught)


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, with_manifest, part):
    path = tmp_path / "shard-00000.h5"
    write_shard(path, range(5))
    if not with_manifest:
        manifest_path(path).unlink()
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(
        (OSError, ValueError), match=r"shard-00000.h5: (cannot be read as HDF5|has \d+ bytes, its manifest|is empty)"
    ) as caught:
        open_set(path)
    assert one_line(caught)


def test_a_damaged_manifest_is_named(broken):
    path = broken / "shard-00001.json"
    path.write_text(path.read_text().replace("residual", "rezidual"))
    with pytest.raises(ValueError, match=r"shard-00001.json: the manifest is damaged"):
        open_set(broken)


def test_a_folder_of_splits_asks_for_one(broken):
    with pytest.raises(ValueError, match=r"holds the splits train; open one of them, such as .*train"):
        open_set(broken.parent)


def test_shards_of_two_sets_do_not_mix(broken):
    longer = Domain.box((9.0, 2.0), (4, 3), "dirichlet")
    write_shard(broken / "shard-00002.h5", range(10, 13), attributes={"shard": 2, "shards": 3}, domain=longer)
    with pytest.raises(ValueError, match=r"shard-00002.h5: differs from shard-00000.h5, domain .*mixes two sets"):
        open_set(broken)


def swapped_in(folder, other, number):
    """A shard of another set in the place of one's own."""
    for kind in ("h5", "json"):
        shutil.copy(other / f"shard-{number:05d}.{kind}", folder)
    return folder


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"card": {"problem": "another law"}}, "its card is not that of shard-00000.h5"),
        ({"split": "valid"}, "its split is not that of shard-00000.h5"),
        ({"sizes": (5, 5, 3, 3)}, "its shards is not that of shard-00000.h5"),
        ({"first": 13}, "begins with sample 18, the shards before it end at 5"),
    ],
)
def test_a_shard_of_another_card_split_or_place_is_named(broken, tmp_path, other, message):
    swapped_in(broken, write_set(tmp_path / "other", **other), 1)
    with pytest.raises(ValueError, match=rf"shard-00001.h5: {message}") as caught:
        open_set(broken)
    assert one_line(caught)


@pytest.mark.parametrize("name", ["shard-00001", "shard-00003", "shard-1", "shard-00000 (copy)"])
def test_a_copied_shard_is_named(broken, name):
    for kind in ("h5", "json"):
        shutil.copy(broken / f"shard-00000.{kind}", broken / f"{name}.{kind}")
    with pytest.raises(ValueError, match=r"its manifest is of shard-00000.h5, shard 0; it was renamed or copied") as caught:
        open_set(broken)
    assert f"{name}.h5: " in str(caught.value)


def test_a_shard_beyond_the_last_is_named(broken, tmp_path):
    manifest = read_manifest(broken / "shard-00002.json") | {"shards": 2}
    (broken / "shard-00002.json").write_text(render(manifest))
    with pytest.raises(ValueError, match=r"shard-00002.h5: is no shard of 2"):
        open_set(broken)


def test_masks_mean_the_rows_they_mark_and_nothing_else_stands_for_a_number(folder):
    found = open_set(folder)
    mask = np.arange(13) % 4 == 1
    assert numbers(found.read("a", mask)) == numbers(found.read("a", mask.tolist())) == [21, 25, 29]
    for rows, message in (
        (mask[:5], "got a mask for 5 rows, there are 13"),
        (np.array([0.0, 1.0]), "got rows of type float64, need whole numbers or a mask"),
        (np.array([[0]]), r"got rows of shape \(1, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            found.read("a", rows)
    with pytest.raises(IndexError, match="got rows -1 to 3, there are 0 to 12"):
        found.read("a", [3, -1])


@pytest.mark.parametrize("said", ["a, u", "5", json.dumps(["a"])])
def test_an_order_of_variables_that_cannot_be_is_named(tmp_path, said):
    write_shard(tmp_path / "some.h5", range(2))
    manifest_path(tmp_path / "some.h5").unlink()
    with h5py.File(tmp_path / "some.h5", "r+") as file:
        file.attrs["variables"] = said
    with pytest.raises(ValueError, match=r"some.h5: attribute variables is .*need a JSON list"):
        open_set(tmp_path / "some.h5")


def test_other_things_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: nothing is there, see that the path is right; `sciml generate CARD"):
        open_set(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no shard-\*\.h5.*`sciml generate CARD --out FOLDER`"):
        open_set(tmp_path)
    (tmp_path / "page.h5").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page.h5: is a web page, .*download the file again"):
        open_set(tmp_path / "page.h5")


def test_hdf5_that_says_too_little_is_refused_with_what_is_needed(tmp_path):
    def written(name, **data):
        with h5py.File(tmp_path / name, "w") as file:
            for key, (values, role) in data.items():
                file[key] = values
                if role:
                    file[key].attrs["role"] = role
        return tmp_path / name

    field = np.zeros((3, 1, 4))
    cases = {
        "holds no variable": written("a.h5"),
        "variable u has role None, need an attribute role with one of input, target": written("b.h5", u=(field, None)),
        "variable u has role 'answer'": written("c.h5", u=(field, "answer")),
        r"variable u has shape \(3,\), need \(sample, channel, \*space\)": written("d.h5", u=(field[:, 0, 0], "target")),
        "variables differ in samples": written("e.h5", u=(field, "target"), a=(field[:2], "input")),
        "has values of type .*, need numbers": written("f.h5", u=(np.array([[b"x"]]), "target")),
    }
    for message, path in cases.items():
        with pytest.raises(ValueError, match=message):
            open_set(path)


MAPPING = 'p = { array = "u", axes = ["sample", "channel", "x", "y"], role = "target" }'


def test_a_mapping_may_lie_in_a_file(tmp_path):
    (tmp_path / "mapping.toml").write_text(MAPPING)
    write_shard(tmp_path / "some.h5", range(3))
    for path in (tmp_path / "mapping.toml", str(tmp_path / "mapping.toml")):
        found = open_set(tmp_path / "some.h5", mapping=path, domain=DOMAIN)
        assert torch.equal(found.read("p", [2]), open_set(tmp_path / "some.h5").read("u", [2]))
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        open_set(tmp_path / "some.h5", mapping=tmp_path / "none.toml")


def test_a_mapping_of_a_file_of_ours_needs_the_grid(tmp_path):
    (tmp_path / "mapping.toml").write_text(MAPPING)
    write_shard(tmp_path / "some.h5", range(3))
    with pytest.raises(ValueError, match=r"some.h5: was written by sciml .*; open it without `mapping`, or give `domain`"):
        open_set(tmp_path / "some.h5", mapping=tmp_path / "mapping.toml")


def test_a_split_of_files_that_hold_none_is_refused(tmp_path):
    write_shard(tmp_path / "some.h5", range(3))
    with pytest.raises(ValueError, match=r"some.h5: got split 'test', its files hold no splits$"):
        open_set(tmp_path / "some.h5", split="test")
