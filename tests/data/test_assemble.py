"""Whatever the order of axes on disk, a batch has (row, [time], channel, *space)."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.data.assemble import Opened, Rows, channels_of, fill
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.stamp import stamp_of
from sciml.data.variables import Description, Given, Source, VariableInfo

SIZES = {"sample": 4, "time": 5, "channel": 2, "particle": 3, "x": 3, "y": 2, "-": 1}


def value_of(sample, time, channel, x, y):
    return 10000 * sample + 1000 * time + 100 * channel + 10 * x + y


def stored(tmp_path: Path, axes, elsewhere=False, arrays=1):
    """A raw file whose values are known by formula, with these axes; and how its library reads it."""
    shape = tuple(SIZES[axis] for axis in axes)
    places = dict(zip(axes, np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), strict=True))
    zero = np.zeros(shape)
    files, offset, blob = {}, 0, b""
    for number in range(arrays):
        sample = places.get("sample", zero + number)
        channel, x = places.get("channel", zero), places.get("x", places.get("particle", zero))
        values = value_of(sample, places.get("time", zero), channel, x, places.get("y", zero))
        values = values.astype(np.float32)
        files[f"v{number}"] = values
        blob += values.tobytes()
    path = tmp_path / "raw.bin"
    path.write_bytes(blob)
    layout = [Elsewhere("test") if elsewhere else Contiguous(offset + i * values.nbytes) for i in range(arrays)]
    found = {f"v{i}": StoredArray(f"v{i}", shape, np.dtype("<f4"), layout[i]) for i in range(arrays)}
    return path, found, lambda _, name, box: files[name][box.slices]


def opened(path, arrays, library, info, sources, samples=4, first=0):
    described = Description({"v": info}, samples, None, {}, arrays=arrays, sources={"v": sources}, first=first)
    return Opened(path, stamp_of(path), described, library)


FIELD = VariableInfo("v", "state", "1", "v", (2, 3, 2), torch.float32, steps=5)
ORDERS = list(itertools.permutations(("sample", "time", "channel", "x", "y")))


@given(order=st.sampled_from(ORDERS), elsewhere=st.booleans(), stride=st.integers(1, 2), data=st.data())
@settings(deadline=None, max_examples=150)
def test_every_order_of_axes_gives_the_same_batch(tmp_path_factory, order, elsewhere, stride, data):
    path, arrays, library = stored(tmp_path_factory.mktemp("raw"), order, elsewhere)
    file = opened(path, arrays, library, FIELD, (Source(("v0",), order),))
    samples = np.array(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    count = data.draw(st.integers(1, 2))
    starts = np.array(data.draw(st.lists(st.integers(0, 4 - stride), min_size=len(samples), max_size=len(samples))))
    out = np.empty((len(samples), count, 2, 3, 2), np.float32)
    fill(file, "v", Rows(samples, starts, count, stride), out)
    grid = list(np.meshgrid(samples, np.arange(count) * stride, *(np.arange(n) for n in (2, 3, 2)), indexing="ij"))
    grid[1] = grid[1] + starts[:, None, None, None, None]
    np.testing.assert_array_equal(out, value_of(*grid))


def test_axes_that_are_missing_are_repeated(tmp_path):
    path, arrays, library = stored(tmp_path, ("x", "-", "time"))
    info = VariableInfo("v", "state", "1", "v", (1, 3, 2), torch.float32, steps=5)
    out = np.empty((2, 3, 1, 3, 2), np.float32)
    fill(
        opened(path, arrays, library, info, (Source(("v0",), ("x", "-", "time")),)),
        "v",
        Rows(np.array([3, 0]), np.array([0, 2]), 3, 1),
        out,
    )
    assert out[0, :, 0, 1, 0].tolist() == out[0, :, 0, 1, 1].tolist() == [10, 1010, 2010]
    assert out[1, :, 0, 2, 1].tolist() == [2020, 3020, 4020]


def test_one_array_per_sample(tmp_path):
    axes = ("time", "x", "y", "channel")
    path, arrays, library = stored(tmp_path, axes, arrays=4)
    file = opened(path, arrays, library, FIELD, (Source(tuple(arrays), axes),))
    out = np.empty((3, 2, 2, 3, 2), np.float32)
    fill(file, "v", Rows(np.array([2, 0, 2]), np.array([1, 0, 3]), 2, 1), out)
    assert out[:, :, 1, 2, 1].tolist() == [[21121, 22121], [121, 1121], [23121, 24121]]


def test_rows_and_columns_of_a_tensor_become_channels_row_by_row(tmp_path):
    path, arrays, library = stored(tmp_path, ("sample", "x", "y", "channel"))
    values = np.arange(4 * 3 * 2 * 2 * 2, dtype=np.float32).reshape(4, 3, 2, 2, 2)
    path.write_bytes(values.tobytes())
    arrays = {"v0": StoredArray("v0", values.shape, np.dtype("<f4"), Contiguous(0))}
    info = VariableInfo("v", "coefficient", "1", "v", (4, 3, 2), torch.float32)
    out = np.empty((2, 4, 3, 2), np.float32)
    fill(
        opened(path, arrays, library, info, (Source(("v0",), ("sample", "x", "y", "channel", "channel")),)),
        "v",
        Rows(np.array([1, 3]), None, 1, 1),
        out,
    )
    np.testing.assert_array_equal(out, np.moveaxis(values[[1, 3]].reshape(2, 3, 2, 4), -1, 1))


def test_channels_come_from_several_sources(tmp_path):
    path, arrays, library = stored(tmp_path, ("sample", "time", "channel", "x", "y"))
    info = VariableInfo("v", "state", "1", "v", (3, 3, 2), torch.float32, steps=5)
    axes = ("sample", "time", "channel", "x", "y")
    sources = (
        Source(("v0",), axes, slice(1, 2)),
        Given(np.array([[7.0], [8.0], [9.0], [10.0]])),
        Source(("v0",), axes, slice(0, 1)),
    )
    assert [channels_of(source, arrays) for source in sources] == [1, 1, 1]
    out = np.empty((2, 1, 3, 3, 2), np.float32)
    fill(opened(path, arrays, library, info, sources), "v", Rows(np.array([3, 1]), np.array([2, 4]), 1, 1), out)
    assert out[:, 0, :, 1, 1].tolist() == [[32111, 10, 32011], [14111, 8, 14011]]


def test_particles_keep_their_axis_before_components(tmp_path):
    path, arrays, library = stored(tmp_path, ("time", "particle", "channel"))
    info = VariableInfo("v", "state", "1", "v", (3, 2), torch.float32, steps=5, particles=True)
    out = np.empty((1, 2, 3, 2), np.float32)
    fill(
        opened(path, arrays, library, info, (Source(("v0",), ("time", "particle", "channel")),), samples=1),
        "v",
        Rows(np.array([0]), np.array([1]), 2, 2),
        out,
    )
    assert out[0, :, 2, 1].tolist() == [1120, 3120]


def test_samples_may_begin_further_on_in_the_file(tmp_path):
    axes = ("sample", "x", "y")
    path, arrays, library = stored(tmp_path, axes)
    info = VariableInfo("v", "input", "1", "v", (1, 3, 2), torch.float32)
    for elsewhere in (False, True):
        if elsewhere:
            path, arrays, library = stored(tmp_path, axes, elsewhere=True)
        out = np.empty((2, 1, 3, 2), np.float32)
        fill(
            opened(path, arrays, library, info, (Source(("v0",), axes),), samples=2, first=2),
            "v",
            Rows(np.array([1, 0]), None, 1, 1),
            out,
        )
        assert out[:, 0, 0, 0].tolist() == [30000, 20000]


def test_nothing_is_read_for_no_rows(tmp_path):
    path, arrays, library = stored(tmp_path, ("sample", "x", "y"))
    info = VariableInfo("v", "input", "1", "v", (1, 3, 2), torch.float32)
    fill(
        opened(path, arrays, library, info, (Source(("v0",), ("sample", "x", "y")),)),
        "v",
        Rows(np.array([], np.int64), None, 1, 1),
        np.empty((0, 1, 3, 2), np.float32),
    )


@pytest.mark.parametrize(("axes", "message"), [(("sample", "sample"), "2 times"), (("sample", "width"), "got 'width'")])
def test_axes_that_mean_nothing_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        Source(("a",), axes)


def test_a_part_of_an_array_knows_its_index():
    assert Box((1, 0), (2, 3), (2, 1)).slices == (slice(1, 5, 2), slice(0, 3, 1))
    with pytest.raises(ValueError, match="need >= 0, >= 0, >= 1"):
        Box((0,), (1,), (0,))
