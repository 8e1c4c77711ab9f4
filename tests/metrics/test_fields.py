import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.metrics.fields import global_relative_l2, relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain

PERIODIC = Domain.box((1.0, 1.0), (64, 48), "periodic")
ALL = [relative_l2, relative_h1, relative_h1_spectral]


def wave(domain, *wavenumbers):
    """sin(2 pi k.x), one sample, one channel."""
    phase = sum(2 * math.pi * k * x for k, x in zip(wavenumbers, domain.mesh(), strict=True))
    return torch.sin(phase)[None, None]


def test_l2_of_orthogonal_waves_is_the_ratio_of_amplitudes():
    truth, error = wave(PERIODIC, 3, 0), wave(PERIODIC, 1, 5)
    assert relative_l2(2 * truth + 0.5 * error, 2 * truth, PERIODIC).item() == pytest.approx(0.25, abs=1e-14)


def test_l2_weighs_the_ends_of_walls_by_half():
    line = Domain.box((1.0,), (5,), "open")
    truth = torch.ones(1, 1, 5, dtype=torch.float64)
    corner = truth.clone()
    corner[..., 0] += 1
    assert relative_l2(corner, truth, line).item() == pytest.approx(math.sqrt(0.125), abs=1e-15)


def test_the_global_error_is_that_of_all_samples_under_one_root():
    # Sizes 1 and 3, errors 0.4 and 0.6: global sqrt((0.16 + 0.36) / 10), the mean (0.4 + 0.2) / 2.
    truth = torch.cat([wave(PERIODIC, 1, 2), 3 * wave(PERIODIC, 2, 0)])
    gap = torch.cat([0.4 * wave(PERIODIC, 0, 4), 0.6 * wave(PERIODIC, 5, 1)])
    assert global_relative_l2(truth + gap, truth, PERIODIC).item() == pytest.approx(math.sqrt(0.052), rel=1e-13)
    assert relative_l2(truth + gap, truth, PERIODIC).mean().item() == pytest.approx(0.3, rel=1e-13)


def test_the_global_error_weighs_the_ends_of_walls_by_half_and_is_infinite_for_a_truth_of_zero():
    line = Domain.box((1.0,), (5,), "open")
    truth = torch.ones(2, 1, 5, dtype=torch.float64)
    corner = truth.clone()
    corner[0, :, 0] += 1
    assert global_relative_l2(corner, truth, line).item() == pytest.approx(math.sqrt(0.125 / 2), abs=1e-15)
    assert global_relative_l2(corner, 0 * truth, line).item() == math.inf


def test_channels_are_summed_under_the_root():
    u, v = wave(PERIODIC, 1, 0), wave(PERIODIC, 0, 1)
    truth = torch.cat([3 * u, 4 * v], 1)
    assert relative_l2(truth + torch.cat([u, 0 * v], 1), truth, PERIODIC).item() == pytest.approx(1 / 5, abs=1e-14)


def test_h1_of_waves_tends_to_the_closed_form_at_second_order():
    """|sin(2 pi k.x)|_1² = (2 pi)² k² / 2 on the unit square."""

    def error(n):
        square = Domain.box((1.0, 1.0), (n, n), "periodic")
        truth, part = wave(square, 1, 0), wave(square, 2, 1)
        closed = math.sqrt((1 + (2 * math.pi) ** 2 * 5) / (1 + (2 * math.pi) ** 2)) / 10
        return abs(relative_h1(truth + 0.1 * part, truth, square).item() - closed)

    orders = [math.log2(error(n) / error(2 * n)) for n in (64, 128)]
    assert orders == pytest.approx([2, 2], abs=0.02)


def h1_by_sums(u, box):
    """The definition in plain NumPy, for functions that vanish on both sides of two axes."""
    u, (h, k) = u[0, 0].numpy(), box.spacing
    square = h * k * (u**2).sum()
    for axis, (step, other) in enumerate(((h, k), (k, h))):
        gap = box.axes[axis].gaps[0] * step
        line = np.moveaxis(u, axis, 0)
        square += step * other * ((np.diff(line, axis=0) / step) ** 2).sum()
        if gap:
            square += gap * other * ((line[[0, -1]] / gap) ** 2).sum()
    return math.sqrt(square)


@pytest.mark.parametrize("layout", ["both_ends", "interior", "cells"])
def test_h1_with_walls_is_that_of_the_domain(layout):
    box = Domain.box((2.0, 1.0), (17, 33), "dirichlet", layout)
    x, y = box.mesh()
    truth = (torch.sin(math.pi * x / 2) * torch.sin(math.pi * y))[None, None]
    error = (torch.sin(math.pi * x) * torch.sin(3 * math.pi * y))[None, None]
    expected = h1_by_sums(error, box) / h1_by_sums(truth, box)
    assert relative_h1(truth + error, truth, box).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("shape", [(16,), (15,), (12, 9), (9, 12), (6, 5, 8)])
def test_spectral_h1_is_the_full_transform_with_the_published_weight(shape):
    generator = torch.Generator().manual_seed(0)
    prediction, truth = torch.randn(2, 3, 2, *shape, generator=generator, dtype=torch.float64)
    box = Domain.box([1.0] * len(shape), shape, "periodic")
    k = np.meshgrid(*[np.abs(np.fft.fftfreq(n, 1 / n).round()) for n in shape], indexing="ij")
    weight = np.sqrt(1 + 4 * sum(np.where(a < 3, a, 0) ** 2 for a in k))
    axes = tuple(range(-len(shape), 0))

    def norm(u):
        modes = weight * np.fft.fftn(u.numpy(), axes=axes, norm="ortho")
        return np.sqrt((np.abs(modes) ** 2).reshape(3, -1).sum(1))

    got = relative_h1_spectral(prediction, truth, box, scale=2.0, cutoff=3).numpy()
    assert got == pytest.approx(norm(prediction - truth) / norm(truth), rel=1e-13)


def test_spectral_h1_of_single_waves_counts_integer_wavenumbers_below_the_cutoff():
    low, high, beyond = wave(PERIODIC, 2, 1), wave(PERIODIC, 19, 3), wave(PERIODIC, 20, 3)
    error = lambda part: relative_h1_spectral(low + part, low, PERIODIC).item()  # noqa: E731
    assert error(high) == pytest.approx(math.sqrt((1 + 19**2 + 3**2) / (1 + 5)), rel=1e-12)
    assert error(beyond) == pytest.approx(math.sqrt((1 + 3**2) / (1 + 5)), rel=1e-12)


def test_spectral_h1_of_scale_zero_is_l2_by_parseval():
    generator = torch.Generator().manual_seed(1)
    prediction, truth = torch.randn(2, 4, 1, 64, 48, generator=generator, dtype=torch.float64)
    spectral = relative_h1_spectral(prediction, truth, PERIODIC, scale=0.0)
    assert torch.allclose(spectral, relative_l2(prediction, truth, PERIODIC), rtol=1e-13)


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3), seed=st.integers(0, 2**31))
def test_every_metric_is_free_of_units_and_of_the_other_samples(factor, seed):
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = torch.randn(2, 3, 2, 8, 7, generator=generator, dtype=torch.float64)
    box = Domain.box((1.0, 2.0), (8, 7), "open")
    for metric in ALL:
        together = metric(prediction, truth, box)
        assert torch.allclose(metric(factor * prediction, factor * truth, box), together, rtol=1e-12)
        assert torch.allclose(metric(prediction[1:2], truth[1:2], box), together[1:2], rtol=1e-13)


@pytest.mark.parametrize("metric", ALL)
def test_a_truth_of_zero_gives_infinity_for_that_sample_alone(metric):
    truth = torch.cat([wave(PERIODIC, 1, 1), torch.zeros(1, 1, 64, 48)])
    assert metric(truth.clone(), truth, PERIODIC).tolist() == [0.0, math.inf]
    assert metric(truth + 1, truth, PERIODIC)[1] == math.inf


@pytest.mark.parametrize("metric", ALL)
def test_the_gradient_is_right_and_zero_where_nothing_is_wrong(metric):
    box = Domain.box((1.0, 1.5), (5, 4), "neumann", "cells")
    generator = torch.Generator().manual_seed(2)
    prediction, truth = torch.randn(2, 2, 1, 5, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: metric(p, truth, box), prediction.requires_grad_())
    same = truth.clone().requires_grad_()
    metric(same, truth, box).sum().backward()
    assert same.grad is not None
    assert same.grad.abs().max() == 0


@pytest.mark.parametrize("metric", ALL)
def test_tables_made_in_inference_mode_serve_training(metric):
    box = Domain.box((1.0, 1.0), (6, 11), "open")
    truth = torch.randn(2, 1, 6, 11, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        metric(2 * truth, truth, box)
    prediction = (2 * truth).requires_grad_()
    metric(prediction, truth, box).sum().backward()
    assert prediction.grad is not None


@pytest.mark.parametrize("metric", ALL)
def test_shapes_that_would_broadcast_are_refused(metric):
    metric = inspect.unwrap(metric)  # without the type checker of the test run, as a user meets it
    truth = torch.zeros(2, 1, 64, 48)
    with pytest.raises(ValueError, match=r"prediction: got shape \(2, 3, 64, 48\)"):
        metric(torch.zeros(2, 3, 64, 48), truth, PERIODIC)
    with pytest.raises(ValueError, match=r"truth.*grid \(64, 48\)"):
        metric(truth.mT, truth.mT, PERIODIC)
    with pytest.raises(ValueError, match="batch, channel"):
        metric(truth[:, 0], truth[:, 0], PERIODIC)
