"""What the commands about trained models do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sciml.cli.console import console, counted
from sciml.data.stream import stream
from sciml.data.writer import ShardWriter
from sciml.training.checkpoint import fields_of, read_checkpoint
from sciml.training.evaluate import evaluate
from sciml.training.predict import check_grid, check_variables, predict


def run_evaluate(checkpoint: Path, path: Path, batch_size: int, device: str) -> None:
    """Print the errors of a checkpoint on a set; variables, units and grid must be those it was trained with."""
    saved = read_checkpoint(checkpoint)
    test = stream(path, batch_size=batch_size, device=device)
    known = fields_of(test.set, tuple(test.set.variables))
    check_variables(saved, known, saved.inputs)
    check_variables(saved, known, saved.targets)
    check_grid(saved, test.set.domain)
    console().print(evaluate(saved.model(), test, name=checkpoint.stem))


def run_predict(checkpoint: Path, path: Path, out: Path, batch_size: int, device: str) -> None:
    """Write the inputs of a set and the answers of a checkpoint as a set of their own.

    Raises:
        ValueError: `out` does not end in .h5 or has no grid to lie on.
    """
    if out.suffix != ".h5":
        raise ValueError(f"{out}: predictions are written as HDF5, need a name that ends in .h5")
    saved = read_checkpoint(checkpoint)
    source = stream(path, batch_size=batch_size, device=device)
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
    console().print(f"{out}: {counted(source.samples, 'prediction')} of {', '.join(answers)}", markup=False)
