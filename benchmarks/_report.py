"""What every benchmark has in common: how long a call takes, and how its figures are printed and kept."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from sciml.data.buffers import cores


@dataclass(frozen=True)
class Figure:
    """One number that an issue asks for.

    Args:
        figure: what is measured, with its unit.
        target: the bound on `value`; `better` says from which side.
        peer: what it is held against, and what that reached in the same run.
    """

    figure: str
    value: float
    target: float
    peer: str = ""
    device: str = "cpu"
    better: Literal["lower", "higher"] = "lower"

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def to_dict(self) -> dict[str, object]:
        return {
            "figure": self.figure,
            "value": float(f"{self.value:.4g}"),
            "target": self.target,
            "met": self.met,
            "peer": self.peer,
            "device": self.device,
        }


def report(
    figures: Sequence[Figure], name: str, out: Path | None = None, *, seed: int = 0, more: Mapping[str, object] | None = None
) -> int:
    """Print the figures, as a table and as one JSON object per line; write them to `out` with where they come from and `more`.

    Returns the exit status: 1 when a figure is not met.
    """
    bounds = [f"{'<=' if f.better == 'lower' else '>='} {f.target:g}" for f in figures]
    rows = [
        (f.figure, f"{f.value:.4g}", bound, "met" if f.met else "NOT MET", f.peer, f.device)
        for f, bound in zip(figures, bounds, strict=True)
    ]
    print_table(("figure", "value", "target", "", "peer", "device"), rows)
    for figure in figures:
        print(json.dumps(figure.to_dict(), ensure_ascii=False))
    if out is not None:
        origin = {"seed": seed, "commit": commit(), "machine": machine(), "date": datetime.now(UTC).date().isoformat()}
        kept = {"benchmark": name, **origin, "figures": [f.to_dict() for f in figures], **(more or {})}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(f.met for f in figures) else 1


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest entry, and an empty line after the last row."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(flush=True)


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of a call after a first one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times)


def memory_now(device: str = "cpu") -> float:
    """MiB in use; `memory_peak` counts from here on. On a CPU those of this process, on Linux only."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    # The peak that the kernel keeps is at first that of the parent process.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def memory_peak(device: str = "cpu") -> float:
    """Most MiB in use since `memory_now`."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else _resident("VmHWM")


def machine() -> str:
    """Processor, cores, accelerator and torch of this machine."""
    parts = [_processor(), f"{cores()} cores", f"torch {torch.__version__}"]
    if torch.cuda.is_available():
        parts.insert(2, torch.cuda.get_device_name())
    return ", ".join(parts)


def commit() -> str:
    """The commit of the checkout, `-dirty` when files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in table.read_text().splitlines() if "model name" in line]
        if table.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
