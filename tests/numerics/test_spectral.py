import cmath
import itertools
import math

import mpmath
import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.spectral import (
    amplification,
    dealiased,
    derivative,
    etdrk4,
    laplacian,
    mode_numbers,
    steps_between,
    wave_numbers,
)

BOXES = [((2.5,), (16,)), ((2.5,), (15,)), ((2.0, 3.0), (12, 9)), ((1.0, 2.0, 0.5), (6, 7, 8))]


def torus(lengths, points):
    return Domain.box(lengths, points, "periodic")


def waves(domain):
    """A sum of one wave along every axis, and its derivatives along the axes."""
    phases = [2 * math.pi * m / a.length + 0.3 * i for i, (m, a) in enumerate(zip(domain.mesh(), domain.axes, strict=True))]
    return sum(torch.cos(p) for p in phases), [
        -2 * math.pi / a.length * torch.sin(p) for p, a in zip(phases, domain.axes, strict=True)
    ]


@pytest.mark.parametrize(("lengths", "points"), BOXES)
def test_wave_numbers_differentiate_waves(lengths, points):
    domain = torus(lengths, points)
    u, slopes = waves(domain)
    spectrum = torch.fft.rfftn(u)
    for axis, slope in enumerate(slopes):
        got = torch.fft.irfftn(derivative(domain, axis) * spectrum, s=domain.shape)
        assert (got - slope).abs().max() < 1e-13 * slope.abs().max()
    curvature = torch.fft.irfftn(laplacian(domain) * spectrum, s=domain.shape)
    second = sum(torch.fft.irfftn(derivative(domain, axis, 2) * spectrum, s=domain.shape) for axis in range(domain.dim))
    assert torch.allclose(curvature, second, rtol=1e-12, atol=1e-12 * float(second.abs().max()))


def test_wave_numbers_are_angular_and_signed():
    (k,) = wave_numbers(torus((2.5,), (6,)))
    assert k.tolist() == pytest.approx([2 * math.pi * m / 2.5 for m in range(4)], rel=1e-15)
    first, last = mode_numbers(torus((1.0, 1.0), (4, 5)))
    assert first.flatten().abs().tolist() == [0, 1, 2, 1]
    assert float(first[3, 0]) == -1
    assert last.flatten().tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", [1, 3])
def test_an_odd_derivative_of_the_highest_mode_is_zero(order):
    for domain in (torus((1.0,), (8,)), torus((1.0, 1.0), (8, 8))):
        for axis in range(domain.dim):
            values = derivative(domain, axis, order).expand(torch.fft.rfftn(torch.zeros(domain.shape)).shape)
            assert (values.select(axis, 4) == 0).all()
    assert derivative(torus((1.0,), (7,)), 0, order)[3] != 0
    # An even one is not.
    assert float(derivative(torus((2 * math.pi,), (8,)), 0, 2)[4].real) == pytest.approx(-16)


@pytest.mark.parametrize("points", [12, 13, 14, 15])
def test_products_of_kept_modes_have_no_aliases_on_kept_modes(points):
    domain, fine = torus((1.0,), (points,)), torus((1.0,), (4 * points,))
    generator = torch.Generator().manual_seed(points)
    kept = dealiased(domain)
    state = torch.fft.rfft(torch.randn(points, dtype=torch.float64, generator=generator)) * kept
    # The same function on a grid that holds the whole product.
    padded = torch.zeros(2 * points + 1, dtype=torch.complex128)
    padded[: len(state)] = 4 * state
    product = torch.fft.rfft(torch.fft.irfft(state, n=points).square())
    true = torch.fft.rfft(torch.fft.irfft(padded, n=4 * points).square())[: len(product)] / 4
    assert (product - true)[kept].abs().max() < 1e-13 * true.abs().max()
    assert (product - true)[~kept].abs().max() > 1e-3 * true.abs().max()
    assert dealiased(fine).sum() == math.ceil(4 * points / 3)


@pytest.mark.parametrize(
    ("sides", "layout", "found", "needed"),
    [("dirichlet", None, "dirichlet", "periodic"), ("periodic", "cells", "'cells'", "'first_end'")],
)
def test_a_box_that_a_transform_does_not_fit_is_refused(sides, layout, found, needed):
    domain = Domain.box((1.0, 1.0), (8, 8), ["periodic", sides], ["first_end", layout or "both_ends"])
    with pytest.raises(ValueError, match=f"got {found} along axis 1.*need {needed}"):
        wave_numbers(domain)


@pytest.mark.parametrize(
    ("start", "stop", "step", "count"),
    [
        (0.0, 1.0, 0.1, 10),
        (0.0, 1.0, 0.3, 4),
        (0.3, 0.6, 0.1, 3),
        (49.0, 50.0, 1e-4, 10_000),
        (0.0, 1.0, 5.0, 1),
        (0.0, 1.0, 0.999, 2),
    ],
)
def test_steps_fill_the_interval_and_are_not_longer(start, stop, step, count):
    found, size = steps_between(start, stop, step)
    assert found == count
    assert found * size == pytest.approx(stop - start, rel=1e-12)
    assert size <= step * (1 + 1e-9)


@pytest.mark.parametrize(
    ("start", "stop", "step", "name"),
    [(0, 1, 0.0, "step"), (0, 1, math.nan, "step"), (1, 1, 0.1, "times"), (0, 1, 1e-9, "step"), (0, 1, 5e-324, "step")],
)
def test_steps_that_lead_nowhere_are_refused(start, stop, step, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        steps_between(start, stop, step)


def true_tables(z, step):
    """The coefficients in 60 digits: of a half step, and Cox & Matthews' of the stages, the middle one for each of two."""
    with mpmath.workdps(60):
        z = mpmath.mpmathify(z)
        if z == 0:
            return [1, 1, step / 2, step / 6, step / 3, step / 6]
        e = mpmath.exp(z)
        numbers = [
            mpmath.exp(z / 2),
            e,
            step * (mpmath.exp(z / 2) - 1) / z,
            step * (-4 - z + e * (4 - 3 * z + z**2)) / z**3,
            step * 2 * (2 + z + e * (z - 2)) / z**3,
            step * (-4 - 3 * z - z**2 + e * (4 - z)) / z**3,
        ]
        return [complex(number) for number in numbers]


@pytest.mark.parametrize("direction", [-1.0, 1.0, 1j, complex(-0.6, 0.8)])
def test_coefficients_have_all_their_digits_at_every_size(direction):
    step = 0.25
    sizes = [0.0, 1e-12, 1e-6, 1e-3, 0.03, 0.3, 0.99, 1.0, 1.01, 3.0, 10.0, 45.0]
    linear = torch.tensor([direction * size / step for size in sizes])
    linear = linear.to(torch.complex128 if isinstance(direction, complex) else torch.float64)
    tables = etdrk4(linear, step).tables
    assert all(table.is_complex() == linear.is_complex() for table in tables)
    for i, value in enumerate(linear.tolist()):
        for table, true in zip(tables, true_tables(step * value, step), strict=True):
            # rounding of z itself is |z| eps in exp(z); what is left cancels at most a hundredfold at |z| = 1
            assert abs(complex(table[i]) - true) <= (100 + abs(step * value)) * 2.3e-16 * max(abs(true), 1e-300)


def test_a_linear_equation_is_solved_exactly():
    linear = torch.tensor([-1e4, -3.0, 0.0, 0.5], dtype=torch.float64)
    state = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.complex128)
    got = etdrk4(linear, 0.7).advance(state, torch.zeros_like)
    assert torch.allclose(got, state * torch.exp(0.7 * linear), rtol=1e-15)


@pytest.mark.parametrize("rate", [-1.0, complex(-0.5, 2.0), complex(0.0, 0.0)])
def test_order_on_bernoullis_equation(rate):
    # u' = r u - u², u(0) = 1:  u = r / (1 - (1 - r) exp(-r t)); 1 / (1 + t) where r = 0
    def error(steps):
        scheme = etdrk4(torch.tensor([rate], dtype=torch.complex128), 1 / steps)
        u = torch.ones(1, dtype=torch.complex128)
        for _ in range(steps):
            u = scheme.advance(u, lambda v: -v * v)
        true = rate / (1 - (1 - rate) * cmath.exp(-rate)) if rate else 0.5
        return abs(complex(u[0]) - complex(true))

    errors = [error(n) for n in (16, 32, 64)]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.2)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_a_step_keeps_dtype_and_batch(dtype):
    domain = torus((1.0, 1.0), (8, 6))
    scheme = etdrk4(laplacian(domain), 0.01)
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(3, 2, 8, 4, dtype=dtype, generator=generator)
    got = scheme.advance(state, lambda v: v * v)
    assert got.dtype == dtype
    assert got.shape == state.shape
    assert torch.equal(got[1:2, 1:2], scheme.advance(state[1:2, 1:2], lambda v: v * v))
    double = scheme.advance(state.to(torch.complex128), lambda v: v * v)
    # four stages of a few roundings each, of numbers of size up to |u|²
    assert (got - double).abs().max() <= 20 * torch.finfo(dtype).eps * double.abs().max() ** 2


def test_a_real_field_stays_real():
    # Airy's equation with a quadratic term on an even grid: the spectrum stays that of a real field.
    domain = torus((1.0,), (16,))
    scheme = etdrk4(derivative(domain, order=3) * 1e-3, 1e-3)
    slope = derivative(domain)
    state = torch.fft.rfft(torch.randn(16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    for _ in range(10):
        state = scheme.advance(state, lambda v: -slope * torch.fft.rfft(torch.fft.irfft(v, n=16).square()))
    assert state.imag[[0, 8]].abs().max() <= 1e-14 * state.abs().max()


def test_a_step_has_the_gradient_of_its_differences():
    scheme = etdrk4(torch.tensor([-2.0, 0.0, 0.3], dtype=torch.float64), 0.5)
    state = torch.randn(2, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: scheme.advance(v, lambda w: 0.3 * w * w), state)


def test_tables_made_in_inference_serve_training():
    with torch.inference_mode():
        scheme = etdrk4(torch.tensor([-2.0], dtype=torch.float64), 0.5)
        scheme.advance(torch.ones(1, dtype=torch.complex64), torch.square)
    state = torch.ones(1, dtype=torch.complex64, requires_grad=True)
    scheme.advance(state, torch.square).abs().sum().backward()
    assert state.grad is not None


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
def test_a_step_that_is_none_is_refused(step):
    with pytest.raises(ValueError, match="step: got"):
        etdrk4(torch.zeros(1), step)


def test_a_step_over_which_a_mode_explodes_is_refused_with_one_that_works():
    linear = torch.tensor([200.0])
    with pytest.raises(ValueError, match=r"need at most 0\.005"):
        etdrk4(linear, 1.0)
    assert etdrk4(linear, 0.005).tables[1].isfinite().all()


def test_without_a_linear_part_the_amplification_is_that_of_runge_kutta():
    rate = torch.tensor([-1.0, 2.0j, -0.5 + 1j], dtype=torch.complex128)
    z = 0.7 * rate
    polynomial = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    got = amplification(etdrk4(torch.zeros(3, dtype=torch.float64), 0.7), rate)
    assert torch.allclose(got, polynomial.abs(), rtol=1e-14)
