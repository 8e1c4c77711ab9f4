import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.dynamics.baselines.polynomial import PolynomialMap, monomial_count


def henon(count):
    x = torch.zeros(count, 2, dtype=torch.float64)
    for t in range(count - 1):
        x[t + 1, 0] = 1 - 1.4 * x[t, 0] ** 2 + x[t, 1]
        x[t + 1, 1] = 0.3 * x[t, 0]
    return x


def lorenz(count, step=0.01):
    x = [torch.tensor([1.0, 2.0, 20.0], dtype=torch.float64)]
    for _ in range(count - 1):
        a, b, c = x[-1]
        x.append(x[-1] + step * torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]))
    return torch.stack(x)


def coefficient(model, row, *powers):
    return float(model.coefficients[row, model.exponents.index(powers)])


def with_terms(model, *terms):
    """A table of coefficients that is zero but for (row, powers, value)."""
    table = torch.zeros_like(model.coefficients)
    for row, powers, value in terms:
        table[row, model.exponents.index(powers)] = value
    return table


HENON = ((0, (0, 0), 1.0), (0, (2, 0), -1.4), (0, (0, 1), 1.0), (1, (1, 0), 0.3))


@settings(deadline=None, max_examples=30)
@given(variables=st.integers(1, 4), degree=st.integers(1, 5))
def test_monomials_are_counted_and_are_the_products_that_their_exponents_say(variables, degree):
    model = PolynomialMap(variables, degree)
    assert len(set(model.exponents)) == monomial_count(variables, degree) == math.comb(variables + degree, degree)
    x = torch.randn(7, variables, dtype=torch.float64, generator=torch.Generator().manual_seed(degree))
    expected = torch.stack([(x ** torch.tensor(powers)).prod(-1) for powers in model.exponents], -1)
    torch.testing.assert_close(model.monomials(x), expected, rtol=degree * 4e-16, atol=0)
    assert [sum(powers) for powers in model.exponents] == sorted(sum(powers) for powers in model.exponents)


def test_the_number_of_parameters_is_the_published_one():
    assert monomial_count(5, 7) == 792
    assert sum(p.numel() for p in PolynomialMap(5, 7).parameters()) == 3960


@pytest.mark.parametrize("degree", [2, 4])
def test_the_henon_map_is_recovered(degree):
    model = PolynomialMap.of(henon(500), degree)
    assert float((model.coefficients - with_terms(model, *HENON)).abs().max()) < 1e-8


def test_a_lorenz_system_stepped_by_euler_is_recovered():
    for difference in (False, True):
        model = PolynomialMap.of(lorenz(3000), 2, difference=difference)
        terms = [(0, (1, 0, 0), -0.1), (0, (0, 1, 0), 0.1), (1, (1, 0, 0), 0.28), (1, (1, 0, 1), -0.01), (1, (0, 1, 0), -0.01)]
        terms += [(2, (1, 1, 0), 0.01), (2, (0, 0, 1), -0.08 / 3)]
        expected = with_terms(model, *terms)
        if not difference:
            expected[:, 1:4] += torch.eye(3)
        assert float((model.coefficients - expected).abs().max()) < 1e-8


def test_several_series_are_fitted_together():
    series = henon(60)
    for parts in ([series[:20], series[25:]], torch.stack([series[:30], series[30:]])):
        model = PolynomialMap.of(parts, 2)
        assert float((model.coefficients - with_terms(model, *HENON)).abs().max()) < 1e-8


def test_a_threshold_leaves_the_terms_of_the_map_alone():
    noise = 1e-3 * torch.randn(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dense = PolynomialMap.of(henon(2000) + noise, 4)
    assert int((dense.coefficients != 0).sum()) == 30
    sparse = PolynomialMap.of(henon(2000) + noise, 4, threshold=0.1)
    expected = with_terms(sparse, *HENON)
    assert torch.equal(sparse.coefficients != 0, expected != 0)
    assert float((sparse.coefficients - expected).abs().max()) < 0.01
    assert sparse.equations(["x", "y"], digits=1) == ["x' = 1 + 1 y - 1 x^2", "y' = 0.3 x"]


def test_ridge_draws_the_coefficients_towards_zero():
    models = [PolynomialMap.of(henon(200), 2, ridge=r) for r in (0.0, 1e-2, 1.0, 1e2)]
    scale = models[0].monomials(henon(200)[:-1]).square().mean(0).sqrt()
    sizes = [float((model.coefficients * scale).norm()) for model in models]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.05


def test_equations_are_written_out():
    model = PolynomialMap(2, 2, difference=True)
    model.coefficients.copy_(with_terms(model, (0, (0, 0), 1.0), (0, (1, 1), -2.5)))
    assert model.equations() == ["x1' - x1 = 1 - 2.5 x1 x2", "x2' - x2 = 0"]
    with pytest.raises(ValueError, match="names: got 1, need 2"):
        model.equations(["x"])


def test_a_forecast_is_the_map_again_and_again():
    model = PolynomialMap(2, 2).double()
    model.coefficients.copy_(with_terms(model, *HENON))
    series = henon(40)
    found = model.forecast(series[None, None, :11], 15)  # an error grows by 2 ** 0.6 a step
    torch.testing.assert_close(found[0, 0], series[11:26], rtol=0, atol=1e-12)


def test_a_forecast_without_bounds_is_not_finite_and_raises_nothing():
    model = PolynomialMap(2, 3).double()
    model.coefficients.copy_(with_terms(model, (0, (3, 0), 2.0), (1, (1, 1), 1.0), (1, (2, 0), -1.0)))
    found = model.forecast(torch.full((1, 2, 1, 2), 1.5, dtype=torch.float64), 30)
    assert found.shape == (1, 2, 30, 2)
    assert found[:, :, 0].isfinite().all()
    assert not found[:, :, -1].isfinite().any()


def test_on_the_electrocardiogram_it_diverges_as_published(published_data):
    train, test = (torch.from_numpy(np.load(published_data / "ecg" / f"ECG_pecuzal_5d_{k}.npy")) for k in ("train", "test"))
    model = PolynomialMap.of(train, 3)
    one = model.forecast(test[None, :-1:100, None], 1)[0, :, 0]
    assert float((one - test[1::100]).square().mean().sqrt()) < 0.02  # of a standard deviation of 0.8
    assert not model.forecast(test[None, None, :1], 2000)[0, 0, -1].isfinite().any()


def test_one_that_is_not_fitted_forecasts_nothing():
    assert PolynomialMap(2, 2).forecast(torch.zeros(1, 1, 1, 2), 3).isnan().all()


def test_what_cannot_be_fitted_is_told():
    with pytest.raises(ValueError, match="got 5 instants to fit 6 features to"):
        PolynomialMap.of(henon(6), 2)
    angle = torch.arange(50, dtype=torch.float64)
    circle = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    with pytest.raises(ValueError, match="features depend on the others"):  # x² + y² = 1
        PolynomialMap.of(circle, 2)
    with pytest.raises(ValueError, match="ridge: got -1"):
        PolynomialMap.of(henon(50), 2, ridge=-1)
    with pytest.raises(ValueError, match="threshold: got nan"):
        PolynomialMap.of(henon(50), 2, threshold=float("nan"))
    with pytest.raises(ValueError, match="monomials: got 4590551, need a whole number up to 1000000"):
        PolynomialMap(300, 3)
