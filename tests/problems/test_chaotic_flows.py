import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from laws import problem_laws
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.generation.card import Card, Storage
from sciml.generation.check import check
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.chaotic_flows import flow
from sciml.problems.flows.named import FLOWS

NONE = Domain(())
NAMES = sorted(FLOWS)
EXACT = ["lorenz", "chua", "aizawa", "hastings_powell", "duffing", "sprott_a"]  # products, quotients and sums


def states(name, count=64, seed=0):
    """Random ones around the attractor, as large as it is."""
    system = FLOWS[name]
    noise = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(system.start) + torch.tensor(system.scale) * noise


@cache
def made(name):
    """A short series of four samples, on or near the attractor."""
    problem = flow(name, frames=20, warm_up=2 * FLOWS[name].interval)
    given = problem.draw(NONE, Seeds(1, range(4)))
    return problem, given, problem.solve(given, NONE)["state"]


@pytest.mark.parametrize("name", NAMES)
def test_a_series_stays_on_the_attractor_and_is_no_fixed_point(name):
    system, (_, _, found) = FLOWS[name], made(name)
    scale = torch.tensor([s or 1.0 for s in system.scale], dtype=torch.float64)
    assert ((found - torch.tensor(system.start)) / scale).abs().max() < 15
    assert ((found.amax(1) - found.amin(1)) / scale).amax(1).min() > 0.05  # in about a fifth of a turn


@pytest.mark.parametrize("name", NAMES)
def test_the_step_keeps_the_local_error_below_the_tolerance(name):
    problem, given, found = made(name)
    assert (problem.residual({**given, "state": found}, NONE) < problem.tolerance).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_orbit_is_that_of_another_method(name):
    system = FLOWS[name]
    times = [0.0, system.interval]
    start = torch.tensor(system.start, dtype=torch.float64)
    found = system.trajectory(start, times, step=system.step / 4)
    true = solve_ivp(
        lambda _, y: system.slope(torch.from_numpy(y)).numpy(),
        (0, times[-1]),
        start.numpy(),
        "DOP853",
        times,
        rtol=1e-11,
        atol=1e-13,
    ).y.T
    # The piecewise linear flow has a kink, at which both methods lose orders.
    assert np.abs(found.numpy() - true).max() < (1e-6 if name == "chua" else 1e-8) * (1 + np.abs(true).max())


@pytest.mark.parametrize("name", ["lorenz", "thomas", "duffing"])
def test_the_error_falls_with_the_fourth_power_of_the_step(name):
    system = FLOWS[name]
    start, end = torch.tensor(system.start, dtype=torch.float64), 16 * system.interval
    ends = [system.trajectory(start, [0.0, end], step=system.interval / n)[-1] for n in (1, 2, 4, 32)]
    errors = [float((end - ends[-1]).norm()) for end in ends[:-1]]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.35)


def test_the_clock_of_the_forced_oscillator_keeps_its_radius_and_a_broken_one_is_seen():
    problem = flow("duffing", frames=120, warm_up=0.5)
    fields = problem.solve(problem.draw(NONE, Seeds(1, range(2))), NONE)
    assert (problem.conserved(fields, NONE)["invariant"] < 1e-7).all()
    fields["state"][1, 100, 2] += 0.1
    assert problem.conserved(fields, NONE)["invariant"].gt(1e-3).tolist() == [False, True]


@pytest.mark.parametrize("name", ["lorenz", "thomas", "hastings_powell", "duffing"])
def test_a_flow_passes_the_laws_of_problems(name):
    problem_laws(flow(name, frames=30, noise=0.05, warm_up=20 * FLOWS[name].interval), NONE, coarse_error=0.0)


def test_ranges_of_parameters_pass_the_laws_and_are_those_of_the_sample():
    problem = flow("lorenz", 20, warm_up=0.1, ranges={"rho": (24.0, 32.0), "sigma": (10.0, 10.0)})
    problem_laws(problem, NONE, coarse_error=0.0)
    given = problem.draw(NONE, Seeds(4, range(3)))
    assert ((given["parameters"] >= torch.tensor([24.0, 10.0])) & (given["parameters"] <= torch.tensor([32.0, 10.0]))).all()
    found = problem.solve(given, NONE)["state"]
    for i in range(3):
        alone = flow("lorenz", 20, warm_up=0.1, parameters={"rho": float(given["parameters"][i, 0])})
        assert torch.equal(alone.solve({"state": given["state"][i : i + 1]}, NONE)["state"][0], found[i])


@pytest.mark.parametrize("name", EXACT)
def test_a_sample_is_the_same_to_the_last_digit_alone_and_beside_others(name):
    problem, _, together = made(name)
    assert torch.equal(problem.solve(problem.draw(NONE, Seeds(1, range(2, 3))), NONE)["state"][0], together[2])


def test_many_states_and_parameters_are_one_call():
    lorenz = FLOWS["lorenz"]
    rho = torch.tensor([[20.0], [28.0]], dtype=torch.float64)
    found = lorenz.trajectory(states("lorenz", 5)[None].expand(2, 5, 3), [0.0, 0.1, 0.2], parameters={"rho": rho})
    assert found.shape == (2, 5, 3, 3)
    alone = lorenz.trajectory(states("lorenz", 5)[3], [0.0, 0.1, 0.2], parameters={"rho": 20.0})
    assert torch.equal(found[0, 3], alone)


def test_observed_is_the_state_with_noise_of_the_size_that_is_asked_for():
    problem = flow("lorenz", frames=1000, interval=0.003, noise=0.05, warm_up=0.5)
    given = problem.draw(NONE, Seeds(1, range(2)))
    found = problem.solve(given, NONE)
    spread = (found["observed"] - found["state"]).std((0, 1)) / torch.tensor(FLOWS["lorenz"].scale)
    assert spread.tolist() == pytest.approx([0.05] * 3, rel=5 / math.sqrt(2 * 2000))  # five standard errors
    assert torch.equal(flow("lorenz", 1000, 0.003, warm_up=0.5).draw(NONE, Seeds(1, range(2)))["state"], given["state"])


def test_gradients_by_the_first_state_are_those_of_differences():
    lorenz = FLOWS["lorenz"]
    start = torch.tensor(lorenz.start, dtype=torch.float64)

    def end(s):
        return lorenz.trajectory(s, [0.0, 0.2])[-1]

    along = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(end, start) @ along
    difference = (end(start + 1e-5 * along) - end(start - 1e-5 * along)) / 2e-5
    assert (slope - difference).abs().max() < 1e-7 * slope.abs().max()


def test_a_set_is_made_checked_and_streamed_as_trajectories_without_a_grid(tmp_path):
    # 4 units of time are beyond the horizon: the end is not compared digit by digit with half the step.
    parameters = {"name": "lorenz", "frames": 81, "interval": 0.05, "noise": 0.05, "warm_up": 0.2}
    card = Card("Lorenz", "sciml.problems.chaotic_flows:flow", 5, NONE, {"train": 3}, parameters, Storage(shard=4, block=4))
    assert Card.from_dict(card.to_dict(), "card") == card
    generate(card, tmp_path / "set", workers=1)
    assert check(tmp_path / "set").faults == []
    batches = stream(tmp_path / "set" / "train", batch_size=2, window=Window(10, 5), dtype=torch.float64)
    batch = next(iter(batches))
    assert {name: tuple(values.shape) for name, values in batch.items() if name in ("state", "observed")} == {
        "state": (2, 10, 3),
        "observed": (2, 10, 3),
    }
    assert batches.set.domain is None
    with pytest.raises(ValueError, match="resolution: got 64, the card has no domain"):
        card.changed(resolution=64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flow("lorentz"), "name: got 'lorentz', need one of lorenz"),
        (lambda: flow("lorenz", frames=1), "frames: got 1"),
        (lambda: flow("lorenz", interval=0.0), "interval: got 0"),
        (lambda: flow("lorenz", noise=-1.0), "noise: got -1"),
        (lambda: flow("lorenz", parameters={"tau": 1.0}), "parameters: got 'tau', lorenz has sigma, rho, beta"),
        (lambda: flow("lorenz", ranges={"tau": (1.0, 2.0)}), "parameters: got 'tau'"),
        (lambda: flow("lorenz", ranges={"rho": (2.0, 1.0)}), "rho: got 1"),
        (
            lambda: flow("lorenz").draw(Domain.box((1.0,), (9,), "open"), Seeds(0, range(1))),
            "domain: got .* a flow has no grid",
        ),
        (lambda: FLOWS["lorenz"].slope(torch.zeros(4)), r"state: got shape \(4,\), lorenz has 3 components"),
    ],
)
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_orbit_that_leaves_is_named():
    problem = flow("sprott_b", frames=5, warm_up=0.0)
    start = torch.tensor([[[1.0, 1.0, 1.0]], [[1e60, -1e60, 1e60]]], dtype=torch.float64)
    with pytest.raises(ValueError, match="variable state, sample 1: leaves for infinity"):
        problem.solve({"state": start}, NONE)
