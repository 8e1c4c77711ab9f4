import os
import shutil
import subprocess
import sys

import pytest
import torch
import xarray

from generation.cards import TOY
from sciml.cli import main
from sciml.data.normalise import Normalised, Normaliser
from sciml.data.set import open_set
from sciml.data.stream import stream
from sciml.operators.mgno import MgNO
from sciml.training.checkpoint import fields_of, load, save
from sciml.training.evaluate import evaluate


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    """Twelve Darcy samples on 16 x 16 points, made by the command."""
    folder = tmp_path_factory.mktemp("sets") / "darcy"
    call = [
        sys.executable,
        "-m",
        "sciml.cli",
        "generate",
        "darcy-quick",
        "--samples",
        "12",
        "--resolution",
        "16",
        "--out",
        folder,
    ]
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def checkpoint(small_set, tmp_path_factory):
    train = stream(small_set / "train", batch_size=4)
    torch.manual_seed(0)
    inner = MgNO(1, 1, width=4, layers=2, domain=train.domain, smoothing=((1, 0), (1, 0)))
    model = Normalised(inner, Normaliser.of(train, ("a",)), Normaliser.of(train, ("u",), centre=False))
    path = tmp_path_factory.mktemp("runs") / "best.pt"
    inputs, targets = (fields_of(train.set, names) for names in (train.inputs, train.targets))
    save(path, model, domain=train.domain, inputs=inputs, targets=targets)
    return path


HELP = """
import sys
import sciml.cli
sys.argv = ["sciml", "--help"]
try:
    sciml.cli.main()
except SystemExit:
    print("torch" in sys.modules)
"""


def test_help_answers_at_once_and_without_torch():
    def seconds(*arguments):
        start = sum(os.times()[2:4])  # of the processor, for finished children: waiting for others does not count
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return sum(os.times()[2:4]) - start

    # What else runs on the machine can only make it slower: one good time of many is enough.
    assert any(seconds("-m", "sciml.cli", "--help") <= 0.3 for _ in range(20))
    told = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == "False"


def test_list_shows_every_card(sciml):
    status, out, _ = sciml("list")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert all(card in out for card in ("darcy-smooth", "darcy-rough", "darcy-trigonometric", "darcy-quick"))


def test_a_generated_set_is_sound_and_described(sciml, small_set):
    status, out, _ = sciml("check", small_set)
    assert status == 0, out
    assert "sound" in out
    status, out, _ = sciml("info", small_set / "train")
    assert status == 0
    assert "12 samples" in out
    assert "permeability" in out
    assert "16 points (both_ends, dirichlet)" in out
    status, out, _ = sciml("info", small_set)
    assert status == 0
    assert [line.split(", ")[0].removeprefix(str(small_set)) for line in out.splitlines()[:3]] == [
        "/test: 3 samples in 1 file",
        "/train: 12 samples in 1 file",
        "/valid: 2 samples in 1 file",
    ]
    assert "permeability" in out
    assert "shard" not in out
    with xarray.open_dataset(next((small_set / "train").glob("*.h5")), engine="h5netcdf") as data:
        assert data["u"].dims == ("sample", "u_channel", "x", "y")


def test_generate_again_makes_nothing_new(sciml, small_set):
    before = {file: file.read_bytes() for file in small_set.rglob("*.h5")}
    status, out, _ = sciml("generate", "darcy-quick", "--samples", 12, "--resolution", 16, "--out", small_set)
    assert status == 0
    assert "0 samples made" in out
    assert {file: file.read_bytes() for file in small_set.rglob("*.h5")} == before


def test_jobs_together_make_the_set(sciml, small_set, tmp_path):
    for job in ("0/2", "1/2"):
        assert sciml("generate", "darcy-quick", "--samples", 12, "--resolution", 16, "--out", tmp_path, "--job", job)[0] == 0
    ours = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.h5")}
    assert ours == {file.relative_to(small_set): file.read_bytes() for file in small_set.rglob("*.h5")}


def test_a_dry_run_writes_nothing(sciml, tmp_path):
    status, out, _ = sciml("generate", "darcy-quick", "--out", tmp_path / "set", "--dry-run")
    assert status == 0
    assert "shards" in out
    assert not (tmp_path / "set").exists()


def test_check_names_the_file_with_a_flipped_byte(sciml, small_set, tmp_path):
    for file in (small_set / "test").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = tmp_path / "shard-00000.h5"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    status, out, _ = sciml("check", tmp_path)
    assert status == 1
    assert "shard-00000.h5" in out
    assert ": 1 fault; 1 file, 0 samples" in out


def test_evaluate_prints_the_errors_of_the_model(sciml, small_set, checkpoint):
    status, out, _ = sciml("evaluate", checkpoint, small_set / "test")
    assert status == 0
    table = evaluate(load(checkpoint), stream(small_set / "test", batch_size=32))
    assert f"{table.rows[0].statistic('relative_l2', 'mean'):.4g}" in out


def test_evaluate_and_predict_take_a_split_of_a_folder(sciml, small_set, checkpoint, tmp_path):
    errors = [
        line.split()[:-1]
        for arguments in ((small_set / "test",), (small_set, "--split", "test"))
        for line in sciml("evaluate", checkpoint, *arguments)[1].splitlines()
        if line.strip().startswith(checkpoint.stem)
    ]
    assert len(errors) == 2
    assert errors[0] == errors[1]
    assert sciml("predict", checkpoint, small_set, "--split", "valid", "-o", tmp_path / "out.h5")[0] == 0
    assert torch.equal(open_set(tmp_path / "out.h5").read("a", [1]), open_set(small_set / "valid").read("a", [1]))
    for arguments in (("evaluate", checkpoint, small_set), ("predict", checkpoint, small_set, "-o", tmp_path / "no.h5")):
        status, _, err = sciml(*arguments)
        assert (status, err) == (
            1,
            f"sciml: {small_set}: holds the splits test, train, valid; choose one, such as --split test\n",
        )


def test_predictions_are_a_set_in_physical_units(sciml, small_set, checkpoint, tmp_path):
    out_file = tmp_path / "out" / "predicted.h5"
    assert sciml("predict", checkpoint, small_set / "test", "-o", out_file)[0] == 0
    predicted, truth = open_set(out_file), open_set(small_set / "test")
    assert predicted.domain == truth.domain
    assert torch.equal(predicted.read("a", slice(None)), truth.read("a", slice(None)))
    with torch.no_grad():
        assert torch.allclose(predicted.read("u", slice(None)), load(checkpoint)(truth.read("a", slice(None))), atol=1e-6)


@pytest.fixture
def small_pt(small_set, checkpoint, tmp_path):
    """A neuraloperator file, a checkpoint of a model for it, and the fields of both."""
    truth = open_set(small_set / "test")
    x, y = truth.read("a", slice(None)) > 6, truth.read("u", slice(None))
    torch.save({"x": x[:, 0], "y": y[:, 0]}, tmp_path / "some.pt")
    source = stream(tmp_path / "some.pt", batch_size=3)
    fields = [fields_of(source.set, names) for names in (source.inputs, source.targets)]
    save(tmp_path / "model.pt", load(checkpoint), domain=source.domain, inputs=fields[0], targets=fields[1])
    return tmp_path / "some.pt", tmp_path / "model.pt", x


def test_predictions_for_variables_with_the_names_of_axes(sciml, small_pt, tmp_path):
    path, model, x = small_pt
    status, _, err = sciml("predict", model, path, "-o", tmp_path / "p.h5")
    assert (status, err) == (0, "")
    found = open_set(tmp_path / "p.h5")
    assert (found.inputs, found.targets, found.domain) == (("x",), ("y",), open_set(path).domain)
    assert torch.equal(found.read("x", slice(None)), x)
    with torch.no_grad():
        assert torch.allclose(found.read("y", slice(None)), load(model)(x.float()), atol=1e-6)
    assert sciml("check", tmp_path / "p.h5")[0] == 0
    with xarray.open_dataset(tmp_path / "p.h5", engine="h5netcdf") as data:
        assert data.x_coordinate.values[0] == 1 / 32


def test_predict_replaces_a_file_only_when_told_and_never_what_it_reads(sciml, small_set, checkpoint, tmp_path, monkeypatch):
    shutil.copytree(small_set / "test", tmp_path / "test")
    source, out = tmp_path / "test" / "some.h5", tmp_path / "p.h5"
    for kind in (".h5", ".json"):
        (tmp_path / "test" / f"shard-00000{kind}").rename(source.with_suffix(kind))
    for there in (out, out.with_suffix(".json")):
        there.write_text("notes")
        status, _, err = sciml("predict", checkpoint, source, "-o", out)
        assert status == 1
        assert f"{there}: is there already; take another name, or replace it with --force" in err
        assert there.read_text() == "notes"
        if there == out:
            there.unlink()
    assert sciml("predict", checkpoint, source, "-o", out, "--force")[0] == 0
    assert len(open_set(out)) == 3
    before = source.read_bytes()
    monkeypatch.setattr("sciml.cli.models.predict", None)  # refused before any work
    (tmp_path / "link.h5").symlink_to(source)
    shutil.copy(checkpoint, tmp_path / "model.h5")
    for model, target, words in (
        (checkpoint, source, "is read for this prediction"),
        (checkpoint, tmp_path / "link.h5", "is read for this prediction"),
        (tmp_path / "model.h5", tmp_path / "model.h5", "is read for this prediction"),
        (checkpoint, tmp_path / "shard-00007.h5", "names that begin with shard- are those of sets"),
    ):
        status, _, err = sciml("predict", model, source, "-o", target, "--force")
        assert status == 1
        assert words in err
    assert source.read_bytes() == before


def test_a_truncated_file_or_a_checkpoint_is_no_set_in_one_line(sciml, small_pt):
    path, model, _ = small_pt
    path.write_bytes(path.read_bytes()[:900])
    for file, words in ((path, "it is truncated or damaged, copy it again"), (model, "is a checkpoint of a model, not a set")):
        status, _, err = sciml("info", file)
        assert status == 1
        assert err.startswith(f"sciml: {file}: ")
        assert words in err
        assert err.count("\n") == 1


def test_paths_are_printed_as_they_are(sciml, small_set, checkpoint, tmp_path):
    odd = tmp_path / "[red] a[/bold] :bug:"
    shutil.copytree(small_set / "test", odd)
    model = odd / "[blue]model.pt"
    shutil.copy(checkpoint, model)
    for arguments, shown in (
        (("info", odd), odd),
        (("check", odd), odd),
        (("predict", model, odd, "-o", odd / "p.h5"), odd / "p.h5"),
        (("evaluate", model, odd), "[blue]model"),
        (("generate", "darcy-quick", "--out", odd / "set", "--dry-run"), odd / "set"),
    ):
        status, out, err = sciml(*arguments)
        assert (status, err) == (0, "")
        assert str(shown) in out


@pytest.mark.parametrize("error", [ZeroDivisionError("no points"), ImportError("no such part"), MemoryError()])
def test_what_the_machine_or_the_card_did_wrong_is_one_line(sciml, monkeypatch, error):
    def raising():
        raise error

    monkeypatch.setattr("sciml.cli.sets.print_cards", raising)
    status, _, err = sciml("list")
    assert (status, err) == (1, f"sciml: {str(error) or 'MemoryError'}\n")


def test_a_device_without_room_is_one_line_and_a_mistake_of_ours_is_not(sciml, monkeypatch):
    def raising(error):
        raise error

    monkeypatch.setattr("sciml.cli.sets.print_cards", lambda: raising(torch.OutOfMemoryError("tried to allocate\n9 GiB")))
    assert sciml("list")[2] == "sciml: tried to allocate 9 GiB\n"
    monkeypatch.setattr("sciml.cli.sets.print_cards", lambda: raising(RuntimeError("shapes differ")))
    monkeypatch.setattr(sys, "argv", ["sciml", "list"])
    with pytest.raises(RuntimeError, match="shapes differ"):
        main()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_problem_beside_its_card_is_generated_and_when_trusted_checked(sciml, tmp_path, monkeypatch, workers):
    folder, module = tmp_path / "mine", f"problem_beside_a_card_{workers}"
    folder.mkdir()
    (folder / f"{module}.py").write_text(
        "from generation.toy_problem import Antiderivative\n\n\nclass Way(Antiderivative):\n    pass\n"
    )
    (folder / "way.toml").write_text(TOY.replace("generation.toy_problem:Antiderivative", f"{module}:Way"))
    before = list(sys.path)
    status, out, err = sciml("generate", folder / "way.toml", "--workers", workers, "--out", tmp_path / "way")
    assert (status, err) == (0, "")
    assert "29 samples made" in out
    assert sys.path == before
    sys.modules.pop(module)
    monkeypatch.chdir(folder)
    status, out, _ = sciml("check", tmp_path / "way")
    assert status == 0
    assert ": sound, but the equation was not checked: problem: " in out
    assert "not trusted" in out
    assert module not in sys.modules
    status, out, _ = sciml("check", tmp_path / "way", "--trust", "other", "--trust", module)
    assert status == 0
    assert ": sound; 6 files, 29 samples" in out
    assert "29 residuals recomputed" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "darcy-slow"), "no such card"),
        (("generate", "darcy-quick", "--job", "2/2"), "0 <= I < N"),
        (("generate", "darcy-quick", "--job", "\N{SUPERSCRIPT TWO}/4"), "0 <= I < N"),
        (("info", "nowhere"), "nothing is there"),
        (("info", "."), "`sciml generate CARD --out FOLDER`"),
        (("evaluate", "any.pt", "any", "--device", "foo"), "--device: got 'foo', this machine has cpu"),
        (("predict", "any.pt", "any", "-o", "p.h5", "--device", "cuda:99"), "--device: got 'cuda:99', this machine has cpu"),
    ],
)
def test_mistakes_are_one_line(sciml, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = sciml(*arguments)
    assert status == 1
    assert words in err
    assert err.count("\n") == 1


def test_another_grid_or_file_type_is_refused(sciml, checkpoint, tmp_path):
    finer = tmp_path / "finer"
    assert sciml("generate", "darcy-quick", "--samples", 4, "--resolution", 20, "--out", finer)[0] == 0
    status, _, err = sciml("predict", checkpoint, finer / "test", "-o", tmp_path / "p.h5")
    assert status == 1
    assert "grid" in err
    assert not (tmp_path / "p.h5").exists()
    status, _, err = sciml("predict", checkpoint, finer / "test", "-o", tmp_path / "p.csv")
    assert "need a name that ends in .h5" in err
