import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sciml.dynamics.baselines.memory import LSTM, LongExpressiveMemory


@pytest.mark.parametrize(
    ("kind", "observed", "hidden", "count"),
    [(LSTM, 5, 35, 5920), (LSTM, 64, 80, 51584), (LongExpressiveMemory, 5, 31, 4872), (LongExpressiveMemory, 64, 38, 18304)],
)
def test_the_number_of_parameters_is_the_published_one(kind, observed, hidden, count):
    for replicas in (1, 3):
        assert sum(p.numel() for p in kind(observed, hidden, replicas=replicas).parameters()) == count * replicas


def test_each_replica_of_an_lstm_is_that_of_torch():
    torch.manual_seed(0)
    model = LSTM(3, 7, replicas=2).double()
    x = torch.randn(2, 4, 11, 3, dtype=torch.float64)
    with torch.no_grad():
        for replica in range(2):
            theirs = nn.LSTM(3, 7, batch_first=True).double()
            theirs.weight_ih_l0.copy_(model.from_series.weight[replica])
            theirs.weight_hh_l0.copy_(model.from_cells.weight[replica])
            theirs.bias_ih_l0.copy_(model.from_series.bias[replica])
            theirs.bias_hh_l0.zero_()
            expected = nn.functional.linear(theirs(x[replica])[0], model.readout.weight[replica], model.readout.bias[replica])
            torch.testing.assert_close(model(x)[replica], expected, rtol=0, atol=1e-14)


def test_long_expressive_memory_follows_its_formulas():
    torch.manual_seed(0)
    hidden, step = 4, 0.7
    model = LongExpressiveMemory(2, hidden, step=step).double()
    series = torch.randn(1, 1, 9, 2, dtype=torch.float64)

    def parts(layer, count):
        weight, bias = layer.weight[0].detach().numpy(), layer.bias[0].detach().numpy()
        return list(zip(np.split(weight, count), np.split(bias, count), strict=True))

    (v1, b1), (v2, b2), (vz, bz), (vy, by) = parts(model.from_series, 4)
    (w1, c1), (w2, c2), (wz, cz) = parts(model.from_seen, 3)
    ((wy, cy),) = parts(model.from_unseen, 1)
    ((out, shift),) = parts(model.readout, 1)
    y = z = np.zeros(hidden)
    for t, x in enumerate(series[0, 0].numpy()):
        d1 = step / (1 + np.exp(-(w1 @ y + c1 + v1 @ x + b1)))
        d2 = step / (1 + np.exp(-(w2 @ y + c2 + v2 @ x + b2)))
        z = (1 - d1) * z + d1 * np.tanh(wz @ y + cz + vz @ x + bz)
        y = (1 - d2) * y + d2 * np.tanh(wy @ z + cy + vy @ x + by)
        np.testing.assert_allclose(model(series)[0, 0, t].detach().numpy(), out @ y + shift, rtol=0, atol=1e-14)


def test_cells_without_weights_approach_their_bias_geometrically():
    model = LongExpressiveMemory(1, 1, step=0.5).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.from_series.bias[0, 2] = 0.3  # of z alone
        state = (torch.zeros(1, 1, 1).double(), torch.zeros(1, 1, 1).double())
        for n in range(1, 6):
            state = model.remember(state, model.drive(torch.zeros(1, 1, 1).double()))
            assert float(state[1]) == pytest.approx(np.tanh(0.3) * (1 - 0.75**n), abs=1e-15)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), step=st.floats(0.01, 1.0), size=st.floats(0.1, 100.0))
def test_no_cell_of_long_expressive_memory_leaves_the_unit_interval(seed, step, size):
    torch.manual_seed(seed)
    model = LongExpressiveMemory(2, 5, step=step)
    state = (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(size)
        for x in torch.randn(1, 3, 20, 2).unbind(2):
            state = model.remember(state, model.drive(x))
            assert max(float(part.abs().max()) for part in state) <= 1 + 4 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("kind", [LSTM, LongExpressiveMemory])
def test_a_missing_value_is_replaced_by_what_was_expected(kind):
    torch.manual_seed(0)
    model = kind(2, 6, replicas=2).double()
    series = torch.randn(2, 3, 8, 2, dtype=torch.float64)
    good = torch.ones_like(series, dtype=torch.bool)
    torch.testing.assert_close(model(series, good), model(series), rtol=0, atol=1e-14)
    good[:, :, 4, 1] = False
    filled = series.clone()
    filled[:, :, 4, 1] = model(series)[:, :, 3, 1]
    torch.testing.assert_close(model(series.where(good, torch.tensor(0.0).double()), good), model(filled), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [LSTM, LongExpressiveMemory])
def test_sizes_below_one_are_refused(kind):
    for sizes in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="got 0, need at least 1"):
            kind(*sizes)
    with pytest.raises(ValueError, match="context: got 0"):
        kind(3, 3, context=0)
    with pytest.raises(ValueError, match="step: got 0"):
        LongExpressiveMemory(3, 3, step=0)
