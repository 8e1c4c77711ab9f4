from collections import Counter
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.data.order import permuted

KEYS = {"seed": st.integers(-(2**70), 2**70), "epoch": st.integers(0, 2**40)}


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 3000), **KEYS)
def test_every_sample_stands_at_exactly_one_position(count, seed, epoch):
    assert np.array_equal(np.sort(permuted(range(count), count, seed=seed, epoch=epoch)), np.arange(count))


@pytest.mark.parametrize("count", [2**31 + 11, 10**12 + 39])
def test_counts_that_no_list_could_hold_are_permuted_without_collisions(count):
    positions = np.concatenate([np.arange(5000), count - 1 - np.arange(5000)])
    found = permuted(positions, count, seed=1, epoch=2)
    assert len(np.unique(found)) == len(positions)
    assert found.min() >= 0
    assert found.max() < count
    assert np.array_equal(found[17:23], permuted(positions[17:23], count, seed=1, epoch=2))


def test_order_changes_with_epoch_and_seed_and_with_nothing_else():
    orders = {tuple(permuted(range(50), 50, seed=s, epoch=e)) for s in range(4) for e in range(4)}
    assert len(orders) == 16
    assert (
        permuted(range(50), 50, seed=3, epoch=1) == permuted(np.arange(50).reshape(5, 10), 50, seed=3, epoch=1).ravel()
    ).all()


@pytest.mark.parametrize("count", [3, 4, 5])
def test_all_orders_of_few_samples_are_equally_likely(count):
    each = 25
    seeds = each * factorial(count)
    seen = Counter(tuple(permuted(range(count), count, seed=s, epoch=0)) for s in range(seeds))
    chi_square = sum((seen[order] - each) ** 2 / each for order in seen) + each * (factorial(count) - len(seen))
    freedom = factorial(count) - 1
    assert abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5


def test_neighbours_are_torn_apart():
    order = permuted(range(10_000), 10_000, seed=0, epoch=0)
    # Of independent places, |difference| is below 100 with chance 0.0199; 199 of 9999 +- 14.
    assert abs(int((np.abs(np.diff(order)) < 100).sum()) - 199) < 70
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05


def test_positions_outside_are_refused():
    with pytest.raises(ValueError, match="positions: got 0 to 5, need 0 to 4"):
        permuted(range(6), 5, seed=0, epoch=0)
