import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sciml.training.optimisers import SGD, Adam, Constant, Exponential, OneCycle


@pytest.mark.parametrize(("warmup", "steps"), [(0.2, 100), (0.2, 7), (0.35, 1000), (0.1, 200)])
def test_one_cycle_is_that_of_torch(warmup, steps):
    weight = torch.nn.Parameter(torch.zeros(()))
    oracle = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        oracle, max_lr=3e-4, total_steps=steps, pct_start=warmup, div_factor=2, final_div_factor=100
    )
    expected = []
    for _ in range(steps):
        expected.append(oracle.param_groups[0]["lr"])
        oracle.step()
        scheduler.step() if len(expected) < steps else None
    ours = [3e-4 * OneCycle(warmup)(step, steps) for step in range(steps)]
    assert ours == pytest.approx(expected, rel=1e-12)


@given(steps=st.integers(1, 10_000), warmup=st.floats(0, 0.99), data=st.data())
def test_one_cycle_stays_between_its_ends_for_any_number_of_steps(steps, warmup, data):
    factor = OneCycle(warmup)(data.draw(st.integers(0, steps - 1)), steps)
    assert 1 / 200 <= factor <= 1


def test_one_cycle_refuses_to_warm_up_for_ever():
    with pytest.raises(ValueError, match=r"warmup: got 1\.0"):
        OneCycle(warmup=1.0)


def steps_of(rule, weight, gradients):
    weight = torch.nn.Parameter(weight.clone())
    optimiser = rule.build([weight])
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
    return weight.detach()


GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(5, generator=GENERATOR, dtype=torch.float64)
GRADIENTS = torch.randn(4, 5, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_takes_the_steps_of_the_paper(decoupled):
    """Kingma & Ba (2015), algorithm 1; Loshchilov & Hutter (2019), algorithm 2."""
    rate, decay, w = 0.1, 0.3, WEIGHT.clone()
    m = v = torch.zeros(5, dtype=torch.float64)
    for t, g in enumerate(GRADIENTS, 1):
        if decoupled:
            w = w - rate * decay * w
        else:
            g = g + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    ours = steps_of(Adam(rate, weight_decay=decay, decoupled=decoupled), WEIGHT, GRADIENTS)
    assert torch.allclose(ours, w, rtol=1e-13)


def test_adam_takes_complex_weights():
    weight = torch.view_as_complex(WEIGHT[:4].reshape(2, 2).contiguous())
    gradients = torch.view_as_complex(GRADIENTS[:, :4].reshape(4, 2, 2).contiguous())
    ours = torch.view_as_real(steps_of(Adam(0.1), weight, gradients)).flatten()
    assert torch.allclose(ours, steps_of(Adam(0.1), WEIGHT[:4], GRADIENTS[:, :4]), rtol=1e-13)


def test_sgd_takes_the_step_of_its_name():
    assert torch.allclose(steps_of(SGD(0.1), WEIGHT, GRADIENTS), WEIGHT - 0.1 * GRADIENTS.sum(0), rtol=1e-14)
    assert [Constant()(step, 3) for step in range(3)] == [1.0, 1.0, 1.0]


def test_rules_have_at_most_ten_arguments():
    assert all(len(inspect.signature(rule).parameters) <= 10 for rule in (Adam, SGD, OneCycle))


def test_an_exponential_schedule_falls_by_the_same_factor_to_its_end():
    rule = Exponential(end=1e-4)
    assert [rule(step, 20) for step in (0, 5, 10, 20)] == pytest.approx([1, 1e-1, 1e-2, 1e-4], rel=1e-12)
    with pytest.raises(ValueError, match="end: got 0"):
        Exponential(end=0)
