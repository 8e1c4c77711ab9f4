import math
from dataclasses import replace

import pytest
import torch

from recipes.poisson import PRESETS, ConductanceAndSource, ConstantConductance, Sines, main, on_grid
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.training.checkpoint import load

SHORT = replace(PRESETS["quick"], waves=6, terms=32, width=16, steps=20, fno_width=4, fno_modes=4, fno_steps=1)
BOX = Domain.box((1.0, 1.0), (16, 16), "dirichlet", "cells")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DeepONet(ConductanceAndSource(BOX, 6, 16, 32, 1.0), Sines(6), bias=False).double()


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(1)
    logarithm, f, g = torch.randn(3, 5, 1, 16, 16, generator=generator, dtype=torch.float64)
    return logarithm.exp(), f, g


def test_the_answer_is_linear_in_the_source_and_of_degree_minus_one_in_the_conductance(model, given):
    c, f, g = given
    y = torch.rand(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(model((c, 2 * f - 3 * g), y), 2 * model((c, f), y) - 3 * model((c, g), y), atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(model((4 * c, f), y), model((c, f), y) / 4, atol=1e-12, rtol=1e-9)


def test_the_answer_is_zero_on_the_sides(model, given):
    c, f, _ = given
    line = torch.linspace(0, 1, 7, dtype=torch.float64)
    for side in (0.0, 1.0):
        for order in (1, -1):
            y = torch.stack([torch.full_like(line, side), line][::order], 1)
            torch.testing.assert_close(model((c, f), y), torch.zeros(5, 7, 1, dtype=torch.float64), atol=1e-12, rtol=0.0)


def test_waves_are_answered_exactly_where_the_conductance_is_constant():
    x, y = BOX.mesh()
    f = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
    c = torch.full_like(f, 3.0)
    answer = on_grid(ConstantConductance(BOX, 6), BOX)(torch.stack([c, f])[None])
    torch.testing.assert_close(answer[0, 0], f / (3 * 5 * math.pi**2), atol=1e-14, rtol=1e-12)


def test_all_models_stand_in_one_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = main(SHORT, None, "cpu", tmp_path / "out", 0, samples={"train": 32, "valid": 8, "test": 8})
    errors = {row.name: row.statistic("relative_l2", "mean") for row in table.rows}
    assert list(errors)[:3] == ["DeepONet", "FNO (neuraloperator)", "constant conductance"]
    assert errors["DeepONet"] < errors["mean of training"]
    assert errors["multigrid solver"] < 1e-6
    assert (tmp_path / "out" / "answers.png").stat().st_size > 10_000
    load(tmp_path / "out" / "deeponet" / "best.pt", trust=["recipes.poisson"])
    load(tmp_path / "out" / "fno" / "best.pt", trust=["recipes.poisson"])
