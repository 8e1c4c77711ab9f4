import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sciml.metrics.functions import global_relative_l2, mean_relative_l2
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet, HardBoundary, MIONet
from sciml.operators.deeponet.derivatives import derivatives
from sciml.operators.deeponet.factorised import in_pieces
from sciml.operators.deeponet.networks import (
    MLP,
    Beside,
    Chain,
    ConvolutionalBranch,
    Flattened,
    FourierFeatures,
    PeriodicFeatures,
    ResidualMLP,
    StackedMLP,
)
from sciml.operators.deeponet.physics import Boundary, drawn
from sciml.training.checkpoint import Field, load, save

SPLITS = ("both", "branch", "trunk")


class Mean(nn.Module):
    """A branch of somebody's own: mean and square mean, mixed."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.mix = nn.Linear(2, outputs)

    def forward(self, u):
        flat = u.flatten(1)
        return self.mix(torch.stack([flat.mean(1), flat.square().mean(1)], 1))


def branch_of(kind, outputs):
    if kind == "mlp":
        return Flattened(MLP((12, 8, outputs), "tanh"))
    if kind == "cnn":
        return ConvolutionalBranch((12,), 1, (3, 4), (outputs,), "tanh")
    return Mean(outputs)


def terms(side, split, channels, count=5):
    return count * (channels if split in ("both", side) else 1)


def operator(split, kind, inputs, channels=2):
    trunk = MLP((2, 8, terms("trunk", split, channels)), "tanh", last_activation=True)
    branches = [branch_of(kind, terms("branch", split, channels)) for _ in range(inputs)]
    if inputs == 1:
        return DeepONet(branches[0], trunk, channels=channels, split=split)
    return MIONet(branches, trunk, channels=channels, split=split)


def read_weights(file, widths_branch=(101, 100, 100, 100), widths_trunk=(2, 100, 100, 100)):
    """A scalar, then bias and kernel of each layer."""
    numbers, at = torch.from_numpy(np.fromfile(file, "<f4")), 1
    layers = []
    for n, m in (*pairwise(widths_branch), *pairwise(widths_trunk)):
        layers.append((numbers[at + m : at + m + n * m].view(n, m), numbers[at : at + m]))
        at += m + n * m
    assert at == len(numbers)
    return float(numbers[0]), layers[:3], layers[3:]


@pytest.mark.parametrize(
    ("length", "mean", "whole", "within"), [("0.5", 1.069684e-3, 6.87848e-4, 1e-7), ("0.2", 0.168421, 0.1491082, 1e-5)]
)
def test_published_weights_give_the_published_errors(published_data, length, mean, whole, within):
    folder = published_data / "deeponet_poisson"
    bias, branch, trunk = read_weights(folder / "model.data-00000-of-00001")
    branch, trunk = ([(kernel.double(), b.double()) for kernel, b in layers] for layers in (branch, trunk))
    model = DeepONet.from_arrays(branch, trunk, bias, trunk_activation="gelu_tanh")
    test = np.load(folder / f"poisson_test_ls_{length}_5082.npz")
    u, y, s = (torch.from_numpy(test[name]).double() for name in ("X_test0", "X_test1", "y_test"))
    with torch.no_grad():
        prediction = model(u, y)
    assert float(mean_relative_l2(prediction, s[..., None])) == pytest.approx(mean, abs=within)
    assert float(global_relative_l2(prediction, s[..., None])) == pytest.approx(whole, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SPLITS),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 99),
)
def test_all_layouts_give_the_same_answers(split, inputs, channels, functions, points, sides, seed):
    torch.manual_seed(seed)
    boundary = HardBoundary(BoxFactor((0.0, None), (1.0, None)), MLP((2, channels))) if sides else None
    trunk = MLP((2, 8, terms("trunk", split, channels)), "tanh", last_activation=True)
    branches = [branch_of("mlp", terms("branch", split, channels)) for _ in range(inputs)]
    scale = tuple(range(1, channels + 1))
    model = MIONet(branches, trunk, channels=channels, split=split, scale=scale, shift=0.5, boundary=boundary).double()
    u = tuple(torch.randn(functions, 1, 12, dtype=torch.float64) for _ in range(inputs))
    y = torch.rand(points, 2, dtype=torch.float64)
    cartesian = model(u, y)
    assert cartesian.shape == (functions, points, channels)
    own = model(u, y.expand(functions, points, 2))
    torch.testing.assert_close(own, cartesian, rtol=0, atol=1e-12)
    # Ragged: any choice of pairs in any order; with all functions repeated, triples.
    rows = torch.randint(functions * points, (17,))
    ragged = model(u, y[rows % points], rows // points)
    torch.testing.assert_close(ragged, cartesian.flatten(0, 1)[rows], rtol=0, atol=1e-12)
    triples = model(tuple(part[rows // points] for part in u), y[rows % points], torch.arange(17))
    torch.testing.assert_close(triples, cartesian.flatten(0, 1)[rows], rtol=0, atol=1e-12)
    # A mini-batch of both axes is the outer choice.
    some, few = torch.randint(functions, (3,)), torch.randint(points, (4,))
    both = model(tuple(part[some] for part in u), y[few])
    torch.testing.assert_close(both, cartesian[some][:, few], rtol=0, atol=1e-12)
    pieces = torch.cat(list(in_pieces(model, u, y.split(2))), 1)
    torch.testing.assert_close(pieces, cartesian.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", [*SPLITS, "independent"])
@pytest.mark.parametrize("kind", ["mlp", "cnn", "own"])
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_every_strategy_trains_saves_and_loads(split, kind, inputs, tmp_path):
    torch.manual_seed(0)
    if split == "independent":

        def networks(make):
            return Beside([make(5), make(5)])

        trunk = networks(lambda n: MLP((2, 8, n), "tanh", last_activation=True))
        branches = [networks(lambda n: branch_of(kind, n)) for _ in range(inputs)]
        model = DeepONet(branches[0], trunk, channels=2) if inputs == 1 else MIONet(branches, trunk, channels=2)
    else:
        model = operator(split, kind, inputs)
    parts = tuple(torch.randn(16, 1, 12) for _ in range(inputs))
    u = parts[0] if inputs == 1 else parts
    y = torch.rand(20, 2)
    s = torch.stack([parts[0].mean((1, 2))[:, None] * y[:, 0], y.sum(1).expand(16, 20)], -1)
    rule = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = (model(u, y) - s).square().mean()
        rule.zero_grad()
        loss.backward()
        assert all(w.grad is not None for w in model.parameters())
        rule.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    save(tmp_path / "model.pt", model, domain=None, inputs=[Field("u")], targets=[Field("s", channels=2)])
    again = load(tmp_path / "model.pt", trust=[__name__])
    assert torch.equal(again(u, y), model(u, y))


def test_independent_outputs_share_no_weights():
    with pytest.raises(ValueError, match="one module twice"):
        Beside([net := MLP((2, 3)), net])
    torch.manual_seed(0)
    model = DeepONet(Beside([MLP((4, 3)), MLP((4, 3))]), Beside([MLP((1, 3)), MLP((1, 3))]), channels=2)
    model(torch.randn(2, 4), torch.rand(3, 1))[..., 0].sum().backward()
    gradients = [[float(w.grad.abs().sum()) for w in part.parameters()] for part in model.branch.parts]
    assert sum(gradients[0]) > 0
    assert sum(gradients[1]) == 0


def test_the_stacked_branch_is_as_many_networks_of_one_output():
    torch.manual_seed(0)
    stacked = StackedMLP((100, 40), 40)
    assert sum(w.numel() for w in stacked.parameters()) == 163_240
    assert sum(w.numel() for w in MLP((100, 40, 40)).parameters()) == 5_680
    u = torch.randn(7, 100)
    for k in (0, 39):
        hidden = torch.relu(u @ stacked.weights[0][k] + stacked.biases[0][k])
        torch.testing.assert_close(stacked(u)[:, k], (hidden @ stacked.weights[1][k] + stacked.biases[1][k])[:, 0])


def test_the_aligned_antiderivative_net_of_deepxde_has_as_many_weights():
    model = DeepONet(MLP((100, 40, 40)), MLP((1, 40, 40), last_activation=True))
    assert sum(w.numel() for w in model.parameters()) == 7_401


def test_answers_keep_the_given_sides():
    torch.manual_seed(0)
    offset = Chain([PeriodicFeatures((1.0, None), waves=1), MLP((3, 1))])
    model = DeepONet(
        MLP((4, 3)), MLP((2, 3)), shift=2.0, boundary=HardBoundary(BoxFactor((0.0, 0.0), (1.0, None), 4.0), offset)
    )
    u = torch.randn(5, 4)
    sides = torch.tensor([[0.0, 0.3], [1.0, 0.7], [0.4, 0.0]])
    torch.testing.assert_close(model(u, sides), offset(sides).expand(5, 3, 1))
    assert (model(u, torch.tensor([[0.4, 0.5]])) - offset(torch.tensor([[0.4, 0.5]]))).abs().min() > 1e-3


def test_periodic_features_are_periodic_and_fourier_features_come_back():
    torch.manual_seed(0)
    features = PeriodicFeatures((2.0, None), waves=3)
    y = torch.rand(9, 2, dtype=torch.float64)
    moved = y + torch.tensor([2.0, 0.0])
    torch.testing.assert_close(features(moved), features(y), rtol=0, atol=1e-12)
    assert features(y).shape == (9, features.count) == (9, 7)
    fourier = FourierFeatures(2, 50, 3.0, seed=4)
    assert torch.equal(fourier(y), FourierFeatures(2, 50, 3.0, seed=4)(y))
    assert "rows" not in fourier.state_dict()
    assert float(fourier(y).square().sum(-1).sub(50).abs().max()) < 1e-12


def test_a_linear_branch_keeps_the_operator_linear_in_its_input():
    torch.manual_seed(0)
    model = MIONet([MLP((4, 8, 6), "tanh"), MLP((3, 6), bias=False)], MLP((1, 6)), bias=False).double()
    u, v, w, y = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (5, 3), (5, 3), (7, 1)))
    torch.testing.assert_close(model((u, v + 2 * w), y), model((u, v), y) + 2 * model((u, w), y), rtol=0, atol=1e-12)


def test_units_of_each_output_scale_the_answers():
    torch.manual_seed(0)
    for split in SPLITS:
        nets = MLP((4, terms("branch", split, 2))), MLP((1, terms("trunk", split, 2)))
        plain = DeepONet(*nets, channels=2, split=split)
        nn.init.constant_(plain.outputs.bias, 0.3)
        scaled = DeepONet(*nets, channels=2, split=split, scale=(2.0, -5.0), shift=(0.0, 1.0))
        nn.init.constant_(scaled.outputs.bias, 0.3)
        u, y = torch.randn(3, 4), torch.rand(6, 1)
        torch.testing.assert_close(scaled(u, y), plain(u, y) * torch.tensor([2.0, -5.0]) + torch.tensor([0.0, 1.0]))


def test_residual_blocks_start_near_a_linear_map_and_learn():
    torch.manual_seed(0)
    net = ResidualMLP((3, 16, 2), depth=3)
    x = torch.randn(64, 3)
    target = torch.stack([x.prod(1), x.square().sum(1)], 1)
    rule = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(200):
        loss = (net(x) - target).square().mean()
        rule.zero_grad()
        loss.backward()
        rule.step()
    assert float(loss.detach()) < 0.02 * float(target.square().mean())


MODEL = DeepONet(MLP((4, 3)), MLP((2, 3)))
U, Y = torch.zeros(5, 4), torch.zeros(6, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MODEL(U, Y[0]), r"y: got shape \(2,\), need \(point, coordinate\)"),
        (lambda: MODEL(U, Y.expand(4, 6, 2)), "points of 4 functions, shape .* for 5 functions in u"),
        (lambda: MODEL(U, Y, torch.arange(5)), r"function_index: got shape \(5,\) for y \(6, 2\)"),
        (lambda: MODEL(U, Y, torch.arange(6)), "function_index: got 0 to 5, there are 5 functions"),
        (lambda: MODEL(torch.zeros(5, 7), Y), r"x: got shape \(5, 7\), need 4 numbers"),
        (lambda: MODEL(torch.zeros(5, 1, 4), Y), r"branch: gave shape \(5, 1, 3\), need \(function, number\)"),
        (lambda: DeepONet(MLP((4, 5)), MLP((2, 6)), channels=2)(U, Y), "branch: gives 5 numbers, need a multiple of 2"),
        (lambda: DeepONet(MLP((4, 3)), MLP((2, 3)), scale=(1.0, 2.0)), "scale: got"),
        (lambda: MIONet([MLP((4, 3)), MLP((4, 3))], MLP((2, 3)))(U, Y), "u: got Tensor, need a tuple of 2"),
        (lambda: MIONet([MLP((4, 3)), MLP((4, 2))], MLP((2, 3)))((U, U), Y), "need the same functions and terms"),
        (lambda: DeepONet(MLP((4, 3)), MLP((2, 3)), scale=torch.ones(2)), "scale: got"),
        (lambda: Chain([]), "parts: got none, need at least one module"),
        (lambda: MLP((4,)), "widths: got"),
        (lambda: BoxFactor((0.0,), (0.0,)), "low, high: got"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def doubled_by_a_hook(layers, at):
    layers[at].register_forward_hook(lambda module, given, answer: 2 * answer)


def doubled_by_a_hook_before(layers, at):
    layers[at].register_forward_pre_hook(lambda module, given: (2 * given[0],))


def normed(layers, at):
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(layers[at])
    with torch.no_grad():
        layers[at].weight_g.mul_(3)


def parametrised(layers, at):
    nn.utils.parametrizations.weight_norm(layers[at])
    with torch.no_grad():
        layers[at].parametrizations.weight.original0.mul_(3)


def replaced(layers, at):
    layers[at] = nn.Sequential(layers[at], nn.Tanh())


@pytest.mark.parametrize("change", [doubled_by_a_hook, doubled_by_a_hook_before, normed, parametrised, replaced])
def test_a_changed_layer_is_used_in_every_layout_and_derivative(change):
    torch.manual_seed(0)
    model = DeepONet(MLP((4, 6, 3), "tanh"), MLP((2, 6, 3), "tanh", last_activation=True)).double()
    u, y = torch.randn(7, 4, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    before = model(u, y)
    for network in (model.branch, model.trunk):
        change(network.layers, -1)
        change(network.layers, 0)
    answers = model(u, y)
    assert (answers - before).abs().max() > 1e-3
    torch.testing.assert_close(answers, model(u, y.expand(7, 5, 2)), rtol=0, atol=1e-12)
    value, slope = derivatives(model, u, y, [(), (1,)])
    step = torch.tensor([0.0, 1e-6], dtype=torch.float64)
    torch.testing.assert_close(value, answers, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, (model(u, y + step) - model(u, y - step)) / 2e-6, rtol=1e-6, atol=1e-8)


def test_a_replaced_part_of_a_chain_is_used_in_every_layout_and_derivative():
    torch.manual_seed(0)
    model = DeepONet(Chain([nn.Identity(), MLP((4, 3))]), Chain([MLP((2, 3), "tanh")]))
    model.branch.modules_in_order[1], model.trunk.modules_in_order[0] = MLP((4, 3)), MLP((2, 3), "tanh")
    model.double()
    u, y = torch.randn(7, 4, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    answers = model(u, y)
    torch.testing.assert_close(answers, model(u, y.expand(7, 5, 2)), rtol=0, atol=1e-12)
    torch.testing.assert_close(derivatives(model, u, y, [()])[0], answers, rtol=0, atol=1e-12)


@pytest.mark.parametrize("units", [torch.tensor([0.5, 3.0]), np.array([0.5, 3.0])])
def test_units_may_be_an_array(units, tmp_path):
    torch.manual_seed(0)
    model = DeepONet(MLP((4, 6)), MLP((2, 6)), channels=2, scale=units, shift=units)
    given = DeepONet(model.branch, model.trunk, channels=2, scale=(0.5, 3.0), shift=(0.5, 3.0))
    u, y = torch.randn(7, 4), torch.rand(5, 2)
    assert torch.equal(model(u, y), given(u, y))
    save(tmp_path / "model.pt", model, domain=None, inputs=[Field("u")], targets=[Field("s", channels=2)])
    assert torch.equal(load(tmp_path / "model.pt")(u, y), model(u, y))


def test_sides_do_not_enlarge_the_answers():
    answers = MODEL(U, Y)
    side = Boundary(lambda y, batch: batch["s"], lambda batch: Y, ("u",))
    assert torch.equal(side(MODEL, {"u": U, "s": torch.ones(1, 6, 1)}), (answers - 1).square().mean())
    for functions, values in ((5, (5, 6, 3)), (1, (30, 6, 1))):
        with pytest.raises(ValueError, match=rf"values: gave shape \({values[0]}, 6, {values[2]}\), .* \({functions}, 6, 1\)"):
            side(MODEL, {"u": U[:functions], "s": torch.zeros(values)})


def test_points_are_drawn_in_the_precision_of_the_first_floats():
    draw = drawn(50, [0.0], [1.0])
    places = draw({"mask": torch.ones(3, dtype=torch.bool), "u": torch.zeros(3, 4, dtype=torch.float64)})
    assert places.dtype == torch.float64
    assert len(places.unique()) > 1
    with pytest.raises(ValueError, match="batch: got mask, need a variable of floats"):
        draw({"mask": torch.ones(3, dtype=torch.bool)})


def test_many_points_take_the_memory_of_a_piece():
    import resource

    model = DeepONet(MLP((4, 16)), MLP((2, 16), last_activation=True))
    u, largest, count = torch.randn(1, 4), 0.0, 0

    def pieces():
        for i in range(160):
            yield torch.full((2**16, 2), i / 160)

    for answer in in_pieces(model, u, pieces()):
        largest, count = max(largest, float(answer.abs().max())), count + answer.shape[1]
        if count == 10 * 2**16:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert count == 160 * 2**16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; all answers and points would be 126 MB
    assert math.isfinite(largest)
