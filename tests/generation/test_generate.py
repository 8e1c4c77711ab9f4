import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray

import sciml.generation.plan
from generation.cards import bytes_of, toy
from generation.toy_problem import Antiderivative
from sciml.data.manifest import manifest_path, read_manifest
from sciml.data.set import open_set
from sciml.generation.card import Storage, find_card, read_card
from sciml.generation.check import check
from sciml.generation.generate import generate
from sciml.generation.samples import make_samples
from sciml.numerics.random_fields import Seeds


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The set of the toy card, made in one go by one worker."""
    folder = tmp_path_factory.mktemp("whole")
    generate(toy(folder), folder / "out")
    return folder / "out"


def test_files_hold_the_samples_of_the_law_and_their_answers(whole, tmp_path):
    card = toy(tmp_path)
    problem = Antiderivative()
    f = problem.draw(card.domain, Seeds(11, range(29)))["f"]
    u = problem.solve({"f": f}, card.domain)["u"]
    found = open_set(whole / "train"), open_set(whole / "test")
    for name, values in (("f", f), ("u", u)):
        stored = torch.cat([part.read(name, slice(None)) for part in found])
        assert torch.allclose(stored, values, rtol=0, atol=1e-14)
    assert (found[0].inputs, found[0].targets, found[0].domain) == (("f",), ("u",), card.domain)
    assert {path.name for path in (whole / "test").iterdir()} == {
        f"shard-0000{i}.{end}" for i in (0, 1) for end in ("h5", "json")
    }


def test_files_say_where_they_come_from(whole):
    with xarray.open_dataset(whole / "test" / "shard-00000.h5", engine="h5netcdf") as data:
        assert data.u.dims == ("sample", "u_channel", "x")
        assert (data.u.attrs["units"], data.f.attrs["role"]) == ("m", "input")
        assert data.sample.values.tolist() == list(range(22, 28))
        assert (data.attrs["problem"], data.attrs["parameters"]) == (
            "generation.toy_problem:Antiderivative",
            '{"amplitude": 1.0}',
        )
        assert (data.attrs["seed"], data.attrs["citation"], data.attrs["shard"], data.attrs["shards"]) == (11, "nobody", 0, 2)
    manifest = read_manifest(whole / "test" / "shard-00000.json")
    assert manifest["residual"] == max(manifest["residuals"]) < 1e-14
    assert len(manifest["residuals"]) == 6


def test_the_report_tells_what_was_done_and_a_second_call_does_nothing(whole, tmp_path):
    told = []
    report = generate(toy(tmp_path), tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert [len(part) for part in (report.planned, report.skipped, report.written)] == [6, 0, 6]
    assert told == [(n, 29) for n in (3, 6, 9, 12, 15, 18, 21, 22, 25, 28, 29)]
    before = bytes_of(tmp_path / "out")
    report = generate(toy(tmp_path), tmp_path / "out", workers=2)
    assert [len(part) for part in (report.planned, report.skipped, report.written)] == [6, 6, 0]
    assert bytes_of(tmp_path / "out") == before == bytes_of(whole)
    assert report.bytes == sum(len(content) for name, content in before.items() if name.endswith("h5"))


def test_jobs_share_the_shards_of_a_split(tmp_path):
    planned = [generate(toy(tmp_path), tmp_path / "out", split="test", job=(i, 2), dry_run=True).planned for i in range(2)]
    assert [[f"{s.split} {s.number}" for s in part] for part in planned] == [["test 0"], ["test 1"]]
    planned = [generate(toy(tmp_path), tmp_path / "out", split="train", job=(i, 4), dry_run=True).planned for i in range(4)]
    assert [len(part) for part in planned] == [1, 1, 1, 1]


def test_workers_jobs_splits_and_repairs_give_the_same_bytes(whole, tmp_path):
    card, out = toy(tmp_path), tmp_path / "out"
    generate(card, out, split="test")
    assert [s.name for s in sorted(out.iterdir())] == ["test"]
    for job in ((1, 2), (0, 2)):
        generate(card, out, job=job, workers=2)
    assert bytes_of(out) == bytes_of(whole)
    # A truncated file, a damaged manifest, a file whose manifest is gone: made again, nothing else is touched.
    (out / "train" / "shard-00001.h5").write_bytes(b"half")
    (out / "train" / "shard-00002.json").write_text("{}")
    (out / "test" / "shard-00000.json").unlink()
    assert [f"{s.split} {s.number}" for s in generate(card, out).written] == ["train 1", "train 2", "test 0"]
    assert bytes_of(out) == bytes_of(whole)


def test_settings_of_the_calling_process_change_nothing_and_are_given_back(whole, tmp_path):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(5)
        generate(toy(tmp_path), tmp_path / "out")
        assert (torch.get_num_threads(), torch.get_default_dtype()) == (2, torch.float64)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
    assert bytes_of(tmp_path / "out") == bytes_of(whole)


def test_one_sample_can_be_made_again_alone(whole, tmp_path):
    made = make_samples(toy(tmp_path), Antiderivative(), range(25, 26))
    assert torch.allclose(made.fields["u"], open_set(whole / "test").read("u", [3]), rtol=0, atol=1e-14)
    assert made.validation.numbers["residual"].shape == (1,)


def test_every_other_point_is_stored_in_float32(tmp_path):
    card = replace(toy(tmp_path), storage=Storage("float32", 2, 6, 3))
    generate(card, tmp_path / "out", split="test")
    found = open_set(tmp_path / "out" / "test")
    full = make_samples(replace(card, storage=Storage("float64", 1, 6, 3)), Antiderivative(), range(22, 25)).fields
    assert torch.equal(found.read("u", range(3)), full["u"][..., ::2].float())
    assert found.domain == card.domain.strided(2)
    assert found.variables["u"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 12}, "card.seed = 11 .*asked for is 12"),
        ({"samples": 6}, "card.samples"),
        ({"resolution": 33}, "card.domain.points"),
    ],
)
def test_a_folder_of_another_card_is_refused_and_left_alone(whole, tmp_path, change, key):
    before = bytes_of(whole)
    with pytest.raises(ValueError, match=f"holds shards made with {key}.*take another folder") as caught:
        generate(toy(tmp_path), whole, **change)
    assert "\n" not in str(caught.value)
    assert bytes_of(whole) == before


def test_a_folder_of_another_code_version_is_refused(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(sciml.generation.plan, "__version__", "99.0")
    with pytest.raises(ValueError, match=r"holds shards made with code_version = '\d.*asked for is '99.0'"):
        generate(toy(tmp_path), whole)


def test_overrides_are_another_card_and_stand_in_the_manifest(tmp_path):
    report = generate(toy(tmp_path), tmp_path / "out", samples={"train": 2, "test": 1}, resolution=9, seed=3)
    manifest = read_manifest(manifest_path(report.planned[0].path))
    assert manifest["card"]["samples"] == [["train", 2], ["test", 1]]
    assert (manifest["card"]["seed"], manifest["card"]["domain"]["points"]) == (3, [9])
    assert report.card.seed == 3
    assert open_set(tmp_path / "out" / "test").read("u", [0]).shape == (1, 1, 9)


def test_a_dry_run_tells_sizes_and_writes_nothing(tmp_path, whole):
    report = generate(toy(tmp_path), tmp_path / "out", dry_run=True, job=(0, 2))
    assert [s.path.name for s in report.planned] == ["shard-00000.h5", "shard-00002.h5", "shard-00000.h5"]
    assert report.bytes == 18 * 2 * 17 * 8
    assert (report.written, (tmp_path / "out").exists(), report.seconds > 0) == ((), False, True)
    assert len(generate(toy(tmp_path), whole, dry_run=True).skipped) == 6


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", r"variable u, sample 13: got nan at \(0, 3\)"),
        ("residual", "sample 13: relative residual is .*, accepted is 1e-12"),
        ("raise", "RuntimeError: no convergence after 7 steps"),
        ("missing", r"the problem gives variables \['f', 'v'\], its variables\(\) names \['f', 'u'\]"),
    ],
)
def test_a_sample_that_fails_stops_with_one_line_and_finished_shards_stay(tmp_path, fault, message):
    card = toy(tmp_path, fault=fault, at=13)
    with pytest.raises(ValueError, match=f"train/shard-00002.h5: .*{message}.*finished shards are kept") as caught:
        generate(card, tmp_path / "out", split="train")
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in (tmp_path / "out" / "train").glob("*.h5")) == ["shard-00000.h5", "shard-00001.h5"]
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_failure_in_a_worker_is_the_same_line_with_its_trace_as_a_note(tmp_path):
    card = toy(tmp_path, fault="raise", at=13)
    with pytest.raises(
        ValueError, match=r"train/shard-00002.h5: RuntimeError: no convergence after 7 steps; finished"
    ) as caught:
        generate(card, tmp_path / "out", workers=2, split="train")
    assert "\n" not in str(caught.value)
    assert "toy_problem.py" in caught.value.__notes__[0]


def test_values_beyond_float32_are_named(tmp_path):
    card = replace(toy(tmp_path, amplitude=1e39), storage=Storage("float32", 1, 6, 3))
    with pytest.raises(ValueError, match=r"shard-00000.h5: variable f, sample 0: got .*e\+\d+ at .*, too large for float32"):
        generate(card, tmp_path / "out")


def test_a_worker_that_is_killed_is_named_and_the_rest_is_kept(tmp_path, whole):
    card, out = toy(tmp_path, fault="kill", at=19), tmp_path / "out"
    with pytest.raises(
        OSError, match=r"train/shard-00003.h5: the worker process .* was killed by signal 9; run `sciml generate` again"
    ):
        generate(card, out, workers=2, split="train")
    for path in (out / "train").glob("*.h5"):
        with h5py.File(path) as made, h5py.File(whole / "train" / path.name) as known:
            assert np.array_equal(made["u"], known["u"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers: got 0"),
        ({"job": (2, 2)}, "job: got 2/2, need i/N with 0 <= i < N"),
        ({"split": "valid"}, "split: got 'valid', the card has train, test"),
    ],
)
def test_impossible_orders_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(toy(tmp_path), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # an orphan that ended may wait there for its new parent to take note
    return not state.exists() or state.read_text().split()[2] != "Z"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them_however_it_ends(tmp_path, sent):
    log = tmp_path / "log"
    toy(tmp_path, seconds=2.0, log=str(log))  # the first worker must not be done when the second begins
    code = (
        # What runs in the background of a shell inherits that Ctrl-C is ignored; the script is one in the foreground.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; sys.path[:] = sys.argv[3:]\n"  # a flat script, without a guard around its main part
        "from sciml.generation.card import read_card\nfrom sciml.generation.generate import generate\n"
        "generate(read_card(sys.argv[1]), sys.argv[2], workers=2)"
    )
    arguments = [str(tmp_path / "card.toml"), str(tmp_path / "out"), *[p or os.getcwd() for p in sys.path]]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait_for(lambda: log.exists() and len(set(log.read_text().split())) == 2, 40)
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # as Ctrl-C does
        else:
            process.kill()
        errors = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    workers = [int(pid) for pid in set(log.read_text().split())]
    _wait_for(lambda: not any(alive(pid) for pid in workers), 10)
    if sent == signal.SIGINT:
        assert errors.rstrip().endswith("KeyboardInterrupt")


def _wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_darcy_is_made_as_its_card_says(tmp_path):
    report = generate(read_card(find_card("darcy-quick")), tmp_path / "out", samples={"train": 24, "valid": 2, "test": 2})
    assert report.card.make_problem().tolerance == 1e-10
    train = open_set(tmp_path / "out" / "train")
    a, u = train.read("a", slice(None)), train.read("u", slice(None))
    assert set(a.unique().tolist()) == {3.0, 12.0}
    assert float(u[..., 0, :].abs().max()) == 0
    # -div(a grad u) = 1 with a between 3 and 12 lies between the answers for these constants, 0.0737/a at the centre.
    assert float(u[..., 31:33, 31:33].min()) > 0.0737 / 12 * 0.98
    assert float(u[..., 31:33, 31:33].max()) < 0.0737 / 3
    assert check(tmp_path / "out").faults == []
