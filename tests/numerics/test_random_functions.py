import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import (
    ChebyshevSum,
    GaussianProcess,
    Sensors,
    chebyshev,
    chebyshev_rise,
    integration,
    summed,
)

LAWS = [GaussianProcess(), GaussianProcess(0.6, 3.0), ChebyshevSum(), ChebyshevSum(7, 2.0, 3.0)]


@pytest.mark.parametrize(("length", "span"), [(0.2, 1.0), (0.01, 1.0), (1.3, 2.0)])
def test_the_covariance_of_a_gaussian_process_is_the_squared_exponential(length, span):
    law = GaussianProcess(length, span)
    x = torch.linspace(0, span, 151, dtype=torch.float64)
    weighted = law.terms(x) * law.deviations()
    expected = torch.exp(-((x[:, None] - x) / length).square() / 2)
    assert (weighted @ weighted.T - expected).abs().max() <= 1e-12


def test_amplitudes_of_a_gaussian_process_have_its_deviations():
    law = GaussianProcess()
    ratio = law.draw(Seeds(2, range(4000))) / law.deviations()
    assert float(ratio.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / ratio.numel()))


def test_amplitudes_of_a_chebyshev_sum_are_uniform_between_the_bounds():
    numbers = ChebyshevSum(20, 1.5).draw(Seeds(2, range(4000)))
    assert -1.5 <= float(numbers.min()) < -1.499
    assert 1.499 < float(numbers.max()) < 1.5
    assert float(numbers.square().mean()) == pytest.approx(0.75, abs=4 * 0.75 * math.sqrt(0.8 / numbers.numel()))


def test_chebyshev_sums_are_those_of_numpy():
    law = ChebyshevSum(20, 1.0, 3.0)
    numbers, x = law.draw(Seeds(1, range(2))), torch.linspace(0, 3, 11, dtype=torch.float64)
    expected = np.polynomial.chebyshev.chebval(2 * x.numpy() / 3 - 1, numbers.numpy().T)
    assert np.abs(law.values(numbers, x).numpy() - expected).max() <= 1e-13


@pytest.mark.parametrize("law", LAWS)
def test_integrals_are_those_of_adaptive_quadrature(law):
    numbers = law.draw(Seeds(4, range(1)))
    for end in (0.03 * law.span, 0.7 * law.span):
        expected = quad(lambda t: float(law.values(numbers, torch.tensor([t], dtype=torch.float64))), 0, end, epsabs=1e-13)[0]
        assert float(law.integral(numbers, torch.tensor([end], dtype=torch.float64))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_integrals_keep_their_digits_where_x_is_small(law):
    numbers = law.draw(Seeds(4, range(3)))
    x = torch.tensor([0.0, 1e-10], dtype=torch.float64)
    integral, start = law.integral(numbers, x), law.values(numbers, x[:1])[:, 0]
    assert (integral[:, 0] == 0).all()
    # The next term is f' x² / 2, and f' is below 1e4 for these laws.
    assert (integral[:, 1] / 1e-10 - start).abs().max() <= 1e-6


@pytest.mark.parametrize("law", LAWS)
def test_places_of_each_sample_are_as_good_as_shared_ones(law):
    numbers = law.draw(Seeds(4, range(3)))
    x = torch.linspace(0, law.span, 7, dtype=torch.float64)
    for function in (law.values, law.integral):
        assert torch.allclose(function(numbers, x.expand(3, 7)), function(numbers, x), atol=1e-13)


@pytest.mark.parametrize("law", LAWS)
def test_a_function_is_found_again_from_its_values_at_sensors_in_two_ways(law):
    sensors = Sensors(law, 100)
    numbers = law.draw(Seeds(7, range(200)))
    values = law.values(numbers, torch.linspace(0, law.span, 100, dtype=torch.float64))
    y = Seeds(8, range(200)).uniform("places", 3) * law.span
    for fit in (sensors.by_law(), sensors.by_polynomials()):
        found = values @ fit.T
        size = law.span * values.abs().max()
        gap = summed(found, chebyshev(y, sensors.count, law.span)) - law.values(numbers, y)
        assert gap.abs().max() <= 1e-10 * size
        up = found @ integration(sensors.count, law.span).T
        gap = summed(up, chebyshev_rise(y, sensors.count + 1, law.span)) - law.integral(numbers, y)
        assert gap.abs().max() <= 1e-10 * size


def test_too_few_sensors_are_refused_with_the_number_that_would_do():
    with pytest.raises(ValueError, match=r"got 50 points.*at least 93"):
        Sensors(GaussianProcess(), 50)
    Sensors(GaussianProcess(), 93)


@pytest.mark.parametrize(
    "domain",
    [
        Domain.box((2.0,), (100,), "open"),
        Domain.box((1.0,), (100,), "dirichlet"),
        Domain.box((1.0,), (100,), "open", "cells"),
        Domain.box((1.0,), (100,), "open", origin=(0.5,)),
        Domain.box((1.0, 1.0), (100, 5), "open"),
    ],
)
def test_sensors_lie_on_the_whole_span_of_the_law(domain):
    with pytest.raises(ValueError, match="need one axis of length 1 from 0 with open sides"):
        Sensors.on(domain, GaussianProcess())


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (lambda: GaussianProcess(-0.2), "length: got -0.2"),
        (lambda: GaussianProcess(0.2, 0.0), "span: got 0.0"),
        (lambda: ChebyshevSum(0), "count: got 0"),
        (lambda: ChebyshevSum(bound=0.0), "bound: got 0.0"),
    ],
)
def test_numbers_that_make_no_law_are_refused(law, message):
    with pytest.raises(ValueError, match=message):
        law()
