import math

import pytest
import torch
from torch import nn

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet, HardBoundary
from sciml.operators.deeponet.derivatives import along, derivatives
from sciml.operators.deeponet.factorised import combined, in_pieces
from sciml.operators.deeponet.networks import MLP, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import (
    CoefficientError,
    FunctionsAtPoints,
    RelativeError,
    SquaredError,
    Sum,
    coordinates,
    projected,
    squared_distance,
)
from sciml.operators.deeponet.physics import Boundary, Residual, drawn
from sciml.operators.deeponet.two_step import BasisError

SQUARE = Domain.box((1.0, 2.0), (5, 7), ("neumann", "neumann"), "both_ends")
ON_GRID = FunctionsAtPoints(("u",), ("s",), SQUARE)
AT_POINTS = FunctionsAtPoints(("u",), ("s",), "y")


def model_of(split, channels, sides=False):
    def wide(side):
        return 6 * (channels if split in ("both", side) else 1)

    boundary = HardBoundary(BoxFactor((0.0, None), (1.0, None)), MLP((2, channels))) if sides else None
    trunk = MLP((2, 8, wide("trunk")), "tanh", last_activation=True)
    made = DeepONet(MLP((9, 8, wide("branch")), "tanh"), trunk, channels=channels, split=split, boundary=boundary)
    nn.init.normal_(made.outputs.bias)
    return made


def batch_of(channels, functions=4):
    return {
        "u": torch.randn(functions, 9, dtype=torch.float64),
        "s": torch.randn(functions, channels, *SQUARE.shape, dtype=torch.float64),
    }


def gradients(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("objective", [SquaredError, RelativeError])
@pytest.mark.parametrize("sides", [False, True])
@pytest.mark.parametrize(("split", "channels"), [("both", 1), ("both", 3), ("branch", 3), ("trunk", 3)])
def test_the_gram_form_is_the_loss_by_prediction(objective, sides, split, channels):
    torch.manual_seed(0)
    model, batch = model_of(split, channels, sides).double(), batch_of(channels)
    direct, gram = objective(ON_GRID)(model, batch), objective(ON_GRID, gram=True)(model, batch)
    torch.testing.assert_close(gram, direct, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradients(model, gram), gradients(model, direct), rtol=1e-10, atol=1e-12)


def test_the_squared_error_is_the_mean_over_functions_points_and_channels():
    torch.manual_seed(0)
    model, batch = model_of("both", 2).double(), batch_of(2)
    prediction = model(batch["u"], coordinates(SQUARE)).movedim(2, 1).unflatten(2, SQUARE.shape)
    expected = (prediction - batch["s"]).square().mean()
    torch.testing.assert_close(SquaredError(ON_GRID)(model, batch), expected)
    relative = [SQUARE.norm(prediction[i] - batch["s"][i]).norm() / SQUARE.norm(batch["s"][i]).norm() for i in range(4)]
    torch.testing.assert_close(RelativeError(ON_GRID)(model, batch), torch.stack(relative).mean())


def test_a_small_residual_in_float32_is_taken_by_prediction():
    torch.manual_seed(0)
    model = model_of("both", 1)
    batch = {"u": torch.randn(4, 9)}
    with torch.no_grad():
        exact = model(batch["u"], coordinates(SQUARE).float()).movedim(2, 1).unflatten(2, SQUARE.shape)
        batch["s"] = exact * (1 + 1e-5)
    size = float((1e-5 * exact).square().mean())
    assert float(SquaredError(ON_GRID, gram=True)(model, batch).detach()) == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(("split", "channels"), [("both", 1), ("both", 2), ("branch", 2), ("trunk", 2)])
def test_the_gram_form_in_float32_has_the_digits_of_float64_down_to_where_it_ends(split, channels):
    # Weights are read in float64 as they are in float32, so that the products of the Gram form are all that can round.
    torch.manual_seed(0)
    b = torch.randn(50, 1 if split == "trunk" else channels, 20)
    t = torch.randn(300, 1 if split == "branch" else channels, 20)
    exact = combined(b.double(), t.double())
    s = (exact + 1.01e-3 * exact.square().mean().sqrt() * torch.randn_like(exact)).float()
    gap = (exact - s.double()).square().sum((1, 2))
    assert float(gap.sum() / s.double().square().sum()) == pytest.approx(1.02e-6, rel=0.05)
    # 2e6 products, each exact to 1e-16, of which 1e-6 is left.
    torch.testing.assert_close(squared_distance(b, t, s).sum(), gap.sum(), rtol=1e-7, atol=0)


def test_the_gradient_of_the_gram_form_in_float32_is_that_by_prediction():
    torch.manual_seed(0)
    b, t = torch.randn(50, 1, 20, requires_grad=True), torch.randn(300, 1, 20, requires_grad=True)
    s = torch.randn(50, 300, 1)
    found = torch.autograd.grad(squared_distance(b, t, s).sum(), (b, t))
    expected = torch.autograd.grad((combined(b, t) - s).square().sum(), (b, t))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected[1].abs().max()))


def test_some_points_are_the_same_for_all_functions_and_new_every_time():
    torch.manual_seed(0)
    model, batch = model_of("both", 1).double(), batch_of(1)
    objective = SquaredError(ON_GRID, points=5)
    losses = torch.stack([objective(model, batch).detach() for _ in range(3000)])
    assert losses.std() > 0
    whole = float(SquaredError(ON_GRID)(model, batch).detach())
    assert float(losses.mean()) == pytest.approx(whole, abs=4 * float(losses.std()) / math.sqrt(3000))
    torch.manual_seed(1)
    first = objective(model, batch)
    torch.manual_seed(1)
    gram = SquaredError(ON_GRID, gram=True, points=5)(model, batch)
    torch.testing.assert_close(gram, first)


@pytest.mark.parametrize("gram", [False, True])
def test_the_relative_error_at_some_points_is_zero_where_the_truth_is_met(gram):
    torch.manual_seed(0)
    model = model_of("both", 2).double()
    batch = batch_of(2)
    with torch.no_grad():
        batch["s"] = model(batch["u"], coordinates(SQUARE)).movedim(2, 1).unflatten(2, SQUARE.shape)
    assert float(RelativeError(ON_GRID, gram=gram, points=9)(model, batch).detach()) < 1e-6
    batch["s"] = 2 * batch["s"]
    assert float(RelativeError(ON_GRID, gram=gram, points=9)(model, batch).detach()) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("gap", [3e-2, 1e-2, 1e-3])
def test_gradients_of_the_relative_error_in_float32_keep_their_digits(gap):
    torch.manual_seed(0)
    model, batch = model_of("both", 1), {"u": torch.randn(4, 9)}
    with torch.no_grad():
        met = model(batch["u"], coordinates(SQUARE).float()).movedim(2, 1).unflatten(2, SQUARE.shape)
        batch["s"] = met * (1 + gap * torch.tensor([1.0, -1.0, 1e-2, 3.0])[:, None, None, None])
    exact = gradients(model, RelativeError(ON_GRID)(model, batch))
    found = gradients(model, RelativeError(ON_GRID, gram=True)(model, batch))
    assert float((found - exact).norm() / exact.norm()) < 1e-2


def test_outputs_that_are_not_those_of_the_truth_are_refused():
    model, batch = model_of("both", 1).double(), batch_of(3)
    for objective in (SquaredError(ON_GRID), RelativeError(ON_GRID)):
        with pytest.raises(ValueError, match=r"model: gave shape \(4, 35, 1\), the truth has \(4, 35, 3\)"):
            objective(model, batch)
    for objective in (SquaredError(ON_GRID, gram=True), CoefficientError(ON_GRID), BasisError(ON_GRID)):
        with pytest.raises(ValueError, match="model: has 1 outputs per point, the truth has 3"):
            objective(model, batch)
    flat = {"u": batch["u"], "y": torch.zeros(4, 4, 2, dtype=torch.float64), "s": torch.zeros(4, 4, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"variable s: got values \(4, 4\)"):
        SquaredError(AT_POINTS)(model, flat)


def test_what_an_equation_leaves_has_the_shape_of_the_answers():
    model, batch = model_of("both", 1), {"u": torch.zeros(4, 9)}
    points = torch.rand(4, 2)
    residual = Residual(lambda d, y, batch: d[()] - torch.zeros(4, 4), lambda batch: points, [()], ("u",))
    with pytest.raises(ValueError, match=r"equation: gave shape \(4, 4, 4\), the answers have \(4, 4, 1\)"):
        residual(model, batch)
    with pytest.raises(ValueError, match=r"values: gave shape \(4,\)"):
        Boundary(lambda y, batch: y[:, 0], lambda batch: points, ("u",))(model, batch)


def test_the_basis_of_outputs_that_share_coefficients_is_judged_by_one_set_of_them():
    torch.manual_seed(0)
    model, batch = model_of("trunk", 2).double(), batch_of(2)
    weights = ON_GRID.weights(batch["s"]).sqrt()
    y = coordinates(SQUARE)
    rest = (batch["s"].flatten(2).movedim(1, 2) - model.offset(y)).detach() * weights[:, None]
    basis = model.basis(y).detach() * weights[:, None, None]
    left, right = basis.flatten(0, 1), rest.flatten(1).T
    gap = (left @ torch.linalg.lstsq(left, right, driver="gelsd").solution - right).square().sum(0)
    expected = float((gap / right.square().sum(0)).mean())
    assert float(BasisError(ON_GRID)(model, batch).detach()) == pytest.approx(expected, rel=1e-5)


class Doubled(MLP):
    """A branch of somebody's own that is an MLP, too."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("split", ["both", "branch", "trunk"])
@pytest.mark.parametrize("kind", [MLP, Doubled])
def test_fewer_products_give_the_same_answers(split, kind):
    torch.manual_seed(0)
    model = DeepONet(kind((9, 6, 4), "tanh"), MLP((2, 6, 4), "tanh"), split=split, scale=3.0, shift=1.0).double()
    nn.init.normal_(model.outputs.bias)
    u, y = torch.randn(9, 9, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    torch.testing.assert_close(model(u, y), combined(model.encode(u), model.basis(y)) + model.offset(y))


def test_points_of_each_function_its_own_are_read_from_the_batch():
    torch.manual_seed(0)
    model = model_of("both", 1).double()
    shapes = {"u": (4, 9), "y": (4, 6, 2), "s": (4, 6, 1)}
    batch = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    expected = (model(batch["u"], batch["y"]) - batch["s"]).square().mean()
    torch.testing.assert_close(SquaredError(AT_POINTS)(model, batch), expected)
    with pytest.raises(ValueError, match="needs the same points for all"):
        SquaredError(AT_POINTS, gram=True)(model, batch)


def test_the_error_of_coefficients_and_what_the_basis_cannot_do_make_the_whole():
    torch.manual_seed(0)
    model, batch = model_of("both", 2).double(), batch_of(2)
    weights = ON_GRID.weights(batch["s"])
    y, s = coordinates(SQUARE), batch["s"].flatten(2).movedim(1, 2)
    rest = s - model.offset(y)
    best, _ = projected(model.basis(y), rest, weights)
    missed = rest - torch.einsum("fck,nck->fnc", best, model.basis(y))
    size = (rest.square() * weights[:, None]).sum((1, 2))
    whole = ((model(batch["u"], y) - s).square() * weights[:, None]).sum((1, 2)) / size
    expected = whole.mean() - ((missed.square() * weights[:, None]).sum((1, 2)) / size).mean()
    loss = CoefficientError(ON_GRID)(model, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-10)
    loss.backward()
    assert all(w.grad is None for w in model.trunk.parameters())
    assert all(w.grad.abs().max() > 0 for w in model.branch.parameters())


def test_losses_without_predictions_refuse_what_is_no_sum_of_products():
    class Other(nn.Module):
        def forward(self, u, y):
            return u.sum() * y[None, :, :1]

    batch = batch_of(1)
    for objective in (SquaredError(ON_GRID, gram=True), CoefficientError(ON_GRID)):
        with pytest.raises(ValueError, match="Other is not a sum of products"):
            objective(Other(), batch)
    with pytest.raises(ValueError, match="variable s: not in the batch, which has u"):
        SquaredError(ON_GRID)(Other(), {"u": batch["u"]})
    with pytest.raises(ValueError, match=r"variable s: got shape \(4, 1, 7, 5\), need a field on \(5, 7\)"):
        SquaredError(ON_GRID)(Other(), {"u": batch["u"], "s": batch["s"].mT})


def test_a_sum_adds_weighted_objectives():
    model = nn.Linear(1, 1)
    objective = Sum((2.0, lambda model, batch: model.weight.square().sum()), (0.5, lambda model, batch: batch["x"].mean()))
    batch = {"x": torch.tensor([3.0, 5.0])}
    torch.testing.assert_close(objective(model, batch), 2 * model.weight.square().sum() + 2.0)
    with pytest.raises(ValueError, match="terms: got"):
        Sum()


ORDERS = [(), (0,), (1,), (0, 0), (1, 0), (0, 0, 1)]


def test_derivatives_are_those_of_a_closed_form():
    y = torch.rand(11, 2, dtype=torch.float64)

    def function(points):
        return (torch.sin(2 * points[..., 0]) * torch.exp(points[..., 1]))[..., None]

    a, b = y[:, 0], y[:, 1].exp()
    sine, cosine = torch.sin(2 * a), torch.cos(2 * a)
    expected = [sine * b, 2 * cosine * b, sine * b, -4 * sine * b, 2 * cosine * b, -4 * sine * b]
    for found, want in zip(along(function, y, ORDERS), expected, strict=True):
        torch.testing.assert_close(found[:, 0], want, rtol=1e-13, atol=1e-13)


class Whole(nn.Module):
    """The same operator, not told to be a sum of products."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, u, y):
        return self.inner(u, y)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("split", "channels"), [("both", 1), ("both", 2), ("branch", 2), ("trunk", 2)])
def test_derivatives_of_an_operator_are_those_of_reverse_mode_point_by_point(own, split, channels):
    torch.manual_seed(0)
    model = model_of(split, channels, sides=True).double()
    u, y = torch.randn(3, 9, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)
    y = torch.rand(3, 4, 2, dtype=torch.float64) if own else y
    found = derivatives(model, u, y, ORDERS)
    whole = derivatives(Whole(model), u, y, ORDERS)
    for order, value, other in zip(ORDERS, found, whole, strict=True):
        assert value.shape == (3, 4, channels)
        torch.testing.assert_close(other, value, rtol=1e-11, atol=1e-11)
        for f, n, c in ((0, 1, 0), (2, 3, channels - 1)):
            place = (y[f, n] if own else y[n]).clone().requires_grad_()
            slope = model(u[f : f + 1], place[None])[0, 0, c]
            for axis in order:
                slope = torch.autograd.grad(slope, place, create_graph=True)[0][axis]
            torch.testing.assert_close(value[f, n, c], slope, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("activation", ["tanh", "sine", "relu", "gelu", "silu"])
@pytest.mark.parametrize("features", [False, True])
def test_derivatives_that_go_through_the_layers_together_are_those_of_tangents(activation, features):
    torch.manual_seed(0)
    layers = MLP((5 if features else 2, 8, 8, 6), activation, last_activation=features)
    trunk = Chain([PeriodicFeatures((1.0, None), waves=2), layers]) if features else layers
    model = DeepONet(MLP((9, 6)), trunk).double()
    for layer in layers.layers:
        nn.init.normal_(layer.bias)
    u, y = torch.randn(3, 9, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)
    orders = [(), (1,), (0, 0), (1, 0), (1, 1)]
    for one, other in zip(derivatives(model, u, y, orders), derivatives(Whole(model), u, y, orders), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    gradients_of = [
        torch.cat(
            [
                g.flatten()
                for g in torch.autograd.grad(
                    sum(d.square().sum() for d in derivatives(m, u, y, orders)), list(model.parameters()), allow_unused=True
                )
                if g is not None
            ]
        )
        for m in (model, Whole(model))
    ]
    torch.testing.assert_close(*gradients_of, rtol=1e-10, atol=1e-10)


def test_weights_are_trained_through_derivatives():
    torch.manual_seed(0)
    model = model_of("both", 1).double()
    u, y = torch.randn(3, 9, dtype=torch.float64), torch.rand(4, 2, dtype=torch.float64)
    weight = model.trunk.layers[0].weight

    def value():
        return derivatives(model, u, y, [(0, 0)])[0].square().sum()

    (slope,) = torch.autograd.grad(value(), weight)
    with torch.no_grad():
        weight[2, 1] += 1e-5
        above = float(value())
        weight[2, 1] -= 2e-5
        below = float(value())
    assert float(slope[2, 1]) == pytest.approx((above - below) / 2e-5, rel=1e-6)


def test_orders_that_do_not_exist_are_named():
    model, u, y = model_of("both", 1), torch.zeros(1, 9), torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"orders: got \(2,\), the points have coordinates 0 to 1"):
        derivatives(model, u, y, [(2,)])
    with pytest.raises(ValueError, match="orders: got none"):
        derivatives(model, u, y, [])


def test_the_heat_equation_is_learned_from_the_equation_alone():
    # s_t = s_xx / (4 π²) on a period, from a sin(2πx) + b cos(2πx): the answer decays as exp(-t).
    torch.manual_seed(0)
    features = PeriodicFeatures((1.0, None), waves=1)
    model = DeepONet(MLP((2, 4), bias=False), Chain([features, MLP((3, 24, 4), "tanh")]), bias=False)
    batch = {"a": torch.randn(64, 2)}

    def start(y, batch):
        x = 2 * math.pi * y[..., 0]
        return (batch["a"] @ torch.stack([torch.sin(x), torch.cos(x)]))[..., None]

    side = Boundary(start, lambda batch: torch.stack([torch.linspace(0, 1, 20), torch.zeros(20)], 1), ("a",))
    residual = Residual(
        lambda d, y, batch: d[(1,)] - d[(0, 0)] / (4 * math.pi**2), drawn(60, (0.0, 0.0), (1.0, 1.0)), [(1,), (0, 0)], ("a",)
    )
    objective = Sum((1.0, residual), (5.0, side))
    rule = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(700):
        loss = objective(model, batch)
        rule.zero_grad()
        loss.backward()
        rule.step()
    y = torch.rand(200, 2)
    truth = start(y, batch) * torch.exp(-y[:, 1:])
    assert float((model(batch["a"], y).detach() - truth).norm() / truth.norm()) < 0.02


def test_masked_truths_are_refused_and_not_counted_as_zeros():
    model, batch = model_of("both", 2).double(), batch_of(2)
    good = torch.ones_like(batch["s"], dtype=torch.bool)
    assert torch.equal(SquaredError(ON_GRID)(model, batch | {"s_mask": good}), SquaredError(ON_GRID)(model, batch))
    good[1, 0, 2, 3] = False
    with pytest.raises(ValueError, match="s_mask: 1 values of the batch are masked"):
        SquaredError(ON_GRID)(model, batch | {"s_mask": good})


@pytest.mark.parametrize("objective", [SquaredError, RelativeError])
def test_a_number_of_points_is_at_least_one(objective):
    with pytest.raises(ValueError, match="points: got 0"):
        objective(ON_GRID, points=0)


def test_gradients_are_on_again_between_pieces():
    model = model_of("both", 1).double()
    pieces = in_pieces(model, torch.randn(3, 9, dtype=torch.float64), torch.rand(8, 2, dtype=torch.float64).split(4))
    assert not next(pieces).requires_grad
    assert torch.is_grad_enabled()
