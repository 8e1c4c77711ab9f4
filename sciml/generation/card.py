"""A card: all that a set of samples depends on, read from a TOML file."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from sciml.imports import imported
from sciml.numerics.domain import Domain
from sciml.problems.problem import Problem

STORED_TYPES = ("float32", "float64")
STATISTICS = ("min", "max", "mean", "rms")
SINGLE_TOLERANCE = 1e-3
"""What is accepted of residuals where the answers were computed in float32, if the problem promises less."""


@dataclass(frozen=True)
class Storage:
    """How samples are computed and kept.

    Args:
        dtype: of the stored fields.
        stride: every `stride`-th point of the grid of the solver is stored.
        shard: samples per file.
        block: samples solved together; divides `shard`.
        precision: in which answers are computed. Inputs are drawn, and residuals computed, in float64 in any case.
    Raises:
        ValueError: an unknown dtype, one that keeps more digits than are computed, a number below 1, or a block that does not
            divide the shard.
    """

    dtype: str = "float32"
    stride: int = 1
    shard: int = 250
    block: int = 50
    precision: str = "float64"

    def __post_init__(self) -> None:
        for key, value in (("dtype", self.dtype), ("precision", self.precision)):
            if value not in STORED_TYPES:
                raise ValueError(f"storage.{key}: got {value!r}, need one of {', '.join(STORED_TYPES)}")
        if self.precision == "float32" and self.dtype == "float64":
            raise ValueError("storage.dtype: got 'float64' of answers computed in float32, need 'float32'")
        for key, count in (("stride", self.stride), ("shard", self.shard), ("block", self.block)):
            if count < 1:
                raise ValueError(f"storage.{key}: got {count}, need at least 1")
        if self.shard % self.block:
            raise ValueError(f"storage.block: got {self.block}, it must divide storage.shard = {self.shard}")


@dataclass(frozen=True)
class Card:
    """A set of samples: sample `i` depends on the card and `i` alone.

    Args:
        title: in words.
        problem: import path `module:name` of anything that returns a Problem when called with `parameters`; also your own.
        seed: of the whole set, 0 to 2⁶³ - 1.
        domain: the grid of the solver; `Domain(())` where there is none, then the card has no table `domain`.
        samples: how many per split, in the order in which they are numbered: the first split has 0, 1, ..., the next goes on.
        parameters: arguments of `problem`, plain values.
        storage: how samples are computed and kept.
        citation: what to cite.
        expected: of the whole set, per "variable.statistic" (min, max, mean, rms) a value and the deviation allowed.
        seconds: that one sample takes on one core of the machine that `speed.REFERENCE` was measured on; 0 where not known.
        folder: where its file lies, beside which the module of `problem` may lie; no part of what the set depends on.
    Raises:
        ValueError: a value that is not possible; the message names the key.
    """

    title: str
    problem: str
    seed: int
    domain: Domain
    samples: Mapping[str, int]
    parameters: Mapping[str, object] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)
    citation: str = ""
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:[\w.]+", self.problem):
            raise ValueError(f"problem: got {self.problem!r}, need an import path such as 'package.module:name'")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: got {self.seed}, need 0 <= seed < 2**63")
        if not self.samples:
            raise ValueError("samples: got no split, need at least one, such as train = 1000")
        for split, count in self.samples.items():
            if not re.fullmatch(r"[A-Za-z0-9][\w-]*", split):
                raise ValueError(f"samples: got split {split!r}, need letters, digits, _ and - (it names a folder)")
            if count < 1:
                raise ValueError(f"samples.{split}: got {count}, need at least 1")
        for key in self.expected:
            if not re.fullmatch(rf"\w+\.({'|'.join(STATISTICS)})", key):
                raise ValueError(f"expected: got {key!r}, need variable.statistic with one of {', '.join(STATISTICS)}")
        _ = self.stored_domain  # a stride that does not fit is found now

    def accepted(self, problem: Problem) -> float:
        """The largest residual with which a sample counts as solved."""
        return problem.tolerance if self.storage.precision == "float64" else max(problem.tolerance, SINGLE_TOLERANCE)

    @property
    def stored_domain(self) -> Domain:
        """The grid of the stored fields."""
        if self.storage.stride == 1:
            return self.domain
        try:
            return self.domain.strided(self.storage.stride)
        except ValueError as error:
            raise ValueError(f"storage.stride: {error}") from error

    def make_problem(self, *, trust: Sequence[str] | None = None) -> Problem:
        """Import the problem and call it.

        Args:
            trust: modules that the problem must be defined in or below, where the card comes from a file that anybody may have
                written. To import is to run.
        Raises:
            ValueError: it cannot be imported, does not take the parameters, is no Problem, or is not trusted.
        """
        with importable(self.folder):
            return self._problem(trust)

    def _problem(self, trust: Sequence[str] | None) -> Problem:
        try:
            factory = imported(self.problem, trust=trust, home="sciml.problems")
        except ValueError as error:
            raise ValueError(f"problem: {error}") from error
        if not callable(factory):
            raise ValueError(f"problem: {self.problem!r} is {factory!r}, need something to call")
        try:
            problem = factory(**self.parameters)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"parameters: {self.problem!r} does not take {dict(self.parameters)}, {error}") from error
        if not isinstance(problem, Problem):
            raise ValueError(f"problem: {self.problem!r} gives {type(problem).__name__}, need a sciml.problems.problem.Problem")
        return problem

    def changed(
        self,
        *,
        samples: int | Mapping[str, int] | None = None,
        resolution: int | Sequence[int] | None = None,
        seed: int | None = None,
        precision: str | None = None,
    ) -> Card:
        """Another card with fewer or more samples, another grid, another seed, or answers computed in another precision.

        What is expected of its statistics may deviate more where there are fewer samples; on another grid nothing is expected.

        Args:
            samples: per split; or one number for the first split, the others shrink or grow alike (at least 1 each).
            resolution: points of the stored grid, one number for all axes or one per axis; the solver's grid is finer by
                the stride.
        Raises:
            ValueError: a split that the card does not have, or a value that is not possible.
        """
        card = self
        if samples is not None:
            counts = _counts(self.samples, samples)
            wider = max(1.0, sum(self.samples.values()) / max(sum(counts.values()), 1)) ** 0.5
            expected = {key: (value, deviation * wider) for key, (value, deviation) in self.expected.items()}
            card = replace(card, samples=counts, expected=expected)
        if resolution is not None:
            domain = _with_stored_points(self, resolution)
            card = replace(card, domain=domain, expected=card.expected if domain == self.domain else {})
        if precision is not None:
            card = replace(card, storage=replace(card.storage, precision=precision))
        return card if seed is None else replace(card, seed=seed)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, as manifests hold them."""
        return {
            "title": self.title,
            "problem": self.problem,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "citation": self.citation,
            **({"domain": self.domain.to_dict()} if self.domain.dim else {}),
            # A list, as the order of splits numbers the samples and JSON keys have none.
            "samples": [[split, count] for split, count in self.samples.items()],
            "storage": asdict(self.storage),
            "expected": {key: [float(value) for value in pair] for key, pair in self.expected.items()},
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, object], source: str) -> Card:
        """The inverse of `to_dict`, also of the tables of a TOML file.

        Args:
            source: the file, for messages.
        Raises:
            ValueError: an unknown or missing key, or a value that is not possible; the message names file and key.
        """
        try:
            _check_keys(
                given,
                "",
                needed={"title", "problem", "seed", "samples"},
                known={f.name for f in fields(cls)} - {"folder"},
            )
            storage, domain = (_value(given, key, dict, {}) for key in ("storage", "domain"))
            samples = _splits(given["samples"])
            _check_keys(storage, "storage.", needed=set(), known={f.name for f in fields(Storage)})
            _check_keys(domain, "domain.", needed=set(), known={"lengths", "points", "sides", "layout", "origin"})
            return cls(
                title=_value(given, "title", str),
                problem=_value(given, "problem", str),
                seed=_value(given, "seed", int),
                domain=_domain(domain) if "domain" in given else Domain(()),
                samples={split: _value(samples, split, int, prefix="samples.") for split in samples},
                parameters=_plain(_value(given, "parameters", dict, {})),
                storage=Storage(
                    dtype=_value(storage, "dtype", str, Storage.dtype, prefix="storage."),
                    precision=_value(storage, "precision", str, Storage.precision, prefix="storage."),
                    stride=_value(storage, "stride", int, Storage.stride, prefix="storage."),
                    shard=_value(storage, "shard", int, Storage.shard, prefix="storage."),
                    block=_value(storage, "block", int, Storage.block, prefix="storage."),
                ),
                citation=_value(given, "citation", str, ""),
                expected={key: _pair(key, pair) for key, pair in _value(given, "expected", dict, {}).items()},
                seconds=_seconds(given.get("seconds", 0.0)),
            )
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error


def read_card(path: str | Path) -> Card:
    """Read a card from a TOML file.

    Raises:
        ValueError: not TOML, or a value that is not possible; the message names file and key.
        OSError: it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such card; the cards that come with sciml are {', '.join(card_files())}")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not TOML, {error}") from error
    return replace(Card.from_dict(given, str(path)), folder=path.resolve().parent)


@contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Let modules in `folder` be imported as long as this lasts; those that could be imported before go first."""
    if folder is None or str(folder) in sys.path:
        yield
        return
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def card_files() -> dict[str, Path]:
    """The cards that come with the package, by name."""
    package = Path(__file__).resolve().parent.parent
    folders = (package / "_cards", package.parent / "datasets")  # in a wheel; in the repository
    return {file.stem: file for folder in reversed(folders) for file in sorted(folder.glob("*.toml"))}


def find_card(name: str) -> Path:
    """The file of a card that comes with the package, or a path to one of your own."""
    return card_files().get(name, Path(name))


def _check_keys(given: Mapping[str, object], prefix: str, *, needed: set[str], known: set[str]) -> None:
    unknown, missing = sorted(set(given) - known), sorted(needed - set(given))
    if unknown:
        raise ValueError(f"unknown key {prefix}{unknown[0]}, known are {', '.join(sorted(known))}")
    if missing:
        raise ValueError(f"key {prefix}{missing[0]} is missing")


_Kind = TypeVar("_Kind")
_WORDS = {str: "text", int: "a whole number", dict: "a table"}


def _value(
    given: Mapping[str, object], key: str, kind: type[_Kind], default: _Kind | None = None, *, prefix: str = ""
) -> _Kind:
    value = given.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{prefix}{key}: got {value!r}, need {_WORDS[kind]}")
    return value


def _splits(given: object) -> dict[str, object]:
    """A table, or the list of pairs that `to_dict` gives."""
    if isinstance(given, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in given):
        given = {str(split): count for split, count in given}
    return _value({"samples": given}, "samples", dict)


def _pair(key: str, pair: object) -> tuple[float, float]:
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(value, int | float) for value in pair):
        raise ValueError(f"expected.{key}: got {pair!r}, need [value, deviation allowed]")
    return float(pair[0]), float(pair[1])


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"seconds: got {value!r}, need a number of seconds per sample")
    return float(value)


def _domain(table: Mapping[str, object]) -> Domain:
    try:
        return Domain.from_dict(table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"domain: {error}") from error


def _plain(parameters: dict[str, object]) -> dict[str, object]:
    try:
        return json.loads(json.dumps(parameters, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameters: got {parameters}, need numbers, text, lists and tables; {error}") from error


def _counts(card: Mapping[str, int], asked: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(asked, Mapping):
        for split in asked:
            if split not in card:
                raise ValueError(f"samples: got split {split!r}, the card has {', '.join(card)}")
        return {**card, **asked}
    first = next(iter(card.values()))
    return {split: max(1, round(count * asked / first)) if asked > 0 else asked for split, count in card.items()}


def _with_stored_points(card: Card, resolution: int | Sequence[int]) -> Domain:
    if not card.domain.dim:
        raise ValueError(f"resolution: got {resolution}, the card has no domain")
    points = [resolution] * card.domain.dim if isinstance(resolution, int) else list(resolution)
    if isinstance(resolution, int) and len(set(card.domain.shape)) > 1:
        raise ValueError(f"resolution: got {resolution} for a grid of {card.domain.shape}, need one number per axis")
    stride, refused = card.storage.stride, ""
    # How many points of the solver a stored point stands for at the last side depends on the layout; ask the Domain.
    for extra in range(1 - stride, 1):
        try:
            domain = card.domain.with_points([n * stride + extra for n in points])
            if (domain if stride == 1 else domain.strided(stride)).shape == tuple(points):
                return domain
        except ValueError as error:
            refused = str(error)
    raise ValueError(f"resolution: got {resolution} with storage.stride = {stride}; {refused}")


__all__ = ["SINGLE_TOLERANCE", "STATISTICS", "Card", "Storage", "card_files", "find_card", "importable", "read_card"]
