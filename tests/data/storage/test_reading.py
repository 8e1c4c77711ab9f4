import logging
import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data.storage.layouts import BY_LIBRARY, BY_POSITION, LAYOUTS, stored, write_array
from sciml.data.storage.arrays import Box, Chunked, Contiguous, Elsewhere
from sciml.data.storage.decoding import decoded
from sciml.data.storage.descriptors import pool
from sciml.data.storage.reading import read_box, read_by_hdf5, read_frames
from sciml.data.storage.stamp import stamp_of
from sciml.data.storage.tree import tree_of

DTYPES = ("f4", "f8", "f2", "i8", "i4", "u2", "i1", "?", "c8")


def whole(shape):
    return Box((0,) * len(shape), tuple(shape), (1,) * len(shape))


def opened(path, name="values"):
    return tree_of(path).arrays[name], stamp_of(path)


def read(path, array, stamp, box):
    if isinstance(array.layout, Elsewhere):
        return read_by_hdf5(path, array.name, box)
    return read_box(path, stamp, array, box)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@st.composite
def files(draw, layouts=LAYOUTS):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    layout = draw(st.sampled_from(layouts))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    assume(layout != "scaled" or dtype.kind != "c")
    user_block = draw(st.sampled_from((0, 0, 512, 1024, 2048)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape)
    if draw(st.booleans()):
        chunks = (draw(st.integers(1, shape[0])), *shape[1:])
    seed = draw(st.integers(0, 99))
    values = np.random.default_rng(seed).integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
    libver = draw(st.sampled_from((None, "latest")))
    return values, layout, {"chunks": chunks, "user_block": user_block, "libver": libver}


@st.composite
def boxes(draw, shape):
    parts = []
    for length in shape:
        step = draw(st.integers(1, 3))
        start = draw(st.integers(0, length - 1))
        parts.append((start, draw(st.integers(0, (length - 1 - start) // step + 1)), step))
    # A Box is made outside of strategies: the check of its types draws random numbers, which hypothesis takes amiss.
    return [tuple(part[i] for part in parts) for i in range(3)]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_boxes_of_every_layout_are_what_h5py_reads(tmp_path_factory, data):
    values, layout, options = data.draw(files())
    path = write_array(tmp_path_factory.mktemp("boxes") / "a.h5", values, layout, **options)
    array, stamp = opened(path)
    truth = stored(path)
    for _ in range(3):
        box = Box(*data.draw(boxes(array.shape)))
        part = truth[box.slices]
        assert same(read(path, array, stamp, box), part)
        assert same(read_by_hdf5(path, "values", box), part)
        if not isinstance(array.layout, Elsewhere):
            room = np.zeros(tuple(reversed(box.counts)), truth.dtype).T
            assert read_box(path, stamp, array, box, room) is room
            assert same(room, part)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_frames_of_every_layout_that_is_read_by_position_are_what_h5py_reads(tmp_path_factory, data):
    values, layout, options = data.draw(files(BY_POSITION))
    path = write_array(tmp_path_factory.mktemp("frames") / "a.h5", values, layout, **options)
    array, stamp = opened(path)
    assume(not isinstance(array.layout, Elsewhere))
    truth = stored(path)
    axes = data.draw(st.integers(0, values.ndim))
    places = st.tuples(*(st.integers(0, n - 1) for n in values.shape[:axes]))
    chosen = data.draw(st.lists(places, max_size=20))
    chosen = sorted(chosen) if data.draw(st.booleans()) else chosen
    index = np.array(chosen, np.int64).reshape(len(chosen), axes)
    out = np.empty((len(index), *values.shape[axes:]), truth.dtype)
    read_frames(path, stamp, array, index, out)
    expected = truth[tuple(index.T)] if axes else np.broadcast_to(truth, out.shape)
    assert same(out, expected)


@pytest.mark.parametrize("layout", BY_POSITION)
@pytest.mark.parametrize("user_block", [0, 512, 1024, 2048])
@pytest.mark.parametrize("libver", [None, "latest"])
def test_what_can_be_read_by_position_is(tmp_path, layout, user_block, libver):
    values = np.random.default_rng(3).normal(size=(6, 5, 4)).astype("f4")
    path = write_array(tmp_path / "a.h5", values, layout, user_block=user_block, libver=libver)
    array, stamp = opened(path)
    assert isinstance(array.layout, Contiguous if layout == "contiguous" else Chunked)
    assert same(read_box(path, stamp, array, whole(array.shape)), stored(path))


@pytest.mark.parametrize("layout", BY_LIBRARY)
def test_what_cannot_be_read_by_position_says_so_once(tmp_path, layout, caplog):
    path = write_array(tmp_path / "a.h5", np.arange(24, dtype="f4").reshape(6, 4), layout)
    array, stamp = opened(path)
    assert isinstance(array.layout, Elsewhere)
    with caplog.at_level(logging.INFO, "sciml.data"):
        for _ in range(3):
            assert same(read_by_hdf5(path, "values", whole(array.shape)), stored(path))
    assert [record.getMessage().startswith(f"{path}: values") for record in caplog.records] == [True]
    with pytest.raises(ValueError, match="cannot be read by position"):
        read_box(path, stamp, array, whole(array.shape))
    with pytest.raises(ValueError, match="cannot be read by position"):
        read_frames(path, stamp, array, np.zeros((1, 1), np.int64), np.empty((1, 4), array.dtype))


def test_large_fill_values_keep_every_digit(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (4,), "i8", chunks=(2,), fillvalue=2**62 + 1)[0] = 5
    array, stamp = opened(path)
    assert read_box(path, stamp, array, whole((4,))).tolist() == [5, 2**62 + 1, 2**62 + 1, 2**62 + 1]


def test_very_many_chunks_never_written_cost_little(tmp_path):
    path, rows = tmp_path / "a.h5", 2**16
    with h5py.File(path, "w") as file:
        file.create_dataset("values", (rows, 4), "f4", chunks=(2, 2), fillvalue=7)[rows // 2 : rows // 2 + 3, 1:] = 5
    array, stamp = opened(path)
    values = read_box(path, stamp, array, whole((rows, 4)))
    frames = np.empty_like(values)
    read_frames(path, stamp, array, np.arange(rows)[:, None], frames)
    assert same(values, stored(path))
    assert same(frames, values)


@pytest.mark.parametrize("packed", [True, False])
def test_a_chunk_whose_filters_were_left_out_is_read(tmp_path, packed):
    path = tmp_path / "a.h5"
    values = np.arange(8, dtype="f4")
    with h5py.File(path, "w") as file:
        data = file.create_dataset("values", (8,), "f4", chunks=(8,), compression="gzip", shuffle=True)
        # Bit 0 is shuffle, bit 1 deflate.
        raw = zlib.compress(values.tobytes()) if packed else values.tobytes()
        data.id.write_direct_chunk((0,), raw, filter_mask=1 if packed else 3)
    array, stamp = opened(path)
    assert same(read_box(path, stamp, array, whole((8,))), values)
    assert same(stored(path), values)


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "gzip"])
def test_a_place_or_box_outside_is_refused(tmp_path, layout):
    path = write_array(tmp_path / "a.h5", np.ones((6, 4), "f4"), layout)
    array, stamp = opened(path)
    for count in (1, 20):
        for wrong in (-1, 6):
            index = np.full((count, 1), wrong, np.int64)
            with pytest.raises(IndexError, match=rf"got place \({wrong},\), need one inside \(6,\)"):
                read_frames(path, stamp, array, index, np.empty((count, 4), "f4"))
    for box in (Box((5, 0), (2, 4), (1, 1)), Box((0, 0), (3, 2), (3, 1)), Box((0,), (1,), (1,))):
        with pytest.raises(ValueError, match="need a part of an array of shape"):
            read_box(path, stamp, array, box)
        with pytest.raises(ValueError, match="need a part of an array of shape"):
            read_by_hdf5(path, "values", box)
    with pytest.raises(ValueError, match="got an output"):
        read_box(path, stamp, array, whole((6, 4)), np.empty((6, 4), "f8"))
    for out in (
        np.empty((1, 4), "f8"),
        np.empty((1, 5), "f4"),
        np.empty((4, 1), "f4").T[:, ::2],
        np.empty((1, 8), "f4")[:, ::2],
    ):
        with pytest.raises(ValueError, match="in C order"):
            read_frames(path, stamp, array, np.zeros((1, 1), np.int64), out)


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "gzip", "lzf"])
def test_a_file_that_changed_is_noticed(tmp_path, layout):
    path = write_array(tmp_path / "a.h5", np.ones((6, 4), "f4"), layout)
    array, stamp = opened(path)
    first = read(path, array, stamp, whole((6, 4)))
    os.utime(path, ns=(0, stamp.modified + 1))
    if layout == "lzf":
        assert same(read(path, array, stamp, whole((6, 4))), first)
        return
    out = np.empty((1, 4), "f4")
    for _ in range(2):
        with pytest.raises(OSError, match="was changed since it was opened; open the set again"):
            read_box(path, stamp, array, whole((6, 4)))
        with pytest.raises(OSError, match="was changed since it was opened; open the set again"):
            read_frames(path, stamp, array, np.zeros((1, 1), np.int64), out)
    assert same(read_box(path, stamp_of(path), array, whole((6, 4))), first)


def test_a_file_that_was_replaced_is_noticed_though_it_is_still_open(tmp_path):
    path = write_array(tmp_path / "a.h5", np.ones((6, 4), "f4"), "contiguous")
    array, stamp = opened(path)
    read_box(path, stamp, array, whole((6, 4)))
    os.replace(write_array(tmp_path / "b.h5", np.zeros((6, 4), "f4"), "contiguous"), path)
    with pytest.raises(OSError, match="was changed since"):
        read_box(path, stamp, array, whole((6, 4)))
    array, stamp = opened(path)
    assert not read_box(path, stamp, array, whole((6, 4))).any()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_box(path, stamp, array, whole((6, 4)))


@pytest.mark.parametrize("layout", ["contiguous", "chunked", "gzip"])
def test_values_beyond_the_end_of_the_file_are_an_error_with_the_byte(tmp_path, layout):
    path = write_array(tmp_path / "a.h5", np.random.default_rng(1).normal(size=(64, 40)), layout, chunks=(1, 40))
    array, _ = opened(path)
    size = path.stat().st_size - 5000
    os.truncate(path, size)
    stamp = stamp_of(path)
    index = np.arange(63, -1, -1)[:, None]
    with pytest.raises(OSError, match=f"{path}: array values.*ends at byte {size}, need values up to byte"):
        read_box(path, stamp, array, whole((64, 40)))
    with pytest.raises(OSError, match=f"{path}: array values.*ends at byte {size}, need values up to byte"):
        read_frames(path, stamp, array, index, np.empty((64, 40)))


def test_a_damaged_chunk_is_an_error_with_its_place(tmp_path):
    path = write_array(tmp_path / "a.h5", np.random.default_rng(1).normal(size=(6, 40)), "gzip", chunks=(2, 40))
    array, _ = opened(path)
    with path.open("r+b") as file:
        file.seek(int(array.layout.offsets[1, 0]) + 20)
        file.write(b"\xff\xfe\xfd")
    stamp = stamp_of(path)
    with pytest.raises(OSError, match=f"{path}: array values, chunk \\(1, 0\\) is damaged, deflate"):
        read_box(path, stamp, array, whole((6, 40)))
    with pytest.raises(OSError, match=r"chunk \(1, 0\) is damaged"):
        read_frames(path, stamp, array, np.array([[3]]), np.empty((1, 40)))
    assert same(read_box(path, stamp, array, Box((4, 0), (2, 40), (1, 1))), np.random.default_rng(1).normal(size=(6, 40))[4:])


def test_data_of_another_length_than_a_chunk_are_refused():
    with pytest.raises(ValueError, match="got more than the 16 bytes"):
        decoded(zlib.compress(bytes(17)), ("deflate",), 0, 16, 4)
    with pytest.raises(ValueError, match="got 15 bytes, need 16"):
        decoded(zlib.compress(bytes(15)), ("shuffle", "deflate"), 0, 16, 4)
    with pytest.raises(ValueError, match="end early"):
        decoded(zlib.compress(bytes(16))[:-1], ("deflate",), 0, 16, 4)
    with pytest.raises(ValueError, match="got 15 bytes, need 16"):
        decoded(bytes(15), ("deflate",), 1, 16, 4)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_eight_threads_on_two_hundred_files_hold_at_most_64_of_them_open(tmp_path):
    pool.close()
    known = []
    for i in range(200):
        path = tmp_path / f"{i}.bin"
        np.full((4, 16), i, "f4").tofile(path)
        known.append((path, stamp_of(path)))
    model = write_array(tmp_path / "a.h5", np.zeros((4, 16), "f4"), "contiguous")
    array = opened(model)[0]
    object.__setattr__(array, "layout", Contiguous(0))
    before, most, done = descriptors(), [], threading.Event()

    def watch():
        while not done.is_set():
            most.append(descriptors())

    def read_many(seed):
        out = np.empty((2, 16), "f4")
        for i in np.random.default_rng(seed).integers(0, 200, 600):
            read_frames(*known[i], array, np.array([[1], [3]]), out)
            assert (out == i).all()
        return True

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read_many, range(8)))
    done.set()
    watcher.join()
    assert len(pool) == 64
    # The watcher's own look at the folder is one more.
    assert max(most) <= before + 64 + 1
    pool.close()
    assert len(pool) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_on(tmp_path):
    values = np.arange(24, dtype="f4").reshape(6, 4)
    paths = [write_array(tmp_path / f"{layout}.h5", values, layout) for layout in ("contiguous", "gzip", "lzf")]
    known = [(path, *opened(path)) for path in paths]
    for path, array, stamp in known:
        read(path, array, stamp, whole((6, 4)))
    child = os.fork()
    if not child:
        right = all(same(read(path, array, stamp, whole((6, 4))), values) for path, array, stamp in known)
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert all(same(read(path, array, stamp, whole((6, 4))), values) for path, array, stamp in known)
