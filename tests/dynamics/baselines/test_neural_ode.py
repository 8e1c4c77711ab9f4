import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.neural_ode import NeuralODE
from sciml.dynamics.baselines.objectives import ForcedRollout
from sciml.training.fit import fit
from sciml.training.optimisers import Adam


def turning(step, substeps, small=1e-6):
    """x' = (-x2, x1), for numbers so small that tanh is the identity to rounding."""
    model = NeuralODE(2, 2, step=step, substeps=substeps).double()
    with torch.no_grad():
        model.layers[0].weight.copy_(small * torch.eye(2, dtype=torch.float64))
        model.layers[1].weight.copy_(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64) / small)
        for layer in model.layers:
            layer.bias.zero_()
    return model


@pytest.mark.parametrize(("observed", "hidden", "count"), [(5, 450, 4955), (64, 139, 17995)])
def test_the_number_of_parameters_is_the_published_one(observed, hidden, count):
    assert sum(p.numel() for p in NeuralODE(observed, hidden).parameters()) == count


def test_the_error_of_a_step_falls_with_the_fourth_power_of_the_substep():
    start = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    end = torch.tensor([math.cos(1), math.sin(1)], dtype=torch.float64)
    errors = [float((turning(1.0, n).advance(start) - end).detach().norm()) for n in (4, 8, 16)]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes == pytest.approx([4, 4], abs=0.05)  # the next term of the error is smaller by h, at right angles


def test_a_step_of_a_linear_field_is_the_taylor_polynomial_of_its_exponential():
    z = sum((0.5j) ** k / math.factorial(k) for k in range(5))
    found = turning(0.5, 1).advance(torch.tensor([[[1.0, 0.0]]]).double())[0, 0]
    assert found.tolist() == pytest.approx([z.real, z.imag], abs=1e-12)  # tanh departs from the identity by 1e-12 / 3


def test_a_path_is_that_of_another_solver():
    torch.manual_seed(0)
    model = NeuralODE(3, 6, 2, step=0.2, substeps=2, replicas=2).double()
    start = torch.randn(2, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        times = 0.2 * torch.arange(6, dtype=torch.float64)
        theirs = odeint(lambda t, x: model.rate(x), start, times, method="dopri5", rtol=1e-11, atol=1e-12)
        ours = model(start, 5)
    bound = 1e-5  # h = 0.1: a multiple of h⁴ = 1e-4 by the fifth derivative / 120, which is of order 1 here
    assert (ours - theirs[1:].movedim(0, 2)).abs().max() < bound
    finer = NeuralODE(3, 6, 2, step=0.2, substeps=8, replicas=2).double()
    finer.load_state_dict(model.state_dict())
    assert (finer(start, 5) - theirs[1:].movedim(0, 2)).abs().max() < bound / 4**4


def test_a_rotation_is_learned(tmp_path):
    torch.manual_seed(0)
    angle = 0.1 * np.arange(400)
    np.save(tmp_path / "circle.npy", np.stack([np.cos(angle), np.sin(angle)], 1))
    train = stream(tmp_path / "circle.npy", batch_size=128, window=Window(3, 0))
    model = NeuralODE(2, 16, step=0.1, replicas=2)
    fit(model, ForcedRollout(0.5), train, steps=300, optimiser=Adam(0.03))
    x = torch.from_numpy(np.load(tmp_path / "circle.npy")).float()
    found = model.forecast(x[None, :-1, None].expand(2, -1, -1, -1), 1)[:, :, 0]
    assert float((found - x[1:]).square().sum(-1).mean().sqrt()) < 1e-3


def test_bad_sizes_are_refused():
    for arguments in ({"hidden": 0}, {"depth": 0}, {"substeps": 0}, {"replicas": 0}, {"observed": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}: got 0, need at least 1"):
            NeuralODE(**({"observed": 2, "hidden": 3} | arguments))
    with pytest.raises(ValueError, match="step: got 0"):
        NeuralODE(2, 3, step=0.0)
