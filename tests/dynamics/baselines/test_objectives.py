import numpy as np
import pytest
import torch
from torch import nn

from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.memory import LSTM, LongExpressiveMemory
from sciml.dynamics.baselines.neural_ode import NeuralODE
from sciml.dynamics.baselines.objectives import ForcedRollout, TeacherForced
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.rollout import Forcing, rollout
from sciml.training.fit import fit
from sciml.training.optimisers import Adam


class AsMap(nn.Module):
    """A piecewise-linear network as a map from instant to instant."""

    def __init__(self, network):
        super().__init__()
        self.network, self.replicas, self.observed = network, network.replicas, network.observed

    def advance(self, x):
        return self.network.piecewise_linear()(x)


def one_replica(model, kind, *sizes, replica):
    """A model that is one of the replicas of another."""
    alone = kind(*sizes).double()
    alone.load_state_dict({name: value[replica : replica + 1] for name, value in model.state_dict().items()})
    return alone


def windows_of(rows, instants, observed, seed=0):
    return torch.randn(rows, instants, observed, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kind", "sizes", "objective"),
    [
        (LSTM, (2, 5), TeacherForced()),
        (LongExpressiveMemory, (2, 5), TeacherForced(warm_up=2)),
        (NeuralODE, (2, 5), ForcedRollout(0.2)),
    ],
)
def test_every_replica_trains_as_it_would_alone(kind, sizes, objective):
    torch.manual_seed(0)
    model = kind(*sizes, replicas=3).double()
    x = windows_of(12, 7, 2)
    value = objective(model, {"state": x})
    value.backward()
    values = []
    for replica in range(3):
        alone = one_replica(model, kind, *sizes, replica=replica)
        own = objective(alone, {"state": x[4 * replica : 4 * replica + 4]})
        own.backward()
        values.append(own.item())
        for name, weight in alone.named_parameters():
            torch.testing.assert_close(
                model.get_parameter(name).grad[replica : replica + 1], weight.grad, rtol=1e-12, atol=1e-14
            )
    assert value.item() == pytest.approx(np.mean(values), rel=1e-13)


@pytest.mark.parametrize("kind", [LSTM, NeuralODE])
def test_a_replica_that_blows_up_takes_no_part_and_leaves_the_others_alone(kind):
    torch.manual_seed(0)
    objective = TeacherForced() if kind is LSTM else ForcedRollout(0.1)
    model = kind(2, 4, replicas=2).double()
    x = windows_of(6, 5, 2)
    good = objective(one_replica(model, kind, 2, 4, replica=0), {"state": x[:3]}).item()
    with torch.no_grad():
        for weight in model.parameters():
            weight[1] = torch.nan
    value = objective(model, {"state": x})
    value.backward()
    assert value.item() == pytest.approx(good, rel=1e-12)
    for weight in model.parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all()
        assert not weight.grad[1].any()
        assert weight.grad[0].any()


def test_teacher_forcing_is_the_mean_squared_error_of_the_next_instant():
    torch.manual_seed(0)
    model = LSTM(2, 5).double()
    x = windows_of(3, 6, 2)
    squares = (model(x[None, :, :-1])[0] - x[:, 1:]).square()
    assert TeacherForced()(model, {"state": x}).item() == pytest.approx(squares.mean().item(), rel=1e-13)
    assert TeacherForced(warm_up=3)(model, {"state": x}).item() == pytest.approx(squares[:, 3:].mean().item(), rel=1e-13)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_forced_rollouts_are_generalized_teacher_forcing(alpha):
    torch.manual_seed(0)
    network = ShallowPLRNN(3, 8, replicas=2).double()
    x = windows_of(10, 9, 3)
    dealt = x.view(2, 5, 9, 3)
    forcing = Forcing(dealt[:, :, 1:-1], torch.full((2, 1, 1, 1), alpha, dtype=torch.float64))
    states = rollout(network.piecewise_linear(), dealt[:, :, 0], 8, forcing=forcing)
    expected = (states - dealt[:, :, 1:]).square().mean()
    expected.backward()
    gradients = {name: w.grad for name, w in network.named_parameters()}
    network.zero_grad()
    value = ForcedRollout(alpha)(AsMap(network), {"state": x})
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    for name, weight in network.named_parameters():  # the gradient is that of the sum over the replicas
        torch.testing.assert_close(weight.grad, 2 * gradients[name], rtol=1e-10, atol=1e-12)


def test_rollouts_that_are_all_forced_are_single_steps_and_unforced_ones_run_free():
    torch.manual_seed(0)
    model = NeuralODE(2, 5, step=0.3).double()
    x = windows_of(4, 6, 2)
    single = (model.advance(x[None, :, :-1].flatten(1, 2)).view(1, 4, 5, 2) - x[:, 1:]).square().mean()
    assert ForcedRollout(1.0)(model, {"state": x}).item() == pytest.approx(single.item(), rel=1e-12)
    free = (model(x[None, :, 0], 5) - x[:, 1:]).square()
    assert ForcedRollout(0.0)(model, {"state": x}).item() == pytest.approx(free.mean().item(), rel=1e-12)
    assert ForcedRollout(0.0, warm_up=2)(model, {"state": x}).item() == pytest.approx(free[:, :, 2:].mean().item(), rel=1e-12)


@pytest.mark.parametrize(("kind", "objective"), [(LSTM, TeacherForced()), (NeuralODE, ForcedRollout(0.3))])
def test_masked_values_do_not_matter_and_do_not_count(kind, objective):
    torch.manual_seed(0)
    model = kind(2, 5, replicas=2).double()
    x = windows_of(8, 6, 2)
    mask = torch.ones_like(x, dtype=torch.bool)
    full = objective(model, {"state": x}).item()
    assert objective(model, {"state": x, "state_mask": mask}).item() == pytest.approx(full, rel=1e-12)
    mask[1, 3, 0] = False
    mask[2, 0] = False  # the window does not count
    values = []
    for noise in (0.0, 1e3):
        other = torch.where(mask, x, noise)
        values.append(objective(model, {"state": other, "state_mask": mask}).item())
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    assert values[0] != pytest.approx(full, rel=1e-6)


def test_in_evaluation_all_replicas_see_all_windows():
    torch.manual_seed(0)
    model = LSTM(2, 4, replicas=2).double().eval()
    x = windows_of(6, 5, 2)
    each = [TeacherForced()(one_replica(model, LSTM, 2, 4, replica=r), {"state": x}).item() for r in range(2)]
    assert TeacherForced()(model, {"state": x}).item() == pytest.approx(np.mean(each), rel=1e-13)


def test_what_does_not_fit_is_refused():
    x = torch.zeros(4, 5, 2)
    with pytest.raises(ValueError, match="model: got Linear, need a recurrent network"):
        TeacherForced()(nn.Linear(2, 2), {"state": x})
    with pytest.raises(ValueError, match=r"model: got LSTM, need one with advance\(x\)"):
        ForcedRollout(0.1)(LSTM(2, 3), {"state": x})
    with pytest.raises(ValueError, match="batch: got state, need u"):
        TeacherForced("u")(LSTM(2, 3), {"state": x})
    for objective, model in ((TeacherForced(warm_up=4), LSTM(2, 3)), (ForcedRollout(0.1, warm_up=4), NeuralODE(2, 3))):
        with pytest.raises(ValueError, match="at least 6 instants"):
            objective(model, {"state": x})
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha: got"):
            ForcedRollout(alpha)
    with pytest.raises(ValueError, match="warm_up: got -1"):
        TeacherForced(warm_up=-1)


@pytest.mark.parametrize("kind", [LSTM, LongExpressiveMemory])
def test_a_recurrent_network_learns_a_sine_from_a_file(kind, tmp_path):
    torch.manual_seed(0)
    time = np.arange(400)[:, None]
    np.save(tmp_path / "sine.npy", np.sin(2 * np.pi * time / 20).astype(np.float32))
    train = stream(tmp_path / "sine.npy", batch_size=32, window=Window(21, 0))
    model = kind(1, 12, replicas=2)
    run = fit(model, TeacherForced(warm_up=2), train, steps=80, optimiser=Adam(0.02))
    assert run.history[-1]["loss"] < 0.02  # the mean alone would leave 0.5, the last value 0.05
