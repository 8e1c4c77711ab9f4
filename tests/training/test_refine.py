import copy

import pytest
import torch

from dynamics.made_orbits import orbits, saved
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.strength import Kalman
from sciml.training.checkpoint import load
from sciml.training.refine import Stage, refine

STAGE = Stage(0.2, steps=20, warm_up=5, every=10, iterations=4)


@pytest.fixture
def learner(tmp_path):
    series = orbits("lorenz", 400)[0]
    samples = stream(saved(tmp_path / "series.npy", series), batch_size=1, window=Window(21, 0))
    torch.manual_seed(0)
    return ShallowPLRNN(3, 20, replicas=2), series[None].double(), samples


def error(model, series):
    with torch.no_grad():
        objective = GeneralizedTeacherForcing(0.2, warm_up=5)
        return float(objective(model.train(), {"state": STAGE.windows(series).to(next(model.parameters()).dtype)}))


def test_every_stage_brings_the_objective_down_and_leaves_a_checkpoint(learner, tmp_path):
    model, series, samples = learner
    before = error(model, series)
    refine(model, series, [STAGE], samples, tmp_path)
    after = error(model, series)
    assert after < before / 3
    assert error(load(tmp_path / "refined.pt", kind=ShallowPLRNN), series) == pytest.approx(after, rel=1e-6)
    refine(model, series, [Stage(Kalman(), 40, 10, 10, 2)], samples, tmp_path)
    assert error(load(tmp_path / "refined.pt", kind=ShallowPLRNN), series) != pytest.approx(after, rel=1e-3)


def test_a_stage_that_fails_does_not_lose_the_ones_before(learner, tmp_path):
    model, series, samples = learner
    before = error(model, series)
    with pytest.raises(ValueError, match="need more than the 500 steps"):
        refine(model, series, [STAGE, Stage(0.1, 500, 10, 10, 1)], samples, tmp_path)
    assert error(load(tmp_path / "refined.pt", kind=ShallowPLRNN), series) < before / 3


def test_missing_values_are_left_out_whatever_stands_there(learner, tmp_path):
    model, series, samples = learner
    good = torch.rand(series.shape, generator=torch.Generator().manual_seed(0)) > 0.05
    others = [copy.deepcopy(model), copy.deepcopy(model)]
    for other, missing in zip(others, (torch.nan, 100.0), strict=True):
        refine(other, torch.where(good, series, missing), [STAGE], samples, tmp_path, good=good)
    assert all(torch.equal(a, b) for a, b in zip(*(other.parameters() for other in others), strict=True))
    assert error(others[0], series) < error(model, series) / 3


def test_windows_begin_as_often_as_asked_and_hold_one_instant_more_than_steps():
    series = torch.arange(60.0).view(1, 30, 2)
    windows = Stage(0.1, steps=9, warm_up=0, every=7, iterations=1).windows(series)
    assert windows.shape == (3, 10, 2)
    assert torch.equal(windows[:, 0, 0], torch.tensor([0.0, 14.0, 28.0]))
