"""Errors of operators that answer at points: one row per model, every metric by its full name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.batch import Batch
from sciml.metrics.functions import relative_l2_of_functions
from sciml.training.checkpoint import write_bytes
from sciml.training.models import in_evaluation
from sciml.training.streams import Samples

Reading = Callable[[Batch], tuple[object, Tensor, Tensor]]
"""A batch as (u, y, s): input functions, points, answers; see `FunctionsAtPoints`."""


@dataclass(frozen=True)
class PointRow:
    """What one model does on the test samples.

    Args:
        parameters: real numbers that are trained.
        mean_squared_error: over functions, points and channels, in the unit of the answer squared.
        mean_relative_l2: mean over the functions; None where the truth of one is zero.
        global_relative_l2: over all functions at once; None where all truths are zero.
        worst_relative_l2: of the functions; None as above.
    """

    name: str
    parameters: int
    mean_squared_error: float
    mean_relative_l2: float | None
    global_relative_l2: float | None
    worst_relative_l2: float | None


@dataclass(frozen=True)
class PointTable:
    """Rows of `evaluate_at_points`; `print(table)` shows them."""

    rows: tuple[PointRow, ...]
    functions: int

    def to_dict(self) -> dict[str, object]:
        """For JSON, unrounded."""
        return {"functions": self.functions, "rows": [dict(vars(row)) for row in self.rows]}

    def header(self) -> list[str]:
        """Names of the columns of `cells`."""
        return list(PointRow.__dataclass_fields__)

    def cells(self) -> list[list[str]]:
        """The rows as texts, rounded for the eye."""
        return [[_shown(getattr(row, name)) for name in self.header()] for row in self.rows]

    def to_markdown(self) -> str:
        names = [name.replace("_", " ") for name in self.header()]
        lines = [names, ["---", *["---:"] * (len(names) - 1)], *self.cells()]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def __str__(self) -> str:
        return f"errors of {self.functions:,} functions\n\n{self.to_markdown()}"

    def write(self, folder: str | Path) -> None:
        """table.csv, table.md and table.json in a folder.

        Raises:
            OSError: a file cannot be written.
        """
        out = io.StringIO()
        writer = csv.DictWriter(out, list(PointRow.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(dict(vars(row)) for row in self.rows)
        texts = {"csv": out.getvalue(), "md": self.to_markdown(), "json": json.dumps(self.to_dict(), indent=2) + "\n"}
        for suffix, text in texts.items():
            write_bytes(Path(folder) / f"table.{suffix}", text.encode())


def evaluate_at_points(
    models: Mapping[str, nn.Module], reading: Reading, stream: Samples, *, out: str | Path | None = None
) -> PointTable:
    """Errors of models, called as model(u, y), on every sample of a stream; each in the precision that its weights have.

    Args:
        models: by name, in the order of the rows.
        stream: of test samples, which nothing was chosen on.
        out: folder for table.csv, table.md and table.json.
    Raises:
        ValueError: an answer or a truth that is not finite, or an answer of another shape than the truth.
    """
    rows = [_row(name, model, reading, stream) for name, model in models.items()]
    table = PointTable(tuple(row for row, _ in rows), rows[0][1] if rows else 0)
    if out is not None:
        table.write(out)
    return table


def _row(name: str, model: nn.Module, reading: Reading, stream: Samples) -> tuple[PointRow, int]:
    gaps, sizes, relative, numbers = 0.0, 0.0, [], 0
    for _, answer, truth in answers(name, model, reading, stream):
        relative.append(relative_l2_of_functions(answer, truth).cpu())
        gaps += float((answer - truth).square().sum())
        sizes += float(truth.square().sum())
        numbers += truth.numel()
    each = torch.cat(relative)
    known = bool(each.isfinite().all())
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    together = (gaps / sizes) ** 0.5 if sizes else None
    errors = (float(each.mean()) if known else None, together, float(each.max()) if known else None)
    return PointRow(name, parameters, gaps / numbers, *errors), len(each)


def answers(name: str, model: nn.Module, reading: Reading, stream: Samples) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of each batch points, answers and truth, both (function, point, channel) in float64; without gradients.

    Raises:
        ValueError: an answer of `name` that is not finite.
    """
    model.to(stream.device)
    kept = next((weight.dtype for weight in model.parameters()), None)
    for batch in stream:
        given = batch if kept is None else {key: _in(values, kept) for key, values in batch.items()}
        u, y, _ = reading(given)
        with in_evaluation(model):
            answer = model(u, y).double()
        if not bool(answer.isfinite().all()):
            raise ValueError(f"model: {name} gave an answer that is not finite; train it again")
        truth = reading(batch)[2].double()
        if not bool(truth.isfinite().all()):
            raise ValueError("stream: has truths that are not finite; open it with on_bad='skip'")
        yield y, answer, truth


def _in(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values


def _shown(value: object) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else "–"
        if value is None
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


__all__ = ["PointRow", "PointTable", "Reading", "answers", "evaluate_at_points"]
