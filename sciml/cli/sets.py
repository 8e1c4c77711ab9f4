"""What the commands about sets do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from sciml.cli.console import console, counted
from sciml.cli.opening import preferred
from sciml.data.buffers import cores
from sciml.data.info import dimensions, in_bytes, instants, layouts, notes, on_disk, slow_parts
from sciml.data.layout import stored_dims
from sciml.data.set import Set, open_set, splits_of
from sciml.generation.card import card_files, find_card, importable, read_card
from sciml.generation.check import check
from sciml.generation.generate import generate
from sciml.generation.samples import variables_of
from sciml.generation.speed import slowness

OF_ONE_FILE = ("complete", "shard", "shards", "split")
"""Attributes that say nothing of a folder of splits."""


def print_cards() -> None:
    """A table of the cards that come with the package, with the time that all cores of this machine take for each."""
    columns = [Column(name, no_wrap=True) for name in ("card", "grid", "samples", "size", "time")]
    table = Table(*columns, "what", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    ordered = sorted(card_files().items(), key=lambda item: (item[0].removesuffix("-mini"), item[0].endswith("-mini")))
    for name, path in ordered:
        card = read_card(path)
        variables, total = variables_of(card, card.make_problem()), sum(card.samples.values())
        table.add_row(
            name,
            " x ".join(str(n) for n in card.stored_domain.shape) or "-",
            f"{total:,}",
            in_bytes(total * sum(variable.bytes for variable in variables)),
            in_time(total * card.seconds * slowness() / cores()) if card.seconds else "?",
            card.title,
        )
    output = console()
    output.print(table)
    output.print(f"time: an estimate for {counted(cores(), 'core')} of this machine, `sciml generate CARD --workers {cores()}`")


def in_time(seconds: float) -> str:
    """Two digits and a unit that is read at a glance."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.2g} s" if seconds >= 1 else "1 s"


def run_generate(
    name: str,
    out: Path | None,
    *,
    samples: int | None,
    resolution: int | None,
    seed: int | None,
    precision: str | None,
    split: str | None,
    workers: int,
    job: tuple[int, int],
    device: str,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Make the set of a card, or with `dry_run` say what that would be."""
    path = find_card(name)
    card, out = read_card(path), out or Path("data") / path.stem
    changes = {"samples": samples, "resolution": resolution, "seed": seed, "precision": precision}
    output = console()
    with _bar("samples", output) as bar:
        task = bar.add_task("generate", total=None)
        report = generate(
            card,
            out,
            samples=samples,
            resolution=resolution,
            seed=seed,
            precision=precision,
            split=split,
            workers=workers,
            job=job,
            device=device,
            scheduler=scheduler,
            dry_run=dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if dry_run:
        changed = ", ".join(f"{key} {value}" for key, value in changes.items() if value is not None)
        output.print(f"{card.title}{f' with {changed}' if changed else ''}")
        output.print(
            f"{counted(len(report.planned), 'shard')}, {in_bytes(report.bytes)} in {out}; {len(report.skipped)} are there; "
            f"about {in_time(report.seconds / workers)} for the rest"
        )
        left = sum(len(shard.samples) for shard in report.planned) - sum(len(shard.samples) for shard in report.skipped)
        if left:
            each = report.seconds / left / slowness()
            output.print(f"seconds = {each:.2g} per sample, on one core of the machine that times in cards are given for")
        return
    made = sum(len(shard.samples) for shard in report.written)
    output.print(
        f"{out}: {counted(len(report.planned), 'shard')}, {in_bytes(report.bytes)}; {counted(made, 'sample')} made in "
        f"{report.seconds:.1f} s, {len(report.skipped)} of the shards were there already"
    )


def print_info(path: Path, split: str | None = None, mapping: Path | None = None) -> None:
    """Variables, domain, instants, layout, attributes and size of a set; of a folder of splits the sizes of all, else of one.

    Args:
        split, mapping: of `open_set`.
    """
    path = path.expanduser()
    output = console()
    splits = splits_of(path) if split is None else []
    sources = {name or "": open_set(path, split=name, mapping=mapping) for name in splits or [split]}
    for name, source in sources.items():
        size = f"{counted(len(source), 'sample')} in {counted(len(source.parts), 'file')}, {in_bytes(on_disk(source))}"
        output.print(Text.assemble((str(path / name if path.is_dir() else path), "bold"), f": {size}"))
    described = preferred(sources)
    source = sources[described]
    if len(sources) > 1:
        output.print(f"split {described} in what follows; another with --split", highlight=False)
    output.print("dimensions: " + ", ".join(f"{name} {n}" for name, n in dimensions(source).items()), highlight=False)
    output.print(_variables(source))
    if source.domain is not None:
        output.print(f"domain: {source.domain}")
    if words := instants(source):
        output.print(f"instants: {words}")
    for words, names in layouts(source).items():
        output.print(f"on disk: {words}: {', '.join(names)}", highlight=False)
    for name, value in source.attributes.items():
        if name not in ("domain", "variables") and (len(sources) == 1 or name not in OF_ONE_FILE):
            output.print(f"{name}: {value}")
    for note in dict.fromkeys(note for one in sources.values() for note in notes(one)):
        output.print(f"note: {note}", highlight=False)
    for line in dict.fromkeys(line for one in sources.values() for line in slow_parts(one)):
        output.print(Text.assemble(("slow: ", "bold yellow"), line))


def _variables(source: Set) -> Table:
    """A row for each."""
    table = Table("variable", "role", "shape per sample", "dtype", "units", "meaning")
    for info in source.variables.values():
        names = stored_dims(info, source.variables)[1:]
        shape = ", ".join(f"{dim} {n}" for dim, n in zip(names, info.sample_shape, strict=True))
        table.add_row(info.name, info.role, shape, str(info.dtype).removeprefix("torch."), info.units, info.long_name)
    return table


def run_check(path: Path, trust: Sequence[str], *, equation: bool, workers: int) -> bool:
    """Check a set and say what was found; whether it is sound.

    Args:
        trust: modules that may be imported, which may lie in the working directory.
        equation, workers: of `check`.
    """
    output = console()
    with _bar("files", output) as bar, importable(Path.cwd() if trust else None):
        task = bar.add_task("check", total=None)
        report = check(
            path,
            trust=trust,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            equation=equation,
            workers=workers,
        )
    for line in [*map(str, report.faults), *(f"note: {note}" for note in report.notes)]:
        output.print(line, highlight=False)
    verdict = "sound" if report.ok else counted(len(report.faults), "fault")
    if report.unchecked:
        verdict += f", {'but' if report.ok else 'and'} the equation was not checked: {report.unchecked}"
    output.print(
        f"{path}: {verdict}; {counted(report.files, 'file')}, {counted(report.samples, 'sample')}, {in_bytes(report.bytes)}; "
        f"{counted(report.residuals, 'residual')} recomputed, {counted(report.remade, 'sample')} made again",
        markup=False,
    )
    return report.ok


def _bar(unit: str, output: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    return Progress(*columns, console=output, transient=True, disable=not output.is_terminal)
