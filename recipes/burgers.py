"""Burgers' equation, from the first function to the solution at time 1: generate, learn, compare, draw.

    python recipes/burgers.py --preset quick                     # viscosity 0.01, 512 points, minutes on 2 CPU cores
    python recipes/burgers.py --preset full                      # viscosity 0.1, 1,024 points, 1,000 samples
    python recipes/burgers.py --preset paper --device cuda       # 500 epochs of it
    python recipes/burgers.py --data FOLDER                      # your data: a folder of splits

Writes results/NAME/: config.json, log.csv, log.jsonl, best.pt, last.pt; the same of the FNO beside it in fno/; and test/ with
table.csv and report.html, one page with the table, the learning curves and pictures. Started again, it goes on where it was.

No result of MgNO on this equation is published: the models here are one-dimensional, which the authors' code is not.
"""

from __future__ import annotations

from torch import nn

from sciml.data.stream import Stream
from sciml.generation.generate import made
from sciml.training.baselines import mean_of_training, ridge
from sciml.training.comparison import Comparison, Preset, between_fields, command_line, compare, splits
from sciml.training.objectives import Objective, RelativeL2

PRESETS = {
    "quick": Preset("burgers-mini", 1500, 20, 24, 8, 24, 24, learning_rate=2e-3, weight_decay=1e-5),
    "full": Preset("burgers", 10_000, 20, 32, 9, 32, 16, learning_rate=2e-3, weight_decay=1e-5),
    "paper": Preset("burgers", 25_000, 20, 64, 9, 64, 16, learning_rate=1e-3, weight_decay=1e-5),
}
PUBLISHED: dict[str, str] = {}


def objective(preset: Preset, train: Stream) -> Objective:
    """The relative L2 error."""
    return RelativeL2(train.domain, train.inputs, train.targets)


def baselines(preset: Preset, train: Stream, own: bool) -> dict[str, nn.Module]:
    """Ridge regression and the mean."""
    return {"ridge regression": ridge(train), "mean of training": mean_of_training(train)}


BURGERS = Comparison("Burgers' equation", between_fields, objective, PRESETS, PUBLISHED, baselines, splits, made)


if __name__ == "__main__":
    compare(BURGERS, *command_line(BURGERS, __doc__))
