"""Engines: the same trajectories and gradients, whatever is forced, driven and learned."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.plrnn.networks_of_all_kinds import networks
from sciml.dynamics.plrnn import newton
from sciml.dynamics.plrnn.networks import AlmostLinearRNN, ShallowPLRNN
from sciml.dynamics.plrnn.rollout import Forcing, check_engine, rollout

NAMES = sorted(networks())


def everything(network, engine, start, steps, forcing, drive, weights):
    """States, and gradients with respect to weights, start and drive."""
    leaves = [start.detach().requires_grad_(), *network.parameters()]
    driven = None if drive is None else drive.detach().requires_grad_()
    states = rollout(network.piecewise_linear(), leaves[0], steps, forcing=forcing, drive=driven, engine=engine)
    wanted = leaves if driven is None else [*leaves, driven]
    found = torch.autograd.grad((states * weights).sum(), wanted, allow_unused=True)
    return [states.detach(), *(torch.zeros(()) if g is None else g for g in found)]


def setting(replicas, sequences, steps, latent, dtype, *, shape=(None, None, None), forced=True, driven=False, seed=0):
    """Random start, forcing of a strength that varies along the axes of `shape` that are not None, drive, weights."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=draw, dtype=torch.float64).to(dtype)

    sizes = [1 if axis is None else axis for axis in shape]
    strength = torch.rand(replicas, *sizes, generator=draw, dtype=torch.float64).to(dtype) * 0.8 + 0.1
    forcing = Forcing(normal(replicas, sequences, steps - 1, latent), strength) if forced else None
    drive = 0.3 * normal(replicas, sequences, steps, latent) if driven else None
    return normal(replicas, sequences, latent), steps, forcing, drive, normal(replicas, sequences, steps, latent)


def distances(found, truth):
    return [float((a - b).abs().amax() / b.abs().amax().clamp(min=1e-30)) for a, b in zip(found, truth, strict=True)]


@pytest.mark.parametrize("engine", ["fused", "newton"])
@pytest.mark.parametrize("name", NAMES)
def test_trajectories_and_gradients_are_those_of_the_plain_loop(name, engine):
    network = networks()[name]
    given_ = setting(2, 3, 60, 4, torch.float64, driven=True)
    assert max(distances(everything(network, engine, *given_), everything(network, "loop", *given_))) < 1e-10


@pytest.mark.parametrize("engine", ["fused", "newton"])
@pytest.mark.parametrize("name", NAMES)
def test_in_single_precision_they_agree_to_1e_5(name, engine):
    network = networks()[name].float()
    given_ = setting(2, 3, 30, 4, torch.float32)
    assert max(distances(everything(network, engine, *given_), everything(network, "loop", *given_))) < 1e-5


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from(NAMES),
    st.tuples(*[st.booleans()] * 5),
    st.integers(0, 99),
)
def test_every_shape_of_strength_is_taken(replicas, sequences, steps, name, choice, seed):
    network = networks(replicas)[name]
    shape = (sequences if choice[0] else None, steps - 1 if choice[1] else None, 4 if choice[2] else None)
    given_ = setting(replicas, sequences, steps, 4, torch.float64, shape=shape, forced=choice[3], driven=choice[4], seed=seed)
    truth = everything(network, "loop", *given_)
    for engine in ("fused", "newton"):
        assert max(distances(everything(network, engine, *given_), truth)) < 1e-10


def test_long_sequences_in_pieces_have_the_same_gradients(monkeypatch):
    network = networks()["clipped shallow"]
    given_ = setting(2, 2, 50, 4, torch.float64)
    truth = everything(network, "loop", *given_)
    monkeypatch.setattr(newton, "BLOCK", 7)
    monkeypatch.setattr("sciml.dynamics.plrnn.fused.NUMBERS", 100)
    for engine in ("fused", "newton"):
        assert max(distances(everything(network, engine, *given_), truth)) < 1e-10


def test_forcing_with_full_strength_lets_no_gradient_through_time():
    network = networks()["shallow"].piecewise_linear().detached()
    start, steps, forcing, _, _ = setting(2, 3, 10, 4, torch.float64)
    full = Forcing(forcing.targets, torch.ones(2, 1, 1, 1, dtype=torch.float64))
    start.requires_grad_()
    states = rollout(network, start, steps, forcing=full)
    (gradient,) = torch.autograd.grad(states[:, :, 1:].sum(), start)
    assert not gradient.any()
    assert torch.allclose(states[:, :, 4], network(forcing.targets[:, :, 3]), atol=1e-13)


def test_forcing_without_strength_is_a_free_run():
    network = networks()["clipped shallow"].piecewise_linear().detached()
    start, steps, forcing, _, _ = setting(2, 3, 10, 4, torch.float64)
    none = Forcing(forcing.targets, torch.zeros(2, 1, 1, 1, dtype=torch.float64))
    assert torch.equal(rollout(network, start, steps, forcing=none), rollout(network, start, steps))


def test_newton_on_a_linear_map_needs_two_sweeps():
    torch.manual_seed(0)
    network = ShallowPLRNN(3, 5, replicas=1).double()
    with torch.no_grad():
        network.weight.zero_()  # the first sweep is exact, the second finds that nothing changed
    counts: list[int] = []
    newton.newton_states(
        network.piecewise_linear().detached(), torch.randn(1, 4, 3, dtype=torch.float64), 1000, None, None, None, counts=counts
    )
    assert counts == [2]


def test_newton_needs_one_sweep_where_there_is_one_region():
    torch.manual_seed(0)
    network = AlmostLinearRNN(3, 0, replicas=1).double().piecewise_linear().detached()
    counts: list[int] = []
    start = torch.randn(1, 4, 3, dtype=torch.float64)
    states = newton.newton_states(network, start, 1000, None, None, None, counts=counts)
    assert counts == [1]
    assert torch.allclose(states, rollout(network, start, 1000, engine="loop"), rtol=0, atol=1e-12)


def test_newton_goes_step_by_step_where_it_does_not_converge():
    torch.manual_seed(0)
    network = ShallowPLRNN(3, 30, clipped=False, replicas=2).double()
    with torch.no_grad():
        network.weight[1] *= 40
    start, counts = torch.ones(2, 1, 3, dtype=torch.float64), []
    network = network.piecewise_linear().detached()
    found = newton.newton_states(network, start, 2000, None, None, None, counts=counts)
    truth = rollout(network, start, 2000, engine="loop")
    assert len(counts) > 1
    assert not truth[1].isfinite().all()
    assert torch.allclose(found[0], truth[0], rtol=0, atol=1e-12)
    held = truth[1].isfinite() & (truth[1].abs() < 1e200)
    assert torch.allclose(found[1][held], truth[1][held], rtol=1e-9)
    assert torch.equal(found[1].isfinite(), truth[1].isfinite())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_newton_loses_no_digits_to_a_guess_far_from_the_answer(dtype, tolerance):
    torch.manual_seed(0)
    network = AlmostLinearRNN(3, 0, replicas=1).to(dtype).piecewise_linear().detached()
    start, targets = torch.randn(1, 4, 3, dtype=dtype), 1e6 * torch.randn(1, 4, 99, 3, dtype=dtype)
    forcing = Forcing(targets, torch.zeros(1, 1, 1, 1, dtype=dtype))
    found = rollout(network, start, 100, forcing=forcing, engine="newton")
    truth = rollout(network, start, 100, engine="loop")
    assert float((found - truth).abs().max() / truth.abs().max()) < tolerance


@pytest.mark.parametrize("outlier", [False, True])
def test_newton_solves_each_replica_and_sequence_to_its_own_size(outlier):
    torch.manual_seed(1)
    network = ShallowPLRNN(3, 20, replicas=2).double()
    start, targets = torch.randn(2, 3, 3, dtype=torch.float64), torch.randn(2, 3, 999, 3, dtype=torch.float64)
    with torch.no_grad():
        network.weight *= 3
        network.offset.normal_()
        if outlier:
            targets[:, 1, 500] = 1e9
        else:  # a linear map, solved at once, to large numbers
            network.weight[1] = 0
            network.shift[1] = 1e9
    forcing = Forcing(targets, torch.full((2, 1, 1, 1), 0.05, dtype=torch.float64))
    solve = partial(rollout, network.piecewise_linear().detached(), start, 1000, forcing=forcing)
    gaps = (solve(engine="newton") - solve(engine="loop")).abs()[0]
    assert float(gaps[0::2].max()) < 1e-9
    assert float(gaps[1, :400].max()) < 1e-9


@pytest.mark.parametrize("engine", ["loop", "fused", "newton"])
def test_a_replica_that_is_not_finite_leaves_the_others_alone(engine):
    network = networks()["clipped shallow"]
    given_ = setting(2, 3, 300, 4, torch.float64)
    whole = everything(network, engine, *given_)
    with torch.no_grad():
        network.decay[1] = torch.nan
    found = everything(network, engine, *given_)
    for mine, before in zip(found, whole, strict=True):
        assert torch.allclose(mine[0], before[0], rtol=0, atol=1e-10)


def test_only_engines_that_there_are():
    with pytest.raises(ValueError, match="engine: got 'x', need one of loop, fused, newton"):
        check_engine("x")


@pytest.mark.parametrize(
    ("steps", "instants", "driven", "told"),
    [(0, 2, None, "steps: got 0"), (5, 3, None, "forcing.targets: got 3"), (5, 4, 4, "drive: got 4")],
)
def test_lengths_that_do_not_fit_are_named(steps, instants, driven, told):
    network = networks()["shallow"].piecewise_linear()
    forcing = Forcing(torch.zeros(2, 1, instants, 4, dtype=torch.float64), torch.zeros(2, 1, 1, 1, dtype=torch.float64))
    drive = None if driven is None else torch.zeros(2, 1, driven, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=told):
        rollout(network, torch.zeros(2, 1, 4, dtype=torch.float64), steps, forcing=forcing, drive=drive)
