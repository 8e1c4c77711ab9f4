import random

import pytest
import torch

from sciml.data.set import open_set
from sciml.data.stream import stream
from sciml.numerics.domain import Domain

PHASE = torch.arange(5 * 4 * 3).view(5, 4, 3) % 7 == 0
ANSWER = torch.arange(5.0 * 4 * 3).view(5, 4, 3)


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_phases_and_answers_without_channels_in_any_memory_order(tmp_path, zipped):
    strided = ANSWER.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": strided}, _use_new_zipfile_serialization=zipped)
    found = open_set(path)
    assert (len(found), found.inputs, found.targets) == (5, ("x",), ("y",))
    assert found.domain == Domain.box([1.0, 1.0], (4, 3), "open", "cells")
    assert torch.equal(found.read("x", [4, 1]), PHASE[[4, 1], None])
    assert found.read("y", slice(None)).is_contiguous()
    (batch,) = stream(path, batch_size=9)
    assert torch.equal(batch["x"], PHASE[:, None].float())
    assert torch.equal(batch["y"], ANSWER[:, None])


def test_channels_are_kept_and_lines_are_read(tmp_path):
    both = {"x": torch.zeros(2, 3, 4, 4), "y": torch.ones(2, 1, 4, 4)}
    assert open_set(saved(tmp_path / "c.pt", both)).variables["x"].shape == (3, 4, 4)
    line = {"x": torch.zeros(2, 8), "y": torch.ones(2, 8)}
    assert open_set(saved(tmp_path / "l.pt", line)).variables["y"].shape == (1, 8)


def test_the_domain_is_the_callers(tmp_path):
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER})
    given = Domain.box((1.0, 1.0), (4, 3), "dirichlet", "interior")
    assert stream(path, batch_size=2, domain=given).domain == given
    with pytest.raises(ValueError, match=r"variable x has shape \(1, 4, 3\) per sample, the domain \(5, 3\)"):
        open_set(path, domain=Domain.box((1.0, 1.0), (5, 3), "open"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": PHASE}, r"holds \['x'\], need a dict of two tensors, x and y"),
        ([PHASE, ANSWER], "holds list, need a dict"),
        ({"x": PHASE, "y": ANSWER[:4]}, r"x is \(5, 1, 4, 3\) and y \(4, 1, 4, 3\)"),
        ({"x": PHASE, "y": "no tensor"}, "need a dict of two tensors"),
        ({"x": PHASE, "y": Domain.box((1.0,), (4,), "open")}, "holds more than tensors"),
    ],
)
def test_other_content_is_refused_and_never_run(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_set(saved(tmp_path / "d.pt", content))


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, part):
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER})
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(OSError, match=r"d.pt: cannot be read as a file of torch.save, .*truncated or damaged") as caught:
        open_set(path)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_found_when_the_file_is_opened(tmp_path):
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER})
    content, whole = path.read_bytes(), open_set(path)
    chance, told = random.Random(2), []
    for _ in range(150):
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        try:
            same = open_set(path)
        except (OSError, ValueError) as error:
            told.append(str(error))
        else:  # padding between records
            assert all(torch.equal(same.read(name, slice(None)), whole.read(name, slice(None))) for name in "xy")
    assert len(told) > 30
    assert [line for line in told if "d.pt: " not in line or "\n" in line] == []
    place = content.index(ANSWER.numpy().tobytes()) + 101
    path.write_bytes(content[:place] + b"?" + content[place + 1 :])
    with pytest.raises(OSError, match=r"d.pt: its bytes were changed, record .*data/\d fails its checksum; copy it again"):
        open_set(path)


def test_other_content_of_the_same_size_has_another_fingerprint(tmp_path):
    middle = torch.zeros(2, 1, 200, 200)
    same = saved(tmp_path / "a.pt", {"x": middle, "y": middle.clone()})
    copy = saved(tmp_path / "copy.pt", {"x": middle, "y": middle.clone()})
    middle[1, 0, 0, 0] = 1
    other = saved(tmp_path / "b.pt", {"x": middle, "y": torch.zeros_like(middle)})
    assert open_set(same).fingerprint == open_set(copy).fingerprint != open_set(other).fingerprint


def test_a_checkpoint_is_no_set(tmp_path):
    with pytest.raises(ValueError, match=r"d.pt: is a checkpoint of a model, not a set"):
        open_set(saved(tmp_path / "d.pt", {"format": "sciml checkpoint", "version": 1}))


def test_gradients_stay_behind(tmp_path):
    path = saved(tmp_path / "d.pt", {"x": torch.zeros(2, 4), "y": torch.zeros(2, 4, requires_grad=True)})
    assert not open_set(path).read("y", [0]).requires_grad


def test_a_nan_is_named_when_it_enters(tmp_path):
    answer = ANSWER.clone()
    answer[3, 1, 2] = torch.nan
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": answer})
    with pytest.raises(ValueError, match=r"d.pt: variable y, sample 3 of this file holds nan at \(0, 1, 2\), need finite"):
        next(iter(stream(path, batch_size=2)))


def test_the_published_darcy_files(published_data):
    train, test = (open_set(published_data / "darcy" / f"darcy_{name}.pt") for name in ("train_16", "test_32"))
    assert (len(train), train.variables["x"].shape, train.variables["x"].dtype) == (1000, (1, 16, 16), torch.bool)
    assert (len(test), test.variables["y"].shape) == (50, (1, 32, 32))
    fine = test.read("y", slice(None))
    coarse = open_set(published_data / "darcy" / "darcy_test_16.pt").read("y", slice(None))
    assert torch.equal(fine[..., ::2, ::2], coarse)
    batch, share = next(stream(published_data / "darcy" / "darcy_train_16.pt", batch_size=8).endless())
    assert share == 1
    assert set(batch["x"].unique().tolist()) == {0.0, 1.0}
    assert float(batch["y"][:, :, 0].abs().max()) < float(batch["y"].max()) / 3
