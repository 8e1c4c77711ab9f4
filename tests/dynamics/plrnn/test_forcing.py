"""Generalized teacher forcing: exact values and gradients, replicas apart, missing values."""

import math

import pytest
import torch

from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import PLRNN, ShallowPLRNN
from sciml.dynamics.plrnn.rollout import rollout
from sciml.dynamics.plrnn.strength import Adaptive


def network(replicas=2, seed=0, **kwargs):
    torch.manual_seed(seed)
    return ShallowPLRNN(3, 8, replicas=replicas, **kwargs).double()


def windows(count=6, steps=12, seed=1):
    return torch.randn(count, steps + 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(model, objective, batch):
    model.zero_grad()
    objective(model, batch).backward()
    return [weight.grad.clone() for weight in model.parameters()]


def test_the_error_is_zero_on_orbits_of_the_network_itself():
    model = network(replicas=1)
    start = torch.randn(1, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        orbit = torch.cat([start[:, :, None], model(start, 30)], 2)[0]
    for alpha in (0.0, 0.3, 1.0):
        assert float(GeneralizedTeacherForcing(alpha)(model, {"state": orbit}).detach()) < 1e-28


def test_the_value_is_the_mean_squared_error_of_the_formula():
    model, x, alpha = network(), windows(), 0.3
    total = 0.0
    for r in range(2):
        step = model.piecewise_linear().replica(r)
        for window in x[3 * r : 3 * r + 3]:
            z = window[0]
            for t in range(1, 13):
                z = step(z[None])[0]
                total += float((z - window[t]).square().sum().detach()) / (2 * 3 * 12 * 3)
                z = (1 - alpha) * z + alpha * window[t]
    assert float(GeneralizedTeacherForcing(alpha)(model, {"state": x}).detach()) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("linear", [False, True])
def test_a_replica_has_the_gradient_that_it_would_have_alone(linear):
    objective = GeneralizedTeacherForcing(0.2, latent_penalty=1e-3, observation_penalty=1e-2)
    together, x = network(linear_observation=linear), windows()
    found = gradients(together, objective, {"state": x})
    for r in range(2):
        alone = network(replicas=1, linear_observation=linear)
        with torch.no_grad():
            for one, many in zip(alone.parameters(), together.parameters(), strict=True):
                one.copy_(many[r : r + 1])
        for a, b in zip(gradients(alone, objective, {"state": x[3 * r : 3 * r + 3]}), found, strict=True):
            assert torch.allclose(a[0], b[r], rtol=1e-10, atol=1e-14)


def test_a_replica_that_is_not_finite_leaves_the_others_alone():
    objective = GeneralizedTeacherForcing(0.2)
    model, x = network(), windows()
    truth = gradients(model, objective, {"state": x})
    with torch.no_grad():
        model.shift[0] = 1e200
    value = objective(model, {"state": x})
    assert math.isfinite(float(value.detach()))
    model.zero_grad()
    value.backward()
    for weight, good in zip(model.parameters(), truth, strict=True):
        assert not weight.grad[0].any()
        assert torch.equal(weight.grad[1], good[1])


def test_no_replica_left_is_an_error_that_training_sees():
    model = network()
    with torch.no_grad():
        model.shift.fill_(1e200)
    assert math.isnan(float(GeneralizedTeacherForcing(0.2)(model, {"state": windows()}).detach()))


def test_the_inverse_of_a_linear_observation_has_a_gradient_in_the_first_state_only():
    torch.manual_seed(0)
    model, x = network(linear_observation=True), windows()
    objective = GeneralizedTeacherForcing(0.4)
    found = gradients(model, objective, {"state": x})
    # The same by plain automatic differentiation.
    model.zero_grad()
    matrix = model.observation.matrix
    inverse = torch.linalg.pinv(matrix)
    data = x.unflatten(0, (2, 3))
    z, total = torch.einsum("rml,rsl->rsm", inverse, data[:, :, 0]), 0.0
    for t in range(1, 13):
        z = model.piecewise_linear()(z)
        total = total + (torch.einsum("rlm,rsm->rsl", matrix, z) - data[:, :, t]).square().sum() / (3 * 12 * 3)
        z = 0.6 * z + 0.4 * torch.einsum("rml,rsl->rsm", inverse.detach(), data[:, :, t])
    total.backward()
    for weight, gradient in zip(model.parameters(), found, strict=True):
        assert torch.allclose(weight.grad, gradient, rtol=1e-9, atol=1e-12)


def test_masked_values_count_neither_as_errors_nor_for_the_forcing():
    model, x = network(replicas=1), windows(count=2)
    good = torch.ones_like(x, dtype=torch.bool)
    good[0, 4, 1] = False
    spoiled = x.clone()
    spoiled[0, 4, 1] = 1e6
    objective = GeneralizedTeacherForcing(0.3)
    found = [float(objective(model, {"state": v, "state_mask": good}).detach()) for v in (x, spoiled)]
    assert found[0] == found[1]
    assert found[0] != float(objective(model, {"state": x}).detach())
    # Instant 4 of window 0 is not forced: by hand.
    step, total, count = model.piecewise_linear(), 0.0, 0
    for w in range(2):
        z = x[w, 0]
        for t in range(1, 13):
            z = step(z[None])[0]
            total += float(((z - x[w, t]).square() * good[w, t]).sum().detach())
            count += int(good[w, t].sum())
            if bool(good[w, t].all()):
                z = 0.7 * z + 0.3 * x[w, t]
    assert found[0] == pytest.approx(total / count, rel=1e-12)


def test_a_window_without_its_first_instant_does_not_count():
    model, x = network(replicas=1), windows(count=2)
    good = torch.ones_like(x, dtype=torch.bool)
    good[0, 0, 2] = False
    objective = GeneralizedTeacherForcing(0.3)
    found = float(objective(model, {"state": x, "state_mask": good}).detach())
    assert found == pytest.approx(float(objective(model, {"state": x[1:]}).detach()), rel=1e-12)


def test_errors_of_the_warm_up_do_not_count():
    model, x = network(replicas=1), windows(count=2)
    step, z, total = model.piecewise_linear(), x[None, :, 0], 0.0
    for t in range(1, 13):
        z = step(z)
        if t > 5:
            total += float((z - x[None, :, t]).square().sum().detach()) / (2 * 7 * 3)
        z = 0.7 * z + 0.3 * x[None, :, t]
    objective = GeneralizedTeacherForcing(0.3, warm_up=5)
    assert float(objective(model, {"state": x}).detach()) == pytest.approx(total, rel=1e-12)


def test_inputs_drive_the_step_that_they_come_before():
    model = network(replicas=1, inputs=2)
    start, s = torch.randn(1, 4, 3, dtype=torch.float64), torch.randn(4, 31, 2, dtype=torch.float64)
    with torch.no_grad():
        orbit = torch.cat([start[:, :, None], model(start, 30, s[None, :, :-1])], 2)[0]
    objective = GeneralizedTeacherForcing(0.2, inputs="input")
    assert float(objective(model, {"state": orbit, "input": s}).detach()) < 1e-28
    assert float(objective(model, {"state": orbit, "input": s.roll(1, 1)}).detach()) > 1e-4


def test_in_evaluation_all_replicas_see_all_windows():
    model, x = network(), windows(count=5)
    model.eval()
    each = [float(GeneralizedTeacherForcing(0.2).errors(model, {"state": x})[r].detach()) for r in range(2)]
    assert float(GeneralizedTeacherForcing(0.2)(model, {"state": x}).detach()) == pytest.approx(sum(each) / 2, rel=1e-12)
    assert int(model.updates) == 0


def test_windows_beyond_a_multiple_of_the_replicas_are_left_out():
    x = windows(count=7)
    a, b = (float(GeneralizedTeacherForcing(0.2)(network(), {"state": v}).detach()) for v in (x, x[:6]))
    assert a == b


def test_the_rule_goes_on_with_training_only():
    model, x = network(), windows()
    objective = GeneralizedTeacherForcing(Adaptive("bound", first=0.1, every=2))
    objective(model, {"state": x})
    assert int(model.updates) == 1
    assert bool((model.strength > 0.1).all())


def test_one_step_with_full_forcing_is_regression():
    model, x = network(replicas=1), windows()
    predicted = rollout(model.piecewise_linear(), x[None, :, :-1].flatten(1, 2), 1)[:, :, 0]
    mean = float((predicted - x[:, 1:].flatten(0, 1)).square().mean().detach())
    assert float(GeneralizedTeacherForcing(1.0)(model, {"state": x}).detach()) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize(
    ("objective", "batch", "told"),
    [
        (GeneralizedTeacherForcing(0.2), {"x": torch.zeros(4, 5, 3)}, "batch: got x, need state"),
        (GeneralizedTeacherForcing(0.2), {"state": torch.zeros(4, 5, 2)}, r"state: got shape \(4, 5, 2\)"),
        (GeneralizedTeacherForcing(0.2), {"state": torch.zeros(4, 2, 3)}, "at least 3 instants"),
        (GeneralizedTeacherForcing(0.2, warm_up=4), {"state": torch.zeros(4, 5, 3)}, "warm_up: got 4"),
    ],
)
def test_batches_that_do_not_fit_are_named(objective, batch, told):
    with pytest.raises(ValueError, match=told):
        objective(PLRNN(3), batch)


def test_settings_out_of_range_are_named():
    for wrong, told in (({"latent_penalty": -1.0}, "latent_penalty"), ({"warm_up": -1}, "warm_up"), ({"alpha": 2.0}, "alpha")):
        with pytest.raises(ValueError, match=told):
            GeneralizedTeacherForcing(**({"alpha": 0.1} | wrong))
    with pytest.raises(ValueError, match="model: got Linear"):
        GeneralizedTeacherForcing(0.1)(torch.nn.Linear(3, 3), {"state": torch.zeros(2, 4, 3)})


def test_a_network_with_inputs_and_a_series_of_another_precision_are_refused():
    model = network(replicas=1, inputs=2)
    with pytest.raises(ValueError, match="inputs: got None, the network has 2"):
        GeneralizedTeacherForcing(0.1)(model, {"state": windows()})
    with pytest.raises(ValueError, match=r"state: got torch\.float32, the network is torch\.float64"):
        GeneralizedTeacherForcing(0.1)(network(), {"state": windows().float()})
