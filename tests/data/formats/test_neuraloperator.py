import random

import numpy as np
import pytest
import torch

from data.formats.files_a import formula
from data.formats.files_b import cut, operator_series, saved, web_page
from sciml.data.formats import neuraloperator
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere
from sciml.data.storage.files import StoredFile
from sciml.data.stream import stream
from sciml.numerics.domain import Domain

PHASE = torch.arange(5 * 4 * 3).view(5, 4, 3) % 7 == 0
ANSWER = torch.arange(5.0 * 4 * 3).view(5, 4, 3)


def layouts(path):
    return {name: type(array.layout) for name, array in neuraloperator.describe(StoredFile(path)).arrays.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_phases_and_answers_without_channels_in_any_memory_order(tmp_path, zipped):
    strided = ANSWER.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": strided}, _use_new_zipfile_serialization=zipped)
    found = open_set(path)
    assert (len(found), found.inputs, found.targets) == (5, ("x",), ("y",))
    assert found.domain == Domain.box([1.0, 1.0], (4, 3), "open", "cells")
    assert torch.equal(found.read("x", [4, 1]), PHASE[[4, 1], None])
    assert found.read("y", slice(None)).is_contiguous()
    assert set(layouts(path).values()) == {Contiguous if zipped else Elsewhere}
    (batch,) = stream(path, batch_size=9)
    assert torch.equal(batch["x"], PHASE[:, None].float())
    assert torch.equal(batch["y"], ANSWER[:, None])


def test_channels_are_kept_and_lines_are_read(tmp_path):
    both = {"x": torch.zeros(2, 3, 4, 4), "y": torch.ones(2, 1, 4, 4)}
    assert open_set(saved(tmp_path / "c.pt", both)).variables["x"].shape == (3, 4, 4)
    line = {"x": torch.zeros(2, 8), "y": torch.ones(2, 8)}
    assert open_set(saved(tmp_path / "l.pt", line)).variables["y"].shape == (1, 8)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_line_and_what_becomes_of_it_at_later_times(tmp_path, zipped):
    content = operator_series()
    found = open_set(saved(tmp_path / "d.pt", content, _use_new_zipfile_serialization=zipped))
    assert (found.inputs, found.targets) == (("x", "visc"), ("y",))
    assert (found.variables["x"].sample_shape, found.variables["y"].sample_shape) == ((1, 8), (4, 1, 8))
    values = torch.from_numpy(formula(5, (8,), steps=4))
    assert torch.equal(found.read("y", [3, 0]), values[[3, 0]])
    assert torch.equal(found.read("y", [3, 0], first=1, count=2, stride=2), values[[3, 0], 1::2])
    assert torch.equal(found.read("x", [3, 0]), values[[3, 0], 0])
    assert found.read("visc", [3, 0]).tolist() == [[0.01], [0.01]]
    assert found.notes[1] == "x is (5, 8) and y (5, 4, 8); the second axis of y is taken as time"


def test_tensors_are_read_from_where_torch_put_them(tmp_path):
    storage = torch.arange(1000.0)
    cases = {
        "own": torch.randn(6, 1, 5, 4, dtype=torch.float64),
        "one storage, from its middle": storage[100:220].view(6, 1, 5, 4),
        "permuted": torch.randn(4, 5, 1, 6).permute(3, 2, 1, 0),
        "parameter": torch.nn.Parameter(torch.randn(6, 2, 5, 4)),
        "complex": torch.randn(6, 1, 5, 4, dtype=torch.complex64),
        "complex128": torch.randn(6, 1, 5, 4, dtype=torch.complex128),
        "half": torch.randn(6, 1, 5, 4).half(),
        "byte": torch.arange(120, dtype=torch.uint8).view(6, 1, 5, 4),
    }
    for name, tensor in cases.items():
        path = saved(tmp_path / "d.pt", {"x": storage[:120].view(6, 1, 5, 4), "y": tensor})
        assert layouts(path) == {"x": Contiguous, "y": Contiguous}, name
        assert torch.equal(open_set(path).read("y", [5, 2]), torch.load(path)["y"][[5, 2]].detach()), name


def test_tensors_that_do_not_fill_their_place_come_from_torch(tmp_path):
    every_other = torch.randn(12, 1, 5, 4)[::2]
    expanded = torch.randn(6, 1, 5, 1).expand(6, 1, 5, 4)
    conjugate = torch.randn(6, 1, 5, 4, dtype=torch.complex64).conj()
    for tensor in (every_other, expanded, conjugate):
        path = saved(tmp_path / "d.pt", {"x": torch.zeros(6, 1, 5, 4), "y": tensor})
        assert layouts(path)["y"] is Elsewhere
        assert torch.equal(open_set(path).read("y", [5, 2]), tensor[[5, 2]])
        with pytest.raises(ValueError, match=r"d.pt: array y: got starts \(6, 0, 0, 0\)"):
            neuraloperator.read(path, "y", Box((6, 0, 0, 0), (1, 1, 5, 4), (1,) * 4))
    with pytest.raises(ValueError, match=r"d.pt: no array 'z', there are x and y"):
        neuraloperator.read(path, "z", Box((), (), ()))


def test_numbers_beside_them_are_parameters_and_the_rest_is_left_out(tmp_path):
    more = {"visc": torch.arange(5.0), "re": 100, "dt": 0.5, "grid": torch.zeros(4, 3), "by": "someone"}
    found = open_set(saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER} | more))
    assert found.inputs == ("x", "visc", "re", "dt")
    assert found.read("visc", [3, 1]).tolist() == [[3.0], [1.0]]
    assert (found.read("re", [0]).item(), found.read("dt", [0]).item()) == (100, 0.5)
    assert [note for note in found.notes if note.startswith("left out")] == [
        "left out: grid (4, 3), neither one number nor one for each of 5 samples",
        "left out: by, neither one number nor one for each of 5 samples",
    ]


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
        ({"x": PHASE[:0], "y": ANSWER[:0]}, r"x has shape \(0, 4, 3\)"),
        ({"x": PHASE, "y": ANSWER.bfloat16()}, "variable y has values of type bfloat16, which NumPy does not have"),
        ({"x": PHASE, "y": ANSWER.to_sparse()}, "variable y has values of type"),
    ],
)
def test_other_content_is_refused_and_never_run(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_set(saved(tmp_path / "d.pt", content))


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, part):
    path = cut(saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER}), part)
    with pytest.raises(OSError, match=r"d.pt: cannot be read as a file of torch.save, .*truncated or damaged") as caught:
        open_set(path)
    assert "\n" not in str(caught.value)


def test_a_web_page_is_no_set(tmp_path):
    with pytest.raises(OSError, match=r"d.pt: cannot be read as a file of torch.save"):
        open_set(web_page(tmp_path / "d.pt"))


def test_a_flipped_bit_is_found_when_the_file_is_opened(tmp_path):
    path = saved(tmp_path / "d.pt", {"x": PHASE, "y": ANSWER})
    content, whole = path.read_bytes(), open_set(path)
    whole = {name: whole.read(name, slice(None)) for name in "xy"}
    chance, told = random.Random(2), []
    for _ in range(150):
        place = chance.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        try:
            same = open_set(path)
        except (OSError, ValueError) as error:
            told.append(str(error))
        else:  # padding between records
            assert all(torch.equal(same.read(name, slice(None)), whole[name]) for name in "xy")
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


def test_the_published_burgers_files(published_data):
    for name, samples in (("train", 800), ("test", 400)):
        path = published_data / "burgers" / f"burgers_{name}_16.pt"
        found, content = open_set(path), torch.load(path)
        assert (len(found), found.inputs, found.targets) == (samples, ("x", "visc"), ("y",))
        assert (found.variables["x"].sample_shape, found.variables["y"].sample_shape) == ((1, 16), (17, 1, 16))
        rows = np.random.default_rng(0).permutation(samples)[:50]
        assert torch.equal(found.read("x", rows), content["x"][rows, None])
        assert torch.equal(found.read("y", rows), content["y"][rows, :, None])
        # The field that is given is that of the first instant.
        assert torch.equal(found.read("y", slice(None), first=0, count=1)[:, 0], found.read("x", slice(None)))
        assert found.read("visc", [samples - 1]).item() == 0.01
