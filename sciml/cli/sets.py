"""What the commands about sets do."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from sciml.data.set import Set, open_set
from sciml.generation.card import Card, card_files, find_card, read_card
from sciml.generation.check import check
from sciml.generation.generate import generate


def print_cards() -> None:
    """A table of the cards that come with the package."""
    table = Table(Column("card", no_wrap=True), "what", "grid", "samples", Column("size", no_wrap=True))
    for name, path in card_files().items():
        card = read_card(path)
        grid = " x ".join(str(n) for n in card.stored_domain.shape)
        splits = ", ".join(f"{split} {count:,}" for split, count in card.samples.items())
        table.add_row(name, card.title, grid, splits, _size(_bytes(card)))
    Console().print(table)


def run_generate(
    name: str,
    out: Path | None,
    samples: int | None,
    resolution: int | None,
    seed: int | None,
    split: str | None,
    workers: int,
    job: tuple[int, int],
    dry_run: bool,
) -> None:
    """Make the set of a card, or with `dry_run` say what that would be."""
    path = find_card(name)
    card, out = read_card(path), out or Path("data") / path.stem
    changes = {"samples": samples, "resolution": resolution, "seed": seed}
    console = Console(soft_wrap=True)
    with _bar("samples", console) as bar:
        task = bar.add_task("generate", total=None)
        report = generate(
            card,
            out,
            samples=samples,
            resolution=resolution,
            seed=seed,
            split=split,
            workers=workers,
            job=job,
            dry_run=dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if dry_run:
        changed = ", ".join(f"{key} {value}" for key, value in changes.items() if value is not None)
        console.print(f"{card.title}{f' with {changed}' if changed else ''}")
        console.print(
            f"{len(report.planned)} shards, {_size(report.bytes)} in {out}; {len(report.skipped)} are there already; "
            f"about {report.seconds / workers:.0f} s for the rest"
        )
        return
    made = sum(len(shard.samples) for shard in report.written)
    console.print(
        f"{out}: {len(report.planned)} shards, {_size(report.bytes)}; {made:,} samples made in {report.seconds:.1f} s, "
        f"{len(report.skipped)} shards were there already"
    )


def print_info(path: Path) -> None:
    """Variables, domain, attributes and size of a set."""
    source = open_set(path)
    console = Console(soft_wrap=True)
    console.print(f"[bold]{path}[/bold]: {len(source):,} samples in {len(source.parts)} files, {_size(_on_disk(source))}")
    table = Table("variable", "role", "shape per sample", "dtype", "units", "meaning")
    for info in source.variables.values():
        shape = ", ".join(f"{dim} {n}" for dim, n in zip(info.dims, info.shape, strict=True))
        table.add_row(info.name, info.role, shape, str(info.dtype).removeprefix("torch."), info.units, info.long_name)
    console.print(table)
    if source.domain is not None:
        console.print(f"domain: {source.domain}", markup=False)
    for name, value in source.attributes.items():
        console.print(f"{name}: {value}", markup=False, soft_wrap=True)


def run_check(path: Path) -> bool:
    """Check a set and say what was found; whether it is sound."""
    console = Console(soft_wrap=True)
    with _bar("files", console) as bar:
        task = bar.add_task("check", total=None)
        report = check(path, progress=lambda done, total: bar.update(task, completed=done, total=total))
    for line in [*map(str, report.faults), *(f"note: {note}" for note in report.notes)]:
        console.print(line, markup=False, highlight=False)
    verdict = "sound" if report.ok else f"{len(report.faults)} faults"
    console.print(
        f"{path}: {verdict}; {report.files} files, {report.samples:,} samples, {_size(report.bytes)}; "
        f"{report.residuals:,} residuals recomputed, {report.remade:,} samples made again",
        markup=False,
    )
    return report.ok


def _bar(unit: str, console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _bytes(card: Card) -> int:
    """Of one input and one target field per sample, which is what most cards hold."""
    points = 1
    for n in card.stored_domain.shape:
        points *= n
    return 2 * points * sum(card.samples.values()) * (8 if card.storage.dtype == "float64" else 4)


def _on_disk(source: Set) -> int:
    return sum(part.path.stat().st_size for part in source.parts)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
