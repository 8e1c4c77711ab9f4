"""What the commands about trained models do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sciml.cli.console import console, counted
from sciml.data.manifest import is_shard, manifest_path
from sciml.data.set import Set
from sciml.data.stream import stream
from sciml.data.writer import ShardWriter
from sciml.training.checkpoint import fields_of, read_checkpoint
from sciml.training.evaluate import evaluate
from sciml.training.models import dtype_of
from sciml.training.predict import check_grid, check_variables, predict


def run_evaluate(checkpoint: Path, path: Path, batch_size: int, device: str) -> None:
    """Print the errors of a checkpoint on a set; variables, units and grid must be those it was trained with."""
    where = _device(device)
    saved = read_checkpoint(checkpoint)
    trained = saved.model()
    test = stream(path, batch_size=batch_size, device=where, dtype=dtype_of(trained) or torch.float32)
    known = fields_of(test.set, tuple(test.set.variables))
    check_variables(saved, known, saved.inputs)
    check_variables(saved, known, saved.targets)
    check_grid(saved, test.set.domain)
    inputs, targets = ([field.name for field in fields] for fields in (saved.inputs, saved.targets))
    console().print(evaluate(trained, test, inputs=inputs, targets=targets, name=checkpoint.stem))


def run_predict(checkpoint: Path, path: Path, out: Path, batch_size: int, device: str, *, force: bool = False) -> None:
    """Write the inputs of a set and the answers of a checkpoint as a set of their own.

    Args:
        force: replace `out` where there is one.
    Raises:
        ValueError: `out` does not end in .h5, has the name of a shard, is one of the files that are read, or there is one
            already; the inputs have no grid to lie on.
    """
    out, where = out.expanduser(), _device(device)
    if out.suffix != ".h5":
        raise ValueError(f"{out}: predictions are written as HDF5, need a name that ends in .h5")
    saved = read_checkpoint(checkpoint)
    precision = dtype_of(saved.model()) or torch.float32
    source = stream(path, batch_size=batch_size, device=where, dtype=precision)
    _check_free(out, source.set, checkpoint, force)
    answers = predict(checkpoint, source)
    inputs = [source.set.variables[field.name] for field in saved.inputs]
    known = source.set.variables
    targets = [
        replace(
            known.get(field.name, inputs[0]),
            name=field.name,
            role="target",
            units=field.units,
            long_name=f"predicted {known[field.name].long_name if field.name in known else field.name}",
            shape=tuple(answers[field.name].shape[1:]),
            dtype=answers[field.name].dtype,
        )
        for field in saved.targets
    ]
    told = {"checkpoint": checkpoint.name, "code_version": saved.code_version, "source": path.name}
    out.parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter(out, [*inputs, *targets], range(source.samples), source.domain, told) as shard:
        given = {info.name: source.set.read(info.name, slice(None)) for info in inputs}
        shard.append(given | answers)
        shard.finish({})
    console().print(f"{out}: {counted(source.samples, 'prediction')} of {', '.join(answers)}")


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
