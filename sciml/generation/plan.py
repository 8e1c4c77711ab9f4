"""Which files a card makes, which of them are there, and whether what is there was made from this card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sciml import __version__
from sciml.data.manifest import is_done, read_manifest
from sciml.generation.card import Card


@dataclass(frozen=True)
class Shard:
    """One file to make, the unit of work.

    Args:
        path: of the file.
        split: which part of the set it belongs to.
        number, shards: place among the files of its split.
        samples: numbers of its samples within the whole set.
    """

    path: Path
    split: str
    number: int
    shards: int
    samples: range

    @property
    def done(self) -> bool:
        """Whether it was finished before."""
        return is_done(self.path)


def shards_of(card: Card, out: Path) -> tuple[Shard, ...]:
    """All files of a card, split after split."""
    found: list[Shard] = []
    start, size = 0, card.storage.shard
    for split, count in card.samples.items():
        shards = -(-count // size)
        for number in range(shards):
            first, last = start + number * size, start + min((number + 1) * size, count)
            path = out / split / f"shard-{number:05d}.h5"
            found.append(Shard(path, split, number, shards, range(first, last)))
        start += count
    return tuple(found)


def check_same_card(card: Card, out: Path) -> None:
    """Raise a ValueError that names the difference when the folder holds shards of another card or code version."""
    now = _flat({"card": card.to_dict(), "code_version": __version__})
    for path in sorted(out.glob("*/shard-*.json")):
        try:
            manifest = read_manifest(path)
        except ValueError:
            continue  # damaged: the shard counts as not done and is made again
        then = _flat({key: manifest.get(key) for key in ("card", "code_version")})
        for key in sorted(now.keys() | then.keys()):
            if now.get(key) != then.get(key):
                raise ValueError(
                    f"{out}: holds shards made with {key} = {then.get(key)!r} ({path.parent.name}/{path.stem}.h5), "
                    f"asked for is {now.get(key)!r}; take another folder, or delete this one"
                )


def _flat(given: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as one, keys joined by dots."""
    out: dict[str, object] = {}
    for key, value in given.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


__all__ = ["Shard", "check_same_card", "shards_of"]
