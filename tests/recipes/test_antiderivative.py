import json
from dataclasses import replace

import pytest
import torch

from recipes.antiderivative import PRESETS, PROBLEMS, main
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.checkpoint import load

SHORT = replace(PRESETS["quick"], steps=300, evaluations=60)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_recipe_learns_and_polishes(name, tmp_path):
    card = read_card(find_card(f"{PROBLEMS[name].card}-mini"))
    generate(card, tmp_path / "data", samples={"train": 600, "test": 100})
    main(name, SHORT, tmp_path / "data", tmp_path / "out", 0)
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    polished = json.loads((tmp_path / "out" / "polished" / "table.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["DeepONet", "least squares, linear"]
    assert polished[0]["mean_squared_error"] < rows[0]["mean_squared_error"] < 0.04
    model = load(tmp_path / "out" / "polished.pt")
    assert next(model.parameters()).dtype == torch.float64
    assert (tmp_path / "out" / "answers.png").stat().st_size > 10_000
