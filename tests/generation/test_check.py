import json
import random
import shutil
from contextlib import contextmanager
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from data.formats.files_a import pdebench_line
from data.small_sets import write_shard
from generation.cards import toy
from sciml.data.manifest import checksums_of, manifest_path, read_manifest, render
from sciml.generation.card import Storage, find_card, read_card
from sciml.generation.check import check
from sciml.generation.generate import generate

TRUST = ["generation"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    generate(toy(folder), folder / "out")
    return folder / "out"


@pytest.fixture
def out(whole, tmp_path):
    """A copy to break."""
    return shutil.copytree(whole, tmp_path / "out")


@contextmanager
def tampered(path):
    """Change a shard and make size and checksum right again, so that only its content can give it away."""
    with h5py.File(path, "r+") as file:
        yield file
    reseal(path)


def reseal(path, **changes):
    manifest = {**read_manifest(manifest_path(path)), **checksums_of(path), **changes}
    manifest_path(path).write_text(render(manifest))


def faults(path, **options):
    return [str(fault).replace(str(path), "OUT") for fault in check(path, trust=TRUST, **options).faults]


def test_a_healthy_set_has_no_faults_whole_or_in_parts(whole):
    told = []
    report = check(whole, trust=TRUST, progress=lambda done, total: told.append((done, total)))
    assert report.ok
    assert (report.faults, report.notes) == ([], [])
    assert (report.files, report.samples, report.residuals, report.remade) == (6, 29, 29, 0)
    assert report.bytes == sum(path.stat().st_size for path in whole.rglob("*.h5"))
    assert told[-1] == (6, 6)
    assert check(whole / "test", trust=TRUST).residuals == 7
    assert check(whole / "test" / "shard-00001.h5", trust=TRUST).residuals == 1


def test_one_flipped_bit_anywhere_is_found(whole, tmp_path):
    chance = random.Random(3)
    shard = whole / "test" / "shard-00001.h5"
    for path in (shutil.copy(source, tmp_path / source.name) for source in (shard, manifest_path(shard))):
        content = path.read_bytes()
        for _ in range(60):
            place = chance.randrange(len(content))
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
            report = check(tmp_path / "shard-00001.h5", trust=TRUST)
            assert not report.ok, place
            assert all("shard-00001" in str(fault) and "\n" not in str(fault) for fault in report.faults)
        path.write_bytes(content)
    assert check(tmp_path / "shard-00001.h5", trust=TRUST).ok


def test_a_nan_is_named_with_variable_and_sample(out):
    with tampered(out / "train" / "shard-00002.h5") as file:
        file["u"][4, 0, 7] = np.nan
    (found,) = faults(out)
    assert found.startswith("OUT/train/shard-00002.h5: variable u, sample 16: holds nan at (0, 7). Delete shard-00002.h5 and")
    assert "run `sciml generate CARD --out" in found


def test_exchanged_answers_break_the_equation_though_all_statistics_hold(out):
    with tampered(out / "train" / "shard-00001.h5") as file:
        file["u"][:2] = file["u"][:2][::-1].copy()
    (found,) = faults(out)
    assert found.startswith("OUT/train/shard-00001.h5: sample 6: relative residual of the equation is")
    assert "2 samples of this block are wrong" in found


def test_an_error_in_the_tenth_digit_breaks_the_equation(out):
    path = out / "train" / "shard-00000.h5"
    with tampered(path) as file:
        file["u"][5, 0, 8] *= 1 + 1e-10
    assert any("sample 5: relative residual" in found for found in faults(out))


def test_statistics_of_the_manifest_must_be_those_of_the_values(out):
    path = out / "test" / "shard-00000.h5"
    statistics = json.loads(json.dumps(read_manifest(manifest_path(path))["statistics"]))
    statistics["f"]["mean"] *= 1 + 1e-9
    reseal(path, statistics=statistics)
    (found,) = faults(out)
    assert found.startswith("OUT/test/shard-00000.h5: variable f: mean is")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file["u"].attrs.modify("units", "km"), "variable u has units 'km', need 'm'"),
        (lambda file: file["f"].attrs.modify("role", "target"), "variable f has role 'target', need 'input'"),
        (lambda file: file.attrs.modify("seed", 12), "attribute seed is 12, need 11"),
        (lambda file: file.attrs.modify("parameters", "{}"), "attribute parameters is '{}', need"),
        (lambda file: file.attrs.__delitem__("citation"), "attribute citation is None, need 'nobody'"),
        (lambda file: file["sample"].write_direct(np.arange(6) + 1), "coordinate sample is missing or not that of the card"),
        (lambda file: file["u"].dims[2].detach_scale(file["x"]), r"variable u has dimensions"),
        (lambda file: file["u"].attrs.__delitem__("role"), "variable u has role None"),
    ],
)
def test_a_schema_that_is_not_that_of_the_card_is_named(out, change, message):
    with tampered(out / "train" / "shard-00000.h5") as file:
        change(file)
    found = faults(out)
    assert any(message in line for line in found), found
    assert all("train/shard-00000.h5" in line for line in found)


def test_missing_foreign_truncated_and_unfinished_files_are_named(out):
    (out / "train" / "shard-00000.h5").unlink()
    shutil.copy(out / "test" / "shard-00000.h5", out / "test" / "shard-00009.h5")
    shutil.copy(out / "test" / "shard-00000.json", out / "test" / "shard-00009.json")
    (out / "train" / "shard-00001.h5").write_bytes((out / "train" / "shard-00001.h5").read_bytes()[:5000])
    (out / "train" / "shard-00002.json").unlink()
    shutil.copy(out / "test" / "shard-00000.h5", out / "train" / "shard-00003.h5")
    reseal(out / "train" / "shard-00003.h5")
    (out / "test" / ".shard-00001.h5.abc.part").write_bytes(b"")
    found = "\n".join(faults(out))
    for line in (
        "OUT/train/shard-00000.h5: is missing; run `sciml generate",
        "OUT/test/shard-00009.h5: is no file of this card",
        "OUT/train/shard-00001.h5: has 5000 bytes, its manifest says",
        "OUT/train/shard-00002.h5: has no manifest shard-00002.json, it was not finished",
        "OUT/train/shard-00003.h5: attribute split is 'test', need 'train'",
    ):
        assert line in found
    assert "is what a stopped run left" in check(out, trust=TRUST).notes[0]


def test_a_set_that_is_still_being_made_is_incomplete(out):
    for path in (out / "test").iterdir():
        path.unlink()
    assert [line.split(";")[0] for line in faults(out)] == [f"OUT/test/shard-0000{i}.h5: is missing" for i in (0, 1)]
    assert check(out / "train", trust=TRUST).ok


def test_expected_statistics_are_held_against_the_whole_set(tmp_path):
    card = toy(tmp_path)
    for mean, good in ((0.0, True), (5.0, False)):
        expecting = replace(card, expected={"f.mean": (mean, 0.8)})
        generate(expecting, tmp_path / str(mean))
        found = faults(tmp_path / str(mean))
        assert [line.split(",")[0][:30] for line in found] == ([] if good else ["OUT: f.mean of the whole set i"])
        assert check(tmp_path / str(mean) / "train", trust=TRUST).ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_points_are_left_out_samples_are_made_again(tmp_path, dtype):
    card = replace(toy(tmp_path), storage=Storage(dtype, 2, 6, 3))
    generate(card, tmp_path / "out")
    report = check(tmp_path / "out", trust=TRUST)
    assert (report.ok, report.residuals, report.remade) == (True, 0, 1)
    assert check(tmp_path / "out", trust=TRUST, fraction=0.5).remade == 14
    assert check(tmp_path / "out", trust=TRUST, fraction=0).remade == 0
    with tampered(tmp_path / "out" / "test" / "shard-00000.h5") as file:
        file["u"][2, 0, 3] *= 1.00001
    found = faults(tmp_path / "out", fraction=1)
    assert any("test/shard-00000.h5: sample 24: variable u at (0, 3) holds" in line for line in found), found


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-2), ("float64", 1e-8)])
def test_darcy_in_either_precision_passes_and_one_wrong_pixel_does_not(tmp_path, dtype, error):
    card = read_card(find_card("darcy-quick"))
    card = replace(card, storage=Storage(dtype, shard=8, block=8), samples={"train": 8}, expected={})
    generate(card, tmp_path / "out")
    report = check(tmp_path / "out")
    assert (report.faults, report.notes, report.residuals) == ([], [], 8)
    with tampered(tmp_path / "out" / "train" / "shard-00000.h5") as file:
        file["u"][3, 0, 20, 20] *= 1 + error
    assert any("sample 3: relative residual" in line for line in faults(tmp_path / "out"))


def test_a_file_whose_bytes_are_wrong_is_not_opened(tmp_path, monkeypatch):
    card = replace(toy(tmp_path), storage=Storage("float32", 2, 6, 3))
    generate(card, tmp_path / "out")
    bad = tmp_path / "out" / "test" / "shard-00000.h5"
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    opened, file_of = [], h5py.File
    monkeypatch.setattr(h5py, "File", lambda path, *mode: opened.append(path) or file_of(path, *mode))
    found = check(tmp_path / "out", trust=TRUST, fraction=1)
    assert [str(fault).split(". ")[0] for fault in found.faults] == [
        f"{bad}: its bytes were changed (CRC-32 differs from the manifest)"
    ]
    assert found.remade == 23
    assert bad not in opened
    assert check(bad, trust=TRUST, fraction=1).remade == 0


@pytest.mark.parametrize("error", [KeyError("u"), RuntimeError("Unable to get link info")])
def test_what_hdf5_raises_at_a_strange_schema_is_a_fault(out, monkeypatch, error):
    def raising(*_):
        raise error

    monkeypatch.setattr("sciml.generation.check.schema_faults", raising)
    assert len(faults(out)) == 6


@pytest.mark.parametrize("stride", [1, 2])
def test_recorded_residuals_are_held_against_the_tolerance(tmp_path, stride):
    card = replace(toy(tmp_path), storage=Storage("float64", stride, 6, 3))
    generate(card, tmp_path / "out")
    path = tmp_path / "out" / "test" / "shard-00000.h5"
    residuals = read_manifest(manifest_path(path))["residuals"]
    reseal(path, residuals=[*residuals[:4], 0.5, residuals[5]])
    assert any("sample 26: its manifest has residual 0.5, accepted is" in line for line in faults(tmp_path / "out"))
    for listed in (residuals[:5], [*residuals[:5], None], None):
        reseal(path, residuals=listed)
        assert any("numbers of 'residual' for 6 samples" in line for line in faults(tmp_path / "out"))


def test_other_files_have_other_samples_made_again(tmp_path, monkeypatch):
    card = replace(toy(tmp_path), storage=Storage("float64", 2, 6, 3))
    generate(card, tmp_path / "out")
    chosen = []
    monkeypatch.setattr("sciml.generation.check.remade_faults", lambda _file, _row, sample, _known: chosen.append(sample))
    for _ in range(2):
        check(tmp_path / "out", trust=TRUST, fraction=0.3)
    with tampered(tmp_path / "out" / "test" / "shard-00000.h5") as file:
        file["u"][2, 0, 3] *= 1.00001
    check(tmp_path / "out", trust=TRUST, fraction=0.3)
    first, again, other = (sorted(chosen[i : i + 9]) for i in (0, 9, 18))
    assert first == again != other


def test_problems_that_are_not_trusted_are_not_imported(out):
    report = check(out)
    assert report.ok
    assert report.residuals == 0
    assert "'generation.toy_problem:Antiderivative' is not part of sciml.problems and not trusted" in report.unchecked
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        check(out / "none")
    with pytest.raises(ValueError, match="fraction: got 2"):
        check(out, fraction=2)


def test_files_of_ours_without_a_card_are_checked_by_bytes_and_values(tmp_path):
    write_shard(tmp_path / "predictions.h5", range(4))
    report = check(tmp_path / "predictions.h5")
    assert (report.ok, report.samples) == (True, 4)
    assert report.unchecked.startswith("there is no card")
    content = (tmp_path / "predictions.h5").read_bytes()
    (tmp_path / "predictions.h5").write_bytes(content[:3000] + b"!" + content[3001:])
    (found,) = faults(tmp_path / "predictions.h5")
    assert found.startswith("OUT: its bytes were changed (CRC-32 differs from the manifest). Wrong are bytes 0 to ")
    assert found.endswith(
        ", which hold the header, variable a samples 0 to 3, variable u samples 0 to 3. Copy or write the file again"
    )


def test_files_of_others_are_read_through(tmp_path):
    field = torch.zeros(5, 4, 4)
    torch.save({"x": field > 0, "y": field}, tmp_path / "good.pt")
    field[2, 1, 3] = torch.inf
    torch.save({"x": field > 0, "y": field}, tmp_path / "bad.pt")
    report = check(tmp_path / "good.pt")
    assert (report.ok, report.samples, report.unchecked != "") == (True, 5, True)
    (found,) = faults(tmp_path / "bad.pt")
    assert found.startswith("OUT: variable y, sample 2: holds inf at (0, 1, 3)")
    (tmp_path / "page.pt").write_text("<html>")
    assert "cannot be read" in faults(tmp_path / "page.pt")[0]


def test_faults_of_several_splits_in_one_file_are_told_apart(tmp_path):
    """The first tenth is the split `test`: both bad values lie at row 1 of their split."""
    path = pdebench_line(tmp_path / "some.hdf5")
    with h5py.File(path, "r+") as file:
        file["tensor"][1, 2, 3] = file["tensor"][3, 2, 3] = np.nan
    assert [line.split(".")[0] for line in faults(path)] == [
        f"OUT: variable tensor, split {split}, sample 1: holds nan at instant 2, (0, 3)" for split in ("test", "train")
    ]
