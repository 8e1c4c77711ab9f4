"""The published antiderivative set, 110,000 functions of one random point each, by `sciml generate` with 2 workers.

The time is that of the whole command: start of Python and of the workers, drawing, solving, residuals and storage.

python benchmarks/antiderivative.py [--quick] [--out docs/results/antiderivative.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _report import Figure, report

WORKERS = 2


def wall_time(folder: Path, samples: int | None) -> float:
    """Seconds that one run of the command takes."""
    command = [sys.executable, "-m", "sciml.cli", "generate", "antiderivative", "--out", str(folder)]
    command += ["--workers", str(WORKERS), *([] if samples is None else ["--samples", str(samples)])]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - begin


def whole_set(quick: bool) -> Figure:
    """Median wall time of the command, over five runs; in a quick run of a tenth of the samples, once."""
    samples, repeats = (1000, 1) if quick else (None, 5)
    with tempfile.TemporaryDirectory() as folder:
        times = [wall_time(Path(folder) / str(i), samples) for i in range(repeats)]
    count = 11_000 if quick else 110_000
    peer = f"{repeats} run(s), {min(times):.2f} to {max(times):.2f} s; the authors' script: 190 s (their README)"
    return Figure(f"seconds for {count:,} antiderivative functions, {WORKERS} workers", median(times), 5.0, peer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, once")
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    return report([whole_set(given.quick)], "antiderivative", given.out)


if __name__ == "__main__":
    sys.exit(main())
