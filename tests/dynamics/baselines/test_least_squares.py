import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.dynamics.baselines.least_squares import reduced, thresholded


def problem_of(features, targets, size):
    return reduced((features[..., i : i + size, :], targets[..., i : i + size, :]) for i in range(0, features.shape[-2], size))


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 40), seed=st.integers(0, 99))
def test_blocks_of_any_size_give_the_solution_of_the_whole(size, seed):
    features, targets = drawn(40, 5, seed=seed), drawn(40, 2, seed=seed + 100)
    found = problem_of(features, targets, size).solution()
    expected = np.linalg.lstsq(features.numpy(), targets.numpy(), rcond=None)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_ridge_is_added_to_the_mean_of_the_squares():
    features, targets = drawn(3, 30, 4), drawn(3, 30, 2, seed=1)
    found = problem_of(features, targets, 7).ridged(0.1).solution()
    gram = features.mT @ features / 30 + 0.1 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(found, torch.linalg.solve(gram, features.mT @ targets / 30), rtol=0, atol=1e-13)


def test_ridge_makes_up_for_instants_that_are_missing():
    features, targets = drawn(3, 8), drawn(3, 1, seed=1)
    problem = problem_of(features, targets, 3)
    with pytest.raises(ValueError, match=r"got 3 instants to fit 8 features to, need more, or ridge > 0"):
        problem.solution()
    gram = features.mT @ features / 3 + 1e-2 * torch.eye(8, dtype=torch.float64)
    expected = torch.linalg.solve(gram, features.mT @ targets / 3)
    torch.testing.assert_close(problem.ridged(1e-2).solution(), expected, rtol=0, atol=1e-12)


def test_features_that_depend_on_each_other_are_told():
    features = drawn(50, 4)
    features[:, 3] = features[:, 0] - 2 * features[:, 1]
    with pytest.raises(ValueError, match="1 of 4 features depend on the others"):
        problem_of(features, drawn(50, 1), 20).solution()
    assert problem_of(features, drawn(50, 1), 20).ridged(1e-6).solution().isfinite().all()


def test_scaled_features_have_root_mean_square_one():
    features = drawn(40, 3) * torch.tensor([1e-6, 1.0, 1e6])
    problem, scale = problem_of(features, drawn(40, 1, seed=1), 11).scaled()
    torch.testing.assert_close(scale, features.square().mean(0).sqrt(), rtol=1e-12, atol=0)
    expected = problem_of(features, drawn(40, 1, seed=1), 40).solution()
    torch.testing.assert_close(problem.solution() / scale[:, None], expected, rtol=1e-10, atol=0)


def test_the_condition_number_is_not_squared():
    powers = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None] ** torch.arange(9)  # condition number 1e6 to 1e7
    weight = drawn(9, 1, seed=3)
    found = problem_of(powers, powers @ weight, 50).solution()
    size = float(torch.linalg.cond(powers))
    assert float((found - weight).norm()) < 100 * size * 2.2e-16 * float(weight.norm())
    gram = powers.mT @ powers
    squared = torch.linalg.solve(gram, powers.mT @ (powers @ weight))
    assert float((found - weight).norm()) < float((squared - weight).norm()) / 100


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99))
def test_thresholds_leave_what_regressions_one_after_the_other_leave(seed):
    features, weight = drawn(60, 6, seed=seed), 2 * drawn(6, 2, seed=seed + 100)
    targets = features @ weight + 0.5 * drawn(60, 2, seed=seed + 200)
    threshold = 0.8
    found = thresholded(problem_of(features, targets, 25), torch.full((6,), threshold, dtype=torch.float64))
    for target in range(2):  # Brunton et al. (2016), for each target by itself
        f, y = features.numpy(), targets[:, target].numpy()
        active, expected = np.ones(6, dtype=bool), np.linalg.lstsq(f, y, rcond=None)[0]
        for _ in range(20):
            active = active & (np.abs(expected) >= threshold)
            expected = np.zeros(6)
            expected[active] = np.linalg.lstsq(f[:, active], y, rcond=None)[0] if active.any() else 0
        np.testing.assert_allclose(found[:, target].numpy(), expected, rtol=0, atol=1e-12)


def test_without_blocks_there_is_no_problem():
    with pytest.raises(ValueError, match="blocks: got none"):
        reduced([])
