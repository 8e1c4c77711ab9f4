"""Tables of numbers as text (`.csv`, `.txt`): one series, a row per instant and a column per component.

Columns are separated by commas, semicolons, tabs or blanks. A first line that is no row of numbers names them, with or without
`#` or `%` before it; a first column called `t` or `time` holds the times. Cells that are empty or say `nan` are NaN.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import stored
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside
from sciml.data.variables import Description

_ARRAY = "table"
_REMARKS = ("#", "%")
_TIMES = re.compile(r"(t|time)\s*([\[(].*[\])])?", re.IGNORECASE)
_EMPTY = ("", "nan", "na", "null", "none")


def recognises(file: StoredFile) -> bool:
    """Whether it is text, and its name ends as that of a table; what else is wrong with it is told when it is read."""
    suffix = file.path.suffix.lower()
    if suffix not in (".csv", ".txt") or b"\0" in file.head:
        return False
    return suffix == ".csv" or any(_is_row(line) for line in file.head.decode("latin-1").splitlines()[:8])


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """How many rows and columns, what these are called, and the times. All of it is read.

    Raises:
        ValueError: a cell is no number, a row has more or fewer cells than others, or there are no rows.
        OSError: it cannot be read.
    """
    with _kept.use(file.path) as table:
        values, names, timed, ended = table.values, table.names, table.timed, table.ended
        remark = table.remark
        times = values[:, 0].copy() if timed else None
        missing = int(np.isnan(values).sum())
    notes = []
    if timed:
        notes.append(f"the first column, {names[0]}, is taken as the times")
    else:
        notes.append("the file does not say its times")
    if remark:
        notes.append(f"the line {remark[:60]!r} is taken as a remark, as the columns are not so many")
    if not ended:
        notes.append("the last line has no end; if the file was cut, its last number may be wrong")
    if missing:
        notes.append(f"{missing} cells without a number are NaN")
    if times is not None and not (np.diff(times) > 0).all():
        raise ValueError(
            f"{file.path}: column {names[0]} does not grow, need times in order; call it otherwise if it is no time"
        )
    array = StoredArray(_ARRAY, (len(values), values.shape[1] - timed), np.dtype(np.float64), Elsewhere("text"))
    found = stored(file, "state", [array], ("time", "channel"), "state", long_name=", ".join(names[timed:]))
    return Description(
        {"state": found.info},
        1,
        None,
        {"columns": list(names)} if names else {},
        arrays={_ARRAY: array},
        sources={"state": (found.source,)},
        times=times,
        notes=tuple(notes),
    )


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of the table, without the times; the last tables stay in memory.

    Raises:
        ValueError: no such array, the box leaves it, or the text is no table.
        OSError: it cannot be read.
    """
    if array != _ARRAY:
        raise ValueError(f"{path}: no array {array!r}, there is {_ARRAY}")
    with _kept.use(path) as table:
        values = table.values[:, int(table.timed) :]
        check_inside(f"{path}: array {array}", values.shape, box)
        return np.ascontiguousarray(values[box.slices])


@dataclass(frozen=True)
class _Table:
    """What the text says.

    Args:
        values: (row, column).
        names: of the columns, or none.
        timed: whether the first column holds times.
        remark: the last line before the numbers, where it does not name the columns.
        ended: whether the last line has an end.
    """

    values: npt.NDArray[np.float64]
    names: tuple[str, ...]
    timed: bool
    remark: str
    ended: bool


def _table(path: Path, _: str) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text, byte {error.start} is none of UTF-8; need a table of numbers") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    header, said = "", False
    while lines and (lines[0][1].startswith(_REMARKS) or (not said and not _is_row(lines[0][1]))):
        line = lines.pop(0)[1]
        header, said = line.lstrip("#%").strip(), not line.startswith(_REMARKS)
    if not lines or not _is_row(lines[0][1]):
        begin = (header or "nothing")[:40]
        raise ValueError(f"{path}: begins with {begin!r}, need rows of numbers below at most one line of names")
    rows = [(number, line) for number, line in lines if not line.startswith(_REMARKS)]
    separator = _separator(rows[0][1])
    values = _numbers(path, rows, separator)
    names = tuple(name.strip().strip("\"'") for name in header.split(separator)) if header else ()
    if len(names) != values.shape[1]:
        if said:
            raise ValueError(
                f"{path}: has {len(names)} names, {header[:60]!r}, and {values.shape[1]} columns of numbers; put # before them"
            )
        names = ()
    timed = len(names) > 1 and _TIMES.fullmatch(names[0]) is not None
    return _Table(values, names, timed, "" if names else header, text.endswith("\n"))


_kept = Kept(_table, most=4)


def _numbers(path: Path, rows: list[tuple[int, str]], separator: str | None) -> npt.NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt([line for _, line in rows], delimiter=separator, ndmin=2, comments=None, dtype=np.float64)
    except (ValueError, OverflowError, Warning):  # a cell is empty, or wrong: the second look says where
        pass
    width = len(rows[0][1].split(separator))
    values = np.empty((len(rows), width))
    for place, (number, line) in enumerate(rows):
        cells = line.split(separator)
        if len(cells) != width:
            raise ValueError(f"{path}: line {number} has {len(cells)} cells, need {width} as in line {rows[0][0]}")
        for column, cell in enumerate(cells):
            value = _number(cell)
            if value is None:
                raise ValueError(f"{path}: line {number}, column {column + 1} is {cell.strip()[:40]!r}, need a number")
            values[place, column] = value
    return values


def _number(cell: str) -> float | None:
    cell = cell.strip().strip("\"'")
    if cell.lower() in _EMPTY:
        return float("nan")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _separator(line: str) -> str | None:
    """Of the cells of a row; None stands for blanks."""
    return next((sign for sign in (";", ",", "\t") if sign in line), None)


def _is_row(line: str) -> bool:
    """Whether all cells are numbers or empty, and one at least is a number."""
    found = [_number(cell) for cell in line.strip().split(_separator(line.strip()))]
    return None not in found and any(value == value for value in found)


__all__ = ["describe", "read", "recognises", "splits"]
