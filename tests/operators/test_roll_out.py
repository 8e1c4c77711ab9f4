import pytest
import torch
from torch import nn

from sciml.operators.roll_out import RollOut


class Sum(nn.Module):
    def forward(self, given):
        return given.sum(1, keepdim=True)


def test_steps_follow_from_answers_as_the_fibonacci_numbers_do():
    given = torch.tensor([[0.0, 1.0]]).view(1, 2, 1)
    assert RollOut(Sum(), 6)(given).flatten().tolist() == [1, 2, 3, 5, 8, 13]


def test_instants_of_several_channels_stay_together():
    class Last(nn.Module):
        def forward(self, given):
            return given[:, -2:] + 1

    given = torch.arange(4.0).view(1, 4, 1)
    assert RollOut(Last(), 2, channels=2)(given).flatten().tolist() == [3, 4, 4, 5]
    with pytest.raises(ValueError, match="gave 2 channels, need the 1 of one instant"):
        RollOut(Last(), 2)(given)
    with pytest.raises(ValueError, match="given: got 3 channels, need whole instants of 2"):
        RollOut(Last(), 2, channels=2)(given[:, :3])
    with pytest.raises(ValueError, match="at least 1 each"):
        RollOut(Last(), 0)
