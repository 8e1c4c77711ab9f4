"""What the documentation says to type does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.problems.flows.named import FLOWS
from training.advection import write_advection

DOCS = Path(__file__).resolve().parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder in which the quick start was followed, with a few steps instead of hundreds."""
    folder = tmp_path_factory.mktemp("quick_start")
    (code,) = blocks("index.md", "python")
    assert "steps=600" in code
    run = subprocess.run(
        [sys.executable, "-c", code.replace("steps=600", "steps=2")], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "ridge" in run.stdout
    return folder


def test_the_quick_start_leaves_a_checkpoint_for_the_commands(workplace):
    lines = re.findall(
        r"^    (sciml (?:check|evaluate|predict) .*)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(lines) == 3
    for line in lines:
        call = [sys.executable, "-m", "sciml.cli", *line.split()[1:]]
        run = subprocess.run(call, cwd=workplace, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr + run.stdout


def test_the_page_on_training_continues_the_quick_start(workplace):
    (code,) = blocks("how_to/training.md", "python")
    run = subprocess.run(
        [sys.executable, "-c", code + "\nprint(fields['u'].shape)"], cwd=workplace, capture_output=True, text=True, timeout=120
    )
    assert run.stdout.strip() == "torch.Size([100, 1, 65, 65])", run.stderr


def test_the_page_on_streams_continues_the_quick_start(workplace):
    write_advection(workplace / "waves" / "train" / "part.h5", samples=6, seed=1)
    page = (DOCS / "how_to/streams.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    sciml (generate .*)$", page, re.MULTILINE)
    subprocess.run(
        [sys.executable, "-m", "sciml.cli", *line.split()], cwd=workplace, capture_output=True, check=True, timeout=120
    )
    code = "\n".join(blocks("how_to/streams.md", "python")) + "\nprint(len(run.history), len(both))"
    run = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, timeout=120)
    assert run.stdout.splitlines()[-1] == "20 53", run.stderr


def test_the_page_on_formats_opens_a_file_of_ones_own(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["coefficients/k"] = np.ones((3, 8, 6), np.float32)
        file["solutions"] = np.zeros((3, 5, 8, 6, 2), np.float32)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("how_to/formats.md", "python")
    found: dict = {}
    exec(code, found)
    assert found["found"].variables["u"].sample_shape == (5, 2, 8, 6)
    assert found["found"].inputs == ("a",)


@pytest.fixture
def membrane(tmp_path, monkeypatch):
    page = "how_to/bring_your_own_problem.md"
    (module,), (card,) = blocks(page, "python"), blocks(page, "toml")
    (tmp_path / "membrane.py").write_text(module)
    (tmp_path / "membrane.toml").write_text(
        card.replace("1000", "12").replace("200", "4").replace("250", "6").replace("50", "3")
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_problem_of_the_page_passes_the_laws_of_problems(membrane):
    import membrane as page

    problem_laws(page.Membrane(), Domain.box((1.0, 1.0), (33, 33), "dirichlet"), coarse_error=1e-3)


def test_the_card_of_the_page_is_generated_and_checked(membrane):
    for line in ("generate membrane.toml --workers 2", "check data/membrane --trust membrane"):
        call = [sys.executable, "-m", "sciml.cli", *line.split()]
        run = subprocess.run(call, cwd=membrane, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr + run.stdout
    assert "16 residuals recomputed" in run.stdout


@pytest.mark.parametrize("page", ["methods/deeponet.md", "methods/mgno.md", "methods/plrnn.md"])
def test_the_examples_of_a_method_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), {})


def test_the_examples_of_chaotic_flows_run_and_the_table_has_all_flows_as_they_are():
    page = "problems/chaotic_flows.md"
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), {})
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]*=[^|]*) \|(?:.*)\| ([^|]*) \|$",
        (DOCS / page).read_text(encoding="utf-8").split("## The flows")[1],
        re.MULTILINE,
    )
    assert rows == [(name, flow.equation, flow.source) for name, flow in FLOWS.items()]
