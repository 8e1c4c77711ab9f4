import pytest
import torch

from sciml.dynamics.baselines.series import listed, stacked


def test_one_series_several_and_lists_are_told_apart():
    assert [x.shape for x in listed(torch.zeros(5, 2), 2)] == [(5, 2)]
    assert [x.shape for x in listed(torch.zeros(3, 5, 2), 2)] == [(5, 2)] * 3
    assert [x.shape for x in listed([torch.zeros(5, 2), torch.zeros(4, 2)], 2)] == [(5, 2), (4, 2)]
    assert all(x.dtype == torch.float64 for x in listed(torch.zeros(3, 5, 2), 2))


def test_series_of_one_length_go_together():
    given = [torch.full((length, 1), float(length)) for length in (4, 3, 4)]
    assert [x.shape for x in stacked(given)] == [(1, 3, 1), (2, 4, 1)]


def test_bad_series_are_told():
    with pytest.raises(ValueError, match="series: got none"):
        listed([], 2)
    for bad in (torch.zeros(5), torch.zeros(1, 2), [torch.zeros(5, 2), torch.zeros(5, 3)], torch.zeros(2, 2, 5, 3)):
        with pytest.raises(ValueError, match=r"need \(at least 2 instants, observed\)"):
            listed(bad, 2)
    with pytest.raises(ValueError, match="series: 2 values are not finite"):
        listed(torch.tensor([[1.0, torch.nan], [torch.inf, 2.0]]), 2)
