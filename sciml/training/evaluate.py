"""A table of errors on a test stream: the model, and beside it every baseline."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from torch import Tensor, nn

from sciml.data.batch import joined
from sciml.metrics.fields import relative_h1, relative_h1_spectral, relative_l2
from sciml.numerics.domain import Domain
from sciml.training.checkpoint import write_bytes
from sciml.training.models import check_dtype, in_evaluation
from sciml.training.objectives import without_bad
from sciml.training.streams import Samples, check_names, domain_of, domains_of

Metric = Callable[[Tensor, Tensor, Domain], Float[Tensor, "batch"]]
"""(prediction, truth, domain) -> one number per sample; fields are (batch, channel, *space)."""

METRICS: Mapping[str, Metric] = MappingProxyType(
    {"relative_l2": relative_l2, "relative_h1": relative_h1, "relative_h1_spectral": relative_h1_spectral}
)

STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"mean": torch.mean, "median": lambda errors: errors.quantile(0.5), "max": torch.max}
)


_SHORT = {"relative_l2": "L2", "relative_h1": "H1", "relative_h1_spectral": "H1\nspectral"}
"""Names of columns in print, narrow enough for a terminal of 80 columns."""


@dataclass(frozen=True)
class Row:
    """What one model does on the test samples.

    Args:
        parameters: real numbers that were learned; a complex one counts twice.
        seconds: per sample, forward pass alone; the median over the batches.
        errors: by metric, one number per sample, float64, in the order of the stream.
        note: why there are no errors, or empty.
        global_relative_l2: of all samples at once, see `metrics.fields.global_relative_l2`; None where there are no errors, or
            the truth is zero everywhere. The mean of `relative_l2` counts every sample alike, this one large samples more.
    """

    name: str
    parameters: int
    seconds: float | None
    errors: Mapping[str, Float[Tensor, "sample"]]
    note: str = ""
    global_relative_l2: float | None = None

    def statistic(self, metric: str, name: str) -> float | None:
        """`name` (mean, median or max) over the samples; None where there are no errors."""
        return float(STATISTICS[name](self.errors[metric])) if metric in self.errors else None

    def time(self) -> str:
        """Milliseconds per sample, rounded for the eye."""
        return _rounded(None if self.seconds is None else 1e3 * self.seconds)


@dataclass(frozen=True)
class Table:
    """Rows of `evaluate`, in its order, the model first; `print(table)` shows the means, in less than 100 columns.

    The column `relative_l2` is the mean over the samples in print; `global_relative_l2` is beside it in print and in all files.
    """

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    samples: int

    def header(self) -> list[str]:
        """Names of the columns of `cells`."""
        errors = [f"{metric} {' / '.join(STATISTICS)}" for metric in self.metrics]
        return ["model", "parameters", *errors, "global_relative_l2", "ms per sample"]

    def cells(self) -> list[list[str]]:
        """The rows as texts, rounded for the eye."""
        return [
            [
                row.name,
                f"{row.parameters:,}",
                *(" / ".join(_rounded(row.statistic(metric, s)) for s in STATISTICS) for metric in self.metrics),
                _rounded(row.global_relative_l2),
                row.time(),
            ]
            for row in self.rows
        ]

    def notes(self) -> list[str]:
        return [f"{row.name}: {row.note}" for row in self.rows if row.note]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, unrounded."""
        rows = [
            {
                "name": row.name,
                "parameters": row.parameters,
                "seconds_per_sample": row.seconds,
                "errors": {m: {s: row.statistic(m, s) for s in STATISTICS} for m in self.metrics},
                "global_relative_l2": row.global_relative_l2,
                "note": row.note,
            }
            for row in self.rows
        ]
        return {"samples": self.samples, "rows": rows}

    def to_csv(self) -> str:
        """Unrounded, one column per number; an empty cell where there is none."""
        columns = [f"{metric} {name}" for metric in self.metrics for name in STATISTICS]
        lines: list[list[str | float | None]] = [["model", "parameters", *columns, "global_relative_l2", "seconds per sample"]]
        for row in self.rows:
            numbers = [row.statistic(metric, name) for metric in self.metrics for name in STATISTICS]
            lines.append([row.name, row.parameters, *numbers, row.global_relative_l2, row.seconds])
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(lines)
        return out.getvalue()

    def to_markdown(self) -> str:
        lines = [self.header(), ["---", *["---:"] * (len(self.header()) - 1)], *self.cells()]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "".join(f"\n{note}\n" for note in self.notes())

    def write(self, folder: str | Path) -> None:
        """table.csv, table.md and table.json in a folder.

        Raises:
            OSError: a file cannot be written.
        """
        texts = {"csv": self.to_csv(), "md": self.to_markdown(), "json": json.dumps(self.to_dict(), indent=2) + "\n"}
        for suffix, text in texts.items():
            write_bytes(Path(folder) / f"table.{suffix}", text.encode())

    def __rich__(self) -> RichTable:
        """One line per model: the mean of each metric, the worst sample by the first, all at once; the files have the rest."""
        names = [_SHORT.get(metric, metric) for metric in self.metrics]
        columns = ["parameters", *names, *(f"worst\n{name}" for name in names[:1]), "global\nL2", "ms per\nsample"]
        shown = [(metric, "mean") for metric in self.metrics] + [(metric, "max") for metric in self.metrics[:1]]
        title, notes = f"mean errors of {self.samples} samples", "\n".join(self.notes()) or None
        table = RichTable(title=title, caption=notes, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("model", overflow="fold")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.rows:
            errors = [_rounded(row.statistic(metric, name)) for metric, name in shown]
            table.add_row(row.name, f"{row.parameters:,}", *errors, _rounded(row.global_relative_l2), row.time())
        return table

    def __str__(self) -> str:
        console = Console(width=100, file=io.StringIO(), record=True)
        console.print(self)
        return console.export_text()


def evaluate(
    model: nn.Module,
    stream: Samples,
    *,
    inputs: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    baselines: Mapping[str, nn.Module] | None = None,
    metrics: Mapping[str, Metric] = METRICS,
    name: str = "model",
    out: str | Path | None = None,
) -> Table:
    """Errors of a model and of its baselines on every sample of a stream, in float64.

    Instants are joined along the channels, numbers are spread over the grid, and where the stream masks bad values of a target
    they count as met. Models are moved to the device of the stream. A baseline that cannot take the samples, such as a ridge
    regression on another grid than its own, keeps its row, with the reason in place of the numbers.

    Args:
        stream: of test samples, which nothing was chosen on.
        inputs, targets: variables in the order of the models' channels, as a checkpoint names them; the stream's own if not
            given. A set may hold them in another order, and others beside them.
        baselines: by name, in the order of the rows.
        metrics: by name, in the order of the columns; of the first, the printed table shows the worst sample, too.
        name: of the first row.
        out: folder for table.csv, table.md and table.json.
    Raises:
        ValueError: no inputs or no targets, the model cannot take the samples or answers one with values that are not finite,
            a variable is not in the set or has the other role there, or the truth of a sample is zero everywhere, so that a
            relative error does not exist.
    """
    pairs = _names(stream, inputs, targets)
    rows = [_row(name, model, stream, metrics, *pairs)]
    for label, baseline in (baselines or {}).items():
        try:
            rows.append(_row(label, baseline, stream, metrics, *pairs))
        except ValueError as fact:
            rows.append(Row(label, _parameters(baseline), None, {}, str(fact)))
    table = Table(tuple(rows), tuple(metrics), len(next(iter(rows[0].errors.values()))))
    if out is not None:
        table.write(out)
    return table


def _names(
    stream: Samples, inputs: Sequence[str] | None, targets: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and targets, after a look at their roles in the set."""
    chosen = tuple(stream.inputs if inputs is None else inputs), tuple(stream.targets if targets is None else targets)
    check_names(*chosen)
    for role, names, other in (("an input", chosen[0], stream.targets), ("a target", chosen[1], stream.inputs)):
        for name in names:
            if name in other:
                has = "a target" if role == "an input" else "an input"
                raise ValueError(f"variable {name}: is {role} of the model and {has} of the set; give a set of the same roles")
    return chosen


def _row(
    name: str,
    model: nn.Module,
    stream: Samples,
    metrics: Mapping[str, Metric],
    inputs: tuple[str, ...],
    targets: tuple[str, ...],
) -> Row:
    domains = domains_of(stream)
    if not domains:
        raise ValueError("stream: its set has no grid, which norms are taken over; open it with its `domain`")
    errors: dict[str, list[Tensor]] = {metric: [] for metric in metrics}
    seconds: list[float] = []
    gaps, sizes = [], []
    model.to(stream.device)
    done = 0
    with in_evaluation(model):
        for batch in stream:
            domain = domain_of(batch, targets, domains)
            given, truth = (joined(batch, names, domain.shape) for names in (inputs, targets))
            if not seconds:
                check_dtype(model, given)
                model(given)  # plans, kernels and caches are made by the first call, whose time says nothing
            before = _now(stream.device)
            prediction = model(given)
            seconds.append((_now(stream.device) - before) / len(given))
            _check_finite(name, prediction, done)
            prediction = without_bad(prediction, batch, targets, domain.shape)
            for metric, function in metrics.items():
                values = function(prediction.double(), truth.double(), domain).cpu()
                _check_truth(metric, values, truth, targets, done)
                errors[metric].append(values)
            gaps.append(domain.norm(prediction.double() - truth.double()).square().sum())
            sizes.append(domain.norm(truth.double()).square().sum())
            done += len(given)
    each = {metric: torch.cat(parts) for metric, parts in errors.items()}
    gap, size = float(torch.stack(gaps).sum()), float(torch.stack(sizes).sum())
    return Row(name, _parameters(model), median(seconds), each, global_relative_l2=(gap / size) ** 0.5 if size else None)


def _check_finite(name: str, prediction: Tensor, done: int) -> None:
    bad = (~prediction.isfinite()).flatten(1).any(1)
    if bool(bad.any()):
        raise ValueError(
            f"sample {done + int(bad.nonzero()[0])} of the stream: the answer of {name} is not finite, "
            "so there is no mean error; train it again, or look for inputs beyond those that it was trained on"
        )


def _check_truth(metric: str, values: Tensor, truth: Tensor, targets: tuple[str, ...], done: int) -> None:
    for row in torch.nonzero(values.isinf()).flatten().tolist():
        if not truth[row].any():
            raise ValueError(
                f"target {', '.join(targets)}: sample {done + row} of the stream is zero everywhere, where {metric} does not "
                "exist; leave the sample out or choose an absolute metric"
            )


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


__all__ = ["METRICS", "Metric", "Row", "Table", "evaluate"]
