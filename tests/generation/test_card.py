import json
import tomllib
from pathlib import Path

import pytest

from generation.cards import TOY, toy
from generation.toy_problem import Antiderivative
from sciml.generation.card import Card, Storage, card_files, find_card, read_card
from sciml.generation.plan import shards_of
from sciml.numerics.domain import Domain


def test_a_card_is_what_its_file_says(tmp_path):
    card = toy(tmp_path, amplitude=2.5)
    assert card.domain == Domain.box((2.0,), (17,), "open")
    assert list(card.samples.items()) == [("train", 22), ("test", 7)]
    assert card.storage == Storage("float64", 1, 6, 3)
    assert card.make_problem() == Antiderivative(amplitude=2.5)
    assert Card.from_dict(json.loads(json.dumps(card.to_dict(), sort_keys=True)), "json") == card


def test_samples_are_numbered_through_the_splits_and_fill_shards_in_order(tmp_path):
    plan = shards_of(toy(tmp_path), Path("out"))
    assert [(s.split, s.number, s.shards, s.samples) for s in plan] == [
        ("train", 0, 4, range(6)),
        ("train", 1, 4, range(6, 12)),
        ("train", 2, 4, range(12, 18)),
        ("train", 3, 4, range(18, 22)),
        ("test", 0, 2, range(22, 28)),
        ("test", 1, 2, range(28, 29)),
    ]
    assert plan[1].path == Path("out/train/shard-00001.h5")


def test_fewer_samples_another_grid_and_another_seed_make_another_card(tmp_path):
    card = toy(tmp_path)
    assert dict(card.changed(samples=6).samples) == {"train": 6, "test": 2}
    assert dict(card.changed(samples=1).samples) == {"train": 1, "test": 1}
    assert dict(card.changed(samples={"test": 3}).samples) == {"train": 22, "test": 3}
    assert card.changed(resolution=33).domain.shape == (33,)
    assert card.changed(seed=5).seed == 5
    for message, change in {
        "split 'valid', the card has train, test": {"samples": {"valid": 3}},
        "samples.train: got 0, need at least 1": {"samples": 0},
        "resolution: got 1 with": {"resolution": 1},
        "seed: got -1": {"seed": -1},
    }.items():
        with pytest.raises(ValueError, match=message):
            card.changed(**change)


@pytest.mark.parametrize(("sides", "points", "solved"), [("dirichlet", 21, 41), ("periodic", 20, 44)])
def test_resolution_is_that_of_the_stored_grid(sides, points, solved):
    domain = Domain.box((1.0, 1.0), (points, points), sides)
    card = Card("t", "a:b", 0, domain, {"train": 1}, storage=Storage(stride=4))
    finer = card.changed(resolution=11)
    assert finer.stored_domain.shape == (11, 11)
    assert finer.domain.shape == (solved, solved)


BAD = {
    "domain: sides: got condition 'wall', a Domain has periodic, dirichlet, neumann, open": ('"open"', '"wall"'),
    "domain: unknown keys|unknown key domain.point": ("points ", "point "),
    "storage.dtype: got 'float16', need one of float32, float64": ("float64", "float16"),
    "storage.block: got 4, it must divide storage.shard = 6": ("block = 3", "block = 4"),
    "storage.shard: got 'six', need a whole number": ("shard = 6", 'shard = "six"'),
    "storage.shard: got 0, need at least 1": ("shard = 6", "shard = 0"),
    "storage.stride: stride: got 3 on 17 points": ("block = 3", "block = 3\nstride = 3", '"open"', '"dirichlet"'),
    "unknown key storage.strides, known are block, dtype, precision, shard, stride": ("block = 3", "block = 3\nstrides = 2"),
    "unknown key colour": ("seed  ", 'colour = "red"\nseed  '),
    "key seed is missing": ("seed    = 11", ""),
    "seed: got -3, need 0 <= seed": ("= 11", "= -3"),
    "seed: got '11', need a whole number": ("= 11", '= "11"'),
    "problem: got 'toy', need an import path": ("generation.toy_problem:Antiderivative", "toy"),
    "samples.test: got -7, need at least 1": ("= 7", "= -7"),
    "samples.test: got True, need a whole number": ("= 7", "= true"),
    "samples: got split '../up', need letters": ("test  =", '"../up" ='),
    "expected: got 'u.median', need variable.statistic": ("[storage]", '[expected]\n"u.median" = [0.0, 1.0]\n[storage]'),
    "expected.u.mean: got 3.0, need .value, deviation allowed.": ("[storage]", '[expected]\n"u.mean" = 3.0\n[storage]'),
    "is not TOML": ("[storage]", "[storage"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_wrong_card_is_refused_with_its_file_and_key(tmp_path, message):
    text, replaced = TOY, iter(BAD[message])
    for old, new in zip(replaced, replaced, strict=True):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "my-card.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"my-card.toml: .*({message})|my-card.toml: ({message})") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module:thing", "cannot import 'no.such.module:thing'"),
        ("generation.toy_problem:Missing", "cannot import .*Missing"),
        ("generation.toy_problem:no_problem", "gives int, need a sciml.problems.problem.Problem"),
        ("generation.toy_problem:os", "need something to call"),
    ],
)
def test_a_problem_that_cannot_be_made_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        Card("t", path, 0, Domain.box((1.0,), (5,), "open"), {"train": 1}).make_problem()


def test_what_a_trusted_module_imported_is_not_trusted():
    """A card from a stranger's file must not reach `os.system` by way of a module that imports os."""
    domain = Domain.box((1.0,), (5,), "open")
    for path, message in {
        "generation.toy_problem:os.getcwd": "is not defined in a trusted module",
        "os:getcwd": "is not part of sciml.problems and not trusted",
        "generation.toy_problem_2:x": "is not part of sciml.problems and not trusted",
    }.items():
        with pytest.raises(ValueError, match=message):
            Card("t", path, 0, domain, {"train": 1}).make_problem(trust=["generation.toy_problem"])
    assert Card("t", "generation.toy_problem:Antiderivative", 0, domain, {"train": 1}).make_problem(trust=["generation"])


def test_parameters_that_the_problem_does_not_take_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"parameters: .* does not take \{'colour': 3\}"):
        toy(tmp_path, colour=3).make_problem()


@pytest.mark.parametrize("name", sorted(card_files()))
def test_every_card_that_comes_with_the_package_can_be_read_and_its_problem_made(name):
    card = read_card(find_card(name))
    assert card.make_problem().tolerance <= 1e-6  # digits of float32
    assert card.citation
    assert card.expected
    assert card.stored_domain.dim == card.domain.dim
    assert tomllib.loads(find_card(name).read_text())["title"] == card.title


def test_cards_are_found_by_name_and_others_by_path(tmp_path):
    assert find_card("darcy-smooth").name == "darcy-smooth.toml"
    assert find_card("some/where.toml") == Path("some/where.toml")
    with pytest.raises(FileNotFoundError, match=r"no such card; the cards that come with sciml are .*darcy-smooth"):
        read_card(tmp_path / "none.toml")
