"""Recipes for operators between fields other than Darcy's, from card to page, with few and small steps."""

import csv
from dataclasses import replace

import pytest
import torch

from recipes.burgers import BURGERS
from recipes.helmholtz import HELMHOLTZ
from recipes.navier_stokes import NAVIER_STOKES
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.comparison import compare

SMALL = {"steps": 40, "batch_size": 8, "width": 8, "levels": 4, "fno_width": 8, "fno_modes": 6, "learning_rate": 1e-2}
CASES = {  # with samples, points, and to what part of the first one the validation error falls; Helmholtz is slow to begin
    "helmholtz": (HELMHOLTZ, {"train": 24, "valid": 4, "test": 4}, 43, 0.99),
    "burgers": (BURGERS, {"train": 40, "valid": 8, "test": 8}, 256, 0.6),
    "navier_stokes": (NAVIER_STOKES, {"train": 6, "valid": 1, "test": 2}, 32, 0.8),
}


@pytest.mark.parametrize("name", CASES)
def test_a_short_run_learns_and_reports(name, tmp_path):
    comparison, samples, points, part = CASES[name]
    preset = replace(comparison.presets["quick"], **SMALL)
    folder = tmp_path / "data"
    generate(read_card(find_card(preset.card)), folder, samples=samples, resolution=points)
    table = compare(comparison, preset, folder, "mgno", "cpu", tmp_path / "run", 0)["test"]
    assert [row.name for row in table.rows][:2] == ["MgNO", "FNO (neuraloperator)"]
    assert all(0 < row.statistic("relative_l2", "mean") < 5 for row in table.rows)
    for run in (tmp_path / "run", tmp_path / "run" / "fno"):
        with (run / "log.csv").open() as file:
            errors = [float(line["validation"]) for line in csv.DictReader(file) if line["validation"]]
        assert min(errors) < part * errors[0]
    assert (tmp_path / "run" / "test" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("comparison", [HELMHOLTZ, BURGERS, NAVIER_STOKES])
def test_every_preset_names_a_card_of_the_package(comparison):
    for preset in comparison.presets.values():
        assert read_card(find_card(preset.card)).title
        assert preset.levels == len(preset.smoothing())
    assert set(comparison.published) <= {preset.card for preset in comparison.presets.values()}


def test_ten_instants_in_and_one_out(tmp_path):
    preset = NAVIER_STOKES.presets["full-10"]
    generate(read_card(find_card("navier-stokes-mini")), tmp_path, samples={"train": 2, "valid": 1, "test": 1}, resolution=32)
    samples = stream(tmp_path / "train", batch_size=2, window=Window(preset.given, 1))
    batch = torch.randn(2, preset.given, 32, 32)
    for name in ("mgno", "fno"):
        step = NAVIER_STOKES.build(name, preset, samples)
        assert step(batch).shape == (2, 1, 32, 32)
        assert NAVIER_STOKES.answer(step)(batch).shape == (2, 10, 32, 32)


def test_a_step_of_navier_stokes_can_tell_where_the_force_is(tmp_path):
    """Without waves of bias a cycle on a periodic box gives every place the same answer to a constant."""
    generate(read_card(find_card("navier-stokes-mini")), tmp_path, samples={"train": 2, "valid": 1, "test": 1}, resolution=32)
    step = NAVIER_STOKES.build(
        "mgno", NAVIER_STOKES.presets["quick"], stream(tmp_path / "train", window=Window(1, 1), batch_size=2)
    )
    with torch.no_grad():
        for field in step.fields:
            field.coefficients += torch.randn_like(field.coefficients)
        answer = step(torch.zeros(1, 1, 32, 32))
    assert answer.std() > 0.1 * answer.abs().max()


def test_sets_with_several_inputs_are_learned_alike(tmp_path):
    few = {"train": 3, "valid": 1, "test": 1}
    generate(read_card(find_card("poisson-conductance-mini")), tmp_path, samples=few, resolution=16)
    samples = stream(tmp_path / "train", batch_size=3)
    assert len(samples.inputs) == 2
    for name in ("mgno", "fno"):
        operator = HELMHOLTZ.build(name, HELMHOLTZ.presets["quick"], samples)
        assert operator(torch.ones(3, 2, 16, 16)).shape == (3, 1, 16, 16)
