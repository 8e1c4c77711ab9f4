"""The recipe from card to page, with few and small steps."""

import csv
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recipes.darcy import DARCY, PRESETS
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.checkpoint import load, read_checkpoint
from sciml.training.comparison import compare

ROOT = Path(__file__).resolve().parents[2]
TINY = replace(PRESETS["quick"], steps=4, width=4, levels=3, fno_width=4, fno_modes=4)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    generate(read_card(find_card("darcy-quick")), folder, samples={"train": 24, "valid": 4, "test": 6}, resolution=17)
    return folder


@pytest.fixture(scope="module")
def run(splits, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    compare(DARCY, TINY, splits, "mgno", "cpu", out, 0)
    return out


def test_the_table_has_the_model_and_every_baseline(run):
    with (run / "test" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["MgNO", "FNO (neuraloperator)", "ridge regression", "mean of training"]
    errors = {row["model"]: float(row["relative_l2 mean"]) for row in rows}
    assert 0 < errors["ridge regression"] < errors["mean of training"] < 1


def test_the_page_stands_alone(run):
    page = (run / "test" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "ridge regression" in page
    assert "Learning curves" in page


def test_the_checkpoint_gives_the_model_back_with_its_normalisation(run, splits):
    kept = read_checkpoint(run / "best.pt")
    assert [field.name for field in (*kept.inputs, *kept.targets)] == ["a", "u"]
    u = load(run / "best.pt")(torch.full((1, 1, 17, 17), 7.5))
    assert u.shape == (1, 1, 17, 17)
    assert (u[..., 0, :] == 0).all()  # on the sides of the box, by the Domain


def test_started_again_it_returns_at_once_with_the_same_page(run, splits):
    before = (run / "log.csv").read_bytes()
    compare(DARCY, TINY, splits, "mgno", "cpu", run, 0)
    assert (run / "log.csv").read_bytes() == before


def test_the_test_samples_are_answered_on_finer_grids_too(tmp_path, monkeypatch):
    def made(card, folder, *, resolution=17, split=None):
        few = {"train": 8, "valid": 2, "test": 3}
        return generate(read_card(find_card(card)), folder, samples=few, resolution=resolution, split=split)

    monkeypatch.chdir(tmp_path)
    tables = compare(replace(DARCY, make=made), TINY, None, "mgno", "cpu", Path("run"), 0, [33, 65])
    assert [*tables] == ["test", "test-33", "test-65"]
    names = [row.name for row in tables["test-65"].rows]
    assert names[:4] == ["MgNO", "FNO (neuraloperator)", "MgNO at 17²", "FNO (neuraloperator) at 17²"]
    assert not tables["test-65"].notes()
    # What the solver of the training grid and cubics leave: the coefficient jumps, so it does not vanish.
    solver = {name: table.rows[-1].statistic("relative_l2", "mean") for name, table in tables.items()}
    assert solver["test"] < 1e-6
    assert 1e-2 < solver["test-33"] < solver["test-65"] < 0.3
    head, _, first, *_ = Path("run/by_grid.md").read_text().splitlines()
    assert head == "| mean relative_l2 | test, 17² | test-33, 33² | test-65, 65² |"
    assert first.startswith("| MgNO | ")
    assert "–" not in Path("run/by_grid.md").read_text()


def test_finer_grids_of_other_data_are_refused(splits, tmp_path):
    with pytest.raises(ValueError, match=r"finer: got \[33\] beside .*need the preset's own set"):
        compare(DARCY, TINY, splits, "mgno", "cpu", tmp_path / "run", 0, [33])


def test_finer_grids_without_the_points_of_the_usual_one_are_refused_before_any_training(tmp_path, monkeypatch):
    few = {"train": 2, "valid": 1, "test": 1}

    def make(card, folder):
        return generate(read_card(find_card(card)), folder, samples=few, resolution=17)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="fine: got"):
        compare(replace(DARCY, make=make), TINY, None, "mgno", "cpu", Path("run"), 0, [40])
    assert not Path("run").exists()


def test_a_training_file_without_tests_beside_it_is_refused_before_any_training(tmp_path):
    file = tmp_path / "mine.pt"
    torch.save({"x": torch.zeros(4, 8, 8), "y": torch.ones(4, 8, 8)}, file)
    with pytest.raises(ValueError, match=r"mine\.pt: need NAME_train_N\.pt with NAME_test_N\.pt beside it"):
        compare(DARCY, TINY, file, "mgno", "cpu", tmp_path / "run", 0)
    assert not (tmp_path / "run").exists()


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
from recipes.darcy import DARCY, PRESETS
from sciml.training.comparison import compare

tiny = replace(PRESETS["quick"], steps=2, width=4, levels=3, fno_width=4, fno_modes=4)
compare(DARCY, tiny, Path(sys.argv[1]), "mgno", "cpu", Path(sys.argv[2]), 0)
"""


def test_under_torchrun_one_process_writes_the_page(splits, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        script,
        splits,
        tmp_path / "run",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = started.communicate(timeout=150)
    finally:
        started.send_signal(signal.SIGTERM)  # torchrun ends its processes; it cannot when it is killed
    assert started.returncode == 0, output
    assert output.count("the table, the learning curves and pictures") == 1
    assert (tmp_path / "run" / "test" / "report.html").exists()
