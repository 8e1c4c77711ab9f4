"""Damped Gauss-Newton steps: the exact normal equations, planted networks found again, replicas apart."""

import pytest
import torch

from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.levenberg_marquardt import levenberg_marquardt, normal_equations
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.rollout import rollout
from sciml.dynamics.plrnn.strength import Constant, Kalman
from sciml.training.polish import polish

from .networks_of_all_kinds import networks

KINDS = tuple(networks())


def windows(count=5, steps=9, size=4, seed=1):
    return torch.randn(count, steps + 1, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_automatic_differentiation(model, objective, batch, names):
    """J'J and J'e of the errors that `objective` takes the mean of squares of, with the loop engine."""
    weights = [model.get_parameter(name) for name in names]
    task = objective.task(model, batch)

    def errors(*values):
        held = dict(zip(names, values, strict=True))
        return torch.func.functional_call(_Errors(model, objective, batch), {f"model.{k}": v for k, v in held.items()}, ())

    jacobian = torch.cat([j.flatten(1) for j in torch.autograd.functional.jacobian(errors, tuple(weights))], 1)
    assert task.truth.shape[0] == 1
    return jacobian.mT @ jacobian, jacobian.mT @ errors(*weights).detach()


class _Errors(torch.nn.Module):
    def __init__(self, model, objective, batch):
        super().__init__()
        self.model, self.objective, self.batch = model, objective, batch

    def forward(self):
        task, network = self.objective.task(self.model, self.batch), self.model.piecewise_linear()
        drive = None if task.inputs is None else self.model.drive(task.inputs)
        states = rollout(network, task.start, task.truth.shape[2], forcing=task.forcing, drive=drive, engine="loop")
        gaps = (self.model.observation(states) - task.truth)[:, :, self.objective.warm_up :]
        if task.counted is not None:
            gaps = gaps * task.counted[:, :, self.objective.warm_up :]
        return gaps.flatten()


def agree(model, objective, batch):
    model.eval()
    names = [name for name, _ in model.named_parameters() if not name.startswith("observation.")]
    matrix, gradient = normal_equations(model, objective.task(model, batch), objective.warm_up, names, dtype=torch.float64)
    expected, pull = by_automatic_differentiation(model, objective, batch, names)
    assert torch.allclose(matrix, expected, rtol=0, atol=1e-11 * float(expected.abs().max()))
    assert torch.allclose(gradient, pull, rtol=0, atol=1e-11 * float(pull.detach().abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_normal_equations_are_those_of_the_jacobian_of_all_errors(kind):
    agree(networks(replicas=1)[kind], GeneralizedTeacherForcing(0.4, warm_up=2), {"state": windows()})


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_with_an_observation_inputs_and_missing_values(kind):
    model = networks(replicas=1, observed=6, linear_observation=True, inputs=2)[kind]
    good = torch.rand(5, 10, 6, generator=torch.Generator().manual_seed(2)) > 0.1
    batch = {"state": windows(size=6), "state_mask": good, "s": windows(size=2, seed=3)}
    agree(model, GeneralizedTeacherForcing(0.4, inputs="s"), batch)


def test_they_are_where_only_some_states_are_seen_and_in_any_number_of_pieces(monkeypatch):
    monkeypatch.setattr("sciml.dynamics.plrnn.levenberg_marquardt.HELD", 4 * 300)
    agree(networks(replicas=1, observed=2)["clipped shallow"], GeneralizedTeacherForcing(0.4), {"state": windows(size=2)})


def planted(replicas=1, seed=0):
    """A network, windows of its own orbits, and the same network with its numbers shaken."""
    torch.manual_seed(seed)
    model = ShallowPLRNN(2, 6, replicas=1).double()
    with torch.no_grad():
        for weight in (model.weight, model.inner, model.offset):
            weight += 0.7 * torch.randn_like(weight)
        start = torch.randn(1, 200, 2, dtype=torch.float64)
        orbits = torch.cat([start[:, :, None], model(start, 10)], 2)[0]
        shaken = ShallowPLRNN(2, 6, replicas=replicas).double()
        for weight, truth in zip(shaken.parameters(), model.parameters(), strict=True):
            weight.copy_(truth + 0.02 * torch.randn_like(weight))
    return shaken, {"state": orbits}


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_network_is_found_again_to_the_last_digit_where_l_bfgs_still_searches(seed):
    objective = GeneralizedTeacherForcing(0.3)
    model, batch = planted(seed=seed)
    done = levenberg_marquardt(model, objective, batch, iterations=50)
    other, _ = planted(seed=seed)
    searched = polish(other, objective, batch, evaluations=200)
    assert done.first[0] > 1e-3
    assert done.last[0] < 1e-28
    assert searched.last > 1e-12


def test_what_is_told_is_the_objective_of_each_replica_and_none_rises():
    objective, (model, batch) = GeneralizedTeacherForcing(0.3), planted(replicas=3)
    before = objective.errors(model.eval(), batch).tolist()
    done = levenberg_marquardt(model, objective, batch, iterations=3)
    assert done.first == pytest.approx(before, rel=1e-12)
    assert done.last == pytest.approx(objective.errors(model, batch).tolist(), rel=1e-12)
    assert all(last < first for first, last in zip(done.first, done.last, strict=True))
    assert done.iterations == (3, 3, 3)


def test_the_strength_is_that_of_the_network_as_it_came():
    objective, (model, batch) = GeneralizedTeacherForcing(Kalman(1e-3)), planted()
    task = objective.task(model.eval(), batch)
    done = levenberg_marquardt(model, objective, batch, iterations=3)
    assert done.last == pytest.approx(objective.errors_of(model, task).tolist(), rel=1e-12)
    assert done.last != pytest.approx(objective.errors(model, batch).tolist(), rel=1e-12)


def test_a_replica_comes_to_where_it_would_come_alone():
    objective, (together, batch) = GeneralizedTeacherForcing(0.3), planted(replicas=2)
    alone = together.replica(1)
    levenberg_marquardt(together, objective, batch, iterations=4)
    levenberg_marquardt(alone, objective, batch, iterations=4)
    for many, one in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(many[1:], one)


def test_a_replica_that_is_not_finite_stays_and_leaves_the_others_alone():
    objective, (model, batch) = GeneralizedTeacherForcing(0.3), planted(replicas=2)
    with torch.no_grad():
        model.decay[0] = torch.nan
    weight = model.weight[0].clone()
    done = levenberg_marquardt(model, objective, batch, iterations=2)
    assert torch.equal(model.weight[0], weight)
    assert done.iterations[0] == 0
    assert done.last[1] < done.first[1]


def test_the_observation_and_the_mode_stay_as_they_are():
    model = networks(observed=4, linear_observation=True)["clipped shallow"].train()
    matrix = model.observation.matrix.detach().clone()
    levenberg_marquardt(model, GeneralizedTeacherForcing(0.4, observation_penalty=1e-3), {"state": windows()}, iterations=2)
    assert torch.equal(model.observation.matrix, matrix)
    assert model.training


def test_single_precision_and_penalties_of_the_network_are_refused():
    model, batch = planted()
    with pytest.raises(ValueError, match=r"variable state: got torch\.float32, need float64"):
        levenberg_marquardt(model, GeneralizedTeacherForcing(0.3), {"state": batch["state"].float()}, iterations=1)
    with pytest.raises(ValueError, match=r"latent_penalty: got 0\.1, need 0"):
        levenberg_marquardt(model, GeneralizedTeacherForcing(0.3, latent_penalty=0.1), batch, iterations=1)


@pytest.mark.parametrize("engine", ["fused", "newton"])
def test_a_replica_that_runs_away_stays_and_the_others_go_down(engine):
    torch.manual_seed(0)
    model = ShallowPLRNN(3, 8, replicas=2).double().train()
    with torch.no_grad():
        model.decay[1] = 10
    decay = model.decay.detach().clone()
    objective = GeneralizedTeacherForcing(0.1, engine=engine)
    done = levenberg_marquardt(model, objective, {"state": windows(count=3, steps=400, size=3)}, iterations=2)
    assert done.last[0] < done.first[0]
    assert (done.first[1], done.iterations[1]) == (float("inf"), 0)
    assert torch.equal(model.decay[1], decay[1])
    assert model.training


def test_replicas_keep_strengths_of_their_own():
    objective, (model, batch) = GeneralizedTeacherForcing(Constant((0.05, 0.4))), planted(replicas=2)
    done = levenberg_marquardt(model, objective, batch, iterations=3)
    assert done.last == pytest.approx(objective.errors(model.eval(), batch).tolist(), rel=1e-12)
    assert all(last < first for first, last in zip(done.first, done.last, strict=True))


def test_parameters_without_a_gradient_stay():
    objective, (model, batch) = GeneralizedTeacherForcing(0.3), planted()
    model.decay.requires_grad_(False)
    decay = model.decay.clone()
    with torch.no_grad():
        done = levenberg_marquardt(model, objective, batch, iterations=2)
    assert torch.equal(model.decay, decay)
    assert done.last[0] < done.first[0]


def test_what_cannot_be_learned_from_is_refused_and_the_mode_stays():
    objective, (model, batch) = GeneralizedTeacherForcing(0.3), planted()
    model.train()
    nothing = {"state": batch["state"], "state_mask": torch.zeros_like(batch["state"], dtype=torch.bool)}
    with pytest.raises(ValueError, match="state: every value that could count is masked"):
        levenberg_marquardt(model, objective, nothing, iterations=1)
    holed = {"state": batch["state"].clone()}
    holed["state"][0, 3] = torch.nan
    with pytest.raises(ValueError, match=r"state: \d+ values are not finite, need all, and a mask state_mask"):
        levenberg_marquardt(model, objective, holed, iterations=1)
    with pytest.raises(ValueError, match="state: got no window"):
        levenberg_marquardt(model, objective, {"state": batch["state"][:0]}, iterations=1)
    with pytest.raises(ValueError, match="damping, iterations: got 0, 1"):
        levenberg_marquardt(model, objective, batch, iterations=1, damping=0)
    with pytest.raises(ValueError, match=r"damping, iterations: got 0\.001, -1"):
        levenberg_marquardt(model, objective, batch, iterations=-1)
    for weight in model.parameters():
        weight.requires_grad_(False)
    with pytest.raises(ValueError, match="none of its parameters wants a gradient"):
        levenberg_marquardt(model, objective, batch, iterations=1)
    assert model.training
