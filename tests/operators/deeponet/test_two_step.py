import math

import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet, HardBoundary
from sciml.operators.deeponet.networks import MLP, Chain, FourierFeatures
from sciml.operators.deeponet.objectives import CoefficientError, FunctionsAtPoints, SquaredError, coordinates
from sciml.operators.deeponet.two_step import BasisError, orthonormalised
from sciml.training.checkpoint import Field, load, save

LINE = Domain.box((1.0,), (40,), "neumann", "both_ends")
READING = FunctionsAtPoints(("u",), ("s",), LINE)


def waves(samples, channels=1):
    """s = Σ u_k cos(π k x), k = 0 ... 3; further channels are multiples."""
    u = torch.randn(samples, 4, dtype=torch.float64)
    s = u @ torch.stack([torch.cos(math.pi * k * LINE.coordinates()[0]) for k in range(4)])
    return {"u": u, "s": torch.stack([(c + 1) * s for c in range(channels)], 1)}


def operator(channels=1, split="both", terms=6):
    # Waves: the functions of a plain network at its start are combinations of each other to many digits.
    features = FourierFeatures(1, 8, 6.0)
    trunk = Chain([features, MLP((16, terms * (channels if split == "both" else 1)), "tanh", last_activation=True)])
    return DeepONet(MLP((4, terms * channels)), trunk, channels=channels, split=split, scale=2.0).double()


@pytest.mark.parametrize(("channels", "split"), [(1, "both"), (2, "both"), (2, "branch")])
def test_the_error_of_a_basis_is_that_of_least_squares(channels, split):
    torch.manual_seed(0)
    model, batch = operator(channels, split), waves(3, channels)
    y, weights = coordinates(LINE), (LINE.weights() / LINE.weights().sum()).sqrt()
    rest = batch["s"] - model.offset(y).T
    basis = model.basis(y).expand(-1, channels, -1)
    model.encode = None  # the basis alone is asked for
    gaps = []
    for f in range(3):
        gap = 0.0
        for c in range(channels):
            left, right = basis[:, c] * weights[:, None], (rest[f, c] * weights)[:, None]
            gap += float((left @ torch.linalg.lstsq(left, right).solution - right).detach().square().sum())
        gaps.append(gap / float((rest[f] * weights).detach().square().sum()))
    assert float(BasisError(READING)(model, batch).detach()) == pytest.approx(sum(gaps) / 3, rel=1e-6)


@pytest.mark.parametrize(("channels", "split"), [(1, "both"), (2, "both"), (2, "branch")])
def test_a_basis_is_made_orthonormal_without_changing_its_span(channels, split, tmp_path):
    torch.manual_seed(0)
    model, batch = operator(channels, split), waves(3, channels)
    torch.nn.init.constant_(model.outputs.bias, 0.3)
    made = orthonormalised(model, LINE)
    y, weights = coordinates(LINE), LINE.weights() / LINE.weights().sum()
    basis = made.basis(y)
    gram = torch.einsum("nck,n,ncl->ckl", basis, weights, basis)
    torch.testing.assert_close(gram, torch.eye(6, dtype=torch.float64).expand_as(gram), rtol=0, atol=1e-9)
    torch.testing.assert_close(BasisError(READING)(made, batch), BasisError(READING)(model, batch), rtol=1e-5, atol=1e-9)
    assert torch.equal(made.offset(y), model.offset(y))
    assert {name.split(".")[0] for name, w in made.named_parameters() if w.requires_grad} == {"branch"}
    save(tmp_path / "model.pt", made, domain=LINE, inputs=[Field("u")], targets=[Field("s", channels=channels)])
    assert torch.equal(load(tmp_path / "model.pt")(batch["u"], y), made(batch["u"], y))


def test_the_two_steps_find_the_map():
    torch.manual_seed(0)
    model, batch, test = operator(terms=8), waves(60), waves(20)

    def train(model, objective, steps):
        rule = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], 1e-2)
        for _ in range(steps):
            loss = objective(model, batch)
            rule.zero_grad()
            loss.backward()
            rule.step()
        return float(loss.detach())

    assert train(model, BasisError(READING), 300) < 5e-5
    model = orthonormalised(model, LINE)
    train(model, CoefficientError(READING), 800)
    assert float(SquaredError(READING)(model, test).detach()) < 3e-4


def test_bases_that_cannot_be_made_orthonormal_are_refused():
    model = DeepONet(MLP((4, 6)), MLP((1, 12)), channels=2, split="trunk")
    with pytest.raises(ValueError, match="need outputs with coefficients of their own"):
        orthonormalised(model, LINE)
    with pytest.raises(ValueError, match="no hard boundary"):
        orthonormalised(DeepONet(MLP((4, 6)), MLP((1, 6)), boundary=HardBoundary(BoxFactor((0.0,), (1.0,)))), LINE)
