"""What a check found: faults that name file, variable and sample, and notes on what is odd but not wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        sample: its number in the set, or where `path` is of a foreign format, in that file.
        split: the one of several inside of the file within which `sample` is counted.
    """

    path: Path
    message: str
    variable: str | None = None
    sample: int | None = None
    split: str | None = None

    def __str__(self) -> str:
        where: list[str] = []
        if self.variable is not None:
            where.append(f"variable {self.variable}")
        if self.split is not None:
            where.append(f"split {self.split}")
        if self.sample is not None:
            where.append(f"sample {self.sample}")
        return ": ".join([str(self.path), *([", ".join(where)] if where else []), self.message])


@dataclass
class CheckReport:
    """What `check` found.

    Args:
        files, samples, bytes: how much was looked at.
        residuals: samples whose residual was computed again.
        remade: samples that were made again.
        faults: everything that is wrong, one line each.
        notes: what could not be checked and why, and what is odd but not wrong.
        unchecked: why the equation was not checked, where it was not; else empty.
    """

    path: Path
    files: int = 0
    samples: int = 0
    bytes: int = 0
    residuals: int = 0
    remade: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what was checked."""
        return not self.faults


def fault_of(path: Path, error: Exception) -> Fault:
    """An error as a fault; the name of the file, with which most errors begin, is said once."""
    text = " ".join(str(error).split()) or type(error).__name__
    return Fault(path, text.removeprefix(f"{path}: "))


__all__ = ["CheckReport", "Fault", "fault_of"]
