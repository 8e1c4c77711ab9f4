import math

import pytest
import torch
from torch import nn

from sciml.numerics.domain import Domain
from sciml.operators.mgno import MgNO
from sciml.operators.subsampled import Subsampled


def square(points, layout="both_ends", sides="dirichlet", origin=(0.0, 0.0)):
    return Domain.box((1.0, 2.0), (points, points), sides, layout, origin)


def test_the_answer_is_the_models_on_the_points_of_its_grid():
    coarse, fine = square(9), square(33)
    given = torch.randn(2, 3, 33, 33, dtype=torch.float64)
    answer = Subsampled(nn.Identity(), coarse, fine)(given)
    assert torch.equal(answer[..., ::4, ::4], given[..., ::4, ::4])


@pytest.mark.parametrize(
    ("sides", "layout", "wave", "order"),
    [
        ("dirichlet", "both_ends", torch.sin, 4),
        ("dirichlet", "interior", torch.sin, 3),  # straight between a side and the first point
        ("neumann", "both_ends", torch.cos, 4),
        ("periodic", "first_end", lambda t: torch.sin(2 * t), 4),
    ],
)
def test_between_its_points_it_is_of_high_order(sides, layout, wave, order):
    errors = []
    points, more = {"both_ends": (17, -1), "interior": (15, 1), "first_end": (16, 0)}[layout]
    for _ in range(2):
        coarse = Domain.box((1.0,), (points,), sides, layout)
        points = 2 * points + more
        fine = coarse.with_points([points])
        truth = wave(math.pi * fine.mesh()[0])[None, None]
        errors.append(float((Subsampled(nn.Identity(), coarse, fine)(truth) - truth).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_zero_shot_answers_of_mgno_agree_at_the_points_of_its_grid():
    coarse, fine = square(17), square(33)
    model = MgNO(1, 1, width=4, layers=3, domain=coarse, smoothing=((1, 1), (1, 0), (2, 0))).double()
    given = torch.randn(2, 1, 33, 33, dtype=torch.float64)
    with torch.no_grad():
        gap = (model(given) - Subsampled(model, coarse, fine)(given))[..., ::2, ::2]
    assert gap.abs().max() < 1e-12


@pytest.mark.parametrize("fine", [square(35), square(15), square(34, "cells"), square(33, origin=(0.0, 1.0))])
def test_a_grid_without_the_points_is_refused(fine):
    with pytest.raises(ValueError, match=r"fine: got .* whose every second, fourth, \.\.\. point is not"):
        Subsampled(nn.Identity(), square(17), fine)


def test_another_grid_on_call_is_refused():
    with pytest.raises(ValueError, match=r"given: got shape \(1, 1, 17, 17\)"):
        Subsampled(nn.Identity(), square(9), square(33))(torch.zeros(1, 1, 17, 17))
