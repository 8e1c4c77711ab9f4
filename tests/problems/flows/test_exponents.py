import math

import pytest
import torch

from sciml.numerics.runge_kutta import advanced
from sciml.problems.flows.exponents import flow_exponents
from sciml.problems.flows.flow import Flow
from sciml.problems.flows.named import FLOWS


def starts(name, count, apart=1e-3):
    """Orbits from around the point on the attractor."""
    system = FLOWS[name]
    noise = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.tensor(system.start, dtype=torch.float64) + apart * torch.tensor(system.scale, dtype=torch.float64) * noise


@pytest.mark.parametrize("name", ["lorenz", "rossler", "lorenz_84", "finance", "aizawa", "duffing"])
def test_all_exponents_together_are_the_mean_divergence(name):
    system, start = FLOWS[name], starts(name, 4)
    found = flow_exponents(system, start, steps=200, transient=10)
    path = system.trajectory(start, [i * system.step for i in range(211)])[:, 10:]
    divergence = system.divergence(path)
    # by the trapezoidal rule, whose error is that of its two ends
    mean = (divergence[:, 1:] + divergence[:, :-1]).mean(1) / 2
    assert (found.exponents.sum(-1) - mean).abs().max() < 1e-3 * mean.abs().max()


def test_those_of_a_linear_flow_are_the_real_parts_of_its_eigenvalues():
    # x and y turn while they shrink, z shrinks faster
    spiral = Flow(
        "spiral",
        lambda s, a: (-a * s[0] - 3 * s[1], 3 * s[0] - a * s[1], -2 * s[2]),
        start=(1.0, 0.0, 1.0),
        scale=(1.0, 1.0, 1.0),
        step=0.01,
        interval=0.01,
        exponent=1.0,
        equation="",
        source="",
        parameters={"a": 0.5},
    )
    start, a = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.5, 0.2], dtype=torch.float64)
    found = flow_exponents(spiral, start, steps=100, transient=600, step=0.02, parameters={"a": a}).exponents
    # A turning pair has only the mean of its two. What is left of the transient is exp(-1.5 * 12), of the scheme
    # (3 * 0.02)^5 / 120 in 0.02.
    pair = found[:, :2].mean(1)
    assert (pair + a).abs().max() < 1e-6
    assert (found[:, 2] + 2).abs().max() < 1e-6


def test_the_largest_of_lorenz_is_that_of_the_literature():
    # 0.9056 (Sprott, Chaos and Time-Series Analysis, 2003)
    lorenz, count = FLOWS["lorenz"], 512
    first = starts("lorenz", count, apart=0.5).T.contiguous()
    begun = advanced(lorenz.rate(lorenz.settled(None)), first, 0.01, 400).T.contiguous()
    found = flow_exponents(lorenz, begun, steps=500, transient=500, step=0.01).exponents
    error = found.std(0) / math.sqrt(count)
    assert error[0] < 0.02
    assert abs(float(found[:, 0].mean()) - 0.9056) < 4 * error[0]
    assert abs(float(found[:, 1].mean())) < 4 * error[1]
    assert (found.sum(-1) + 41 / 3).abs().max() < 1e-3 * 41 / 3


def test_a_bad_start_is_refused():
    with pytest.raises(ValueError, match=r"start: got torch\.float32"):
        flow_exponents(FLOWS["lorenz"], torch.zeros(3), steps=20, transient=0)
    with pytest.raises(ValueError, match=r"state: got shape \(4,\), lorenz has 3 components"):
        flow_exponents(FLOWS["lorenz"], torch.zeros(4, dtype=torch.float64), steps=20, transient=0)
    with pytest.raises(ValueError, match="step: got 0"):
        flow_exponents(FLOWS["lorenz"], torch.zeros(3, dtype=torch.float64), steps=20, transient=0, step=0.0)
