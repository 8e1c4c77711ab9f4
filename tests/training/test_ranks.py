"""Two processes under torchrun must do what one does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sciml.data.stream import stream
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.ranks import Ranks, launched
from training.two_ranks import CASES, everything, write_set

TESTS = Path(__file__).parent.parent


def torchrun(processes, *arguments):
    """Output of a program under torchrun, on a free port; the whole group is killed when it takes too long."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SCIML")}
    environment |= {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *arguments]
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = started.communicate(timeout=120)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    assert started.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    write_set(folder / "set.pt", 37)
    torchrun(2, "-m", "training.two_ranks", str(folder))
    return everything(folder), *(torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)), folder


@pytest.mark.parametrize("case", [str(case) for case in CASES])
def test_gradient_losses_and_weights_are_those_of_one_process(results, case):
    """37 samples in batches of 8, 5, 7 and 1: shares are uneven, and in the last case one process has no sample at all."""
    one, first, second = (found[case] for found in results[:3])
    gradient, double = one["gradient"], one["gradient"].dtype == torch.float64
    assert (first["gradient"] - gradient).abs().max() <= (1e-14 if double else 1e-6) * max(1, gradient.abs().max())
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-10 if double else 1e-5)
    assert torch.allclose(first["weights"], one["weights"], rtol=1e-10 if double else 1e-5)
    assert torch.equal(first["weights"], second["weights"])
    assert first["losses"] == second["losses"]


def test_average_validation_and_pieces_are_those_of_one_process(results):
    assert torch.allclose(results[1]["whole"], results[0]["whole"], rtol=1e-9)
    assert torch.equal(results[1]["whole"], results[2]["whole"])


def test_a_signal_to_one_process_stops_all_and_the_run_goes_on_to_the_same_weights(results):
    assert torch.equal(results[1]["resumed"], results[1]["whole"])
    assert torch.equal(results[2]["resumed"], results[2]["whole"])
    lines = (results[3] / "run" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "6", "12", "18", "20"]


def test_processes_that_nobody_joined_are_told_how(monkeypatch, tmp_path):
    train = stream(write_set(tmp_path / "set.pt", 9), batch_size=3)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"torchrun started 2 processes.*with launched\(device\)"):
        fit(torch.nn.Conv2d(1, 1, 1), RelativeL2(train.domain, ("x",), ("y",)), train, steps=1)


def test_a_stream_that_shares_for_others_is_refused(tmp_path):
    train = stream(write_set(tmp_path / "set.pt", 9), batch_size=3, rank=0, ranks=2)
    with pytest.raises(ValueError, match="stream: serves 2 processes, there are 1; open it inside `launched`"):
        fit(torch.nn.Conv2d(1, 1, 1), RelativeL2(train.domain, ("x",), ("y",)), train, steps=1)


def test_a_plain_start_is_one_process_on_the_device_it_names():
    with launched("cpu") as device:
        assert device == torch.device("cpu")
        assert Ranks.now() == Ranks(0, 1)
    assert Ranks(0, 1).any(True, torch.device("cpu"))


def test_weights_without_a_gradient_are_named_in_every_process(tmp_path):
    output = torchrun(2, "-m", "training.two_ranks_idle", str(write_set(tmp_path / "set.pt", 9)))
    told = "model: 1 weight, unused, takes no part in the forward pass; set requires_grad=False"
    assert output.count(told) == 2
