import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generation.cards import bytes_of, toy
from sciml.generation.generate import generate

pytest.importorskip("distributed", reason="needs the extra `cluster`")

HERE = Path(__file__).parent


def process(*arguments):
    """A part of Dask, by its own command, in this environment; its messages come line by line."""
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def stopped(*processes):
    for one in processes:
        one.kill()
        one.wait()
        one.stderr.close()


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers, all of them processes of their own."""
    head = process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter")
    address = next(found[0] for line in head.stderr if (found := re.search(r"tcp://127.0.0.1:\d+", line)))
    crew = [process("worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny") for _ in range(2)]
    for worker in crew:
        assert any("Registered to" in line for line in worker.stderr)
    yield address, crew
    stopped(*crew, head)


def test_a_cluster_makes_the_same_bytes(scheduler, tmp_path):
    done = []
    card = toy(tmp_path, log=str(tmp_path / "log"))
    report = generate(card, tmp_path / "cluster", scheduler=scheduler[0], progress=lambda *counts: done.append(counts))
    assert len(report.written) == 6
    assert done[-1] == (29, 29)
    makers = {int(line) for line in (tmp_path / "log").read_text().split()}
    assert makers <= {worker.pid for worker in scheduler[1]}
    generate(card, tmp_path / "alone")
    assert bytes_of(tmp_path / "cluster") == bytes_of(tmp_path / "alone")
    assert generate(card, tmp_path / "cluster", scheduler=scheduler[0]).written == ()


def test_an_error_on_the_cluster_is_one_line_and_finished_shards_are_kept(scheduler, tmp_path):
    with pytest.raises(ValueError, match=r"shard-00002.h5: .*sample 13: got nan at .*; finished shards are kept"):
        generate(toy(tmp_path, fault="nan", at=13), tmp_path / "out", scheduler=scheduler[0])


def test_wrong_addresses_and_doubled_workers_are_refused(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("sciml.generation.cluster._WAIT", 1)
    with pytest.raises(OSError, match=r"scheduler: none answers at tcp://127.0.0.1:9 .*start one with `dask scheduler`"):
        generate(toy(tmp_path), tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ValueError, match="workers: got 2 beside a scheduler"):
        generate(toy(tmp_path), tmp_path / "out", scheduler=scheduler[0], workers=2)


def test_the_work_of_a_lost_worker_is_done_by_another(scheduler, tmp_path):
    address, _ = scheduler
    extra = process("worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
    assert any("Registered to" in line for line in extra.stderr)
    card, log = toy(tmp_path, seconds=0.3, log=str(tmp_path / "log")), tmp_path / "log"
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "pid, log = int(sys.argv[1]), sys.argv[2]\n"
            "while not (os.path.exists(log) and str(pid) in open(log).read().split()): time.sleep(0.01)\n"
            f"os.kill(pid, {int(signal.SIGKILL)})",
            str(extra.pid),
            str(log),
        ]
    )
    start = time.monotonic()
    report = generate(card, tmp_path / "out", scheduler=address)
    killer.wait(timeout=60)
    assert len(report.written) == 6
    assert extra.wait(timeout=60) == -signal.SIGKILL
    assert time.monotonic() - start < 120
    generate(toy(tmp_path, seconds=0.3, log=str(tmp_path / "log")), tmp_path / "alone")
    stopped(extra)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "alone")
