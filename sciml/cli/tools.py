"""What the commands do that turn a set into something else: another format, statistics, a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from sciml.cli.console import console, counted
from sciml.cli.opening import TRAINING, chosen_split
from sciml.data.convert import TARGETS, Target, convert
from sciml.data.field_statistics import ChannelStatistics, field_statistics, write_yaml
from sciml.data.formats import the_well
from sciml.data.info import in_bytes
from sciml.data.set import Set, open_set
from sciml.data.variables import VariableInfo

if TYPE_CHECKING:
    from sciml.plots.sets import Points, Quantity

CHANNELS = 8
"""Fields in one picture, at most."""

LONGEST = 1000
"""Instants of a field on a line in one picture, at most."""


def run_convert(
    path: Path, out: Path, to: str, *, split: str | None = None, mapping: Path | None = None, force: bool = False
) -> None:
    """Write a set in another format, and say what was written."""
    if to not in TARGETS:
        raise ValueError(f"--to: got {to!r}, need one of {', '.join(TARGETS)}")
    output = console()
    with _bar(output) as bar:
        task = bar.add_task("convert", total=None)
        done = convert(
            path,
            out,
            to=cast(Target, to),
            split=split,
            mapping=mapping,
            force=force,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    output.print(
        f"{done.path}: {counted(done.samples, 'sample')} in {counted(done.files, 'file')} as {to}, {in_bytes(done.bytes)}",
        highlight=False,
    )
    for note in done.notes:
        output.print(f"note: {note}", highlight=False)
    if done.left_out:
        output.print(f"attributes that are not text or numbers, or too long, were left out: {', '.join(done.left_out)}")


def run_stats(
    path: Path,
    *,
    split: str | None = None,
    mapping: Path | None = None,
    write: bool = False,
    force: bool = False,
    workers: int | None = None,
) -> None:
    """Print statistics of a set, of a folder of splits those of the training split, and with `write` put them beside it.

    Args:
        split, mapping: of `open_set`.
        force: replace the statistics that are there.
    """
    split, told = chosen_split(path, split)
    source = open_set(path, split=split, mapping=mapping)
    place = _statistics_path(source, split)
    if write and place.exists() and not force:
        raise ValueError(f"{place}: is there already; replace it with --force")
    output = console()
    with _bar(output) as bar:
        task = bar.add_task("stats", total=None)
        found = field_statistics(
            source, workers=workers, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if told:
        output.print(told, highlight=False)
    output.print(_table(found, source))
    for name, numbers in found.items():
        if missing := sum(numbers.missing):
            output.print(f"{name}: {counted(missing, 'value')} not finite, left out")
    if write:
        write_yaml(place, found, source)
        output.print(f"wrote {place}", highlight=False)


def run_show(
    path: Path,
    *,
    sample: int = 0,
    variable: str | None = None,
    out: Path | None = None,
    split: str | None = None,
    mapping: Path | None = None,
    force: bool = False,
) -> None:
    """Write a picture of one sample: a PNG, or where the name ends so a GIF that moves.

    Args:
        out: named after the set if not given.
        split, mapping: of `open_set`; the training split of a folder of splits if not given.
        force: replace `out` where there is one.
    """
    split, told = chosen_split(path, split)
    out = Path(f"{_picture_name(path, split)}-{sample}.png") if out is None else out.expanduser()
    if out.suffix.lower() not in (".png", ".gif"):
        raise ValueError(f"--out: got {out.name!r}, need a name that ends in .png or .gif")
    if out.is_dir() or (out.exists() and not force):
        raise ValueError(f"{out}: is there already; take another name with --out, or replace it with --force")
    source = open_set(path, split=split, mapping=mapping)
    if not 0 <= sample < len(source):
        raise ValueError(f"--sample: got {sample}, {path} has {counted(len(source), 'sample')}, from 0 on")
    if variable is not None and variable not in source.variables:
        raise ValueError(f"--variable: got {variable!r}, {path} has {', '.join(source.variables)}")
    chosen = [source.variables[variable]] if variable is not None else _most_telling(source)
    title = ", ".join(words for words in (path.name, split, f"sample {sample}") if words)
    film = out.suffix.lower() == ".gif"
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.stem}.part{out.suffix.lower()}")
    try:
        left_out = _draw(source, chosen, sample, title, part, film=film)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    output = console()
    if told:
        output.print(told, highlight=False)
    if left_out:
        output.print(f"not shown: {left_out}; choose with --variable", highlight=False)
    output.print(f"wrote {out}", highlight=False)


def _picture_name(path: Path, split: str | None) -> str:
    """The last two parts of the path, to which a split belongs: the names of splits alone are those of every set."""
    whole = path.expanduser().resolve()
    parts = [*whole.parent.parts[1:], whole.stem if whole.is_file() else whole.name, *([split] if split else [])]
    return "-".join(filter(None, parts[-2:])) or "set"


def _most_telling(source: Set) -> list[VariableInfo]:
    """Particles before fields and values at points before numbers in time: what one picture can hold together."""
    infos = list(source.variables.values())
    moving = [info for info in infos if info.particles and info.steps is not None]
    fields = [info for info in infos if info.grid is not None]
    series = [info for info in infos if info.steps is not None and not info.particles and info.grid is None]
    at_points = [info for info in infos if _places(source, info) is not None]
    found = moving[:1] or [*fields, *at_points] or series[:1]
    if not found:
        raise ValueError(
            f"{source.path}: holds no field, no values at points, no numbers in time and no moving particles, "
            "there is nothing to draw"
        )
    return found


def _draw(source: Set, chosen: Sequence[VariableInfo], sample: int, title: str, out: Path, *, film: bool) -> str:
    """Write the picture; what is left out of it."""
    first = chosen[0]
    if first.grid is None and _places(source, first) is None:
        _draw_trajectory(source, first, sample, title, out, film=film)
        return ""
    channels = [(info, channel) for info in chosen for channel in range(info.shape[1 if info.particles else 0])]
    # What changes in time first where there is not room for all, else in the order of the set. In a film points have no place.
    drawn = [(info, channel) for info, channel in channels if info.grid is not None or not film]
    kept = sorted(sorted(drawn, key=lambda one: one[0].steps is None)[:CHANNELS], key=channels.index)
    quantities = _quantities(source, [one for one in kept if one[0].grid is not None], sample, film=film)
    points = [_points(source, *one, sample) for one in kept if one[0].grid is None]
    if film:
        _draw_film(source, quantities, title, out)
    else:
        _draw_picture(source, quantities, points, title, out)
    return ", ".join(_channel(*one) for one in channels if one not in kept)


def _draw_picture(source: Set, quantities: Sequence[Quantity], points: Sequence[Points], title: str, out: Path) -> None:
    from sciml.plots.sets import fields_picture, points_picture

    if quantities and source.domain is not None:
        fields_picture(quantities, source.domain, title, points).savefig(out)
    else:
        points_picture(points, title, source.domain).savefig(out)


def _draw_film(source: Set, quantities: Sequence[Quantity], title: str, out: Path) -> None:
    from sciml.plots.sets import fields_film

    if source.domain is None or all(quantity.times is None for quantity in quantities):
        raise ValueError("--out: nothing in this sample changes in time, a film needs that; write a .png")
    fields_film(quantities, source.domain, title, out)


def _places(source: Set, info: VariableInfo) -> VariableInfo | None:
    """Where values lie that are asked for at points: the one input of as many points, of 1 or 2 coordinates; else None."""
    if not info.particles or info.role != "target" or info.steps is not None:
        return None
    found = [
        other
        for other in source.variables.values()
        if other.particles and other.role == "input" and other.steps is None and other.shape[0] == info.shape[0]
    ]
    return found[0] if len(found) == 1 and found[0].shape[1] <= 2 else None


def _draw_trajectory(source: Set, info: VariableInfo, sample: int, title: str, out: Path, *, film: bool) -> None:
    from sciml.plots.sets import FRAMES, INSTANTS
    from sciml.plots.trajectories import particles_film, particles_picture, series_film, series_picture

    if info.steps is None:
        raise ValueError(f"variable {info.name}: has no grid and does not change in time, there is nothing to draw")
    instants = _instants(source, sample, (FRAMES if film else INSTANTS) if info.particles else None)
    values = _sample(source, info, sample, instants)
    times, clock = _times(source, sample, instants)
    if info.particles:
        box = _box(source, sample, values)
        if film:
            particles_film(info.name, values, times, title, out, info.units, box, clock)
        else:
            particles_picture(info.name, values, times, title, info.units, box, clock).savefig(out)
    elif film:
        series_film(info.name, values, times, title, out, info.units, clock)
    else:
        series_picture(info.name, values, times, title, info.units, clock).savefig(out)


def _instants(source: Set, sample: int, most: int | None) -> npt.NDArray[np.int64]:
    """Of a sample those that are drawn, equally far apart; all if `most` is not given."""
    steps = 0 if source.steps is None else int(source.steps[sample])
    if most is None or steps <= most:
        return np.arange(steps)
    return np.linspace(0, steps - 1, most).round().astype(np.int64)


def _sample(source: Set, info: VariableInfo, sample: int, instants: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Some instants of one sample, or what does not change in time, without the axis of samples."""
    if info.steps is None:
        return source.read(info.name, [sample])[0].double().numpy()
    rows = np.full(len(instants), sample)
    return source.read(info.name, rows, first=instants, count=1)[:, 0].double().numpy()


def _quantities(source: Set, channels: Sequence[tuple[VariableInfo, int]], sample: int, *, film: bool) -> list[Quantity]:
    """Channels of fields at the instants that are drawn."""
    from sciml.plots.sets import FRAMES, INSTANTS, Quantity

    line = source.domain is not None and source.domain.dim == 1
    instants = _instants(source, sample, FRAMES if film else LONGEST if line else INSTANTS)
    values = {info.name: _sample(source, info, sample, instants) for info, _ in channels}
    times, clock = _times(source, sample, instants)
    return [
        Quantity(_channel(info, channel), info.units, values[info.name][channel])
        if info.steps is None
        else Quantity(_channel(info, channel), info.units, values[info.name][:, channel], times, clock)
        for info, channel in channels
    ]


def _points(source: Set, info: VariableInfo, component: int, sample: int) -> Points:
    from sciml.plots.sets import Points, with_unit

    places = _places(source, info)
    assert places is not None
    axes = tuple(with_unit(_channel(places, i), places.units) for i in range(places.shape[1]))
    still = np.arange(0)
    where, values = (_sample(source, one, sample, still) for one in (places, info))
    return Points(_channel(info, component), info.units, where, values[:, component], axes)


def _channel(info: VariableInfo, channel: int) -> str:
    return info.name if info.shape[1 if info.particles else 0] == 1 else f"{info.name}[{channel}]"


def _times(source: Set, sample: int, instants: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], str]:
    """Of some instants of one sample, their numbers where they are not known; and which of both it is, `t` or `instant`."""
    times = source.times(np.array([sample]))
    return (instants.astype(np.float64), "instant") if times is None else (times[0, instants], "t")


def _box(source: Set, sample: int, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Corners of the box of particles, where a parameter `box` gives its edges: from 0 on or about 0, as it holds them."""
    info, dim = source.variables.get("box"), positions.shape[-1]
    if info is None or info.steps is not None or info.shape != (dim,):
        return None
    edges = source.read("box", [sample])[0].double().numpy()
    low, high = np.nanmin(positions, axis=(0, 1)), np.nanmax(positions, axis=(0, 1))
    for corner in (np.zeros(dim), -edges / 2):
        if (low >= corner).all() and (high <= corner + edges).all():
            return np.stack([corner, corner + edges])
    return None


def _statistics_path(source: Set, split: str | None) -> Path:
    """Where the statistics of a set stand, in a place that those of no other set have.

    As The Well has it, `stats.yaml` is that of the training split and lies beside its folder, of The Well beside `data`. Those
    of another folder or file lie beside it and have its name.
    """
    path = source.path if source.path.name not in ("", "..") else source.path.resolve()
    if split is not None and source.split is None:
        path = next(folder for folder in (path / split, path / "data" / split) if folder.is_dir())
    home = path.parent
    if path.is_dir() and source.parts[0].format is the_well and home.name == "data":
        home = home.parent
    name = path.stem if path.is_file() else path.name
    if path.is_dir() and name == TRAINING and source.split is None:
        return home / "stats.yaml"
    return home / f"{name}{f'-{source.split}' if source.split else ''}-stats.yaml"


def _table(found: dict[str, ChannelStatistics], source: Set) -> Table:
    """A row per channel."""
    timed = any(numbers.mean_delta is not None for numbers in found.values())
    deltas = ("mean_delta", "std_delta", "rms_delta") if timed else ()
    table = Table("variable", "units", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("mean", "std", "rms", "min", "max", *deltas):
        table.add_column(column, justify="right", no_wrap=True)
    for name, numbers in found.items():
        info = source.variables[name]
        for channel in range(len(numbers.mean)):
            label = name if len(numbers.mean) == 1 else f"{name}[{channel}]"
            keys = ("mean", "std", "rms", "least", "greatest", *deltas)
            columns: list[Sequence[float] | None] = [getattr(numbers, key) for key in keys]
            table.add_row(label, info.units, *("" if column is None else _number(column[channel]) for column in columns))
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _bar(output: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=output, transient=True, disable=not output.is_terminal)


__all__ = ["run_convert", "run_show", "run_stats"]
