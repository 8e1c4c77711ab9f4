"""Small cards."""

from pathlib import Path

from sciml.generation.card import Card, read_card

TOY = """
title   = "Antiderivative"
problem = "generation.toy_problem:Antiderivative"
seed    = 11
citation = "nobody"

[domain]
lengths = [2.0]
points  = [17]
sides   = "open"

[samples]
train = 22
test  = 7

[storage]
dtype = "float64"
shard = 6
block = 3
"""


OSCILLATORS = TOY.replace("Antiderivative", "Oscillators")


def toy(folder: Path, **parameters) -> Card:
    """A card of the toy problem with these parameters: 4 + 2 shards."""
    return changed(folder, TOY, parameters=parameters)


def changed(folder: Path, text: str, parameters=None, **replaced: str) -> Card:
    """A card with some text replaced."""
    for old, new in replaced.items():
        text = text.replace(old, new)
    values = ", ".join(f"{key} = {_toml(value)}" for key, value in (parameters or {}).items())
    text = text.replace("seed ", f"parameters = {{ {values} }}\nseed ", 1)
    path = folder / "card.toml"
    path.write_text(text)
    return read_card(path)


def _toml(value) -> str:
    return repr(value) if isinstance(value, int | float) else f'"{value}"'


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
