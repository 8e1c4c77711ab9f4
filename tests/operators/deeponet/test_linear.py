import numpy as np
import pytest
import torch

from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.linear import LinearOperator, polynomials, solve_last_layer
from sciml.operators.deeponet.networks import MLP


def samples(functions, points, own):
    """s = 1 + (a + 2 b y)(1 - y) of u = (a, b, a - b)."""
    torch.manual_seed(functions)
    a, b = torch.randn(2, functions, dtype=torch.float64)
    y = torch.rand(*([functions] if own else []), points, 1, dtype=torch.float64)
    place = y[..., 0] if own else y[None, :, 0]
    s = 1 + (a[:, None] + 2 * b[:, None] * place) * (1 - place)
    return torch.stack([a, b, a - b], 1), y, s[..., None]


@pytest.mark.parametrize("own", [False, True])
def test_a_linear_map_to_polynomials_is_found_to_rounding(own):
    model = LinearOperator.of(*samples(50, 9, own), degree=4)
    assert model.components.count == 2  # of three numbers two are free
    u, y, s = samples(20, 30, own)
    torch.testing.assert_close(model(u, y), s, rtol=0, atol=1e-12)


def test_polynomials_are_those_of_chebyshev_on_the_box():
    y = torch.rand(40, 2, dtype=torch.float64) * torch.tensor([3.0, 1.0]) - 1
    found = polynomials(y, (-1.0, -1.0), (2.0, 0.0), 5)
    x = [2 * (y[:, i].numpy() - low) / size - 1 for i, (low, size) in enumerate(((-1, 3), (-1, 1)))]
    expected = np.polynomial.chebyshev.chebvander2d(*x, (5, 5))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_too_few_answers_are_refused():
    with pytest.raises(ValueError, match="s: got 20 answers for 48 unknowns"):
        LinearOperator.of(*samples(5, 4, True), degree=15)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_no_other_last_layer_is_better(own, bias):
    u, y, s = samples(60, 9, own)
    model = DeepONet(MLP((3, 5, 4), "tanh", bias=bias), MLP((1, 6, 4), "tanh"), scale=0.5).double()
    layer = model.branch.layers[-1]
    solve_last_layer(model, u, y, s)
    loss = (model(u, y) - s).square().sum()
    gradients = torch.autograd.grad(loss, list(layer.parameters()))
    size = float(loss.detach()) * sum(float(w.detach().norm()) for w in layer.parameters())
    assert all(float(g.norm()) < 1e-6 * max(1.0, size) for g in gradients)


def test_a_last_layer_that_cannot_be_solved_for_is_named():
    u, y, s = samples(60, 9, False)
    with pytest.raises(ValueError, match="need one output and a branch that ends in a linear layer"):
        solve_last_layer(DeepONet(MLP((3, 4), last_activation=True), MLP((1, 4))).double(), u, y, s)
    with pytest.raises(ValueError, match=r"got torch\.float32, need float64"):
        solve_last_layer(DeepONet(MLP((3, 4)), MLP((1, 4))), u, y, s)
