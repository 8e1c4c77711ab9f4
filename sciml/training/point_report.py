"""The page of a run that learned answers at points: table, learning curves, and pictures of test functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from sciml.data.stream import Stream
from sciml.metrics.functions import relative_l2_of_functions
from sciml.training.at_points import PointTable, Reading, answers, evaluate_at_points
from sciml.training.field_report import curves_of, facts_of
from sciml.training.fit import Run
from sciml.training.report import write_report


def report_at_points(
    run: Run,
    reading: Reading,
    test: Stream,
    *,
    baselines: Mapping[str, nn.Module] | None = None,
    out: str | Path,
    name: str = "model",
) -> PointTable:
    """Write table.csv, table.md, table.json and report.html to a folder: facts, errors, curves, and answers of test functions.

    The functions are those with the least, the median and the greatest relative error of the model. Of the answers the first
    channel is pictured: along a line where points have one coordinate, as coloured points where they have two.

    Args:
        reading: as in training, such as `FunctionsAtPoints`.
        test: nothing was chosen on it, in stored order.
        baselines: by name, called as model(u, y).
        name: of the model in the table.
    Returns:
        The table.
    Raises:
        ValueError: as `evaluate_at_points`.
        OSError: a file cannot be written.
    """
    table = evaluate_at_points({name: run.model, **(baselines or {})}, reading, test, out=out)
    facts = {"test set": f"{table.functions:,} functions of {test.set.path.name}", **facts_of(run)}
    figures = {"Learning curves": curves_of(run)}
    picture = _picture(name, run.model, reading, test)
    if picture is not None:
        figures["Test functions"] = picture
    notes = [
        "mean_relative_l2 is the mean over the test functions of the error relative to the truth; global_relative_l2 is that "
        "of all of them at once, in which large functions count more."
    ]
    if picture is None:
        notes.append("Points have more than two coordinates: no picture.")
    title = f"{name}: answers at points of {test.set.path.name}"
    page = Path(out) / "report.html"
    write_report(page, title, facts=facts, header=table.header(), rows=table.cells(), notes=notes, figures=figures)
    return table


def _picture(name: str, model: nn.Module, reading: Reading, test: Stream) -> Figure | None:
    """None where points have more than two coordinates."""
    found = [relative_l2_of_functions(answer, truth).cpu() for _, answer, truth in answers(name, model, reading, test)]
    errors = torch.cat(found)
    order = errors.argsort()
    rows = [int(order[i]) for i in (0, len(order) // 2, len(order) - 1)]
    picked = _picked(rows, name, model, reading, test)
    titles = [f"function {row}: {float(errors[row]):.2%}" for row in rows]
    dim = picked[0][0].shape[1]
    return along_a_line(picked, name, titles) if dim == 1 else scattered(picked, name, titles) if dim == 2 else None


Answered = tuple[Float[Tensor, "point coordinate"], Float[Tensor, "point"], Float[Tensor, "point"]]
"""Points, answers and truth of one function, on the CPU."""


def _picked(rows: list[int], name: str, model: nn.Module, reading: Reading, test: Stream) -> list[Answered]:
    kept: dict[int, Answered] = {}
    done = 0
    for y, answer, truth in answers(name, model, reading, test):
        for row in {*rows} & {*range(done, done + len(truth))}:
            own = y if y.ndim == 2 else y[row - done]
            kept[row] = own.double().cpu(), answer[row - done, :, 0].cpu(), truth[row - done, :, 0].cpu()
        done += len(truth)
    return [kept[row] for row in rows]


def along_a_line(functions: list[Answered], name: str, titles: list[str]) -> Figure:
    """Answers and truth above their difference, one column per function."""
    figure = Figure(figsize=(3.4 * len(functions), 4.2), layout="constrained", dpi=110)
    axes = figure.subplots(2, len(functions), squeeze=False, sharex=True)
    for (y, answer, truth), title, above, below in zip(functions, titles, axes[0], axes[1], strict=True):
        x, order = y[:, 0].sort()
        above.plot(x, truth[order], ".-", markersize=3, label="truth")
        above.plot(x, answer[order], "--", color="black", linewidth=1, label=name)
        above.set_title(title, fontsize=9)
        below.plot(x, (answer - truth)[order], ".-", markersize=3, color="C3")
        below.set_xlabel("y")
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[0, 0].set_ylabel("answer")
    axes[1, 0].set_ylabel("error")
    return figure


def scattered(functions: list[Answered], name: str, titles: list[str]) -> Figure:
    """Truth, answer and difference as coloured points, one row per function; truth and answer in the same colours."""
    figure = Figure(figsize=(9.6, 2.6 * len(functions)), layout="constrained", dpi=110)
    axes = figure.subplots(len(functions), 3, squeeze=False, sharex=True, sharey=True)
    for (y, answer, truth), title, line in zip(functions, titles, axes, strict=True):
        low, high = float(truth.min()), float(truth.max())
        most = float((answer - truth).abs().max()) or 1.0
        shown = (
            ("truth", truth, "viridis", low, high),
            (name, answer, "viridis", low, high),
            (f"error of {name}", answer - truth, "RdBu_r", -most, most),
        )
        for ax, (label, values, colours, least, greatest) in zip(line, shown, strict=True):
            points = ax.scatter(y[:, 0], y[:, 1], c=values, s=6, cmap=colours, vmin=least, vmax=greatest)
            figure.colorbar(points, ax=ax, shrink=0.8)
            ax.set_title(label, fontsize=9)
        line[0].set_ylabel(title, fontsize=9)
    return figure


__all__ = ["report_at_points"]
