import json
from dataclasses import replace

import pytest

from recipes.diffusion_reaction import PRESETS, main
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.checkpoint import load


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion_reaction")
    generate(read_card(find_card("diffusion-reaction-source-mini")), folder)
    return folder


@pytest.mark.parametrize(("learn", "bound"), [("data", 0.5), ("equation", 0.5), ("both", 0.5)])
def test_the_map_is_learned_from_data_from_the_equation_and_from_both(learn, bound, splits, tmp_path):
    short = replace(PRESETS["quick"], terms=16, width=24, steps=120, points=30, evaluations=60)
    assert main(short, learn, splits, "cpu", tmp_path, 0).functions == 20
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert rows[0]["name"] == "DeepONet"
    assert rows[0]["mean_relative_l2"] < bound
    assert (tmp_path / "answer.png").stat().st_size > 10_000
    load(tmp_path / "best.pt")
