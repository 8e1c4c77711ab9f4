"""Rough Darcy coefficients on 65 x 65 points, 1,000 samples: MgNO and an FNO of twice its parameters, the same wall time each.

python benchmarks/mgno_darcy.py [--seconds 900] [--seeds 3] [--data data/darcy-rough-reduced] [--model mgno|fno --seed N]
    [--out docs/results/mgno_darcy.json]

The set is that of the card `darcy-rough-reduced`, made if need be: solved on 513 x 513 points, every eighth kept. Both train in
the relative H1 norm on transposed, turned and mirrored copies with the same batches and optimiser, like `recipes/darcy.py`; a
few steps are timed first, and so many are taken as the seconds allow, validation included. The error is the mean over the test
samples of the relative L2 error on the grid points. `--model` with `--seed` runs one of them and prints its line as JSON;
`--lines FILE` makes the report of such lines.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from _report import Figure, print_table, report

from recipes.darcy import DARCY, build, open_splits
from sciml.data.stream import Stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.metrics.fields import relative_h1_spectral, relative_l2
from sciml.training.comparison import Preset, learn
from sciml.training.evaluate import evaluate
from sciml.training.objectives import RelativeH1
from sciml.training.symmetries import SquareSymmetries

CARD = "darcy-rough-reduced"
PRESET = Preset(CARD, 0, 8, 24, 6, 32, 16, learning_rate=2e-3, weight_decay=1e-4, symmetries=True)
NAMES = {"mgno": "MgNO", "fno": "FNO (neuraloperator)"}
TIMED = 10
MARGIN = 0.85
"""Part of the wall time that is planned for steps; the rest is validation."""


def seconds_per_step(name: str, train: Stream) -> float:
    """Median over a few steps of the same work."""
    model = build(name, PRESET, train).train()
    objective = SquareSymmetries(RelativeH1(train.domain, train.inputs, train.targets), reflections=True)
    optimiser = torch.optim.Adam(model.parameters())
    times = []
    for batch, _ in zip(train, range(TIMED), strict=False):
        begin = time.perf_counter()
        optimiser.zero_grad()
        objective(model, batch).backward()
        optimiser.step()
        times.append(time.perf_counter() - begin)
    return median(times[2:])


def run(name: str, data: Path, seconds: float, seed: int) -> dict[str, Any]:
    """One training; its errors, parameters, steps and seconds."""
    train, valid, tests = open_splits(data, PRESET, "cpu", seed)
    torch.manual_seed(seed)
    steps = int(MARGIN * seconds / seconds_per_step(name, train))
    begin = time.perf_counter()
    trained = learn(DARCY, name, replace(PRESET, steps=steps), train, valid, None, seed)
    took = time.perf_counter() - begin
    metrics = {"l2": relative_l2, "h1": relative_h1_spectral}
    test = evaluate(trained.model, tests["test"], metrics=metrics).rows[0]
    seen = evaluate(trained.model, train, metrics={"l2": relative_l2}).rows[0]
    return {
        "model": NAMES[name],
        "seed": seed,
        "parameters": test.parameters,
        "steps": steps,
        "seconds": round(took),
        "threads": torch.get_num_threads(),
        "train l2": seen.statistic("l2", "mean"),
        "test l2": test.statistic("l2", "mean"),
        "test spectral h1": test.statistic("h1", "mean"),
    }


def made(data: Path) -> Path:
    """The set, made where it is not there yet."""
    if not (data / "train").exists():
        generate(read_card(find_card(CARD)), data, workers=torch.get_num_threads())
    return data


def conclude(lines: list[dict[str, Any]], out: Path | None) -> int:
    """Print and keep what the runs gave."""
    print_table(list(lines[0]), [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in line.values()] for line in lines])
    ours, peer = ([line for line in lines if line["model"] == name] for name in NAMES.values())
    ratio = median(line["test l2"] for line in peer) / median(line["test l2"] for line in ours)
    text = f"medians {median(line['test l2'] for line in ours):.4g} and {median(line['test l2'] for line in peer):.4g}"
    figures = [
        Figure("relative L2 of FNO over that of MgNO, medians of the seeds", ratio, 2.0, text, better="higher"),
        Figure("parameters of FNO over those of MgNO", peer[0]["parameters"] / ours[0]["parameters"], 2.0, better="higher"),
    ]
    metric = "mean over the test samples of the relative L2 error on the grid points"
    return report(figures, "mgno_darcy", out, more={"runs": lines, "metric": metric})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data") / CARD)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", choices=NAMES, help="run one model, with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=Path, help="a file of lines that single runs printed")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.lines is not None:
        sys.exit(conclude([json.loads(line) for line in given.lines.read_text(encoding="utf-8").splitlines()], given.out))
    if given.model is not None:
        print(json.dumps(run(given.model, made(given.data), given.seconds, given.seed)), flush=True)
        sys.exit()
    folder = made(given.data)
    results = [run(name, folder, given.seconds, seed) for seed in range(given.seeds) for name in NAMES]
    sys.exit(conclude(results, given.out))
