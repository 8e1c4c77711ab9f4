import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.data.delay_embedding import delay_embedding, first_zero_of_autocorrelation


@settings(deadline=None)
@given(st.lists(st.integers(-4, 6), min_size=1, max_size=4), st.integers(11, 20))
def test_component_k_is_the_series_delays_k_later(delays, length):
    numbers = torch.arange(length)[:, None]
    found = delay_embedding(numbers.double(), delays)
    first = -min(0, *delays)
    assert len(found) == length - first - max(0, *delays)
    assert torch.equal(found - found[:, :1], torch.tensor(delays).double().expand_as(found) - delays[0])
    assert float(found[0, 0]) == first + delays[0]


def test_the_published_embedding_of_the_ecg_is_met_digit_by_digit(published_data):
    published = torch.from_numpy(np.load(published_data / "ecg" / "ECG_pecuzal_5d_train.npy"))
    found = delay_embedding(published[:, :1], (0, 20, 68, 55, 10))
    assert torch.equal(found, published[: len(found)])
    assert len(found) == 100_000 - 68


def test_a_gap_is_in_every_state_that_it_has_a_part_in():
    series = torch.arange(10.0)[:, None]
    series[5] = torch.nan
    found = delay_embedding(series, (0, 3))
    assert found.isnan().nonzero().tolist() == [[2, 1], [5, 0]]


def test_channels_are_taken_together_or_one_per_delay():
    series = torch.stack([torch.arange(6.0), 10 + torch.arange(6.0)], 1)
    assert delay_embedding(series, (0, 2))[0].tolist() == [0, 10, 2, 12]
    assert delay_embedding(series, (0, 2, 1), channels=(1, 0, 0))[1].tolist() == [11, 3, 2]


def test_many_series_are_embedded_as_one_is():
    many = torch.randn(3, 2, 30, 2, generator=torch.Generator().manual_seed(0))
    found = delay_embedding(many, (0, 4, 1))
    assert found.shape == (3, 2, 26, 6)
    assert torch.equal(found[2, 1], delay_embedding(many[2, 1], (0, 4, 1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(68, 1), (0, 68)), r"series: got 68 instants, delays \[0, 68\] need at least 69"),
        ((torch.zeros(68), (0, 6)), r"series: got shape \(68,\), need \(..., time, channel\)"),
        ((torch.zeros(9, 1), ()), r"delays: got none, need at least one"),
        ((torch.zeros(9, 1), (0, 1), (0,)), r"channels: got 1 for 2 delays"),
        ((torch.zeros(9, 1), (0,), (1,)), r"channels: got \[1\], the series has 1"),
    ],
)
def test_what_cannot_be_embedded_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        delay_embedding(*arguments)


@pytest.mark.parametrize("period", [40, 100])
def test_a_sine_has_its_first_zero_at_a_quarter_of_its_period(period):
    series = torch.sin(2 * math.pi * torch.arange(50 * period) / period)
    # That of a piece of 50 periods falls by a hundredth per half a period: the zero stays within an instant.
    assert abs(first_zero_of_autocorrelation(series) - period // 4) <= 1


def test_gaps_are_left_out_of_the_autocorrelation():
    series = torch.sin(2 * math.pi * torch.arange(4000) / 80)
    series[1000:1500] = torch.nan
    assert abs(first_zero_of_autocorrelation(series) - 20) <= 1


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (torch.ones(9), "series: is constant"),
        (torch.tensor([1.0]), "series: got 1 finite instants"),
    ],
)
def test_a_delay_that_is_not_there_is_refused(series, message):
    with pytest.raises(ValueError, match=message):
        first_zero_of_autocorrelation(series)
