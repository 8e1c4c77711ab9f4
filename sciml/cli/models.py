"""What the commands about trained models do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from sciml.cli.console import console, counted
from sciml.cli.opening import check_chosen
from sciml.data.batch import NEXT
from sciml.data.layout import TimeGrid
from sciml.data.manifest import is_shard, manifest_path
from sciml.data.set import Set
from sciml.data.stream import Stream, stream
from sciml.data.variables import VariableInfo
from sciml.data.window import Window
from sciml.data.writer import ShardWriter
from sciml.training.baselines import persistence
from sciml.training.checkpoint import Field, fields_of, read_checkpoint
from sciml.training.evaluate import evaluate
from sciml.training.models import dtype_of
from sciml.training.predict import check_grid, check_variables, predict


def run_evaluate(
    checkpoint: Path, path: Path, batch_size: int, device: str, *, split: str | None = None, mapping: Path | None = None
) -> None:
    """Print the errors of a checkpoint on a set; variables, units and grid must be those it was trained with.

    A model of windows is given the windows that it was trained with, and persistence beside it.

    Args:
        split, mapping: of `open_set`.
    """
    where = _device(device)
    check_chosen(path, split)
    saved = read_checkpoint(checkpoint)
    trained = saved.model()
    precision = dtype_of(trained) or torch.float32
    test = stream(path, batch_size=batch_size, device=where, dtype=precision, split=split, mapping=mapping, window=saved.window)
    known = fields_of(test, (*test.inputs, *test.targets))
    check_variables(saved, known, saved.inputs)
    check_variables(saved, known, saved.targets)
    check_grid(saved, test.set.domain)
    inputs, targets = ([field.name for field in fields] for fields in (saved.inputs, saved.targets))
    # Only of states there is a last given instant.
    stays = saved.window is not None and all(name.removesuffix(NEXT) in inputs for name in targets)
    beside = {"persistence": persistence(test, inputs=inputs, targets=targets)} if stays else {}
    console().print(evaluate(trained, test, inputs=inputs, targets=targets, baselines=beside, name=checkpoint.stem))


def run_predict(
    checkpoint: Path,
    path: Path,
    out: Path,
    batch_size: int,
    device: str,
    *,
    split: str | None = None,
    mapping: Path | None = None,
    force: bool = False,
) -> None:
    """Write the inputs of a set and the answers of a checkpoint as a set of their own.

    Of a model of windows every window is a sample, in the order of rows and instants: `u_next` with its instants, and those
    inputs that do not change in time.

    Args:
        split, mapping: of `open_set`.
        force: replace `out` where there is one.
    Raises:
        ValueError: `out` does not end in .h5, has the name of a shard, is one of the files that are read, or there is one
            already; the inputs have no grid to lie on.
    """
    out, where = out.expanduser(), _device(device)
    if out.suffix != ".h5":
        raise ValueError(f"{out}: predictions are written as HDF5, need a name that ends in .h5")
    check_chosen(path, split)
    saved = read_checkpoint(checkpoint)
    precision = dtype_of(saved.model()) or torch.float32
    source = stream(
        path, batch_size=batch_size, device=where, dtype=precision, split=split, mapping=mapping, window=saved.window
    )
    _check_free(out, source.set, checkpoint, force)
    answers = predict(checkpoint, source)
    inputs = [source.info(field.name) for field in saved.inputs]
    if saved.window is not None:
        inputs = [replace(info, dtype=precision) for info in inputs if info.steps is None]
    targets = [_answered(source, field, answers[field.name]) for field in saved.targets]
    told = {
        "checkpoint": checkpoint.name,
        "code_version": saved.code_version,
        "source": path.name if split is None else f"{path.name}, split {split}",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    given, time = _beside(source, [info.name for info in inputs])
    with ShardWriter(out, [*inputs, *targets], range(source.samples), source.domain, told, time) as shard:
        shard.append(given | answers)
        shard.finish({})
    console().print(f"{out}: {counted(source.samples, 'prediction')} of {', '.join(answers)}")


def _answered(source: Stream, field: Field, answer: Tensor) -> VariableInfo:
    """What is written of an answer."""
    known = field.name in (*source.inputs, *source.targets)
    return VariableInfo(
        field.name,
        "target",
        field.units,
        f"predicted {source.info(field.name).long_name if known else field.name}",
        tuple(answer.shape[1 if field.steps is None else 2 :]),
        answer.dtype,
        field.steps,
    )


def _beside(source: Stream, names: Sequence[str]) -> tuple[dict[str, Tensor], TimeGrid | None]:
    """Inputs of every sample of a stream, and where they are known the instants that a window asks for."""
    if source.window is None:
        return {name: source.set.read(name, slice(None)) for name in names}, None
    kept: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in source:
        for name in names:
            kept[name].append(batch[name].cpu())
    return {name: torch.cat(parts) for name, parts in kept.items()}, _asked(source.set, source.window)


def _asked(source: Set, window: Window) -> TimeGrid | None:
    """The instants that each window of a set asks for, with all their digits."""
    times = source.times(np.arange(len(source)))
    if times is None or source.steps is None or not window.steps_out:
        return None
    first = window.stride * window.steps_in
    long = [(row, steps) for row, steps in enumerate(source.steps.tolist()) if steps >= window.span]
    views = [sliding_window_view(times[row, :steps], window.span)[:, first :: window.stride] for row, steps in long]
    return TimeGrid(np.concatenate(views))


def _check_free(out: Path, source: Set, checkpoint: Path, force: bool) -> None:
    """Raise a ValueError when writing `out` and its manifest would destroy something."""
    if is_shard(out):
        raise ValueError(f"{out}: names that begin with shard- are those of sets; take another")
    used = [checkpoint, *(file for part in source.parts for file in (part.path, manifest_path(part.path)))]
    for file in (out, manifest_path(out)):
        if not file.exists():
            continue
        if any(other.exists() and file.samefile(other) for other in used):
            raise ValueError(f"{file}: is read for this prediction and must not be replaced; take another name for --out")
        if not force or file.is_dir():
            raise ValueError(f"{file}: is there already; take another name, or replace it with --force")


def _device(name: str) -> torch.device:
    """The device of this name, if this machine has it."""
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if name not in there:
        raise ValueError(f"--device: got {name!r}, this machine has {', '.join(there)}")
    return torch.device(name)


__all__ = ["run_evaluate", "run_predict"]
