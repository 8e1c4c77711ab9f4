import math

import pytest
import torch

from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.networks import MLP
from sciml.operators.deeponet.sensors import AtSensors, Sampled, SetEncoder
from sciml.training.checkpoint import Field, load, save

OWN = torch.linspace(0, 1, 21)[:, None]


def waves(points):
    """Two functions, smooth beside the length of the encoder."""
    return torch.stack([torch.sin(3 * points), 1 + torch.cos(2 * points)])


def test_values_at_its_own_sensors_need_no_places():
    torch.manual_seed(0)
    branch = AtSensors(MLP((21, 4)), OWN)
    values = torch.randn(3, 21)
    expected = branch.network(values)
    for given in (values, values[:, None], Sampled(values[..., None], OWN)):
        assert torch.equal(branch(given), expected)


def test_other_sensors_are_refused_by_name():
    branch = AtSensors(MLP((21, 4)), OWN)
    with pytest.raises(
        ValueError, match=r"u: got 21 sensors, up to 0\.05 from those of the model; the model has 21 of its own"
    ):
        branch(Sampled(torch.zeros(3, 21, 1), OWN + 0.05))
    with pytest.raises(ValueError, match="u: got 30 sensors; the model has 21"):
        branch(Sampled(torch.zeros(3, 30, 1), torch.linspace(0, 1, 30)[:, None]))
    with pytest.raises(ValueError, match=r"u: got shape \(3, 20\), the model has 21 sensors"):
        branch(torch.zeros(3, 20))
    with pytest.raises(ValueError, match="'interpolate' in 2 dimensions"):
        AtSensors(MLP((21, 4)), OWN.expand(21, 2), "interpolate")


def test_values_are_interpolated_to_its_own_sensors_in_any_order():
    torch.manual_seed(0)
    branch = AtSensors(MLP((21, 4)), OWN, "interpolate")
    places = torch.cat([torch.zeros(1), torch.rand(40), torch.ones(1)])[torch.randperm(42)]
    values = torch.stack([2 - places, 3 * places])[..., None]
    expected = branch.network(torch.stack([2 - OWN[:, 0], 3 * OWN[:, 0]]))
    torch.testing.assert_close(branch(Sampled(values, places[:, None])), expected)
    own = Sampled(values, places[:, None].expand(2, 42, 1))
    torch.testing.assert_close(branch(own), expected)
    with pytest.raises(ValueError, match=r"places from 0\.1 to 0\.9, the sensors of the model reach from 0 to 1"):
        branch(Sampled(torch.zeros(2, 9, 1), torch.linspace(0.1, 0.9, 9)[:, None]))


def test_a_set_is_read_alike_in_any_order_and_with_gaps():
    torch.manual_seed(0)
    encoder = SetEncoder(MLP((21, 4)), OWN, 0.3, 1e-4)
    places = torch.rand(2, 50, 1)
    values = torch.stack([waves(places[i, :, 0])[i] for i in range(2)])[..., None]
    once = encoder.at_nodes(Sampled(values, places))
    order = torch.randperm(50)
    torch.testing.assert_close(encoder.at_nodes(Sampled(values[:, order], places[:, order])), once, rtol=0, atol=1e-5)
    good = torch.rand(2, 50) < 0.6
    gaps = encoder.at_nodes(Sampled(torch.where(good[..., None], values, 99.0), places, good))
    for i in range(2):
        alone = encoder.at_nodes(Sampled(values[i : i + 1, good[i]], places[i : i + 1, good[i]]))
        torch.testing.assert_close(gaps[i : i + 1], alone, rtol=0, atol=1e-5)


def test_what_stands_in_a_gap_reaches_neither_answer_nor_gradient():
    encoder = SetEncoder(MLP((21, 4)), OWN)
    places, values = torch.rand(1, 30, 1), torch.randn(1, 30, 1)
    good = torch.arange(30)[None] < 20
    places[~good], values[~good] = torch.nan, torch.nan
    encoder(Sampled(values, places, good)).sum().backward()
    assert bool(torch.isfinite(encoder.log_length.grad))


@pytest.mark.parametrize("policy", ["strict", "interpolate", "set"])
@pytest.mark.parametrize(
    ("values", "points"),
    [((3, 7, 3), (21, 1)), ((3, 21), (21, 1)), ((3, 21, 1), (2, 21, 1)), ((3, 21, 1), (21, 2)), ((3, 21, 1), (3, 1))],
)
def test_values_and_places_that_do_not_belong_together_are_refused(policy, values, points):
    branch = AtSensors(SetEncoder(MLP((21, 4)), OWN) if policy == "set" else MLP((21, 4)), OWN, policy)
    places = OWN.expand(points) if points[-2] == 21 else torch.rand(points)
    encoders = [branch, branch.network] if policy == "set" else [branch]
    for encoder in encoders:
        with pytest.raises(ValueError, match=r"u: got values .*, points .*, good None; need"):
            encoder(Sampled(torch.zeros(values), places))


@pytest.mark.parametrize("policy", ["strict", "interpolate", "set"])
def test_values_and_places_that_are_not_finite_are_refused(policy):
    branch = AtSensors(SetEncoder(MLP((21, 4)), OWN) if policy == "set" else MLP((21, 4)), OWN, policy)
    places, values = OWN.clone(), torch.zeros(3, 21, 1)
    places[7] = torch.nan
    with pytest.raises(ValueError, match="u: got points that are not finite"):
        branch(Sampled(values, places))
    values[1, 7] = torch.inf
    with pytest.raises(ValueError, match="u: got values that are not finite"):
        branch(Sampled(values, OWN))


def test_a_set_needs_places():
    with pytest.raises(ValueError, match="u: got Tensor, need `Sampled`"):
        SetEncoder(MLP((21, 4)), OWN)(torch.zeros(3, 21))


def test_a_place_given_twice_is_no_division_by_zero():
    branch = AtSensors(MLP((2, 4)), torch.tensor([[0.0], [1.0]]), "interpolate")
    answer = branch(Sampled(torch.tensor([[[1.0], [1.0], [2.0]]]), torch.tensor([[0.0], [0.0], [1.0]])))
    torch.testing.assert_close(answer, branch.network(torch.tensor([[1.0, 2.0]])))


def test_a_set_of_enough_sensors_gives_the_function_at_the_nodes():
    torch.manual_seed(0)
    encoder = SetEncoder(MLP((21, 4)), OWN, 0.3, 1e-4)
    places = torch.rand(2, 60, 1)
    values = torch.stack([waves(places[i, :, 0])[i] for i in range(2)])[..., None]
    assert (encoder.at_nodes(Sampled(values, places))[..., 0] - waves(OWN[:, 0])).abs().max() < 1e-3


def test_the_posterior_mean_is_that_of_the_textbook():
    # Two sensors and one node (Rasmussen & Williams 2006, eq. 2.23).
    encoder = SetEncoder(MLP((1, 1)), torch.tensor([[0.5]]), 0.4, 0.1)
    mean = encoder.at_nodes(Sampled(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[0.2], [0.9]])))

    def kernel(distance):
        return math.exp(-(distance**2) / (2 * 0.4**2))

    a, b = 1 + 0.01, kernel(0.7)
    weights = [(a * kernel(0.3) - b * kernel(0.4)) / (a * a - b * b), (a * kernel(0.4) - b * kernel(0.3)) / (a * a - b * b)]
    assert float(mean.detach()) == pytest.approx(weights[0] + 2 * weights[1], rel=1e-6)


def test_length_and_noise_are_trained_and_kept(tmp_path):
    torch.manual_seed(0)
    branch = AtSensors(SetEncoder(MLP((21, 4)), OWN), OWN, "set")
    model = DeepONet(branch, MLP((1, 4), last_activation=True))
    u = Sampled(torch.randn(3, 30, 1), torch.rand(3, 30, 1))
    y = torch.rand(5, 1)
    model(u, y).square().sum().backward()
    assert branch.network.log_length.grad.abs() > 0
    with torch.no_grad():
        branch.network.log_length += 0.1
    save(tmp_path / "model.pt", model, domain=None, inputs=[Field("u")], targets=[Field("s")])
    again = load(tmp_path / "model.pt")
    assert torch.equal(again(u, y), model(u, y))
    torch.testing.assert_close(again(torch.ones(2, 21), y), model(Sampled(torch.ones(2, 21, 1), OWN), y))
