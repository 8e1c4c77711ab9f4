"""Rules for the strength of forcing, on networks whose exponents are known."""

import math

import pytest
import torch

from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.rollout import Forcing, rollout
from sciml.dynamics.plrnn.strength import (
    Adaptive,
    Annealed,
    Bounded,
    Constant,
    Kalman,
    LyapunovMatched,
    Signal,
    Sparse,
    log_norm_of_product,
    matched,
)


def diagonal(*rates, replicas=1):
    """A linear map, whose Jacobian is the same everywhere."""
    network = ShallowPLRNN(len(rates), 5, replicas=replicas).double()
    with torch.no_grad():
        network.weight.zero_()
        network.decay.copy_(torch.tensor(rates, dtype=torch.float64))
    return network


def asked(rule, network, steps=20):
    targets = torch.randn(network.replicas, 3, steps, network.latent, dtype=torch.float64)
    return rule(network, Signal(targets))


@pytest.mark.parametrize("estimator", ["arithmetic", "product", "logarithm", "largest", "bound"])
def test_every_estimator_finds_the_expansion_of_a_linear_map(estimator):
    network = diagonal(1.25, 0.5)
    alpha = asked(Adaptive(estimator, first=0.0), network)
    assert float(alpha) == pytest.approx(1 - 1 / 1.25, rel=1e-12)


def test_a_map_that_contracts_is_not_forced():
    for rule in (Adaptive("product", first=0.0), LyapunovMatched(first=0.0)):
        assert float(asked(rule, diagonal(0.9, 0.5))) == 0


def test_a_larger_value_is_taken_at_once_and_a_smaller_one_approached():
    network = diagonal(1.25, 0.5)
    assert float(asked(Adaptive(first=0.1), network)) == pytest.approx(0.2, rel=1e-12)
    network = diagonal(1.25, 0.5)
    rule = Adaptive(first=1.0, decay=0.9, every=5)
    assert float(asked(rule, network)) == pytest.approx(0.9 + 0.1 * 0.2, rel=1e-12)
    network.updates += 3
    assert float(asked(rule, network)) == pytest.approx(0.92, rel=1e-6)  # not due
    network.updates += 2
    assert float(asked(rule, network)) == pytest.approx(0.9 * 0.92 + 0.02, rel=1e-6)
    network.eval()
    assert float(asked(rule, network)) == pytest.approx(0.9 * 0.92 + 0.02, rel=1e-6)


def test_the_matched_strength_holds_the_largest_exponent_at_zero():
    network = diagonal(1.25, 0.5)
    targets, first = torch.zeros(1, 2, 40, 2, dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    alpha = float(matched(network.piecewise_linear().detached(), Signal(targets), first))
    assert (1 - alpha) * 1.25 == pytest.approx(1, rel=1e-12)
    for _ in range(400):
        network.updates += 5
        found = float(asked(LyapunovMatched(decay=0.95), network))
    assert found == pytest.approx(0.2, rel=1e-6)


def test_norms_of_products_neither_overflow_nor_vanish():
    draw = torch.Generator().manual_seed(0)
    few = torch.randn(4, 13, 3, 3, generator=draw, dtype=torch.float64)
    plain = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    for t in range(13):
        plain = few[:, t] @ plain
    truth = torch.linalg.matrix_norm(plain, 2).log()
    assert torch.allclose(log_norm_of_product(few), truth, rtol=1e-12, atol=1e-12)
    for scale in (1e-5, 1e5):
        rotation = scale * torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64).expand(10_000, 2, 2)
        assert float(log_norm_of_product(rotation)) == pytest.approx(10_000 * math.log(scale), rel=1e-12)


def test_annealed_strength_falls_by_the_same_factor_and_stays():
    network = diagonal(0.5, 0.5)
    found = []
    for updates in (0, 50, 100, 500):
        network.updates.fill_(updates)
        found.append(float(asked(Annealed(0.4, 0.1, 100), network)))
    assert found == pytest.approx([0.4, 0.2, 0.1, 0.1], rel=1e-12)


def test_sparse_forcing_sets_every_so_manieth_state():
    alpha = asked(Sparse(3), diagonal(0.5, 0.5, replicas=2), steps=7)
    assert alpha[1, 0, :, 0].tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_replicas_may_have_strengths_of_their_own():
    assert asked(Constant((0.1, 0.3)), diagonal(0.5, 0.5, replicas=2)).flatten().tolist() == [0.1, 0.3]
    with pytest.raises(ValueError, match="alpha: got 3 numbers, the network has 2 replicas"):
        asked(Constant((0.1, 0.3, 0.2)), diagonal(0.5, 0.5, replicas=2))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Constant(1.5), "alpha"),
        (lambda: Constant(float("nan")), "alpha"),
        (lambda: Constant(()), "alpha"),
        (lambda: Annealed(0.0, 0.1, 5), "alpha"),
        (lambda: Sparse(0), "interval"),
        (lambda: Adaptive("median"), "estimator"),
        (lambda: Adaptive(decay=1.0), "decay"),
        (lambda: LyapunovMatched(first=-1.0), "first"),
        (lambda: LyapunovMatched(every=0), "every"),
    ],
)
def test_numbers_out_of_range_are_named(wrong, told):
    with pytest.raises((ValueError, TypeError), match=told):
        wrong()


def test_the_gain_at_a_constant_is_that_of_the_running_mean():
    model = diagonal(1.0)
    found = Kalman(0.0)(model, Signal(torch.randn(1, 2, 50, 1, dtype=torch.float64)))
    assert torch.allclose(found[0, :, :, 0], 1 / torch.arange(2, 52, dtype=torch.float64).expand(2, -1), rtol=1e-12)


@pytest.mark.parametrize(("slope", "drift"), [(1.1, 0.0), (0.9, 1e-3), (1.0, 1e-4), (2.0, 0.1)])
def test_the_gain_of_a_line_comes_to_that_of_the_stationary_filter(slope, drift):
    model = diagonal(slope)
    found = Kalman(drift)(model, Signal(torch.zeros(1, 1, 2000, 1, dtype=torch.float64)))
    # p = slope² p / (p + 1) + drift
    half = (slope**2 + drift - 1) / 2
    p = half + math.sqrt(half**2 + drift)
    assert float(found[0, 0, -1, 0]) == pytest.approx(p / (p + 1), rel=1e-9)


def slow_and_steep():
    """Up a slow slope, z' = 1.05 z + 0.01, then back from above 0.9 by a steep one."""
    model = ShallowPLRNN(1, 1, clipped=False).double()
    numbers = {"decay": 1.05, "shift": 0.01, "inner": 1.0, "offset": -0.9, "weight": -10.05}
    with torch.no_grad():
        for name, value in numbers.items():
            model.get_parameter(name).fill_(value)
    return model


def test_the_gain_leaves_less_error_of_a_true_map_than_any_constant():
    model = slow_and_steep()
    with torch.no_grad():
        start = torch.linspace(0.1, 0.9, 64, dtype=torch.float64)[None, :, None]
        clean = torch.cat([start[:, :, None], model(start, 300)], 2)[0, :, 100:]
        generator = torch.Generator().manual_seed(0)
        noisy = clean + 1e-3 * torch.randn(clean.shape, dtype=torch.float64, generator=generator)
        rules = (Kalman(0.0), 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)
        errors = [float(GeneralizedTeacherForcing(rule, warm_up=20)(model, {"state": noisy})) for rule in rules]
    noise = 1e-6
    assert errors[0] - noise < 0.7 * (min(errors[1:]) - noise)


def test_gradients_over_thousands_of_steps_are_bounded_and_alive():
    model, random = slow_and_steep(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        orbit = model(torch.full((1, 1, 1), 0.5, dtype=torch.float64), 3000)[0, 0]
    series = orbit + 1e-3 * torch.randn(orbit.shape, generator=random, dtype=torch.float64)
    network, targets = model.piecewise_linear().detached(), series[None, None, 1:-1]
    free = log_norm_of_product(network.jacobian(targets[0, :, :200][None]))
    assert float(free) > 20  # e^20 after 200 steps
    strength = Bounded(10.0)(model, Signal(targets))
    states = rollout(network, series[None, None, 0], len(series) - 1, forcing=Forcing(targets, strength))
    entered = torch.lerp(states[:, :, :-1], targets, strength)
    product, norms = torch.eye(1, dtype=torch.float64), []
    for matrix, alpha in zip(network.jacobian(entered)[0, 0, :-1], strength[0, 0, 1:], strict=True):
        product = (1 - alpha) * (matrix @ product)
        norms.append(float(torch.linalg.matrix_norm(product)))
    assert max(norms) < 10 * (1 + 1e-9)
    assert min(norms) > 0.1


def test_nothing_is_forced_where_nothing_grows():
    model = diagonal(0.9, 0.5)
    found = Bounded(2.0)(model, Signal(torch.zeros(1, 2, 30, 2, dtype=torch.float64)))
    assert torch.equal(found[:, :, 1:], torch.zeros(1, 2, 29, 1, dtype=torch.float64))


def test_rules_that_follow_errors_are_refused_where_states_are_not_seen():
    model = ShallowPLRNN(3, 8, observed=2)
    with pytest.raises(ValueError, match="observed: got 2 of 3 states"):
        Kalman()(model, Signal(torch.zeros(1, 1, 5, 3)))
    with pytest.raises(ValueError, match="observed: got 2 of 3 states"):
        Bounded()(model, Signal(torch.zeros(1, 1, 5, 3)))
    with pytest.raises(ValueError, match="limit: got 0"):
        Bounded(0.0)
    with pytest.raises(ValueError, match="drift: got -1"):
        Kalman(-1)


def driven():
    """z' = 0.9 z - relu(0.5 - z) + 1 + s: with s = -0.5 an orbit at 0 meets the slope 1.9."""
    model = ShallowPLRNN(1, 1, clipped=False, inputs=1).double().eval()
    numbers = {"decay": 0.9, "shift": 1.0, "inner": -1.0, "offset": 0.5, "weight": -1.0, "input_weight": 1.0}
    with torch.no_grad():
        for name, value in numbers.items():
            model.get_parameter(name).fill_(value)
    return model, {
        "state": torch.zeros(1, 102, 1, dtype=torch.float64),
        "s": torch.full((1, 102, 1), -0.5, dtype=torch.float64),
    }


def test_rules_along_the_forced_trajectory_follow_what_drives_it():
    model, batch = driven()
    bounded = GeneralizedTeacherForcing(Bounded(10.0), inputs="s").task(model, batch).forcing.strength
    assert float(bounded[0, 0, 10:].max()) == pytest.approx(1 - 1 / 1.9, rel=1e-9)
    rule = LyapunovMatched(first=0.01, decay=0.0, every=1)
    found = GeneralizedTeacherForcing(rule, inputs="s").task(model.train(), batch).forcing.strength
    assert float(found.max()) == pytest.approx(1 - 1 / 1.9, rel=1e-9)


def test_in_a_gap_the_gain_is_nothing_and_the_error_of_the_filter_grows():
    model, drift = diagonal(1.0).eval(), 1e-2
    batch = {"state": torch.randn(1, 402, 1, dtype=torch.float64), "state_mask": torch.ones(1, 402, 1, dtype=torch.bool)}
    batch["state_mask"][:, 201:301] = False
    found = GeneralizedTeacherForcing(Kalman(drift)).task(model, batch).forcing.strength[0, 0, :, 0]
    assert torch.equal(found[200:300], torch.zeros(100, dtype=torch.float64))
    left = float(found[199])  # the variance that the last update leaves, which grows by the drift in 101 steps
    assert float(found[300]) == pytest.approx((left + 101 * drift) / (left + 101 * drift + 1), rel=1e-9)


def test_rules_do_not_look_at_what_a_mask_covers():
    model = slow_and_steep().train()
    seen = torch.full((1, 42, 1), 0.5, dtype=torch.float64)
    covered = {"state": seen.clone(), "state_mask": torch.ones(1, 42, 1, dtype=torch.bool)}
    covered["state"][:, 5:30:2], covered["state_mask"][:, 5:30:2] = 0.95, False
    for rule in (Adaptive("largest", first=0.0, every=1), Adaptive("product", first=0.0, every=1)):
        model.get_buffer("strength").fill_(torch.nan)
        found = GeneralizedTeacherForcing(rule).task(model, covered).forcing.strength
        assert float(found.max()) == pytest.approx(1 - 1 / 1.05, rel=1e-9)


def test_a_bound_holds_again_after_a_gap():
    model = diagonal(1.2).eval()
    batch = {"state": torch.randn(1, 202, 1, dtype=torch.float64), "state_mask": torch.ones(1, 202, 1, dtype=torch.bool)}
    batch["state_mask"][:, 2::2] = False
    left = 1 - GeneralizedTeacherForcing(Bounded(10.0)).task(model, batch).forcing.strength[0, 0, :, 0]
    sizes = torch.cumprod(1.2 * left[1:], 0)
    assert float(sizes.max()) <= 12 * (1 + 1e-9)
