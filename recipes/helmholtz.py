"""Helmholtz' equation, from wave speed to wave field: generate, learn, compare, draw.

    python recipes/helmholtz.py --preset quick                   # 51 x 51 points, half the frequency, minutes on 2 CPU cores
    python recipes/helmholtz.py --preset full --device cuda      # 101 x 101 points, 4,000 samples
    python recipes/helmholtz.py --preset paper --device cuda     # the published number of steps and size of batches
    python recipes/helmholtz.py --data FOLDER                    # your data: a folder of splits

Writes results/NAME/: config.json, log.csv, log.jsonl, best.pt, last.pt; the same of the FNO beside it in fno/; and test/ with
table.csv and report.html, one page with the table, the learning curves and pictures. Started again, it goes on where it was.

The equation is close to its resonances, so the field answers small changes of the speed with large ones of its own. Both models
learn in the relative H1 norm; the published MgNO has LayerNorm in it and 7.58 million numbers, ours has none of it. On a finer
grid (--finer 101) the field itself is another one, as waves run at another speed on coarse grids: the row of the finite
elements at 51² says by how much.
"""

from __future__ import annotations

from torch import nn

from sciml.data.stream import Stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import made
from sciml.training.baselines import mean_of_training
from sciml.training.comparison import Comparison, Preset, between_fields, command_line, compare, splits
from sciml.training.objectives import Objective, RelativeH1
from sciml.training.reference import ReferenceSolver

PRESETS = {
    "quick": Preset("helmholtz-mini", 600, 10, 16, 5, 20, 12, learning_rate=2e-3, weight_decay=1e-4),
    "full": Preset("helmholtz", 20_000, 10, 32, 6, 32, 16, learning_rate=1e-3, weight_decay=1e-5, layers=5),
    # 100 epochs of 4,000 samples.
    "paper": Preset("helmholtz", 40_000, 10, 40, 6, 32, 20, learning_rate=3e-4, weight_decay=1e-5, clip=None, layers=5),
}
PUBLISHED = {
    "helmholtz": "MgNO relative_l2 0.0071, and 0.0402 in an H1 norm that is not said which; 7.58 M numbers, 101 x 101 points "
    "(He, Liu & Xu 2024)",
}


def objective(preset: Preset, train: Stream) -> Objective:
    """The relative H1 error."""
    return RelativeH1(train.domain, train.inputs, train.targets)


def baselines(preset: Preset, train: Stream, own: bool) -> dict[str, nn.Module]:
    """The mean, and on the set of the card its solver."""
    found: dict[str, nn.Module] = {"mean of training": mean_of_training(train)}
    if own:
        problem = read_card(find_card(preset.card)).make_problem()
        found["finite elements"] = ReferenceSolver(problem, train.domain, (("c", 1),))
    return found


HELMHOLTZ = Comparison("Helmholtz' equation", between_fields, objective, PRESETS, PUBLISHED, baselines, splits, made)


if __name__ == "__main__":
    compare(HELMHOLTZ, *command_line(HELMHOLTZ, __doc__))
