import json
import resource
from collections import Counter
from pathlib import Path

import pytest
import torch

from sciml.data.bad_data import BadData
from sciml.training.fit import fit
from sciml.training.logs import Log
from sciml.training.optimisers import SGD, Adam
from training.small_runs import MemoryStream, Pointwise, samples


def gap(model, batch):
    return (model(batch["a"]) - batch["u"]).square().mean()


@pytest.fixture
def small_files():
    """Files that cannot grow beyond some bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, limits if size is None else (size, limits[1]))

    yield limit
    limit(None)


def test_a_terminal_gets_a_bar_and_everything_else_plain_lines(monkeypatch, capsys):
    fit(Pointwise(), gap, MemoryStream(samples(8), 4), steps=6, every=3, optimiser=SGD(0.1))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [["step", "3/6"], ["step", "6/6"]]
    assert all("loss" in line and "rate 1.00e-01" in line and "validation" not in line for line in lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fit(Pointwise(), gap, MemoryStream(samples(8), 4), steps=6, every=3, optimiser=SGD(0.1))
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "━" in shown
    assert "step 3/6" not in shown


RECORD = {"step": 2, "loss": 0.5, "validation": None, "learning_rate": 1e-3, "seconds": 1.0}


def test_a_log_goes_on_from_its_position_and_drops_what_came_after(tmp_path):
    with Log(tmp_path, 10, None, silent=False) as log:
        log.line(RECORD)
        log.event(2, "something [odd]")
        position = log.position()
        log.line(RECORD | {"step": 4})
    with Log(tmp_path, 10, position, silent=False) as log:
        assert log.history == [RECORD]
        log.line(RECORD | {"step": 4, "validation": 0.25})
    assert (tmp_path / "log.csv").read_text() == (
        "step,loss,validation,learning_rate,seconds\n2,0.5,,0.001,1.0\n4,0.5,0.25,0.001,1.0\n"
    )
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_a_silent_log_writes_and_prints_nothing(tmp_path, capsys):
    with Log(tmp_path, 10, None, silent=True) as log:
        log.line(RECORD)
        log.event(2, "x")
        log.progress(3)
    assert log.history == [RECORD]
    assert (log.position(), list(tmp_path.iterdir()), capsys.readouterr().err) == ({}, [], "")


def test_lines_are_on_disk_when_they_are_said(tmp_path, monkeypatch):
    """Nothing waits in a buffer that a kill would lose."""
    with Log(tmp_path, 10, None, silent=False) as log:
        log.line(RECORD)
        with (tmp_path / "log.csv").open() as other:
            assert len(other.read().splitlines()) == 2


def test_a_log_lost_between_two_starts_is_begun_again(tmp_path):
    with Log(tmp_path, 10, {"log.csv": 500, "log.jsonl": 400}, silent=False) as log:
        log.line(RECORD)
    assert (tmp_path / "log.csv").read_text().splitlines()[0].startswith("step,")


def test_a_full_disk_is_an_oserror_that_names_the_log_and_leaves_no_half_line(tmp_path, small_files):
    with Log(tmp_path, 10, None, silent=False) as log:
        log.line(RECORD)
        small_files(70)
        with pytest.raises(OSError, match=r"while writing a line; make room and start again: .*log\.csv"):
            log.line(RECORD)
        small_files(None)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(tmp_path, small_files):
    def start():
        return fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=9, every=3, optimiser=Adam(0.1), out=tmp_path)

    whole = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=9, every=3, optimiser=Adam(0.1))
    small_files(3000)
    with pytest.raises(OSError, match=r"make room or use another folder, what was there is unharmed: .*last\.pt"):
        start()
    small_files(None)
    assert not (tmp_path / "last.pt").exists()
    run = start()
    assert torch.equal(run.model.w, whole.model.w)
    assert [line["step"] for line in run.history] == [3, 6, 9]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_pytest_sees_no_terminal(capsys):
    with Log(None, 3, None, silent=False) as log:
        log.event(1, "words")
    assert capsys.readouterr().err == "step 1: words\n"
    with pytest.raises(KeyError):
        log.line({"step": 1})


class Telling(MemoryStream):
    """Says where its samples are kept, and meets a bad value with every batch."""

    told = "samples are kept in memory: 1 kB"

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.bad = BadData()

    def endless(self):
        for found in super().endless():
            self.bad.add(BadData(samples=1, values=2, places=Counter({(Path("s.h5"), "a"): 2})))
            yield found


def test_a_run_says_where_its_samples_are_kept_and_counts_bad_ones_at_each_line(tmp_path, capsys):
    fit(Pointwise(), gap, Telling(samples(8), 4), steps=4, every=2, optimiser=SGD(0.1), out=tmp_path)
    events = [line for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "event" in line]
    assert events == [
        {"step": 0, "event": "samples are kept in memory: 1 kB"},
        {"step": 2, "event": "values that are not finite were met 4 times in the batches given out: a of s.h5 (4)"},
        {"step": 4, "event": "values that are not finite were met 8 times in the batches given out: a of s.h5 (8)"},
    ]
    assert (
        "step 2: values that are not finite were met 4 times in the batches given out: a of s.h5 (4)" in capsys.readouterr().err
    )


def test_a_run_of_a_stream_that_says_nothing_has_no_events(tmp_path):
    fit(Pointwise(), gap, MemoryStream(samples(8), 4), steps=4, every=2, optimiser=SGD(0.1), out=tmp_path)
    assert "event" not in (tmp_path / "log.jsonl").read_text()
