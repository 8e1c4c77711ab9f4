import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet, MIONet
from sciml.operators.deeponet.derivatives import derivatives
from sciml.operators.deeponet.grids import OnGrid
from sciml.operators.deeponet.modified import ModifiedDeepONet
from sciml.operators.deeponet.networks import MLP, Flattened
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError
from sciml.training.checkpoint import Field, load, save


def test_the_modified_operator_is_that_of_the_paper():
    torch.manual_seed(0)
    model = ModifiedDeepONet(3, 2, width=5, depth=2).double()
    u, y = torch.randn(3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)

    def dense(mlp, x):
        (layer,) = mlp.layers
        return layer.weight @ x + layer.bias

    one, other = torch.tanh(dense(model.of_function, u)), torch.tanh(dense(model.of_point, y))
    a, b = u, y
    for branch, trunk in zip(model.branch, model.trunk, strict=True):
        gate_a, gate_b = torch.tanh(dense(branch, a)), torch.tanh(dense(trunk, b))
        a, b = gate_a * one + (1 - gate_a) * other, gate_b * one + (1 - gate_b) * other
    expected = dense(model.last_of_function, a) @ dense(model.last_of_point, b)
    torch.testing.assert_close(model(u[None], y[None])[0, 0, 0], expected, rtol=1e-12, atol=0)


def test_all_layouts_give_the_same_answers(tmp_path):
    torch.manual_seed(0)
    model = ModifiedDeepONet(6, 2, width=7, depth=3, channels=2).double()
    u, y = torch.randn(4, 1, 6, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    cartesian = model(u, y)
    assert cartesian.shape == (4, 5, 2)
    torch.testing.assert_close(model(u, y.expand(4, 5, 2)), cartesian, rtol=0, atol=1e-12)
    rows = torch.randint(20, (9,))
    torch.testing.assert_close(model(u, y[rows % 5], rows // 5), cartesian.flatten(0, 1)[rows], rtol=0, atol=1e-12)
    in_bytes = model(u, y[rows % 5], (rows // 5).to(torch.uint8))
    torch.testing.assert_close(in_bytes, cartesian.flatten(0, 1)[rows], rtol=0, atol=1e-12)
    (slope,) = derivatives(model, u, y, [(1,)])
    step = torch.tensor([0.0, 1e-6], dtype=torch.float64)
    torch.testing.assert_close(slope, (model(u, y + step) - model(u, y - step)) / 2e-6, rtol=1e-6, atol=1e-8)
    save(tmp_path / "model.pt", model, domain=None, inputs=[Field("u")], targets=[Field("s", channels=2)])
    assert torch.equal(load(tmp_path / "model.pt")(u, y), cartesian)
    with pytest.raises(ValueError, match="ModifiedDeepONet is not a sum of products"):
        SquaredError(FunctionsAtPoints(("u",), ("s",), Domain.box((1.0, 1.0), (2, 2), "neumann", "cells")), gram=True)(
            model, {"u": u, "s": torch.zeros(4, 2, 2, 2, dtype=torch.float64)}
        )


def test_an_operator_on_a_grid_maps_fields_to_fields(tmp_path):
    torch.manual_seed(0)
    grid = Domain.box((1.0, 2.0), (3, 4), "neumann", "both_ends")
    inner = DeepONet(Flattened(MLP((2 * 25, 8))), MLP((2, 8)), channels=2, split="both")
    model = OnGrid(inner, grid)
    a = torch.randn(3, 2, 5, 5)
    answer = model(a)
    assert answer.shape == (3, 2, 3, 4)
    torch.testing.assert_close(answer[1, 1, 2, 3], inner(a, torch.tensor([[1.0, 2.0]]))[1, 0, 1])
    save(tmp_path / "model.pt", model, domain=grid, inputs=[Field("a", channels=2)], targets=[Field("s", channels=2)])
    assert torch.equal(load(tmp_path / "model.pt")(a), answer)
    two = OnGrid(MIONet([Flattened(MLP((25, 8))), Flattened(MLP((50, 8)))], MLP((2, 8))), grid, inputs=(1, 2))
    b = torch.randn(3, 3, 5, 5)
    torch.testing.assert_close(two(b)[:, 0].flatten(1), two.operator((b[:, :1], b[:, 1:]), two.points.float())[..., 0])
    with pytest.raises(ValueError, match=r"a: got 2 channels, the input functions have \(1, 2\)"):
        two(a)
