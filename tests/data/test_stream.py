import json
import random
from itertools import chain, islice

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.small_sets import DOMAIN, VARIABLES, values_of, write_set, write_shard
from sciml.data.manifest import file_crc32, manifest_path, read_manifest, render
from sciml.data.set import open_set
from sciml.data.stream import Stream, stream
from sciml.data.variables import VariableInfo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("stream") / "train", sizes=(5, 5, 3))


def numbers(batch):
    """Which samples a batch holds."""
    return (batch["a"][:, 0, 0, 0]).round().int().tolist()


def joined(lists):
    return list(chain.from_iterable(lists))


def samples_of(source):
    """Which samples one pass brings."""
    return joined(numbers(batch) for batch in source)


def drawn(source, batches):
    return [numbers(batch) for batch, _ in islice(source.endless(), batches)]


@pytest.mark.parametrize("cache", ["device", "disk"])
def test_one_pass_in_stored_order_brings_every_field_of_every_sample(folder, cache):
    source = Stream(open_set(folder), batch_size=4, cache=cache)
    batches = list(source)
    assert [len(batch["u"]) for batch in batches] == [4, 4, 4, 1]
    assert len(source) == 4
    for name, values in values_of(range(13)).items():
        assert torch.equal(torch.cat([batch[name] for batch in batches]), values.float())
    assert (source.inputs, source.targets, source.domain, source.samples) == (("a",), ("u",), DOMAIN, 13)


@settings(max_examples=30, deadline=None)
@given(
    batch_size=st.integers(1, 15),
    ranks=st.sampled_from([1, 2, 3, 8]),
    epochs=st.integers(1, 3),
    cache=st.sampled_from(["device", "disk"]),
)
def test_ranks_share_each_batch_of_one_global_order_and_every_sample_comes_once(folder, batch_size, ranks, epochs, cache):
    found = open_set(folder)
    alone = Stream(found, batch_size=batch_size, seed=5)
    steps = epochs * len(alone)
    whole = drawn(alone, steps)
    for epoch in range(epochs):
        seen = joined(whole[epoch * len(alone) : (epoch + 1) * len(alone)])
        assert sorted(seen) == list(range(13))
    parts = [
        islice(Stream(found, batch_size=batch_size, seed=5, rank=r, ranks=ranks, cache=cache).endless(), steps)
        for r in range(ranks)
    ]
    for batch, together in zip(whole, zip(*parts, strict=True), strict=True):
        assert joined(numbers(local) for local, share in together if share > 0) == batch
        assert all(len(local["a"]) >= 1 for local, _ in together)
        # The mean over ranks of share x local mean is the mean over the batch.
        means = [share * local["u"].double().mean() for local, share in together]
        assert float(sum(means)) / ranks == pytest.approx(float(values_of(batch)["u"].mean()), rel=1e-13)


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(0, 12), batch_size=st.integers(1, 15), cache=st.sampled_from(["device", "disk"]))
def test_a_restored_state_is_followed_by_the_same_batches(folder, steps, batch_size, cache):
    def fresh(size=batch_size):
        return Stream(open_set(folder), batch_size=size, seed=2, cache=cache)

    source = fresh()
    drawn(source, steps)
    state = json.loads(json.dumps(source.state_dict()))
    assert len(json.dumps(state)) < 1024
    assert set(state) == {"epoch", "position", "seed", "fingerprint"}
    restored = fresh()
    drawn(restored, 3)
    restored.load_state_dict(state)
    assert drawn(restored, 7) == drawn(source, 7)
    # Another batch size goes on through the same order.
    other, single = fresh(size=batch_size + 1), fresh(size=1)
    for changed in (other, single):
        changed.load_state_dict(state)
    found = joined(drawn(other, 2))
    assert found == joined(drawn(single, len(found)))


def test_a_state_may_be_loaded_while_batches_are_drawn(folder):
    source = stream(folder, batch_size=4, seed=1)
    batches = source.endless()
    state = source.state_dict()
    first = [numbers(next(batches)[0]) for _ in range(6)]
    source.load_state_dict(state)
    assert [numbers(next(batches)[0]) for _ in range(6)] == first


def test_a_pass_leaves_the_state_of_training_alone_and_is_always_in_stored_order(folder):
    source = stream(folder, batch_size=4, seed=1)
    drawn(source, 5)
    before = source.state_dict()
    assert samples_of(source) == list(range(13)) == samples_of(source)
    assert source.state_dict() == before


def test_epochs_differ_and_the_first_is_that_of_the_seed(folder):
    epochs = [tuple(drawn(source, 1)[0]) for source in [stream(folder, batch_size=13, seed=9)] for _ in range(5)]
    assert len(set(epochs)) == 5
    assert drawn(stream(folder, batch_size=13, seed=9), 1)[0] == list(epochs[0])
    assert drawn(stream(folder, batch_size=13, seed=8), 1)[0] != list(epochs[0])


def test_states_of_other_sets_rows_or_seeds_are_refused(folder, tmp_path):
    state = stream(folder, batch_size=4).state_dict()
    for other in (
        stream(write_set(tmp_path / "other", first=1), batch_size=4),
        stream(folder, batch_size=4, rows=range(5)),
    ):
        with pytest.raises(ValueError, match="got a stream state with fingerprint"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="got a stream state with seed 0, this stream has 1"):
        stream(folder, batch_size=4, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="position 13 of 13"):
        stream(folder, batch_size=4).load_state_dict({**state, "position": 13})


def test_a_part_is_held_out_at_random_and_the_parts_make_the_whole(folder):
    source = stream(folder, batch_size=4, seed=3)
    train, valid = source.split(validation=4, seed=1)
    held, left = (samples_of(part) for part in (valid, train))
    assert sorted(held + left) == list(range(13))
    assert (len(held), held, left) == (4, sorted(held), sorted(left))
    again = stream(folder, batch_size=4, seed=8).split(validation=4, seed=1)[1]
    other = source.split(validation=4, seed=2)[1]
    assert samples_of(again) == held != samples_of(other)
    nested = train.split(validation=2)[0]
    assert set(samples_of(nested)) < set(left)
    with pytest.raises(ValueError, match="validation: got 13 of 13 samples"):
        source.split(validation=13)


def test_rows_stand_for_the_stored_order(folder):
    source = stream(folder, batch_size=2, rows=[7, 2, 11])
    assert [numbers(batch) for batch in source] == [[7, 2], [11]]
    assert source.samples == 3


@pytest.mark.parametrize("cache", ["device", "disk"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_value_in_a_stored_field_is_named(tmp_path, cache, bad):
    import h5py

    path = write_set(tmp_path / "train") / "shard-00001.h5"
    with h5py.File(path, "r+") as file:
        file["u"][2, 0, 3, 1] = bad
    manifest_path(path).write_text(render(read_manifest(manifest_path(path)) | {"crc32": file_crc32(path)}))
    source = Stream(open_set(tmp_path / "train"), batch_size=4, cache=cache)
    message = rf"shard-00001.h5: variable u, sample 2 of this file holds {bad} at \(0, 3, 1\), need finite .*`sciml check"
    with pytest.raises(ValueError, match=message) as caught:
        list(source)
    assert "\n" not in str(caught.value)


def test_values_too_large_for_the_dtype_of_the_stream_are_not_passed_on_as_infinity(tmp_path):
    variables = [VariableInfo(v.name, v.role, v.units, v.long_name, v.shape, torch.float64) for v in VARIABLES]
    values = values_of(range(3))
    values["a"][1, 0, 0, 0] = 1e100
    write_shard(tmp_path / "s.h5", range(3), values=values, variables=variables)
    with pytest.raises(ValueError, match=r"holds 1e\+100 at \(0, 0, 0\), too large for torch.float32; take a wider dtype"):
        list(stream(tmp_path / "s.h5", batch_size=3))
    assert float(next(iter(stream(tmp_path / "s.h5", batch_size=3, dtype=torch.float64)))["a"].max()) == 1e100


def test_streams_that_cannot_be_are_refused(folder):
    with pytest.raises(ValueError, match="batch_size: got 0"):
        stream(folder, batch_size=0)
    with pytest.raises(ValueError, match="rank: got 2 of 2 ranks"):
        stream(folder, batch_size=1, rank=2, ranks=2)
    with pytest.raises(IndexError, match=r"got rows 3 to 13, there are 0 to 12"):
        stream(folder, batch_size=1, rows=[3, 13])
    with pytest.raises(ValueError, match="got no samples"):
        stream(folder, batch_size=1, rows=[])
    with pytest.raises(ValueError, match=r"dtype: got torch.int64, need one of floating point"):
        stream(folder, batch_size=1, dtype=torch.int64)


def test_complex_fields_are_refused_rather_than_cut_to_their_real_part(tmp_path):
    torch.save({"x": torch.zeros(2, 4, dtype=torch.complex64), "y": torch.zeros(2, 4)}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"c.pt: variable x is torch.complex64, need real numbers"):
        stream(tmp_path / "c.pt", batch_size=1)


def test_masks_choose_the_samples_they_mark(folder):
    mask = np.arange(13) % 2 == 1
    whole = stream(folder, batch_size=13, rows=mask)
    assert samples_of(whole) == [1, 3, 5, 7, 9, 11]
    assert samples_of(whole.subset(np.array([True, False, False, True, False, False]))) == [1, 7]
    for wrong, message in ((mask, "got a mask for 13 rows, there are 6"), (np.array([0.5]), "got rows of type float64")):
        with pytest.raises(ValueError, match=message):
            whole.subset(wrong)
    for wrong in ([-1], [6]):
        with pytest.raises(IndexError, match=rf"got rows {wrong[0]} to {wrong[0]}, there are 0 to 5"):
            whole.subset(wrong)


def test_a_flipped_bit_is_found_as_a_set_is_taken_into_memory(tmp_path):
    path = write_set(tmp_path / "train") / "shard-00001.h5"
    content, chance = path.read_bytes(), random.Random(1)
    source = open_set(tmp_path / "train")
    for place in (chance.randrange(len(content)) for _ in range(20)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"shard-00001.h5: its bytes were changed .*Delete shard-00001.h5") as caught:
            list(Stream(source, batch_size=4))
        assert "\n" not in str(caught.value)
    assert samples_of(Stream(source, batch_size=4, rows=range(5))) == list(range(5))


def test_ranks_are_those_of_torch_distributed_where_it_runs(folder, monkeypatch):
    assert (stream(folder, batch_size=2).rank, stream(folder, batch_size=2).ranks) == (0, 1)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert (stream(folder, batch_size=2).rank, stream(folder, batch_size=2).ranks) == (2, 3)
    assert stream(folder, batch_size=2, rank=0, ranks=1).ranks == 1


@pytest.fixture
def unchecked():
    """Without the run-time check of types, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 2}, r"^window: got 2, need a Window, such as Window\(2, 1\)"),
        ({"window": (2, 1)}, r"^window: got \(2, 1\), need a Window"),
        ({"batch_size": 2.0}, r"^batch_size: got 2.0, need a whole number"),
        ({"batch_size": "4"}, r"^batch_size: got '4', need a whole number"),
        ({"batch_size": True}, r"^batch_size: got True, need a whole number"),
        ({"mapping": {"u": "u"}}, r"^mapping: variable u is 'u', need a Mapped, such as Mapped\("),
        ({"mapping": ["u"]}, r"^mapping: got \['u'\], need a Mapped for every variable, .* or a TOML file"),
    ],
)
def test_arguments_of_another_kind_are_refused_in_words(folder, given, message):
    with pytest.raises(ValueError, match=message):
        stream(folder, **{"batch_size": 2, **given})
