"""The command `sciml`: make sets, look at them, check them, and use trained models. `sciml --help` loads no torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sciml import __version__
from sciml.generation.worker import start_ahead

app = typer.Typer(
    help="Generate, check and stream sets of PDE samples, and use operators trained on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SetPath = Annotated[Path, typer.Argument(help="a set: a folder, or a file of any format that can be read", show_default=False)]
Split = Annotated[str | None, typer.Option(help="one of several, such as train", show_default=False)]
MappingFile = Annotated[
    Path | None, typer.Option("--mapping", help="TOML file that says what the arrays of the set mean", show_default=False)
]
CheckpointFile = Annotated[Path, typer.Argument(help="a checkpoint written by training", show_default=False)]


def main() -> None:
    """Run the command; what the user, the files or the machine did wrong is one line on the error stream and exit status 1."""
    try:
        app()
    except (ValueError, OSError, ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_of_machine(error):
            raise
        print(f"sciml: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        sys.exit(1)


def _is_of_machine(error: RuntimeError) -> bool:
    """Whether torch says that memory ran out or the device failed; by name, as torch may not be loaded."""
    return type(error).__name__ in ("OutOfMemoryError", "AcceleratorError") or "can't allocate memory" in str(error)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"sciml {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_cards() -> None:
    """The sets that come with sciml, from their cards."""
    from sciml.cli.sets import print_cards

    print_cards()


@app.command()
def generate(
    card: Annotated[str, typer.Argument(help="name of a card (see `sciml list`) or path of one", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="folder to write to", show_default="data/CARD")] = None,
    samples: Annotated[
        int | None, typer.Option(help="samples of the first split; the others shrink or grow alike", show_default=False)
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="points per side instead of the card's", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="seed instead of the card's", show_default=False)] = None,
    precision: Annotated[
        str | None, typer.Option(help="float64 or float32, in which answers are computed", show_default="the card's")
    ] = None,
    split: Annotated[str | None, typer.Option(help="only this split", show_default=False)] = None,
    workers: Annotated[int, typer.Option(help="processes, each on one core")] = 1,
    job: Annotated[str | None, typer.Option(help="I/N: part I of N, from 0/N to N-1/N, as in a queue array")] = None,
    device: Annotated[str, typer.Option(help="where answers are computed, such as cuda")] = "cpu",
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler whose workers make the files", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be written, and stop")] = False,
) -> None:
    """Make a set. Started again after any interruption, it goes on where it was."""
    if workers > 1 and scheduler is None and not dry_run:
        start_ahead(min(workers, os.cpu_count() or 1))
    from sciml.cli.sets import run_generate

    run_generate(
        card,
        out,
        samples=samples,
        resolution=resolution,
        seed=seed,
        precision=precision,
        split=split,
        workers=workers,
        job=_parse_job(job),
        device=device,
        scheduler=scheduler,
        dry_run=dry_run,
    )


@app.command()
def info(path: SetPath, split: Split = None, mapping: MappingFile = None) -> None:
    """What a set holds and where: variables, domain, instants, layout on disk, and what will make it slow."""
    from sciml.cli.sets import print_info

    print_info(path, split, mapping)


@app.command()
def check(
    path: SetPath,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            help="a module of yours that may be imported, and so run, to check its equation, also from this folder; repeatable",
            show_default=False,
        ),
    ] = None,
    equation: Annotated[
        bool, typer.Option("--equation/--no-equation", help="compute residuals and statistics again, which takes longest")
    ] = True,
    workers: Annotated[int, typer.Option(help="threads")] = 1,
) -> None:
    """Verify bytes, schema, finiteness and the equation itself; exit status 1 when anything is wrong."""
    from sciml.cli.sets import run_check

    if not run_check(path, trust or [], equation=equation, workers=workers):
        sys.exit(1)


@app.command()
def convert(
    path: SetPath,
    out: Annotated[Path, typer.Argument(help="folder to write to, or a file that ends in .h5 or .nc", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="sciml, the-well or netcdf", show_default=False)],
    split: Split = None,
    mapping: MappingFile = None,
    force: Annotated[bool, typer.Option("--force", help="replace OUT where there is one")] = False,
) -> None:
    """Write a set in another format, the same to the last bit."""
    from sciml.cli.tools import run_convert

    run_convert(path, out, to, split=split, mapping=mapping, force=force)


@app.command()
def stats(
    path: SetPath,
    split: Split = None,
    mapping: MappingFile = None,
    write: Annotated[
        bool, typer.Option("--write", help="write stats.yaml beside train, as The Well has it, or NAME-stats.yaml beside NAME")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the statistics that are there")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="threads", show_default="one per core, at most 8")] = None,
) -> None:
    """Mean, spread and ends of every variable, and of its increments in time."""
    from sciml.cli.tools import run_stats

    run_stats(path, split=split, mapping=mapping, write=write, force=force, workers=workers)


@app.command()
def show(
    path: SetPath,
    sample: Annotated[int, typer.Option(help="number of the sample")] = 0,
    variable: Annotated[str | None, typer.Option(help="only this one", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=".png, or .gif to see it move", show_default="PATH-SAMPLE.png")
    ] = None,
    split: Split = None,
    mapping: MappingFile = None,
    force: Annotated[bool, typer.Option("--force", help="replace OUT where there is one")] = False,
) -> None:
    """A picture of one sample: fields, fields in time, trajectories, particles."""
    from sciml.cli.tools import run_show

    run_show(path, sample=sample, variable=variable, out=out, split=split, mapping=mapping, force=force)


@app.command()
def evaluate(
    checkpoint: CheckpointFile,
    path: SetPath,
    batch_size: Annotated[int, typer.Option(help="samples at a time")] = 32,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    split: Split = None,
    mapping: MappingFile = None,
) -> None:
    """The errors of a trained model on a set, as a table."""
    from sciml.cli.models import run_evaluate

    run_evaluate(checkpoint, path, batch_size, device, split=split, mapping=mapping)


@app.command()
def predict(
    checkpoint: CheckpointFile,
    path: Annotated[Path, typer.Argument(metavar="INPUT", help="a set whose inputs are to be answered", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file to write", show_default=False)],
    batch_size: Annotated[int, typer.Option(help="samples at a time")] = 32,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    split: Split = None,
    mapping: MappingFile = None,
    force: Annotated[bool, typer.Option("--force", help="replace OUT where there is one")] = False,
) -> None:
    """Answer the inputs of a set with a trained model; physical units in and out."""
    from sciml.cli.models import run_predict

    run_predict(checkpoint, path, out, batch_size, device, split=split, mapping=mapping, force=force)


def _parse_job(job: str | None) -> tuple[int, int]:
    if job is None:
        return 0, 1
    part, _, parts = job.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise ValueError(f"--job: got {job!r}, need I/N with 0 <= I < N")
    return int(part), int(parts)
