"""Laws that hold for every baseline."""

import pytest
import torch

import sciml
from sciml.dynamics.baselines.memory import LSTM, LongExpressiveMemory
from sciml.dynamics.baselines.neural_ode import NeuralODE
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.baselines.reservoir import Reservoir
from sciml.dynamics.forecaster import Forecaster
from sciml.training.checkpoint import save


def waves(count):
    time = torch.arange(count, dtype=torch.float64)
    return torch.stack([torch.sin(0.3 * time), torch.cos(0.47 * time + 1)], 1)


MAKERS = {
    "long expressive memory": lambda: LongExpressiveMemory(2, 5, step=0.5, context=7, replicas=2).double(),
    "LSTM": lambda: LSTM(2, 5, replicas=2).double(),
    "neural ODE": lambda: NeuralODE(2, 6, 2, step=0.1, substeps=2, replicas=2).double(),
    "reservoir": lambda: Reservoir.of(waves(300), 20, connections=5, leak=0.5, warm_up=30, replicas=2),
    "dense reservoir": lambda: Reservoir.of(waves(300), 12, connections=12, replicas=2),
    "polynomial map": lambda: PolynomialMap.of(waves(300), 2, difference=True),
}


@pytest.fixture(params=list(MAKERS))
def model(request):
    torch.manual_seed(0)
    return MAKERS[request.param]()


def series_for(model, sequences=3, instants=9):
    noise = torch.randn(sequences, instants, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return noise.expand(model.replicas, -1, -1, -1)


def test_it_is_a_forecaster_in_double_precision(model):
    assert isinstance(model, Forecaster)
    found = model.forecast(series_for(model), 4)
    assert found.shape == (model.replicas, 3, 4, 2)
    assert found.dtype == torch.float64
    assert not found.requires_grad
    assert model.observed == 2
    assert model.context >= 1


def test_it_works_in_single_precision(model):
    found = model.forecast(series_for(model), 4)
    single = model.float().forecast(series_for(model).float(), 4)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-3, atol=1e-3)


def test_it_survives_a_file(model, tmp_path):
    save(tmp_path / "model.pt", model, domain=None, inputs=(), targets=())
    again = sciml.load(tmp_path / "model.pt")
    assert type(again) is type(model)
    series = series_for(model)
    assert torch.equal(again.forecast(series, 6), model.forecast(series, 6))


def test_a_shorter_forecast_is_the_beginning_of_a_longer_one(model):
    series = series_for(model)
    assert torch.equal(model.forecast(series, 3), model.forecast(series, 8)[:, :, :3])


def test_a_forecast_goes_on_from_itself(model):
    series = series_for(model)
    longer = model.forecast(series, 6)
    went_on = model.forecast(torch.cat([series, longer[:, :, :2]], 2), 4)
    torch.testing.assert_close(went_on, longer[:, :, 2:], rtol=1e-10, atol=1e-12)


def test_a_sequence_is_forecast_alone_as_among_others(model):
    series = series_for(model)
    together = model.forecast(series, 5)
    for i in range(3):
        torch.testing.assert_close(model.forecast(series[:, i : i + 1], 5), together[:, i : i + 1], rtol=1e-10, atol=1e-12)


def test_replicas_differ_and_do_not_see_each_other(model):
    if model.replicas == 1:
        pytest.skip("it has one")
    series = series_for(model).clone()
    before = model.forecast(series, 5)
    assert not torch.equal(before[0], before[1])
    series[1] += 1
    after = model.forecast(series, 5)
    torch.testing.assert_close(after[0], before[0], rtol=1e-12, atol=1e-14)
    assert not torch.equal(after[1], before[1])


def test_more_than_the_context_does_no_harm(model):
    if model.context > 1:
        pytest.skip("it has a memory")
    series = series_for(model)
    assert torch.equal(model.forecast(series, 3), model.forecast(series[:, :, -1:], 3))


def test_a_series_of_another_shape_is_refused(model):
    with pytest.raises(ValueError, match="series: got shape"):
        model.forecast(torch.zeros(model.replicas, 2, 5, 3, dtype=torch.float64), 2)
    with pytest.raises(ValueError, match="series: got shape"):
        model.forecast(torch.zeros(model.replicas + 1, 2, 5, 2, dtype=torch.float64), 2)
    with pytest.raises(ValueError, match="steps: got 0"):
        model.forecast(series_for(model), 0)
