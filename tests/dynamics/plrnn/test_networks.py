"""Networks: the formulas of the papers, numbers of parameters, replicas that do not see each other."""

import math

import pytest
import torch

import sciml
from dynamics.plrnn.networks_of_all_kinds import formula, networks
from sciml.data.normalise import Normaliser
from sciml.dynamics.forecaster import Forecaster
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import PLRNN, AlmostLinearRNN, DendriticPLRNN, ShallowPLRNN
from sciml.training.checkpoint import save

NAMES = sorted(networks())


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_the_formula_of_the_paper(name):
    network = networks()[name]
    z = torch.randn(2, 50, 4, dtype=torch.float64)
    after = network.piecewise_linear()(z)
    for r in range(2):
        truth = torch.stack([formula(name, network, r, state) for state in z[r]])
        assert torch.allclose(after[r], truth, rtol=0, atol=1e-14 * 20)


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_is_that_of_automatic_differentiation(name):
    network = networks()[name].piecewise_linear().detached()
    z = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    found = network.jacobian(z)
    truth = torch.autograd.functional.jacobian(lambda x: network(x).sum((0, 1, 2)), z).movedim(0, -2)
    assert torch.allclose(found, truth, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_form_are_those_of_the_formula(name):
    network = networks()[name]
    z = torch.randn(2, 4, dtype=torch.float64)
    found = torch.autograd.grad(network.piecewise_linear()(z).sin().sum(), list(network.parameters()))
    plain = sum(formula(name, network, r, z[r]).sin().sum() for r in range(2))
    truth = torch.autograd.grad(plain, list(network.parameters()))
    for a, b in zip(found, truth, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


def test_numbers_of_parameters_are_the_published_ones():
    assert count(ShallowPLRNN(3, 50)) == 356
    assert count(ShallowPLRNN(3, 50, linear_observation=True)) == 365
    assert count(ShallowPLRNN(5, 250, linear_observation=True)) == 2785
    assert count(ShallowPLRNN(16, 512, observed=64, linear_observation=True)) == 17952
    # Published as 3245 and 18099, where W has its diagonal.
    assert count(DendriticPLRNN(35, 50, observed=5)) == 3245 - 35
    assert count(DendriticPLRNN(105, 40, observed=64)) == 18099 - 105
    assert count(PLRNN(4)) == 4 + 12 + 4
    assert count(AlmostLinearRNN(20, 2, observed=3)) == 2 * 20 + 20 * 20 + 17 * 3


def test_a_clipped_network_is_an_unclipped_one_of_twice_the_width():
    clipped = networks()["clipped shallow"]
    wide = ShallowPLRNN(4, 14, clipped=False, replicas=2).double()
    with torch.no_grad():
        wide.decay.copy_(clipped.decay)
        wide.shift.copy_(clipped.shift)
        wide.inner.copy_(torch.cat([clipped.inner, clipped.inner], 1))
        wide.offset.copy_(torch.cat([clipped.offset, torch.zeros_like(clipped.offset)], 1))
        wide.weight.copy_(torch.cat([clipped.weight, -clipped.weight], 2))
    z = torch.randn(2, 100, 4, dtype=torch.float64)
    assert torch.allclose(clipped.piecewise_linear()(z), wide.piecewise_linear()(z), rtol=0, atol=1e-14)


def test_a_clipped_network_with_small_decay_stays_bounded():
    torch.manual_seed(0)
    network = ShallowPLRNN(3, 40, replicas=5).double()
    with torch.no_grad():
        network.weight *= 30
        network.offset.normal_()
        # |z| <= (sum over hidden units of |W| |h2| + |h1|) / (1 - |A|), from any start inside.
        bound = (network.weight.abs() @ network.offset.abs()[..., None]).amax() / (1 - network.decay.abs().amax())
    orbit = network.forecast(torch.zeros(5, 1, 1, 3, dtype=torch.float64), 3000)
    assert 1 < float(orbit.abs().amax()) <= float(bound)


def test_a_bounded_network_stays_bounded_whatever_it_has_learned():
    torch.manual_seed(0)
    network = ShallowPLRNN(3, 40, bounded=True, replicas=5).double()
    assert float(torch.tanh(network.decay.detach()).amax()) <= 0.99 + 1e-6
    with torch.no_grad():
        network.decay.fill_(3.0)
        network.offset.normal_()
        network.shift.normal_()
        push = (network.weight.abs() @ network.offset.abs()[..., None]).squeeze(-1) + network.shift.abs()
        bound = push.amax() / (1 - math.tanh(3.0))
    orbit = network.forecast(torch.zeros(5, 1, 1, 3, dtype=torch.float64), 3000)
    assert 10 < float(orbit.abs().amax()) <= float(bound)


def test_only_a_clipped_network_can_be_bounded():
    with pytest.raises(ValueError, match="bounded: got True for a network that is not clipped"):
        ShallowPLRNN(3, 40, clipped=False, bounded=True)
    assert torch.isfinite(ShallowPLRNN(1, 5, bounded=True).decay).all()


@pytest.mark.parametrize("linear", [False, True])
def test_a_replica_forecasts_as_it_would_alone(linear):
    for name, network in networks(linear_observation=linear).items():
        series = torch.randn(2, 3, 6, 4, dtype=torch.float64)
        together = network.forecast(series, 5)
        for r in range(2):
            alone = networks(linear_observation=linear)[name]
            with torch.no_grad():
                for weight in alone.parameters():
                    weight.copy_(weight[r : r + 1].expand_as(weight).clone())
            assert torch.allclose(alone.forecast(series, 5)[r], together[r], rtol=1e-12, atol=1e-12)


def test_states_that_are_not_observed_begin_at_a_linear_map_and_stay_unforced():
    network = ShallowPLRNN(5, 6, observed=2, replicas=3)
    x = torch.randn(3, 4, 2)
    start = network.observation.start(x)
    assert torch.equal(start[..., :2], x)
    assert torch.allclose(start[1, 2, 2:], network.observation.others[1] @ x[1, 2], atol=1e-6)
    assert network.observation.forced().tolist() == [1, 1, 0, 0, 0]
    assert torch.equal(network.observation(start), x)


def test_a_linear_observation_is_inverted_on_its_range():
    network = ShallowPLRNN(3, 6, observed=8, linear_observation=True, replicas=2).double()
    z = torch.randn(2, 7, 3, dtype=torch.float64)
    x = network.observation(z)
    assert torch.allclose(network.observation.start(x), z, atol=1e-12)
    assert torch.equal(network.observation.targets(x), network.observation.start(x).detach())
    assert not network.observation.targets(x).requires_grad
    sizes = torch.linalg.svdvals(network.observation.matrix[0])
    assert torch.allclose(network.observation.penalty()[0], (1 - sizes[0] / sizes[-1]) ** 2, rtol=1e-6)


def test_series_are_given_and_answered_in_their_own_units():
    units = Normaliser((1.0, -2.0, 30.0), (2.0, 0.5, 8.0))
    torch.manual_seed(0)
    plain = ShallowPLRNN(3, 6, replicas=2).double()
    scaled = ShallowPLRNN(3, 6, replicas=2, units=units).double()
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 1, 3, dtype=torch.float64)
    shift, scale = (torch.tensor(v, dtype=torch.float64) for v in (units.shift, units.scale))
    assert torch.allclose(scaled.forecast(x * scale + shift, 7), plain.forecast(x, 7) * scale + shift, rtol=1e-12, atol=1e-12)
    windows, objective = torch.randn(4, 9, 3, dtype=torch.float64), GeneralizedTeacherForcing(0.3)
    a = float(objective(plain, {"state": windows}).detach())
    assert float(objective(scaled, {"state": windows * scale + shift}).detach()) == pytest.approx(a, rel=1e-12)


def test_the_penalty_is_least_where_the_network_keeps_its_state():
    network = ShallowPLRNN(3, 6, inputs=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.decay.fill_(1)
    assert float(network.penalty().detach()) == 0
    with torch.no_grad():
        network.decay.fill_(0.5)
        network.input_weight.fill_(2)
    assert float(network.penalty().detach()) == pytest.approx(3 * 0.25 + 6 * 4)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_and_loaded(name, tmp_path):
    network = networks()[name].float()
    network.units = Normaliser([0.5] * 4, [2.0] * 4)
    save(tmp_path / "x.pt", network, domain=None, inputs=(), targets=())
    again = sciml.load(tmp_path / "x.pt")
    series = torch.randn(2, 1, 1, 4)
    assert torch.equal(again.forecast(series, 20), network.forecast(series, 20))
    assert isinstance(again, Forecaster)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: ShallowPLRNN(0, 5), "latent: got 0"),
        (lambda: ShallowPLRNN(3, 0), "hidden: got 0"),
        (lambda: ShallowPLRNN(3, 5, replicas=0), "replicas: got 0"),
        (lambda: ShallowPLRNN(3, 5, observed=4), "observed: got 4"),
        (lambda: PLRNN(3, units=Normaliser((0.0,), (1.0,))), "units: got 1 components, the network has 3"),
        (lambda: AlmostLinearRNN(3, 4), "nonlinear: got 4"),
        (lambda: DendriticPLRNN(3, 0), "bases: got 0"),
        (lambda: PLRNN(3).drive(torch.zeros(1, 2, 3)), "s: got 3 inputs, the network has 0"),
    ],
)
def test_bad_sizes_are_named(wrong, told):
    with pytest.raises((ValueError, TypeError), match=told):
        wrong()


def test_a_replica_alone_forecasts_as_it_does_among_the_others():
    for name, model in networks(replicas=3, linear_observation=True).items():
        x = torch.randn(3, 2, 4, dtype=torch.float64)
        with torch.no_grad():
            assert torch.allclose(model.replica(1)(x[1:2], 5), model(x, 5)[1:2], rtol=0, atol=1e-13), name
    for index in (-1, 3):
        with pytest.raises(ValueError, match=f"index: got {index}, need 0 to 2"):
            model.replica(index)
