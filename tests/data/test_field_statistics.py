import h5py
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from data.made_sets import FIELDS, KINDS, LINE, PLANE, fields_in_time, series_of_unequal_length, values_of, write_folder
from sciml.data.convert import convert
from sciml.data.field_statistics import KEYS, Moments, field_statistics, render_yaml, write_yaml
from sciml.data.normalise import Normaliser
from sciml.data.set import open_set
from sciml.data.stream import stream
from sciml.data.variables import VariableInfo


def by_numpy(values, info, steps=None):
    """Mean, std, rms, least, greatest of values and mean, std, rms of increments, per channel, in float64 at once."""
    rows = [row if steps is None else row[: steps[i]] for i, row in enumerate(values.double().numpy())]
    axis = (0 if info.steps is None else 1) + (1 if info.particles else 0)

    def flat(parts):
        return np.concatenate([np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1) for part in parts], 1)

    numbers = flat(rows)
    found = {"mean": numbers.mean(1), "std": numbers.std(1), "rms": np.sqrt(np.square(numbers).mean(1))}
    found |= {"least": numbers.min(1), "greatest": numbers.max(1)}
    if info.steps is not None:
        steps_taken = flat([np.diff(row, axis=0) for row in rows])
        found |= {"mean_delta": steps_taken.mean(1), "std_delta": steps_taken.std(1)}
        found |= {"rms_delta": np.sqrt(np.square(steps_taken).mean(1))}
    return found


@pytest.mark.parametrize("block", [1, 300, 1 << 24])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_numpy(tmp_path, kind, block):
    source = open_set(KINDS[kind](tmp_path / "train"))
    found = field_statistics(source, workers=3, block=block)
    assert list(found) == list(source.variables)
    for name, info in source.variables.items():
        rows = range(len(source))
        if info.steps is not None and (source.steps != info.steps).any():
            values = torch.zeros(len(source), *info.sample_shape, dtype=info.dtype)
            for row in rows:
                values[row, : source.steps[row]] = source.read(name, [row])[0]
            expected = by_numpy(values, info, source.steps)
        else:
            expected = by_numpy(source.read(name, slice(None)), info)
        assert found[name].missing == (0,) * len(found[name].mean)
        for key, numbers in expected.items():
            assert getattr(found[name], key) == pytest.approx(numbers, rel=1e-12, abs=1e-12), (name, key)
        if info.steps is None:
            assert found[name].mean_delta is None


def test_the_digits_do_not_depend_on_the_number_of_threads(tmp_path):
    source = open_set(fields_in_time(tmp_path / "train"))
    assert field_statistics(source, workers=1, block=500) == field_statistics(source, workers=4, block=500)


def test_no_digits_cancel_far_from_zero(tmp_path):
    info = (VariableInfo("T", "state", "K", "T", (1, 8), torch.float64, 50),)
    values = {"T": 1e9 + 1e-3 * torch.randn(4, 50, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    source = open_set(write_folder(tmp_path / "train", info, LINE, values))
    expected = (values["T"] - 1e9).std(correction=0).item()  # neighbours in float64: their difference is exact
    # A mean of 1e9 is known to half an eps of it. Squares that are subtracted would leave no digit.
    floor = np.finfo(float).eps / 2 * 1e9 / 1e-3
    assert field_statistics(source, block=100)["T"].std[0] == pytest.approx(expected, rel=floor)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.floats(-1e6, 1e6), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_joined_parts_are_the_whole(sizes, centre, seed):
    values = centre + np.random.default_rng(seed).normal(size=(sum(sizes), 2, 3))
    joined = Moments.none(2)
    for part in np.split(values, np.cumsum(sizes)[:-1]):
        joined = joined.joined(Moments.of(part))
    whole = Moments.of(values)
    assert joined.count.tolist() == whole.count.tolist() == [3 * sum(sizes)] * 2
    assert joined.mean == pytest.approx(values.mean((0, 2)), rel=1e-12, abs=1e-12)
    assert joined.spread == pytest.approx(np.square(values - values.mean((0, 2))[:, None]).sum((0, 2)), rel=1e-8, abs=1e-12)
    assert (joined.least.tolist(), joined.greatest.tolist()) == (values.min((0, 2)).tolist(), values.max((0, 2)).tolist())


def test_values_that_are_not_finite_are_counted_and_left_out(tmp_path):
    ours = open_set(fields_in_time(tmp_path / "train"))
    convert(ours.path, tmp_path / "out.nc", to="netcdf")
    with h5py.File(tmp_path / "out.nc", "r+") as file:
        file["p"][1, 2, 0, 3, 4] = np.nan
        file["kappa"][0, 0, 0, :2] = np.inf
        file["nu"][...] = np.nan
    found = field_statistics(open_set(tmp_path / "out.nc"))
    values = ours.read("p", slice(None)).double().flatten().numpy()
    left = np.delete(values, np.ravel_multi_index((1, 2, 0, 3, 4), (5, 4, 1, 6, 5)))
    assert (found["p"].missing, found["kappa"].missing) == ((1,), (2,))
    assert found["p"].mean[0] == pytest.approx(left.mean(), rel=1e-12)
    assert found["p"].std[0] == pytest.approx(left.std(), rel=1e-12)
    assert np.isfinite(found["kappa"].greatest[0])
    assert np.isnan(found["nu"].mean + found["nu"].least).all()


def test_squares_beyond_float64_are_an_error(tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["u"] = np.full((2, 1, 8), 1e200) * [[[1]], [[-1]]]
        file["u"].attrs["role"] = "target"
    source = open_set(tmp_path / "in.h5")
    with pytest.raises(ValueError, match=r"variable u has values of -1e\+200 to 1e\+200, whose squares are beyond float64"):
        field_statistics(source)


def test_progress_ends_with_everything(tmp_path):
    seen = []
    field_statistics(open_set(fields_in_time(tmp_path / "train")), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert seen == sorted(seen)


def test_a_normaliser_needs_no_second_pass(tmp_path):
    numbers = tuple(
        info for info in FIELDS if info.steps is None and info.dtype == torch.float64 and info.role == "coefficient"
    )
    folder = write_folder(tmp_path / "train", numbers, PLANE, values_of(numbers, 5))
    found = field_statistics(open_set(folder))["kappa"]
    for centre in (True, False):
        passed = Normaliser.of(stream(folder, batch_size=5, dtype=torch.float64), ("kappa",), centre=centre)
        ours = Normaliser(*found.shift_and_scale(centre=centre))
        assert ours.shift == pytest.approx(passed.shift, rel=1e-12)
        assert ours.scale == pytest.approx(passed.scale, rel=1e-12)


def test_a_constant_channel_has_scale_one(tmp_path):
    info = (VariableInfo("u", "target", "1", "u", (2, 8), torch.float32),)
    values = values_of(info, 2)
    values["u"][:, 0] = 0.1
    found = field_statistics(open_set(write_folder(tmp_path / "train", info, LINE, values)))["u"]
    assert found.shift_and_scale()[1][0] == 1.0
    assert found.shift_and_scale()[1][1] == found.std[1] != 1.0


def test_stats_yaml_has_the_names_and_shapes_of_the_well(tmp_path):
    ours = open_set(fields_in_time(tmp_path / "train"))
    said = yaml.safe_load(render_yaml(field_statistics(ours), ours))
    assert set(said) == set(KEYS)
    assert set(said["mean"]) == {"kappa", "inside", "v", "c", "p"}  # no numbers without a grid
    assert set(said["std_delta"]) == {"v", "c", "p"}
    assert isinstance(said["rms"]["p"], float)
    assert len(said["rms"]["v"]) == 2
    convert(ours.path, tmp_path / "out", to="the-well")
    well = yaml.safe_load((tmp_path / "out" / "stats.yaml").read_text())
    assert set(well["mean"]) == {"kappa", "inside", "v", "c_0", "c_1", "c_2", "p"}
    assert [well["mean"][f"c_{i}"] for i in range(3)] == pytest.approx(said["mean"]["c"], rel=1e-12)
    assert well["rms_delta"]["v"] == pytest.approx(said["rms_delta"]["v"], rel=1e-12)


def test_stats_yaml_of_nothing_finite_is_refused(tmp_path):
    info = (VariableInfo("u", "state", "1", "u", (1, 8), torch.float32, 3),)
    convert(write_folder(tmp_path / "train", info, LINE, values_of(info, 2)), tmp_path / "out.nc", to="netcdf")
    with h5py.File(tmp_path / "out.nc", "r+") as file:
        file["u"][...] = np.nan
    source = open_set(tmp_path / "out.nc")
    with pytest.raises(ValueError, match=r"mean of variable u is .*, need finite numbers"):
        write_yaml(tmp_path / "stats.yaml", field_statistics(source), source)
    assert not (tmp_path / "stats.yaml").exists()


def test_one_instant_has_no_increments(tmp_path):
    info = (VariableInfo("u", "state", "1", "u", (1, 8), torch.float32, 1),)
    source = open_set(write_folder(tmp_path / "train", info, LINE, values_of(info, 3)))
    assert field_statistics(source)["u"].mean_delta is None


def test_samples_of_unequal_length_count_only_what_is_there(tmp_path):
    source = open_set(series_of_unequal_length(tmp_path / "train"))
    found = field_statistics(source)["x1"]
    numbers = np.concatenate([source.read("x1", [row])[0].numpy() for row in range(5)])
    assert found.mean == pytest.approx(numbers.mean(0), rel=1e-12)
