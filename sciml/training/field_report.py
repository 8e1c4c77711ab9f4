"""The page of a run that maps fields to fields: table, learning curves, and pictures of test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

from sciml.data.batch import Batch, joined
from sciml.data.stream import Stream
from sciml.data.variables import VariableInfo
from sciml.plots.fields import Panel, field_panels, learning_curves
from sciml.training.evaluate import Table
from sciml.training.fit import Run
from sciml.training.report import write_report


def write_field_report(
    path: str | Path,
    title: str,
    run: Run,
    table: Table,
    test: Stream,
    baselines: Mapping[str, nn.Module],
    notes: Sequence[str] = (),
) -> None:
    """Write one self-contained HTML file: facts, errors, curves, and input, truth, prediction and error of test samples.

    The samples are those with the least, the median and the greatest error of the model. Of a state the last given and the
    first next instant are pictured.

    Args:
        run: of the model in the first row of `table`.
        test: the stream that `table` was made on, a two-dimensional domain, in stored order.
        baselines: by name as in `table`; the first of them is pictured beside the model.
        notes: sentences under the table.
    Raises:
        ValueError: the domain has not two axes.
    """
    header = ["model", "parameters", *(f"mean_{metric}" for metric in table.metrics), "global_relative_l2", "ms per sample"]
    rows = [_means(table, i) for i in range(len(table.rows))]
    facts = {"test set": f"{table.samples} samples of {test.set.path.name}, {test.domain}", **facts_of(run)}
    figures = {"Learning curves": curves_of(run), "Test samples": _pictures(run.model, table, test, baselines)}
    all_notes = [
        "Errors are relative to the truth: means over the test samples, and global, of all of them at once.",
        *table.notes(),
        *notes,
    ]
    write_report(Path(path), title, facts=facts, header=header, rows=rows, notes=all_notes, figures=figures)


def facts_of(run: Run) -> dict[str, str]:
    """Steps and time of a training, and what was kept of it."""
    facts = {
        "steps": f"{run.history[-1]['step']:,}" if run.history else "0",
        "training time": f"{run.history[-1]['seconds']:.0f} s" if run.history else "0 s",
    }
    return facts if run.best_step is None else facts | {"kept": f"step {run.best_step:,}, validation error {run.best:.4g}"}


def _means(table: Table, row: int) -> list[str]:
    means = (table.rows[row].statistic(metric, "mean") for metric in table.metrics)
    cells = table.cells()[row]
    errors = (*means, table.rows[row].global_relative_l2)
    return [cells[0], cells[1], *("–" if error is None else f"{error:.4f}" for error in errors), cells[-1]]


def curves_of(run: Run) -> Figure:
    """Objective and validation error against steps."""

    def line(column: str) -> tuple[list[float], list[float]]:
        kept = [(record["step"], record[column]) for record in run.history if record[column] is not None]
        return [float(step or 0) for step, _ in kept], [float(value or 0) for _, value in kept]

    curves = {"training objective": line("loss"), "validation error": line("validation")}
    return learning_curves({name: points for name, points in curves.items() if points[0]}, run.best_step)


@torch.no_grad()
def _pictures(model: nn.Module, table: Table, test: Stream, baselines: Mapping[str, nn.Module]) -> Figure:
    errors = table.rows[0].errors[table.metrics[0]]
    order = errors.argsort()
    rows = [int(order[i]) for i in (0, len(order) // 2, len(order) - 1)]
    batch = _picked(test, rows)
    given, truth = (joined(batch, names, test.domain.shape) for names in (test.inputs, test.targets))
    infos = _pictured(test)
    source, target = (f"{info.long_name}{'' if info.units == '1' else f' [{info.units}]'}" for info in infos)
    last = ((infos[0].steps or 1) - 1) * infos[0].shape[0]
    prediction = model.eval()(given)
    name = table.rows[0].name
    panels = [
        Panel(f"input: {source}", given[:, last]),
        Panel(f"truth: {target}", truth[:, 0]),
        Panel(name, prediction[:, 0], like=f"truth: {target}"),
        Panel(f"error of {name}", (prediction - truth)[:, 0], signed=True),
    ]
    for other, baseline in list(baselines.items())[:1]:
        gap = (baseline.to(given.device).eval()(given) - truth)[:, 0]
        panels.append(Panel(f"error of {other}", gap, signed=True, like=f"error of {name}"))
    return field_panels(panels, test.domain, [f"sample {row}: {float(errors[row]):.1%}" for row in rows])


def _picked(test: Stream, numbers: Sequence[int]) -> Batch:
    """Some samples of a pass over the stream, in the order given; with a window a sample is not a row of the set."""
    found: dict[int, Batch] = {}
    done = 0
    for batch in test:
        rows = len(next(iter(batch.values())))
        for number in {*numbers} & {*range(done, done + rows)}:
            found[number] = {name: values[number - done : number - done + 1] for name, values in batch.items()}
        done += rows
        if len(found) == len({*numbers}):
            break
    names = (*test.inputs, *test.targets)
    return {name: torch.cat([found[number][name] for number in numbers]) for name in names}


def _pictured(test: Stream) -> tuple[VariableInfo, VariableInfo]:
    """The first input and the first target."""
    return test.info(test.inputs[0]), test.info(test.targets[0])
