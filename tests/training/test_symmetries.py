import pytest
import torch
from torch import nn

from sciml.training.symmetries import SquareSymmetries


def record_into(shown):
    def objective(_, batch):
        assert torch.equal(batch["u"], 2 * batch["a"])
        shown[tuple(batch["a"].flatten().tolist())] = batch["a"]
        return batch["a"].sum()

    return objective


@pytest.mark.parametrize(("reflections", "count"), [(False, 2), (True, 8)])
def test_all_symmetries_of_the_square_come_up_and_no_others(reflections, count):
    shown = {}
    field = torch.arange(9.0).reshape(1, 1, 3, 3)
    torch.manual_seed(0)
    for _ in range(200):
        SquareSymmetries(record_into(shown), reflections)(nn.Identity(), {"a": field, "u": 2 * field})
    images = [field, field.mT]
    if reflections:
        images = [i.flip(axes) for i in images for axes in ([], [2], [3], [2, 3])]
    assert len(shown) == count
    assert set(shown) == {tuple(i.flatten().tolist()) for i in images}


def test_rectangles_are_refused():
    with pytest.raises(ValueError, match=r"a: got shape \(1, 1, 3, 4\)"):
        SquareSymmetries(lambda *_: torch.zeros(()))(nn.Identity(), {"a": torch.zeros(1, 1, 3, 4)})
