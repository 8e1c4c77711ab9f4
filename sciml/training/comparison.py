"""What recipes for operators between fields share: a set, two operators trained alike, a table and a page.

A recipe says what its operators and its objective are (`Comparison`); `compare` does the rest and `command_line` reads options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import Stream, stream
from sciml.data.window import Window
from sciml.numerics.domain import Domain
from sciml.operators.mgno import MgNO
from sciml.operators.subsampled import Subsampled
from sciml.training.baselines import NeuralOperatorFNO
from sciml.training.checkpoint import write_bytes
from sciml.training.evaluate import Table, evaluate
from sciml.training.field_report import write_field_report
from sciml.training.fit import Run, fit
from sciml.training.objectives import Objective, RelativeL2
from sciml.training.optimisers import Adam
from sciml.training.ranks import Ranks, launched

NAMES = {"mgno": "MgNO", "fno": "FNO"}


@dataclass(frozen=True)
class Preset:
    """Sizes of a run, the same steps and batches for MgNO and for the FNO beside it.

    Args:
        card: names the set.
        width, levels, layers: of MgNO.
        symmetries: whether training turns and mirrors its batches, where the law allows it.
        given: instants, of sets in time.
    """

    card: str
    steps: int
    batch_size: int
    width: int
    levels: int
    fno_width: int
    fno_modes: int
    learning_rate: float
    weight_decay: float
    fno_weight_decay: float = 1e-4
    clip: float | None = 1.0
    symmetries: bool = False
    layers: int = 4
    given: int = 1

    def smoothing(self) -> tuple[tuple[int, int], ...]:
        """Of a backslash cycle: a step per level, two on the coarsest."""
        return ((1, 0),) * (self.levels - 1) + ((2, 0),)


@dataclass(frozen=True)
class Comparison:
    """A law and how it is learned.

    Args:
        title: of the pages.
        build: (name, preset, training stream) -> the operator, `mgno` or `fno`, with what scaling it needs around it.
        objective: (preset, training stream) -> what is minimised.
        presets, published: by name; and by card, what others report.
        baselines: (preset, training stream, whether the set is that of the card) -> further rows of the table.
        open_splits: (folder or file, preset, device, seed) -> training, validation and test streams.
        make: (card, folder) -> the set, made where it is not there yet; with `resolution=` and `split=`, a split of it on
            another grid.
        answer: what is tested of a trained operator, if not that itself.
    """

    title: str
    build: Callable[[str, Preset, Stream], nn.Module]
    objective: Callable[[Preset, Stream], Objective]
    presets: Mapping[str, Preset]
    published: Mapping[str, str]
    baselines: Callable[[Preset, Stream, bool], dict[str, nn.Module]]
    open_splits: Callable[[Path, Preset, str, int], tuple[Stream, Stream, dict[str, Stream]]]
    make: Callable[..., object]
    answer: Callable[[nn.Module], nn.Module] = lambda model: model


def splits(
    data: Path,
    preset: Preset,
    device: str,
    seed: int,
    *,
    window: Window | None = None,
    tested: Window | None = None,
) -> tuple[Stream, Stream, dict[str, Stream]]:
    """Training, validation and test streams of a folder of splits.

    Args:
        window, tested: of training and validation, and of the test.
    """
    folders = [(data / "train", window), (data / "valid", window), (data / "test", tested)]
    opened = [stream(f, batch_size=preset.batch_size, seed=seed, device=device, window=w) for f, w in folders]
    return opened[0], opened[1], {"test": opened[2]}


def fno(preset: Preset, in_channels: int, out_channels: int, dim: int) -> nn.Module:
    """The FNO of neuraloperator of this size."""
    return NeuralOperatorFNO(in_channels, out_channels, width=preset.fno_width, layers=4, modes=(preset.fno_modes,) * dim)


def between_fields(name: str, preset: Preset, train: Stream, *, centre: bool = True, domain: Domain | None = None) -> nn.Module:
    """An operator from the inputs to the targets, `mgno` or `fno`, with the normalisation of the training set around it.

    Args:
        centre: whether the mean of the answers is taken off too.
        domain: of MgNO; that of the stream if not given.
    """
    inputs, targets = Normaliser.of(train, train.inputs), Normaliser.of(train, train.targets, centre=centre)
    channels = len(inputs.shift), len(targets.shift)
    if name == "mgno":
        arguments = {"width": preset.width, "layers": preset.layers, "smoothing": preset.smoothing()}
        inner: nn.Module = MgNO(*channels, domain=domain or train.domain, **arguments)
    else:
        inner = fno(preset, *channels, train.domain.dim)
    return Normalised(inner, inputs, targets).to(train.device)


def learn(comparison: Comparison, name: str, preset: Preset, train: Stream, valid: Stream, out: Path | None, seed: int) -> Run:
    """Train one operator; choose its weights by the validation error in L2."""
    torch.manual_seed(seed)
    decay = preset.weight_decay if name == "mgno" else preset.fno_weight_decay
    return fit(
        comparison.build(name, preset, train),
        comparison.objective(preset, train),
        train,
        steps=preset.steps,
        validation=valid,
        criterion=RelativeL2(train.domain, train.inputs, train.targets),
        optimiser=Adam(preset.learning_rate, decay, clip=preset.clip),
        out=out,
    )


def compare(
    comparison: Comparison,
    preset: Preset,
    data: Path | None,
    model: str,
    device: str,
    out: Path | None,
    seed: int,
    finer: Sequence[int] = (),
) -> dict[str, Table]:
    """Train `model`, and beside an MgNO an FNO, on `data` or on the set of the preset, made if need be; report every test.

    Where a test set has a finer grid than the training set, each model and baseline answers a second time, on every second
    (fourth, ...) point of it, with cubics between.

    Args:
        finer: points a side, on which the test samples of the preset's set are made and answered too.
    Raises:
        ValueError: finer grids of other data than the preset's own, or that do not have all points of its grid.
    """
    if finer and data is not None:
        raise ValueError(f"finer: got {list(finer)} beside {data}, need the preset's own set, as only that can be made again")
    folder = data or Path("data") / preset.card
    out = out or Path("results") / f"{folder.stem}-{model}"
    made_again = {points: folder.with_name(f"{folder.name}-{points}") for points in finer}
    tables: dict[str, Table] = {}
    with launched(device) as here:
        ranks = Ranks.now()
        if data is None and ranks.first:
            comparison.make(preset.card, folder)
        ranks.wait()
        train, valid, tests = comparison.open_splits(folder, preset, str(here), seed)
        for points, place in made_again.items():
            Subsampled(nn.Identity(), train.domain, train.domain.with_points([points] * train.domain.dim))  # before any work
            if ranks.first:
                comparison.make(preset.card, place, resolution=points, split="test")
            ranks.wait()
            tests[f"test-{points}"] = stream(place / "test", batch_size=1, device=str(here), window=tests["test"].window)
        trained = learn(comparison, model, preset, train, valid, out, seed)
        models = {NAMES[model]: comparison.answer(trained.model)}
        if model == "mgno":
            beside = learn(comparison, "fno", preset, train, valid, out / "fno", seed)
            models["FNO (neuraloperator)"] = comparison.answer(beside.model)
        baselines = comparison.baselines(preset, train, data is None)
        notes = [f"Published on the authors' own data: {p}." for p in [comparison.published.get(preset.card)] if p]
        for name, test in tests.items() if ranks.first else ():
            others = interpolated(models | baselines, train.domain, test.domain) or baselines
            tables[name] = _reported(
                f"{comparison.title}, {folder.stem}", trained, {**models, **others}, test, notes, out / name
            )
        if len(tables) > 1:
            text = by_grid(tables, {name: test.domain for name, test in tests.items()}, train.domain)
            write_bytes(out / "by_grid.md", text.encode())
            print(text)
    return tables


def _reported(title: str, run: Run, models: Mapping[str, nn.Module], test: Stream, notes: Sequence[str], out: Path) -> Table:
    """The table and the page of one test set; the first of the models is that of the run."""
    (name, model), *others = models.items()
    table = evaluate(model, test, name=name, baselines=dict(others), out=out)
    print(table)
    page = out / "report.html"
    write_field_report(page, f"{title}: {name}", replace(run, model=model), table, test, dict(others), notes)
    print(f"{page}: the table, the learning curves and pictures", *notes, sep="\n")
    return table


def grid_name(domain: Domain) -> str:
    """Such as "65²", or "65 x 33"."""
    if len(set(domain.shape)) == 1:
        return f"{domain.shape[0]}{' ²³'[domain.dim - 1].strip()}"
    return " x ".join(str(n) for n in domain.shape)


def interpolated(models: Mapping[str, nn.Module], coarse: Domain, fine: Domain) -> Mapping[str, nn.Module]:
    """Each of the models on the points of its own grid, with cubics between; none where `fine` is not a finer grid."""
    if coarse == fine:
        return {}
    try:
        return {f"{name} at {grid_name(coarse)}": Subsampled(model, coarse, fine) for name, model in models.items()}
    except ValueError:
        return {}


def by_grid(tables: Mapping[str, Table], grids: Mapping[str, Domain], own: Domain) -> str:
    """The means of the first metric, one column per test set; on the training grid "NAME at GRID" is what NAME is."""
    metric = next(iter(tables.values())).metrics[0]
    means = {test: {row.name: row.statistic(metric, "mean") for row in table.rows} for test, table in tables.items()}
    for test in (test for test, domain in grids.items() if domain == own):
        means[test] |= {f"{name} at {grid_name(own)}": mean for name, mean in means[test].items()}
    lines = [["mean " + metric, *(f"{test}, {grid_name(grids[test])}" for test in tables)], ["---", *["---:"] * len(tables)]]
    names = dict.fromkeys(row.name for table in reversed([*tables.values()]) for row in table.rows)
    for name in names:
        cells = [means[test].get(name) for test in tables]
        if f"{name} at {grid_name(own)}" in names and cells.count(None) == len(cells) - 1:
            continue  # the other row says the same and more
        lines.append([name, *("–" if mean is None else f"{mean:.4g}" for mean in cells)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def command_line(
    comparison: Comparison, description: str | None, *, usual: Callable[[Path | None], str] = lambda data: "quick"
) -> tuple[Preset, Path | None, str, str, Path | None, int, Sequence[int]]:
    """What `compare` needs beside the comparison.

    Args:
        usual: the preset where none is named, from the data given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=comparison.presets, help=f"default: {usual(None)}")
    parser.add_argument(
        "--data", type=Path, help="folder with train, valid and test, or what else the recipe names (default: made now)"
    )
    parser.add_argument("--model", choices=NAMES, default="mgno")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the order and what is held out")
    parser.add_argument("--out", type=Path, help="run folder (default: results/NAME-MODEL)")
    parser.add_argument(
        "--finer",
        type=int,
        nargs="+",
        default=(),
        metavar="POINTS",
        help="answer the test samples on these grids too",
    )
    given = parser.parse_args()
    preset = comparison.presets[given.preset or usual(given.data)]
    return preset, given.data, given.model, given.device, given.out, given.seed, given.finer


__all__ = [
    "Comparison",
    "Preset",
    "between_fields",
    "by_grid",
    "command_line",
    "compare",
    "fno",
    "grid_name",
    "interpolated",
    "learn",
    "splits",
]
