import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sciml.dynamics.replicas import Affine, check_forecast, keep_apart, mean_of_finite, mean_squares, windows


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 12), replicas=st.integers(1, 5))
def test_each_replica_trains_on_windows_of_its_own(rows, replicas):
    batch = {"state": torch.arange(rows * 6.0).view(rows, 3, 2), "state_mask": torch.ones(rows, 3, 2, dtype=torch.bool)}
    x, good = windows(batch, "state", 2, replicas, training=True)
    assert good is not None
    assert good.shape == x.shape
    if rows < replicas:
        assert torch.equal(x, batch["state"].expand(replicas, rows, 3, 2))
    else:
        each = rows // replicas
        assert torch.equal(x.flatten(0, 1), batch["state"][: replicas * each])
        assert len(x.flatten(0, 1)[:, 0, 0].unique()) == replicas * each


def test_in_evaluation_every_replica_sees_every_window():
    batch = {"x": torch.randn(6, 3, 2)}
    x, good = windows(batch, "x", 2, 3, training=False)
    assert good is None
    assert torch.equal(x, batch["x"].expand(3, 6, 3, 2))


def test_windows_of_another_kind_are_refused_by_name():
    batch = {"state": torch.zeros(4, 5, 3)}
    with pytest.raises(ValueError, match=r"batch: got state, need u;"):
        windows(batch, "u", 3, 1, training=True)
    with pytest.raises(ValueError, match=r"state: got shape \(4, 5, 3\), need \(window, at least 2 instants, 2\)"):
        windows(batch, "state", 2, 1, training=True)
    with pytest.raises(ValueError, match=r"at least 6 instants"):
        windows(batch, "state", 3, 1, training=True, least=6)


def test_only_what_counts_is_in_the_mean():
    gaps = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(2, 1, 2, 1)
    assert mean_squares(gaps, None).tolist() == [2.5, 12.5]
    counted = torch.tensor([True, False, False, False]).view(2, 1, 2, 1)
    assert mean_squares(gaps, counted).tolist() == [1.0, 0.0]


def test_the_value_is_the_mean_and_the_gradient_that_of_the_sum_of_the_finite():
    errors = torch.tensor([1.0, torch.nan, 3.0, torch.inf], requires_grad=True)
    value = mean_of_finite(errors)
    value.backward()
    assert value.item() == 2.0
    assert errors.grad is not None
    assert errors.grad.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert mean_of_finite(torch.tensor([torch.nan, torch.inf])).isnan()


def test_a_gradient_that_is_not_finite_stays_with_its_replica():
    layer = Affine(2, 1, 3)
    keep_apart(layer)
    keep_apart(layer)
    hooks = layer.weight._backward_hooks
    assert hooks is not None
    assert len(hooks) == 1
    x = torch.ones(3, 1, 2)
    x[1] = torch.nan
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[:, 0].tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("bias", [True, False])
def test_an_affine_layer_is_that_of_torch_for_every_replica(bias):
    torch.manual_seed(0)
    layer = Affine(3, 4, 2, bias=bias).double()
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64)
    for replica in range(2):
        b = None if layer.bias is None else layer.bias[replica]
        expected = nn.functional.linear(x[replica], layer.weight[replica], b)
        torch.testing.assert_close(layer(x)[replica], expected, rtol=0, atol=1e-14)
    assert float(layer.weight.detach().abs().max()) <= 3**-0.5


def test_a_series_of_another_shape_is_not_forecast():
    model = {"replicas": 2, "observed": 3, "dtype": torch.float32}
    check_forecast(torch.zeros(2, 4, 1, 3), 1, **model)
    wanted = r"need \(2 replicas, sequence, at least 1 instant, 3\)"
    for shape in ((1, 4, 1, 3), (2, 4, 1, 2), (2, 4, 0, 3), (4, 1, 3)):
        with pytest.raises(ValueError, match=wanted):
            check_forecast(torch.zeros(shape), 1, **model)
    with pytest.raises(ValueError, match="steps: got 0, need at least 1"):
        check_forecast(torch.zeros(2, 4, 1, 3), 0, **model)
    with pytest.raises(ValueError, match=r"series: got torch.float64, the model is torch.float32; convert"):
        check_forecast(torch.zeros(2, 4, 1, 3).double(), 1, **model)
