import math

import h5py
import numpy as np
import pytest
import torch

from data.made_sets import LINE, WAVES, particles, series_of_unequal_length, write_folder
from data.made_sets import values_of as values_of_kind
from data.small_sets import DOMAIN, values_of, write_set, write_shard
from sciml.data.layout import TimeGrid
from sciml.data.mixed import mixed
from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import stream
from sciml.data.variables import VariableInfo
from sciml.data.window import Window
from sciml.numerics.domain import Domain


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


def test_masked_values_do_not_count(tmp_path):
    noise = torch.randn(9, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variables = [VariableInfo("a", "input", "1", "a", (1, 4, 3), torch.float64)]
    write_shard(tmp_path / "s.h5", range(9), values={"a": noise + 5}, variables=variables)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["a"][2, 0, 1, 1] = math.nan
        file["a"][7, 0] = math.inf
    (tmp_path / "s.json").unlink()
    found = Normaliser.of(stream(tmp_path / "s.h5", batch_size=4, dtype=torch.float64, on_bad="mask"), ["a"])
    good = torch.ones(9, 1, 4, 3, dtype=torch.bool)
    good[2, 0, 1, 1] = False
    good[7] = False
    left = (noise + 5)[good]
    assert found.shift[0] == pytest.approx(float(left.mean()), rel=1e-14)
    assert found.scale[0] == pytest.approx(float(left.std(correction=0)), rel=1e-12)


def test_series_have_a_channel_per_component_and_padding_does_not_count(tmp_path):
    path = series_of_unequal_length(tmp_path / "series")
    series = stream(path, batch_size=2, dtype=torch.float64)
    found = Normaliser.of(series, ["x1"])
    whole = [batch["x1"][batch["mask"]] if "mask" in batch else batch["x1"].flatten(0, 1) for batch in series]
    values = torch.cat(whole)
    assert len(values) == 9 + 4 + 4 + 1 + 6
    assert torch.allclose(torch.tensor(found.shift, dtype=torch.float64), values.mean(0), rtol=1e-12)
    assert torch.allclose(torch.tensor(found.scale, dtype=torch.float64), values.std(0, correction=0), rtol=1e-10)
    windowed = Normaliser.of(stream(path, batch_size=2, window=Window(2, 0)), ["x1"])
    assert len(windowed.shift) == values.shape[1]
    assert found.decode(found.encode(values)).allclose(values)


def test_what_has_its_channels_last_or_samples_of_unequal_length_is_refused(tmp_path):
    moving = stream(particles(tmp_path / "particles"), batch_size=2)
    with pytest.raises(ValueError, match="variable position has no grid and its channels come last"):
        Normaliser.of(moving, ["position"])
    values, steps = values_of_kind(WAVES, 4), np.array([4, 2, 3, 4])
    path = write_folder(tmp_path / "waves", WAVES, LINE, values, TimeGrid(steps=steps))
    with pytest.raises(ValueError, match="samples differ in length; open the stream with a window"):
        Normaliser.of(stream(path, batch_size=2), ["u"])
    assert len(Normaliser.of(stream(path, batch_size=2, window=Window(2, 0)), ["u"]).shift) == 2


def test_several_grids_count_point_by_point(tmp_path):
    parts = []
    for points in (4, 8):
        info = VariableInfo("a", "input", "1", "a", (1, points), torch.float64)
        values = torch.randn(5, 1, points, dtype=torch.float64, generator=torch.Generator().manual_seed(points))
        line = Domain.box((1.0,), (points,), "periodic")
        write_shard(tmp_path / f"{points}.h5", range(5), values={"a": values}, variables=[info], domain=line)
        parts.append(values.flatten())
    both = mixed([stream(tmp_path / f"{points}.h5", batch_size=2, dtype=torch.float64) for points in (4, 8)])
    found, every = Normaliser.of(both, ["a"]), torch.cat(parts)
    assert found.shift[0] == pytest.approx(float(every.mean()), abs=1e-15)
    assert found.scale[0] == pytest.approx(float(every.std(correction=0)), rel=1e-14)
