"""Values that are not finite: refused, left out or masked, and always counted."""

import logging
from itertools import islice

import numpy as np
import pytest
import torch

from data.made_sets import series_of_unequal_length
from sciml.data.bad_data import all_finite
from sciml.data.formats.mapped import Mapped
from sciml.data.stream import stream
from sciml.data.window import Window

MAPPING = {
    "u": Mapped("u", ("sample", "time", "x"), "state"),
    "a": Mapped("a", ("sample", "x"), "coefficient"),
}


@pytest.fixture
def path(tmp_path):
    """Six samples of five instants on four points; bad at (sample 2, instant 3) and in `a` of sample 4."""
    u = np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4)
    u[2, 3, 1], u[2, 3, 2] = np.nan, np.inf
    a = np.arange(24, dtype=np.float32).reshape(6, 4)
    a[4, 0] = -np.inf
    np.savez(tmp_path / "set.npz", u=u, a=a)
    return tmp_path / "set.npz"


def opened(path, cache, **how):
    return stream(path, mapping=MAPPING, cache=cache, **{"batch_size": 2, **how})


CACHES = pytest.mark.parametrize("cache", ["memory", "disk"])


@CACHES
def test_the_default_is_to_stop_and_to_say_where(path, cache):
    with pytest.raises(ValueError, match=r"set.npz: variable u, sample 2 of this file holds nan at \(3, 0, 1\), need finite"):
        list(opened(path, cache))
    with pytest.raises(ValueError, match=r"variable u, sample 2 of this file holds nan at \(3, 0, 1\)"):
        list(opened(path, cache, window=Window(1, 1)))


@CACHES
def test_skipping_leaves_the_samples_out_and_counts_them(path, cache, caplog):
    caplog.set_level(logging.WARNING, "sciml.data")
    data = opened(path, cache, on_bad="skip")
    assert [batch["a"][:, 0, 1].tolist() for batch in data] == [[1.0, 5.0], [13.0], [21.0]]
    assert (data.bad.samples, data.bad.values) == (2, 3)
    assert {name: count for (_, name), count in data.bad.places.items()} == {"u": 2, "a": 1}
    assert "values that are not finite were met 3 times in the batches given out: u of" in str(data.bad)
    assert len(caplog.records) == 1
    list(data)
    assert (data.bad.samples, data.bad.values, len(caplog.records)) == (4, 6, 1)


@CACHES
def test_of_windows_only_those_with_a_bad_instant_are_skipped(path, cache):
    data = opened(path, cache, on_bad="skip", window=Window(1, 1), batch_size=4)
    firsts = [batch["u"][:, 0, 0, 0].tolist() for batch in data]
    expected = [20 * r + 4 * t for r in (0, 1, 2, 3, 5) for t in range(4) if not (r == 2 and t in (2, 3))]
    assert [number for batch in firsts for number in batch] == expected
    assert data.bad.samples == 2 + 4


@CACHES
def test_a_batch_without_any_good_sample_is_passed_over(path, cache):
    data = opened(path, cache, on_bad="skip", batch_size=1)
    epoch = [int(batch["a"][0, 0, 1]) // 4 for batch, _ in islice(data.endless(), 4)]
    assert sorted(epoch) == [0, 1, 3, 5]
    assert data.state_dict()["epoch"] in (0, 1)


def test_a_rank_without_a_good_sample_stands_in_without_weight(path):
    parts = [
        list(islice(opened(path, "disk", on_bad="skip", batch_size=2, rank=rank, ranks=2).endless(), 12)) for rank in (0, 1)
    ]
    assert [len(part) for part in parts] == [12, 12]
    good = [int(batch["a"][0, 0, 1]) // 4 for part in parts for batch, share in part if share > 0]
    assert set(good) == {0, 1, 3, 5}
    assert sum(share == 0 for part in parts for _, share in part) == 24 - len(good) > 0


@CACHES
def test_masking_puts_zeros_and_says_where(path, cache):
    data = opened(path, cache, on_bad="mask", batch_size=6)
    (batch,) = list(data)
    assert batch["u_mask"].dtype == torch.bool
    assert torch.nonzero(~batch["u_mask"]).tolist() == [[2, 3, 0, 1], [2, 3, 0, 2]]
    assert torch.nonzero(~batch["a_mask"]).tolist() == [[4, 0, 0]]
    assert batch["u"][2, 3, 0].tolist() == [52.0, 0.0, 0.0, 55.0]
    assert (data.bad.samples, data.bad.values) == (2, 3)
    (windowed,) = list(opened(path, cache, on_bad="mask", batch_size=99, window=Window(1, 1)))
    assert int((~windowed["u_mask"]).sum()) == int((~windowed["u_next_mask"]).sum()) == 2


def test_values_beyond_the_dtype_of_the_stream_are_bad_too(tmp_path):
    np.savez(tmp_path / "set.npz", u=np.array([[[1.0, 1e300]]]), a=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"too large for torch.float32; take a wider dtype"):
        next(iter(opened(tmp_path / "set.npz", "disk")))


def test_a_sum_that_overflows_does_not_make_values_bad():
    assert all_finite(torch.full((4,), 3e38))
    assert not all_finite(torch.tensor([1.0, float("nan")]))
    assert all_finite(torch.tensor([1, 2]))


@CACHES
def test_a_set_without_any_good_sample_is_refused_after_one_epoch(tmp_path, cache):
    np.savez(tmp_path / "set.npz", u=np.full((3, 5, 4), np.nan), a=np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"an epoch brings no sample without bad values; .* were met"):
        next(opened(tmp_path / "set.npz", cache, on_bad="skip").endless())


def test_behind_the_end_of_a_shorter_sample_nothing_is_good(tmp_path):
    data = stream(series_of_unequal_length(tmp_path / "train"), batch_size=5, on_bad="mask")
    (batch,) = list(data)
    assert torch.equal(batch["x1_mask"], batch["mask"][:, :, None].expand_as(batch["x1"]))
