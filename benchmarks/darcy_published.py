"""The published 16 x 16 Darcy files of neuraloperator: MgNO and FNO trained on the training file alone, by the same engine.

python benchmarks/darcy_published.py DARCY_TRAIN_16.PT [--quick] [--out docs/results/darcy_published.json]

Three seeds of the recipe `recipes/darcy.py --data`; 100 of the 1,000 samples are held out to choose the weights. Errors are
means over the test samples of the relative L2 error on the grid points. Beside the errors at 16 x 16 and, zero-shot, at 32 x 32
stands the honest alternative for the finer grid: run on every second point and interpolate by cubic splines.
`--quick` trains one seed for a tenth of the steps and reports no figure.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _report import Figure, print_table, report
from scipy.interpolate import CubicSpline
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recipes.darcy import DARCY, PRESETS, open_splits
from sciml.data.stream import Stream
from sciml.metrics.fields import relative_l2
from sciml.training.baselines import mean_of_training, ridge
from sciml.training.comparison import Preset, learn
from sciml.training.evaluate import evaluate

SEEDS = 3
NAMES = {"mgno": "MgNO", "fno": "FNO (neuraloperator)"}


@torch.no_grad()
def interpolated(model: nn.Module, fine: Stream) -> float:
    """Mean relative L2 on the fine grid of answers computed on every second point, with cubic splines between the points.

    The last point of the fine grid lies half a spacing beyond the last coarse one, where the spline is continued.
    """
    (batch,) = list(Stream(fine.set, batch_size=len(fine.set)))
    answer = model(batch["x"][..., ::2, ::2]).double().numpy()
    n = answer.shape[-1]
    for axis in (-2, -1):
        answer = CubicSpline(np.arange(n), answer, axis=axis)(np.arange(2 * n) / 2)
    return float(relative_l2(torch.from_numpy(answer).to(batch["y"]), batch["y"], fine.domain).mean())


def run(name: str, preset: Preset, data: Path, seed: int) -> dict[str, float]:
    """Train one model with one seed; its errors, parameters and seconds."""
    train, valid, tests = open_splits(data, preset, "cpu", seed)
    trained = learn(DARCY, name, preset, train, valid, None, seed)
    test, fine = tests["darcy_test_16"], tests["darcy_test_32"]
    tables = {
        key: evaluate(trained.model, each, metrics={"l2": relative_l2}).rows[0] for key, each in (("16", test), ("32", fine))
    }
    seen = evaluate(trained.model, train, metrics={"l2": relative_l2}).rows[0]
    return {
        "seed": seed,
        "parameters": tables["16"].parameters,
        "validation": trained.best or 0.0,
        "train": seen.statistic("l2", "mean") or 0.0,
        "test 16": tables["16"].statistic("l2", "mean") or 0.0,
        "test 32 zero-shot": tables["32"].statistic("l2", "mean") or 0.0,
        "test 32 by 16 and interpolation": interpolated(trained.model, fine),
        "seconds": float(trained.history[-1]["seconds"] or 0),
    }


def main(data: Path, quick: bool, out: Path | None) -> int:
    preset = PRESETS["published"]
    preset = replace(preset, steps=preset.steps // 10) if quick else preset
    results = {name: [run(name, preset, data, seed) for seed in range(1 if quick else SEEDS)] for name in NAMES}
    train, _, tests = open_splits(data, preset, "cpu", 0)
    simple = {"ridge regression": ridge(train), "mean of training": mean_of_training(train)}
    rows = [[NAMES[name], *(f"{value:.4g}" for value in line.values())] for name, lines in results.items() for line in lines]
    for label, model in simple.items():
        error = evaluate(model, tests["darcy_test_16"], metrics={"l2": relative_l2}).rows[0].statistic("l2", "mean")
        rows.append([label, "-", "-", "-", "-", f"{error:.4g}", "-", "-", "-"])
    print_table(["model", *results["mgno"][0]], rows)
    if quick:
        return 0
    ours, peer = ([line["test 16"] for line in results[name]] for name in NAMES)
    finer, other = ([line["test 32 zero-shot"] for line in results[name]] for name in NAMES)
    by_hand = median(line["test 32 by 16 and interpolation"] for line in results["mgno"])
    slowest = max(line["seconds"] for line in results["mgno"])
    figures = [
        Figure("relative L2 on darcy_test_16, median of three seeds", median(ours), 0.080, f"FNO {median(peer):.4g}"),
        Figure(
            "relative L2 on darcy_test_32, zero-shot, median of three seeds", median(finer), 0.085, f"FNO {median(other):.4g}"
        ),
        Figure("the same over that of 16 x 16 and interpolation", median(finer) / by_hand, 1.0),
        Figure("seconds of the longest training", slowest, 600),
    ]
    runs = {NAMES[name]: lines for name, lines in results.items()}
    metric = "mean over the test samples of the relative L2 error on the grid points"
    return report(figures, "darcy_published", out, more={"runs": runs, "metric": metric})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="darcy_train_16.pt, with the test files beside it")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sys.exit(main(given.data, given.quick, given.out))
