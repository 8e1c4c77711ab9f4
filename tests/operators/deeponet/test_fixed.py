import torch
from torch import nn

from sciml.numerics.domain import Domain
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.grids import OnGrid
from sciml.operators.deeponet.networks import MLP, Chain, FourierFeatures
from sciml.operators.deeponet.two_step import Mixed


def test_a_model_that_was_float32_for_a_while_has_its_fixed_numbers_to_all_digits():
    torch.manual_seed(0)
    u = torch.randn(6, 9, dtype=torch.float64)
    components = PrincipalComponents.of(u)
    trunk = Mixed(Chain([FourierFeatures(1, 4, 3.0), MLP((8, 5), last_activation=True)]), torch.rand(1, 5, 5).double())
    operator = DeepONet(Chain([components, MLP((components.count, 5))]), trunk, scale=1 / 3, shift=0.1)
    model = OnGrid(operator, Domain.box((1.0,), (7,), "open"))
    # Weights that are float32 numbers, so that only what is fixed can change.
    expected = model.double()(u)
    assert torch.equal(model.float().double()(u), expected)
    assert torch.equal(model.half().float().double().get_buffer("points"), OnGrid(operator, model.domain).points)
    assert {weight.dtype for weight in model.parameters()} == {torch.float64}


def test_answers_have_the_precision_of_what_is_given():
    features = FourierFeatures(1, 4, 3.0).float()
    assert features(torch.rand(3, 1)).dtype == torch.float32
    assert features.get_buffer("rows").dtype == torch.float64


def test_fixed_numbers_move_with_the_rest_and_a_buffer_of_a_part_is_its_own_affair():
    class Whole(Fixed):
        def __init__(self):
            super().__init__()
            self.register_buffer("rows", torch.rand(3, dtype=torch.float64), persistent=False)
            self.norm = nn.BatchNorm1d(2)

    model = Whole().to("meta", torch.float64)
    assert model.get_buffer("rows").device.type == "meta"
    assert model.norm.running_mean.dtype == torch.float64
