import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciml.data.statistics import Statistics


def of(*blocks):
    statistics = Statistics()
    for block in blocks:
        statistics.add(block)
    return statistics


def test_moments_of_known_numbers():
    found = of(np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)).result()
    assert found == {"min": 1, "max": 6, "mean": 3, "rms": math.sqrt(12.5)}


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), max_size=3))
def test_blocks_and_parts_give_the_same_digits(seed, cuts):
    values = np.random.default_rng(seed).standard_normal((10, 3, 4)) * 1e3
    ends = sorted({0, *cuts, 10})
    blocks = [values[a:b] for a, b in pairwise(ends)]
    whole, joined = of(values), of(blocks[-1])
    for block in reversed(blocks[:-1]):
        joined.join(of(block))
    assert whole.result() == of(*blocks).result() == joined.result()


def test_a_small_variation_on_a_large_mean_keeps_its_digits():
    values = np.tile([[1e8 - 1, 1e8 + 1]], (1000, 1))
    assert of(values).result()["mean"] == 1e8
    assert of(values).result()["rms"] == pytest.approx(math.sqrt(1e16 + 1), rel=1e-15)


def test_true_and_false_count_as_one_and_zero():
    assert of(np.array([[True, False, False, True]])).result() == {"min": 0, "max": 1, "mean": 0.5, "rms": math.sqrt(0.5)}


def test_nothing_has_no_statistics():
    with pytest.raises(ValueError, match="got no values"):
        of(np.zeros((0, 3))).result()
