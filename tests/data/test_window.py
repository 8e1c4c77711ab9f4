"""Windows of trajectories, whole trajectories of unequal length, particles and parameters, from memory and from disk."""

import json
import time
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.made_sets import fields_in_time, particles, series_of_unequal_length
from sciml.data.set import open_set
from sciml.data.stream import Stream, stream
from sciml.data.window import Items, Window


@given(
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps_in=st.integers(1, 3),
    steps_out=st.integers(0, 2),
    stride=st.integers(1, 3),
)
def test_items_are_all_windows_of_all_rows_in_order(steps, steps_in, steps_out, stride):
    window = Window(steps_in, steps_out, stride)
    every = [(r, t) for r, n in enumerate(steps) for t in range(n) if t + stride * (steps_in + steps_out - 1) < n]
    if not every:
        with pytest.raises(ValueError, match=f"the longest sample has {max(steps)}"):
            Items(len(steps), np.array(steps), window)
        return
    items = Items(len(steps), np.array(steps), window)
    row, first = items.of(torch.arange(len(items)))
    assert list(zip(row.tolist(), first.tolist(), strict=True)) == every
    assert items.too_short == sum(r not in {row for row, _ in every} for r in range(len(steps)))


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_windows_without_instants_are_refused(arguments):
    with pytest.raises(ValueError, match="need at least 1, 0 and 1"):
        Window(*arguments)


@pytest.mark.parametrize("cache", ["memory", "disk"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_window_brings_what_is_given_and_what_is_asked_for(tmp_path, cache, dtype):
    found = open_set(fields_in_time(tmp_path / "train"))
    data = Stream(found, batch_size=4, window=Window(2, 1), cache=cache, dtype=dtype)
    assert data.samples == 5 * 2
    assert data.inputs == ("v", "c", "p", "drag", "kappa", "inside", "nu", "law")
    assert data.targets == ("v_next", "c_next", "p_next", "drag_next")
    assert (data.info("v").steps, data.info("v_next").steps, data.info("nu").steps) == (2, 1, None)
    whole = {name: found.read(name, slice(None)) for name in found.variables}
    times = found.times(np.arange(5))
    place = 0
    for batch in data:
        for i in range(len(batch["v"])):
            row, first = divmod(place, 2)
            for name in ("v", "c", "p", "drag"):
                assert torch.equal(batch[name][i], whole[name][row, first : first + 2].to(dtype))
                assert torch.equal(batch[f"{name}_next"][i], whole[name][row, first + 2 : first + 3].to(dtype))
            assert torch.equal(batch["kappa"][i], whole["kappa"][row].to(dtype))
            assert torch.equal(batch["law"][i], whole["law"][row].to(dtype))
            assert batch["time"][i].tolist() == torch.tensor(times[row, first : first + 2], dtype=dtype).tolist()
            assert batch["time_next"][i].tolist() == torch.tensor(times[row, first + 2 : first + 3], dtype=dtype).tolist()
            place += 1
    assert place == 10


@settings(max_examples=25, deadline=None)
@given(
    window=st.builds(Window, st.integers(1, 2), st.integers(0, 2), st.integers(1, 2)),
    batch_size=st.integers(1, 9),
    ranks=st.sampled_from([1, 2, 3, 8]),
    cache=st.sampled_from(["memory", "disk"]),
    readers=st.integers(0, 3),
)
def test_every_window_comes_once_per_epoch_whatever_ranks_caches_and_readers(
    tmp_path_factory, window, batch_size, ranks, cache, readers
):
    folder = tmp_path_factory.getbasetemp() / "unequal"
    if not folder.exists():
        series_of_unequal_length(folder)
    found = open_set(folder)

    def drawn(rank, ranks):
        data = Stream(
            found, batch_size=batch_size, seed=3, window=window, rank=rank, ranks=ranks, cache=cache, readers=readers,
            dtype=torch.float64,
        )  # fmt: skip
        taken = list(islice(data.endless(), 2 * len(data)))
        return [batch["x1"][:, 0].tolist() for batch, share in taken if share > 0], data

    alone, data = drawn(0, 1)
    firsts = [first for batch in alone for first in batch]
    assert (
        sorted(firsts[: data.samples])
        == sorted(firsts[data.samples :])
        == sorted(b["x1"][0, 0].tolist() for b in Stream(found, batch_size=1, window=window, dtype=torch.float64))
    )
    if ranks > 1:
        parts = [drawn(rank, ranks)[0] for rank in range(ranks)]
        assert sorted(first for part in parts for batch in part for first in batch) == sorted(firsts)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_whole_trajectories_of_unequal_length_are_padded_and_say_where_they_end(tmp_path, cache):
    found = open_set(series_of_unequal_length(tmp_path / "train"))
    steps = [9, 4, 4, 1, 6]
    batches = list(Stream(found, batch_size=2, cache=cache, dtype=torch.float64))
    assert [tuple(batch["x1"].shape) for batch in batches] == [(2, 9, 3), (2, 4, 3), (1, 6, 3)]
    row = 0
    for batch in batches:
        for values, mask, times in zip(batch["x1"], batch["mask"], batch["time"], strict=True):
            n = steps[row]
            assert torch.equal(values[:n], found.read("x1", [row])[0])
            assert not values[n:].any()
            assert mask.tolist() == [True] * n + [False] * (len(mask) - n)
            assert times[:n].tolist() == found.times(np.array([row]))[0, :n].tolist()
            assert not times[n:].any()
            row += 1


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_particles_and_equal_trajectories_come_whole(tmp_path, cache):
    found = open_set(particles(tmp_path / "train"))
    (batch,) = list(Stream(found, batch_size=9, cache=cache))
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "position": (3, 4, 7, 2), "radius": (3, 7, 1), "time": (3, 4),
    }  # fmt: skip
    assert torch.equal(batch["position"], found.read("position", slice(None)))
    (two,) = list(Stream(found, batch_size=9, cache=cache, rows=[1], window=Window(3, 0)).subset([0]))[:1]
    assert torch.equal(two["position"], found.read("position", [1, 1], first=np.array([0, 1]), count=3))


def test_held_out_rows_share_no_trajectory_with_the_rest(tmp_path):
    data = stream(fields_in_time(tmp_path / "train"), batch_size=3, window=Window(1, 1), dtype=torch.float64)
    train, valid = data.split(validation=2, seed=1)
    held, left = ({float(nu) for b in part for nu in b["kappa"][:, 0, 0, 0]} for part in (valid, train))
    assert (len(held), len(left), held & left) == (2, 3, set())
    assert (train.samples, valid.samples) == (9, 6)


def test_names_that_a_batch_needs_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, u=np.zeros((2, 3, 4), np.float32), mask=np.zeros((2, 4), np.float32))
    from sciml.data.formats.mapped import Mapped

    mapping = {
        "u": Mapped("u", ("sample", "time", "x"), "state"),
        "mask": Mapped("mask", ("sample", "x"), "coefficient"),
    }
    with pytest.raises(ValueError, match="variable mask has a name that a batch needs"):
        stream(path, batch_size=1, mapping=mapping)
    renamed = {"u": mapping["u"], "walls": mapping["mask"]}
    assert next(iter(stream(path, batch_size=1, mapping=renamed)))["walls"].shape == (1, 1, 4)


def test_windows_of_what_does_not_change_in_time_are_refused(tmp_path):
    torch.save({"x": torch.zeros(2, 4), "y": torch.zeros(2, 4)}, tmp_path / "set.pt")
    with pytest.raises(ValueError, match="no variable of the set changes in time"):
        stream(tmp_path / "set.pt", batch_size=1, window=Window(1))


def test_a_state_of_another_window_is_refused(tmp_path):
    folder = fields_in_time(tmp_path / "train")
    state = stream(folder, batch_size=4, window=Window(1, 1)).state_dict()
    with pytest.raises(ValueError, match="got a stream state with fingerprint"):
        stream(folder, batch_size=4, window=Window(2, 1)).load_state_dict(state)


def test_an_epoch_of_a_hundred_million_windows_starts_anywhere_at_once(tmp_path):
    path = tmp_path / "long.npy"
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(1000, 100_001, 1))  # sparse
    written[123, 77_777] = 5.0
    del written
    data = stream(path, batch_size=16, window=Window(1, 1), cache="disk")
    assert data.samples == 10**8
    state = data.state_dict()
    assert len(json.dumps(state)) < 1024
    taken = []
    for position in (0, 12_345_678, 10**8 - 17):
        start = time.perf_counter()
        data.load_state_dict({**state, "epoch": 2, "position": position})
        batches = data.endless()
        next(batches)
        taken.append(time.perf_counter() - start)
        batches.close()
    assert sorted(taken)[1] < 0.1  # 50 ms is measured by the benchmark, on a quiet machine
    row, first = data._items.of(torch.tensor([123 * 10**5 + 77_777]))
    assert (int(row), int(first)) == (123, 77_777)
