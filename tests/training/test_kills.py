"""SIGKILL in the middle of training, then the same call again: the same weights bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from sciml.training.checkpoint import read_checkpoint
from training.small_runs import dropout_run

KILLS = 5
STEPS = 1200
TESTS = Path(__file__).parent.parent


def test_a_run_killed_at_random_times_ends_in_the_same_bits(tmp_path):
    """Each kill comes a random time after the first checkpoint of its start, be it in a step or in a write."""
    began = time.perf_counter()
    expected = dropout_run(str(tmp_path / "whole"), steps=STEPS)
    longest = (time.perf_counter() - began) / 8  # so that all kills together stay within the run
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.small_runs", str(tmp_path / "killed"), str(STEPS)]
    times = random.Random(20261121)
    last, reached = tmp_path / "killed" / "last.pt", []
    for _ in range(KILLS):
        before = last.stat().st_mtime_ns if last.exists() else 0
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
            while not (last.exists() and last.stat().st_mtime_ns > before):
                assert started.poll() is None
                time.sleep(0.002)
            time.sleep(times.uniform(0, longest))
            started.send_signal(signal.SIGKILL)
        reached.append(read_checkpoint(last).training["state"]["progress"]["step"])
    assert reached == sorted(set(reached))
    assert reached[-1] < STEPS, f"killed after steps {reached} of {STEPS}: the last kill came too late to prove anything"
    subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)

    weights = read_checkpoint(last).training["state"]["weights"]
    kept = read_checkpoint(tmp_path / "whole" / "last.pt").training["state"]["weights"]
    assert all(torch.equal(weights[name], kept[name]) for name in kept)
    best = read_checkpoint(tmp_path / "killed" / "best.pt").weights
    assert all(torch.equal(best[name], tensor) for name, tensor in expected.state_dict().items())
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "killed")]
    without_time = [[json.loads(line) | {"seconds": 0} for line in log] for log in logs]
    assert without_time[0] == without_time[1]
