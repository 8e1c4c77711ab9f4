import math

import pytest
import torch

from data.made_sets import write_folder
from sciml.data.stream import stream
from sciml.data.variables import VariableInfo
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.derivatives import derivatives
from sciml.operators.deeponet.networks import MLP
from sciml.operators.deeponet.objectives import CoefficientError, FunctionsAtPoints, SquaredError, coordinates
from sciml.operators.deeponet.pod import PODBasis, PODDeepONet, interpolated
from sciml.training.checkpoint import Field, load, save

LINE = Domain.box((2.0,), (33,), "neumann", "both_ends")


def write(folder, split="train", samples=40):
    """u has five numbers, s = 1 + Σ_k 2^-k u_k cos(π k x / 2) and its negative double."""
    draw = torch.Generator().manual_seed(len(split))
    u = torch.randn(samples, 5, generator=draw, dtype=torch.float64)
    x = LINE.coordinates()[0]
    waves = torch.stack([2.0**-k * torch.cos(math.pi * k * x / 2) for k in range(5)])
    s = 1 + u @ waves
    variables = (
        VariableInfo("u", "input", "1", "amplitudes", (5,), torch.float64),
        VariableInfo("s", "target", "1", "sums of waves", (2, 33), torch.float64),
    )
    return write_folder(folder / split, variables, LINE, {"u": u, "s": torch.stack([s, -2 * s], 1)}, split=split)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pod")
    for split in ("train", "test"):
        write(made, split)
    return made


@pytest.fixture(scope="module")
def train(folder):
    return stream(folder / "train", batch_size=8, dtype=torch.float64)


def test_modes_are_orthonormal_in_the_norm_of_the_domain_and_hold_all_answers(train):
    basis = PODBasis.of(train, modes=5)
    weights = (LINE.weights() / LINE.weights().sum()).double()
    gram = torch.einsum("nck,n,ncl->kl", basis.modes, weights, basis.modes)
    torch.testing.assert_close(gram, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-12)
    answers = torch.cat([batch["s"] for batch in train]).movedim(1, 2)
    parts = torch.einsum("fnc,n,nck->fk", answers - basis.mean, weights, basis.modes)
    assert (basis.mean + torch.einsum("fk,nck->fnc", parts, basis.modes) - answers).abs().max() < 1e-12
    torch.testing.assert_close(parts.square().mean(0).sqrt(), basis.deviations, rtol=1e-10, atol=0)
    assert bool((basis.deviations.diff() < 0).all())


def test_energy_chooses_the_least_number_of_modes(train):
    full = PODBasis.of(train, modes=5)
    part = (full.deviations.square().cumsum(0) / full.deviations.square().sum()).tolist()
    for modes in (1, 2, 4):
        energy = (part[modes - 2] + part[modes - 1]) / 2 if modes > 1 else part[0] / 2
        assert PODBasis.of(train, energy=energy).modes.shape[-1] == modes
    # Five numbers make the answers: what rounding adds is no mode.
    assert PODBasis.of(train, energy=1.0).modes.shape[-1] == 5


def test_answers_of_another_split_make_no_basis(folder, train):
    with pytest.raises(ValueError, match=r"train: got the split 'test' of .*; a basis is made from training answers alone"):
        PODBasis.of(stream(folder / "test", batch_size=8))
    left, held_out = train.split(validation=10)
    for part in (held_out, held_out.subset([0, 1, 2]), held_out.split(validation=2)[0]):
        with pytest.raises(ValueError, match=r"train: got rows of .* that `split` held out; a basis is made from those"):
            PODBasis.of(part)
    assert PODBasis.of(left, modes=5).modes.shape[-1] == 5
    with pytest.raises(ValueError, match="modes: got 41, need 1 to 40, of 40 samples"):
        PODBasis.of(train, modes=41)
    with pytest.raises(ValueError, match="energy: got 0"):
        PODBasis.of(train, energy=0.0)


def test_a_linear_branch_learns_the_map_to_the_last_digit(train, folder, tmp_path):
    torch.manual_seed(0)
    model = PODDeepONet(MLP((5, 5)), PODBasis.of(train, modes=5)).double()
    reading = FunctionsAtPoints(("u",), ("s",), LINE)
    batch = next(iter(stream(folder / "train", batch_size=40, dtype=torch.float64)))
    rule = torch.optim.LBFGS(
        model.parameters(), max_iter=1000, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def closure():
        rule.zero_grad()
        loss = CoefficientError(reading)(model, batch)
        loss.backward()
        return loss

    rule.step(closure)
    test = next(iter(stream(folder / "test", batch_size=40, dtype=torch.float64)))
    assert float(SquaredError(reading)(model, test).detach()) < 1e-16
    save(tmp_path / "model.pt", model, domain=LINE, inputs=[Field("u")], targets=[Field("s", channels=2)])
    again = load(tmp_path / "model.pt")
    y = coordinates(LINE)
    assert torch.equal(again(test["u"], y), model(test["u"], y))


def test_the_answer_is_known_between_the_points(train):
    model = PODDeepONet(MLP((5, 5)), PODBasis.of(train, modes=5)).double()
    u, y = torch.randn(3, 5, dtype=torch.float64), coordinates(LINE)
    middle = (y[1:] + y[:-1]) / 2
    on = model(u, y)
    torch.testing.assert_close(model(u, middle), (on[:, 1:] + on[:, :-1]) / 2)
    torch.testing.assert_close(model(u, middle.expand(3, -1, 1)), (on[:, 1:] + on[:, :-1]) / 2)


def test_derivatives_of_a_basis_on_a_grid_are_refused(train):
    model = PODDeepONet(MLP((5, 5)), PODBasis.of(train, modes=5)).double()
    with pytest.raises(ValueError, match="PODDeepONet knows its basis on a grid"):
        derivatives(model, torch.zeros(1, 5, dtype=torch.float64), coordinates(LINE), [(0,)])


@pytest.mark.parametrize(
    "domain",
    [
        Domain.box((1.0, 2.0), (6, 5), ("dirichlet", "neumann"), ("both_ends", "cells")),
        Domain.box((1.0, 2.0), (6, 5), ("dirichlet", "open"), ("interior", "both_ends")),
    ],
)
def test_a_linear_function_is_interpolated_exactly_up_to_the_sides(domain):
    torch.manual_seed(0)
    y = coordinates(domain)
    ends = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    places = torch.cat([ends, torch.rand(50, 2, dtype=torch.float64) * torch.tensor([1.0, 2.0])])
    values = torch.stack([3 * y[:, 0] - y[:, 1] + 1, y[:, 1]], 1)
    expected = torch.stack([3 * places[:, 0] - places[:, 1] + 1, places[:, 1]], 1)
    torch.testing.assert_close(interpolated(values, domain, places), expected)
    with pytest.raises(ValueError, match=r"y: got coordinate 0 up to 1\.1, beyond"):
        interpolated(values, domain, torch.tensor([[1.1, 0.0]], dtype=torch.float64))


def test_interpolation_goes_around_a_period():
    domain = Domain.box((2.0,), (8,), "periodic", "first_end")
    values = torch.arange(8.0, dtype=torch.float64)[:, None]
    places = torch.tensor([[1.875], [-0.125], [2.25]], dtype=torch.float64)
    torch.testing.assert_close(interpolated(values, domain, places)[:, 0], torch.tensor([3.5, 3.5, 1.0], dtype=torch.float64))


def test_answers_that_are_all_the_same_make_no_basis(tmp_path):
    variables = (
        VariableInfo("u", "input", "1", "amplitudes", (5,), torch.float64),
        VariableInfo("s", "target", "1", "sums of waves", (2, 33), torch.float64),
    )
    values = {"u": torch.randn(4, 5, dtype=torch.float64), "s": torch.full((4, 2, 33), 0.1, dtype=torch.float64)}
    same = stream(write_folder(tmp_path / "train", variables, LINE, values), batch_size=2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"train: the 4 answers of .* are all the same"):
        PODBasis.of(same)
