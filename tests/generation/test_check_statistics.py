"""What the check says of statistics that are missing, incomplete or no numbers."""

import json
import shutil

import pytest
import yaml

from data.made_sets import fields_in_time
from data.small_sets import write_shard
from generation.cards import toy
from sciml.data.convert import convert
from sciml.data.manifest import checksums_of, manifest_path, read_manifest, render
from sciml.generation.check import check
from sciml.generation.generate import generate

PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    """A set of The Well: data/train and stats.yaml."""
    folder = tmp_path_factory.mktemp("well")
    convert(fields_in_time(folder / "ours"), folder / "flow", to="the-well")
    return folder / "flow"


@pytest.fixture
def copied(well, tmp_path):
    return shutil.copytree(well, tmp_path / "flow")


def faults(path, **options):
    return [str(fault).replace(str(path), "OUT") for fault in check(path, **options).faults]


def test_a_set_of_the_well_with_its_statistics_is_sound(well):
    assert faults(well) == faults(well / "data" / "train") == faults(next((well / "data" / "train").iterdir())) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAGE, "is an HTML page, as of a failed download"),
        ("- 1\n- 2\n", "holds a list, need a table"),
        ("", "holds a NoneType, need a table"),
        ("mean: [1, 2\n", "cannot be read as YAML"),
        ("mean: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
        ("\xff\x00", "cannot be read as YAML"),
    ],
)
def test_statistics_that_are_no_statistics_are_named(copied, text, message):
    (copied / "stats.yaml").write_text(text, encoding="latin-1")
    for path in (copied, copied / "data" / "train"):
        (found,) = check(path).faults
        assert str(found).startswith(f"{copied / 'stats.yaml'}: {message}")
        assert "\n" not in str(found)


def test_missing_statistics_are_named(copied):
    (copied / "stats.yaml").unlink()
    assert faults(copied) == [
        "OUT/stats.yaml: is missing: the statistics of a set of The Well; run `sciml stats` or download it again"
    ]


def test_statistics_that_lack_a_key_a_field_or_a_number_are_named(copied):
    said = yaml.safe_load((copied / "stats.yaml").read_text())
    del said["rms"], said["mean_delta"]["v"]
    said["std"]["v"] = [1.0, float("nan")]
    said["mean"]["p"] = "many"
    (copied / "stats.yaml").write_text(yaml.safe_dump(said))
    assert [line.partition(": ")[2].partition(";")[0] for line in faults(copied)] == [
        "variable p: mean is many, need finite numbers",
        "variable v: std is [1.0, nan], need finite numbers",
        "lacks the key rms",
        "variable v: mean_delta lacks this field",
    ]


def test_a_file_of_the_well_by_itself_only_lacks_a_normalisation(well, tmp_path):
    (file,) = (well / "data" / "train").iterdir()
    shutil.copy(file, tmp_path / "alone.hdf5")
    report = check(tmp_path / "alone.hdf5")
    assert report.faults == []
    assert any("has no stats.yaml in the folders above it" in note for note in report.notes)


@pytest.mark.parametrize("equation", [True, False])
def test_statistics_that_a_manifest_lacks_are_named(tmp_path, equation):
    generate(toy(tmp_path), tmp_path / "out")
    path = tmp_path / "out" / "test" / "shard-00000.h5"
    manifest = json.loads(json.dumps(read_manifest(manifest_path(path))))
    del manifest["statistics"]["f"]["rms"]
    manifest["statistics"]["f"]["max"] = "large"
    del manifest["statistics"]["u"]
    manifest_path(path).write_text(render(manifest))
    assert faults(tmp_path / "out", trust=["generation"], equation=equation) == [
        "OUT/test/shard-00000.h5: variable f: the statistics of its manifest have max = 'large', rms = None, "
        "need finite numbers",
        "OUT/test/shard-00000.h5: variable u: its manifest has no statistics",
    ]


def test_files_without_a_card_need_statistics_too(tmp_path):
    path = tmp_path / "some.h5"
    manifest = write_shard(path, range(3))
    manifest_path(path).write_text(render({**manifest, "statistics": {"a": manifest["statistics"]["a"]}, **checksums_of(path)}))
    assert faults(path) == ["OUT: variable u: its manifest has no statistics"]


def test_without_the_equation_neither_residuals_nor_statistics_are_computed_again(tmp_path):
    generate(toy(tmp_path), tmp_path / "out")
    path = tmp_path / "out" / "test" / "shard-00000.h5"
    manifest = json.loads(json.dumps(read_manifest(manifest_path(path))))
    manifest["statistics"]["f"]["mean"] *= 1 + 1e-9
    manifest_path(path).write_text(render(manifest))
    quick = check(tmp_path / "out", trust=["generation"], equation=False, workers=2)
    assert (quick.faults, quick.residuals, quick.files, quick.samples) == ([], 0, 6, 29)
    assert quick.unchecked == "it was not asked for"
    assert len(check(tmp_path / "out", trust=["generation"], workers=2).faults) == 1
