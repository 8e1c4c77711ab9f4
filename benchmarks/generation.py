"""The figures of generation, each from the benchmark of its problem, in one run.

python benchmarks/generation.py [--quick] [--kills 100] [--published FOLDER] [--out docs/results/generation.json]

1. Helmholtz on 100 x 100 elements beside scipy's splu; with FOLDER the published samples solved again.
2. Navier-Stokes at viscosity 1e-5 beside the published scheme at its own step; on a GPU whole trajectories of the first set.
3. Darcy on 421 x 421 points beside scipy's splu.
4. 110,000 antiderivative functions, process start and storage included.
5. `generate` killed at random moments: bytes that differ from a run in one go.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import antiderivative
import helmholtz
import kills
import multigrid
import navier_stokes
import torch
from _report import Figure, cores, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer samples and 3 kills, at most 45 seconds")
    parser.add_argument("--kills", type=int, default=100, help="per number of workers")
    parser.add_argument("--published", type=Path, help="folder with the published samples, see helmholtz.py")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: list[Figure] = [antiderivative.whole_set(given.quick)] if cores() >= 2 else []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        figures += helmholtz.one_solve("cpu", given.quick)
        if given.published is not None:
            figures += helmholtz.published(given.published, "cpu")
        figures += multigrid.published_grid("cpu", given.quick)
        figures += navier_stokes.against_the_published_scheme(given.quick)
        if torch.cuda.is_available():
            figures += navier_stokes.on_the_gpu()
    torch.set_num_threads(threads)
    figures += kills.figures_after(3 if given.quick else given.kills)
    return report(figures, "generation", given.out, seed=navier_stokes.SEED)


if __name__ == "__main__":
    sys.exit(main())
