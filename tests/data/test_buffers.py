"""Memory that is used again but never while it is looked at, and work that is done ahead in order."""

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

from sciml.data.buffers import Buffers, ahead

FLOAT = np.dtype(np.float32)


def filled(pool, value, shape=(3, 4)):
    """A tensor of one value, and where its memory is."""
    array = pool.take(shape, FLOAT)
    array[...] = value
    return torch.from_numpy(array), array.ctypes.data


def results(work, tasks, **how):
    return [result for _, result in ahead(iter(tasks), work, **how)]


def test_memory_is_used_again_only_when_no_tensor_looks_at_it():
    pool = Buffers()
    whole, place = filled(pool, 1.0)
    view = whole[1:].view(-1)[2:]
    as_numpy = whole.numpy()[1:]
    del whole
    others = [filled(pool, 2.0) for _ in range(5)]
    assert place not in [other for _, other in others]
    assert (view == 1).all()
    del view
    more = [filled(pool, 3.0) for _ in range(5)]
    assert place not in [other for _, other in more]
    assert (as_numpy == 1).all()
    del as_numpy
    assert filled(pool, 4.0)[1] == place


def test_memory_that_a_gradient_needs_is_not_used_again():
    pool = Buffers()
    array = pool.take((2,), FLOAT)
    array[...] = 3
    weight = torch.ones(2, requires_grad=True)
    loss = (weight * torch.from_numpy(array)).sum()
    del array
    pool.take((2,), FLOAT)[...] = 99
    loss.backward()
    assert weight.grad.tolist() == [3.0, 3.0]


def test_memory_begins_on_a_page_and_may_be_of_any_size():
    pool = Buffers()
    for size in (0, 1, 5, 1000, 100_000):
        array = pool.take((size,), FLOAT)
        assert array.shape == (size,)
        assert array.ctypes.data % 4096 == 0 or not size
    for size in range(1, 200):  # samples of unequal length do not pile up
        pool.take((size,), FLOAT)
    assert len(pool._free) <= 40


@pytest.mark.parametrize("readers", [0, 1, 2, 5])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_results_come_in_order_whatever_the_readers(readers, depth):
    def work(number):
        time.sleep((number * 7 % 5) / 2000)
        return number * number

    assert results(work, range(20), readers=readers, depth=depth) == [number * number for number in range(20)]
    assert results(work, [], readers=readers, depth=depth) == []


def test_no_more_is_begun_than_was_said():
    begun = []
    work = ahead(iter(range(100)), lambda number: begun.append(number) or number, readers=2, depth=2)
    assert next(work) == (0, 0)
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2]
    work.close()


@pytest.mark.parametrize("end", ["closed", "dropped", "exhausted", "raised"])
def test_threads_end(end):
    before = threading.active_count()

    def work(number):
        if end == "raised" and number == 3:
            raise OSError("shard-3: ends early")
        return number

    given = ahead(iter(range(6)), work, readers=3, depth=2)
    assert next(given) == (0, 0)
    if end == "closed":
        given.close()
    elif end == "dropped":
        del given
        gc.collect()
    elif end == "exhausted":
        assert [result for _, result in given] == [1, 2, 3, 4, 5]
    else:
        assert [next(given), next(given)] == [(1, 1), (2, 2)]
        with pytest.raises(OSError, match="shard-3"):
            next(given)
    assert threading.active_count() == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on():
    given = ahead(iter(range(20)), lambda number: number, readers=2, depth=2)
    assert next(given) == (0, 0)
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(0 if [result for _, result in given] == list(range(1, 20)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [result for _, result in given] == list(range(1, 20))


def test_a_result_that_was_used_is_not_kept():
    pool, places = Buffers(), set()

    def work(number):
        array = pool.take((1000,), FLOAT)
        array[...] = number
        places.add(array.ctypes.data)
        return torch.from_numpy(array)

    for number, values in ahead(iter(range(100)), work, readers=2, depth=2):
        assert (values == number).all()
    assert len(places) <= 6
