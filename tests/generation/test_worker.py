"""Processes that are started before there is work for them."""

import os
import subprocess
import sys
import time

from generation.cards import bytes_of, toy
from sciml.generation import worker
from sciml.generation.generate import generate

CODE = """
import sys; sys.path[:] = sys.argv[1:]
from sciml.generation import worker
worker.start_ahead(1)
print(worker._ahead[0].pid, flush=True)
"""


def test_workers_take_the_processes_that_were_started_ahead(tmp_path, monkeypatch):
    card = toy(tmp_path)
    generate(card, tmp_path / "expected", workers=2)
    worker.start_ahead(2)
    assert [process.poll() for process in worker._ahead] == [None, None]

    def started():
        raise AssertionError("a third process was started")

    monkeypatch.setattr(worker, "_start", started)
    generate(card, tmp_path / "out", workers=2)
    assert not worker._ahead
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "expected")


def test_a_process_that_no_worker_takes_ends_with_the_caller():
    paths = [path or os.getcwd() for path in sys.path]
    done = subprocess.run([sys.executable, "-c", CODE, *paths], capture_output=True, text=True, check=True, timeout=60)
    deadline = time.monotonic() + 60
    while _runs(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(done.stdout))


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
