"""Reconstruction of the published series by the recipes: every replica's scores, exponents and fixed points, and the time.

python benchmarks/reconstruction.py lorenz63 --train lorenz63_on0.05_train.npy --test lorenz63_test.npy
python benchmarks/reconstruction.py ecg --train ECG_pecuzal_5d_train.npy --test ECG_pecuzal_5d_test.npy --preset cpu
    [--finished RUN_FOLDER --seconds N] [--seed 0] [--out docs/results/lorenz63.json]

`--finished` scores a run that the recipe left, and `--seconds` says what it took. The series are those of the repository
DurstewitzLab/GTF-shPLRNN on GitHub. D_stsp, D_H and PE(20) are medians over all replicas by the published protocol, failed ones
counted as infinitely bad; targets are ours, published values stand beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from _report import Figure, report

from recipes import ecg, eeg, lorenz63
from sciml.dynamics.plrnn.fixed_points import fixed_points
from sciml.dynamics.plrnn.lyapunov import lyapunov_exponents
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.training.checkpoint import load
from sciml.training.reconstruction_report import states_of

ORBITS = 8
"""Of every replica, over which exponents are averaged."""
LARGEST = 0.9056
"""Exponent of Lorenz's equations per unit time."""


@dataclass(frozen=True)
class Case:
    """A recipe.

    Args:
        run: (preset, train, test, run folder, seed).
        checkpoint: what the recipe leaves in the run folder.
        interval: between instants, in the unit of the exponents.
        targets: of the medians of the measures.
        published: the same of Hess et al. (2023).
    """

    run: Callable[[str, Path, Path, Path, int], object]
    checkpoint: str
    interval: float
    targets: dict[str, float]
    published: dict[str, str]


def _names(divergence: Any, hellinger: Any, error: Any) -> dict[str, Any]:
    return {"divergence": divergence, "hellinger": hellinger, "prediction_error": error}


CASES = {
    "lorenz63": Case(
        lambda preset, train, test, out, seed: lorenz63.main(lorenz63.PRESETS[preset], train, test, "cpu", out, seed),
        "refined.pt",
        lorenz63.INTERVAL,
        _names(0.20, 0.07, 7e-4),
        _names("0.26", "", ""),
    ),
    "ecg": Case(
        lambda preset, train, test, out, seed: ecg.main(ecg.PRESETS[preset], train, test, "constant", "cpu", out, seed),
        "last.pt",
        1.0,
        _names(2.0, 0.20, 2.4e-3),
        _names("4.3", "0.34", "2.4e-3"),
    ),
    "eeg": Case(
        lambda preset, train, test, out, seed: eeg.main(eeg.PRESETS[preset], train, test, "constant", "cpu", out, seed),
        "last.pt",
        1.0,
        _names(2.1, 0.11, 0.25),
        _names("2.1 (alpha 0.1)", "0.11 (alpha 0.1)", "0.25 (sparse forcing)"),
    ),
}


def analysed(model: PiecewiseLinearNetwork, test: torch.Tensor, interval: float) -> dict[str, object]:
    """Exponents per unit time, averaged over orbits of 25,000 steps, and the numbers of fixed points of every replica."""
    network, starts = model.piecewise_linear().detached().to(torch.float64), states_of(model, test)
    count = min(model.latent, 6)
    orbits = lyapunov_exponents(
        network, starts[:, :ORBITS], steps=25_000, transient=2000, every=1, dt=interval, exponents=count
    ).exponents
    found = orbits.mean(1)
    counts = Counter(len(points) for points in fixed_points(network, starts=starts))
    return {
        "lyapunov_exponents": [[round(value, 5) for value in row] for row in found.tolist()],
        "median_lyapunov_exponents": [round(value, 5) for value in found.nanquantile(0.5, dim=0).tolist()],
        "replicas_by_number_of_fixed_points": {str(n): counts[n] for n in sorted(counts)},
    }


def main(
    name: str, preset: str, train: Path, test: Path, finished: Path | None, seconds: float | None, out: Path, seed: int
) -> int:
    """Run the recipe, or take what it left, and keep everything that was measured."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = finished or Path(scratch)
        if finished is None:
            begin = time.perf_counter()
            case.run(preset, train, test, folder, seed)
            seconds = time.perf_counter() - begin
        table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        model = load(folder / case.checkpoint, kind=PiecewiseLinearNetwork)
    row = table["rows"][0]
    facts = analysed(model, torch.from_numpy(np.load(test)).float(), case.interval)
    figures = [
        Figure(
            f"{name}: {measure}, median of {model.replicas} replicas", row["medians"][measure], target, case.published[measure]
        )
        for measure, target in case.targets.items()
    ]
    figures.append(Figure(f"{name}: failed replicas of {model.replicas}", row["failed"], model.replicas // 20))
    if name == "lorenz63":
        largest = facts["median_lyapunov_exponents"]
        assert isinstance(largest, list)
        figures.append(Figure("lorenz63: largest exponent, relative error of the median", abs(largest[0] / LARGEST - 1), 0.05))
    more = {"preset": preset, "seconds": None if seconds is None else round(seconds), **facts, **table}
    return report(figures, "benchmarks/reconstruction.py " + name, out, seed=seed, more=more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--train", type=Path, required=True, help="a series, .npy")
    parser.add_argument("--test", type=Path, required=True, help="another of the same system, .npy")
    parser.add_argument("--preset", default="full")
    parser.add_argument("--finished", type=Path, help="run folder of the recipe")
    parser.add_argument("--seconds", type=float, help="that the finished run took")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    place = given.out or Path("docs/results") / f"{given.case}.json"
    sys.exit(main(given.case, given.preset, given.train, given.test, given.finished, given.seconds, place, given.seed))
