import errno
import os
import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from sciml.data.normalise import Normalised, Normaliser
from sciml.numerics.domain import Domain
from sciml.training.baselines import LinearMap, TrainingMean
from sciml.training.checkpoint import Field, load, read_checkpoint, save
from sciml.training.description import build, describe, readable

HERE = (__name__,)
DOMAIN = Domain.box((1.0, 2.0), (5, 4), ("dirichlet", "periodic"))
FIELDS = {"inputs": [Field("a", "m^2")], "targets": [Field("u", "K")]}


@dataclass(frozen=True)
class Part:
    rates: tuple[float, ...]
    domain: Domain | None = None


class Whole(nn.Module):
    """An argument of every kind that a checkpoint keeps."""

    def __init__(self, width: int, parts: tuple[Part, ...], domain: Domain, table: dict, dtype: torch.dtype, inner=None):
        super().__init__()
        self.width, self.parts, self.domain, self.table, self.dtype, self.inner = width, parts, domain, table, dtype, inner
        self.layer = nn.Linear(width, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, a):
        return self.layer(a.movedim(1, -1)).movedim(-1, 1)


def whole(inner=None):
    return Whole(
        3, (Part((0.1, 1e-300), DOMAIN), Part(())), DOMAIN, {"x": [1, (2.5, None)], "kind": "words"}, torch.float64, inner
    )


def test_a_model_comes_back_with_every_argument_and_weight(tmp_path):
    model = whole(inner=TrainingMean(torch.rand(1, 4)))
    model.seen += 3
    save(tmp_path / "m.pt", model, domain=DOMAIN, metrics={"validation": 0.25}, **FIELDS)
    back = load(tmp_path / "m.pt", trust=HERE, kind=Whole)
    for name in ("width", "parts", "domain", "table", "dtype"):
        assert getattr(back, name) == getattr(model, name), name
    assert not back.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name
    kept = read_checkpoint(tmp_path / "m.pt")
    assert (kept.domain, kept.metrics["validation"]) == (DOMAIN, 0.25)
    assert (kept.inputs, kept.targets) == ((Field("a", "m^2"),), (Field("u", "K"),))


def test_a_file_is_replaced_never_written_over(saved):
    """Whoever has the old file open, or is killed here, has a whole one."""
    with saved.open("rb") as opened:
        before, number = saved.read_bytes(), saved.stat().st_ino
        save(saved, whole(), domain=None, **FIELDS)
        assert opened.read() == before
    assert saved.stat().st_ino != number


def test_models_of_sciml_need_no_trust(tmp_path):
    inner = LinearMap(torch.rand(4, 2), torch.rand(2, 4), torch.rand(1, 4), (1, 4))
    model = Normalised(inner, Normaliser([1.0], [2.0]), Normaliser([3.0], [0.1]))
    save(tmp_path / "m.pt", model, domain=None, **FIELDS)
    a = torch.rand(3, 1, 4)
    assert torch.equal(load(tmp_path / "m.pt")(a), model(a))


def test_precision_and_random_numbers_are_kept(tmp_path):
    model = whole().double()
    save(tmp_path / "m.pt", model, domain=None, **FIELDS)
    torch.manual_seed(5)
    back = load(tmp_path / "m.pt", trust=HERE)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(back.layer.weight, model.layer.weight)
    assert back.layer.weight.dtype == torch.float64
    assert back.layer.weight.requires_grad


def test_weights_that_a_constructor_argument_shares_are_stored_once(tmp_path):
    model = TrainingMean(torch.rand(1, 100_000))
    save(tmp_path / "m.pt", model, domain=None, **FIELDS)
    assert (tmp_path / "m.pt").stat().st_size < 1.1 * 400_000


def test_another_process_reads_it_and_without_trust_imports_nothing(tmp_path):
    save(tmp_path / "m.pt", TrainingMean(torch.ones(1, 4)), domain=None, **FIELDS)
    program = f"""
import sys, torch
from sciml.training.checkpoint import load, read_checkpoint
assert read_checkpoint({str(tmp_path / "m.pt")!r}).code_version
assert "sciml.training.baselines" not in sys.modules
print(load({str(tmp_path / "m.pt")!r})(torch.zeros(2, 1, 4)).sum().item())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "8.0"


class Forgetful(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layer = nn.Linear(width, width)


class Loose(nn.Module):
    def __init__(self, *widths: int):
        super().__init__()
        self.widths = widths


class Holder(nn.Module):
    def __init__(self, thing):
        super().__init__()
        self.thing = thing


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Forgetful(3), r"model: Forgetful keeps no attribute 'width'; .* under its own name"),
        (Loose(3), r"Loose takes \*widths"),
        (Holder(torch.relu), r"model\.thing: got builtin_function_or_method"),
        (Holder(Holder([1, {3: 4}])), r"model\.thing\.thing\[1\]: .*text keys only"),
    ],
)
def test_what_cannot_be_kept_is_said_before_anything_is_written(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "m.pt", model, domain=None, **FIELDS)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.pt"
    save(path, whole(), domain=DOMAIN, **FIELDS)
    return path


def edited(path, **changes):
    content = torch.load(path, weights_only=True)
    torch.save(content | changes, path)
    return path


def refuses(path, message, **options):
    with pytest.raises(ValueError, match=message) as refusal:
        load(path, **{"trust": HERE} | options)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_class_that_is_not_trusted_is_not_imported(saved):
    refuses(saved, r"is not part of sciml and not trusted; if you trust it, name '\w+' in `trust`", trust=())


def test_trust_does_not_reach_through_a_trusted_module(saved):
    description = {"kind": "module", "class": "sciml.training.checkpoint:nn.Linear", "arguments": {}}
    refuses(edited(saved, model=description), "is not defined in a trusted module but in torch.nn.modules.linear")
    for path in ("sciml.training.checkpoint:os.system", "sciml.training.checkpoint:save.__globals__"):
        refuses(edited(saved, model=description | {"class": path}), "is not defined in a trusted module")
    for path in ("sciml.training.checkpoint:load", "sciml.numerics.domain:Domain"):
        refuses(edited(saved, model=description | {"class": path}), "is no module class")


def test_another_class_is_told_from_the_one_that_is_needed(saved):
    refuses(saved, "holds a Whole, need a TrainingMean", kind=TrainingMean)
    gone = {"kind": "module", "class": f"{__name__}:Gone", "arguments": {}}
    refuses(edited(saved, model=gone), "cannot import .*:Gone'.*; use the version of the code that it was written with")


def test_arguments_or_weights_of_another_version_of_the_class_are_refused(saved):
    description = torch.load(saved, weights_only=True)["model"]
    more = {**description, "arguments": {**description["arguments"], "depth": 3}}
    refuses(edited(saved, model=more), "constructor does not take .*depth")
    wider = {**description, "arguments": {**description["arguments"], "width": 4}}
    refuses(edited(saved, model=wider), r"size mismatch for layer\.weight")


def test_a_newer_format_asks_for_a_newer_sciml(saved):
    refuses(edited(saved, version=99), "format 99, this sciml knows up to 1; install a newer one")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.98, -1])
def test_a_file_cut_short_is_refused(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    refuses(saved, "no checkpoint, or one cut short; take another copy|damaged")


def test_a_flipped_byte_in_the_weights_is_refused(saved):
    data = bytearray(saved.read_bytes())
    weight = read_checkpoint(saved).weights["layer.weight"].numpy().tobytes()
    data[data.index(weight) + 1] ^= 4
    saved.write_bytes(data)
    refuses(saved, "damaged, .* fails its checksum; take another copy")


def test_files_that_are_something_else_are_refused(tmp_path, saved):
    torch.save({"a": torch.ones(3)}, saved)
    refuses(saved, "is not a sciml checkpoint; give a file written by")
    torch.save(nn.Linear(2, 2), saved)
    refuses(saved, "more than plain tensors")
    saved.write_text("epoch,loss\n1,0.5\n")
    refuses(saved, "17 bytes that are no checkpoint")
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        load(tmp_path / "none.pt")


def test_a_full_disk_is_an_oserror_that_leaves_what_was_there(saved):
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"while writing \d+ bytes; make room.*m\.pt") as refusal:
            save(saved, whole(), domain=DOMAIN, **FIELDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refusal.value.errno == errno.EFBIG
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["m.pt"]


def test_descriptions_are_inverted_and_tensors_told_apart_by_their_values():
    value = {"a": (1, [2.0, None, "x"], True), "d": DOMAIN, "p": Part((1.0,))}
    assert build(describe(value), HERE) == value
    one, other = torch.zeros(3), torch.zeros(3)
    other[1] = -0.0
    assert readable(describe((one, torch.empty(0)))) != readable(describe((other, torch.empty(0))))


@pytest.mark.parametrize("name", ["model", "weights", "domain", "inputs", "targets", "metrics", "code_version", "training"])
def test_a_checkpoint_that_lacks_a_part_is_refused_by_its_name(saved, name):
    content = torch.load(saved, weights_only=True)
    torch.save({key: value for key, value in content.items() if key != name}, saved)
    refuses(saved, f"a sciml checkpoint without '{name}'; take another copy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": None}, "got the checkpoint format None, need a whole number"),
        ({"weights": [1.0]}, "weights: got list, need dict"),
        ({"weights": {"w": 1.0}}, "weights: got float as 'w', need tensors"),
        ({"inputs": [{"name": "a", "colour": "red"}]}, "odd content .*colour"),
        ({"inputs": ["a"]}, "odd content"),
        ({"targets": None}, "targets: got NoneType, need list"),
        ({"domain": {}}, "checkpoint with"),
        ({"domain": 3}, "odd content"),
        ({"training": 3}, "training: got int, need dict"),
        ({"model": 3}, "model: got int, need dict"),
        ({"model": {"kind": "module"}}, "got an object of kind .module. with kind; need"),
    ],
)
def test_a_checkpoint_with_odd_parts_is_refused(saved, change, message):
    refuses(edited(saved, **change), message)
