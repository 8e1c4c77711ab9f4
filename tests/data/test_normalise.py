import math

import pytest
import torch

from data.small_sets import DOMAIN, values_of, write_set, write_shard
from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import stream
from sciml.data.variables import VariableInfo


@pytest.fixture
def samples(tmp_path):
    return stream(write_set(tmp_path / "train"), batch_size=4, dtype=torch.float64)


def test_encoded_channels_have_mean_zero_and_deviation_one_and_decode_to_what_they_were(samples):
    normaliser = Normaliser.of(samples, ["a", "u"])
    fields = values_of(range(13))
    both = torch.cat([fields["a"], fields["u"]], 1)
    encoded = normaliser.encode(both)
    assert encoded.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-14)
    assert encoded.square().mean((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=1e-14)
    assert torch.allclose(normaliser.decode(encoded), both, rtol=0, atol=1e-12)
    assert torch.allclose(
        encoded * both.std((0, 2, 3), correction=0).view(1, 2, 1, 1), both - both.mean((0, 2, 3), keepdim=True)
    )


def test_without_centre_zero_stays_zero(samples):
    normaliser = Normaliser.of(samples, ["u"], centre=False)
    assert normaliser.shift == (0.0,)
    assert normaliser.scale[0] == pytest.approx(float(values_of(range(13))["u"].square().mean().sqrt()), rel=1e-14)


def test_digits_survive_a_large_mean_and_constants_keep_scale_one(tmp_path):
    variables = [VariableInfo(n, "input", "1", n, (1, 4, 3), torch.float64) for n in ("hot", "flat")]
    noise = torch.randn(40, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    write_shard(
        tmp_path / "s.h5", range(40), values={"hot": 1e9 + noise, "flat": torch.full_like(noise, 0.1)}, variables=variables
    )
    normaliser = Normaliser.of(stream(tmp_path / "s.h5", batch_size=7, dtype=torch.float64), ["hot", "flat"])
    assert normaliser.scale[0] == pytest.approx(float(noise.std(correction=0)), rel=1e-6)
    assert normaliser.scale[1] == 1.0
    assert normaliser.shift[1] == pytest.approx(0.1, rel=1e-15)


def test_a_normalised_model_works_in_physical_units_and_keeps_nothing_in_its_weights():
    model = Normalised(torch.nn.Identity(), Normaliser([10.0], [2.0]), Normaliser([-1.0], [0.5]))
    x = torch.full((3, 1, *DOMAIN.shape), 14.0)
    assert torch.equal(model(x), torch.zeros_like(x))
    assert model(x).dtype == torch.float32
    assert model.state_dict() == {}
    again = Normalised(model.model, Normaliser(model.inputs.shift, model.inputs.scale), model.targets)
    assert torch.equal(again(x), model(x))


def test_what_cannot_be_normalised_is_refused(samples):
    with pytest.raises(ValueError, match="no variable 'b', there are a, u"):
        Normaliser.of(samples, ["b"])
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3, 4\), need .* with 1 channels"):
        Normaliser([0.0], [1.0]).encode(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"scale: got \(0.0,\), need finite positive numbers"):
        Normaliser([0.0], [0.0])
    with pytest.raises(ValueError, match=r"shift: got \(nan,\), need finite numbers"):
        Normaliser([math.nan], [1.0])
    with pytest.raises(ValueError, match="scale: got 2 for 1 of shift, need one of each"):
        Normaliser([0.0], [1.0, 1.0])
