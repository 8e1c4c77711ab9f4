"""Darcy flow, from permeability to pressure: generate, learn, compare, draw.

    python recipes/darcy.py --preset quick                       # 2 CPU cores, about 4 minutes: MgNO beside its baselines
    python recipes/darcy.py --finer 129 257 513                  # and the test samples on finer grids, with the same weights
    python recipes/darcy.py --preset full --device cuda          # 85 x 85 points, 1,000 samples
    torchrun --nproc-per-node 4 recipes/darcy.py --preset paper --device cuda    # rough coefficients on 257 x 257
    python recipes/darcy.py --data darcy_train_16.pt             # your data: a folder of splits, or the published .pt files

Writes results/NAME/: config.json, log.csv, log.jsonl, best.pt, last.pt; the same of the FNO beside it in fno/; and a folder per
test set with table.csv and report.html, one page with the table, the learning curves and pictures; with several test sets
by_grid.md, the errors grid by grid. Started again, it goes on where it was.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sciml.data.stream import Stream, stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import made
from sciml.numerics.domain import Domain
from sciml.training.baselines import mean_of_training, ridge
from sciml.training.comparison import Comparison, Preset, between_fields, command_line, compare, splits
from sciml.training.objectives import Objective, RelativeH1
from sciml.training.reference import ReferenceSolver
from sciml.training.symmetries import SquareSymmetries

# Law and equation know no direction: with `symmetries`, train on transposed and, where the grid allows, turned copies.
PRESETS = {
    "quick": Preset("darcy-quick", 600, 16, 16, 5, 20, 12, learning_rate=2e-3, weight_decay=1e-4, symmetries=True),
    "full": Preset("darcy-smooth", 20_000, 16, 24, 5, 32, 16, learning_rate=2e-3, weight_decay=1e-4, symmetries=True),
    # The published size, optimiser and number of steps: 500 epochs of 1,280 samples.
    "paper": Preset("darcy-rough", 80_000, 8, 24, 6, 32, 20, 5e-4, 1e-4, clip=None),
    "paper-multiscale": Preset("darcy-trigonometric", 80_000, 8, 24, 6, 32, 20, 5e-4, 1e-4, clip=None),
    # For the published 16 x 16 files: their 1,000 samples are the limit, not time. The weight decays were chosen on held-out
    # samples, for MgNO of 1e-4, 1e-3 and 3e-3, for FNO of 1e-5, 1e-4 and 1e-3.
    "published": Preset("darcy_train_16", 4000, 20, 32, 4, 36, 12, learning_rate=2e-3, weight_decay=1e-3, symmetries=True),
}


# Relative L2 and spectral H1 errors of the published MgNO, on data that are not ours: the laws agree as far as documented.
PUBLISHED = {
    "darcy-smooth": "MgNO relative_l2 0.00176, relative_h1_spectral 0.00576 at 211 x 211 (He, Liu & Xu 2024)",
    "darcy-rough": "MgNO relative_l2 0.00339, relative_h1_spectral 0.0138 at 256 x 256 (He, Liu & Xu 2024)",
    "darcy-trigonometric": "MgNO relative_l2 0.00715 at 256 x 256 (He, Liu & Xu 2024)",
}


def open_splits(data: Path, preset: Preset, device: str, seed: int) -> tuple[Stream, Stream, dict[str, Stream]]:
    """Training, validation and test streams of a folder of splits, or of a published training file and the tests beside it."""
    size = preset.batch_size
    if data.suffix == ".pt":
        tests = sorted(data.parent.glob(data.name.split("_train_")[0] + "_test_*.pt"))
        if "_train_" not in data.name or not tests:
            raise ValueError(f"{data}: need NAME_train_N.pt with NAME_test_N.pt beside it")
        train, valid = stream(data, batch_size=size, seed=seed, device=device).split(validation=100, seed=seed)
        return train, valid, {file.stem: stream(file, batch_size=size, device=device) for file in tests}
    return splits(data, preset, device, seed)


def strided(domain: Domain) -> Domain:
    """The grid of published files, which come as open cells: the coarser hold every second point of the finer."""
    if {(axis.layout, axis.sides) for axis in domain.axes} != {("cells", ("open", "open"))}:
        return domain
    return Domain.box([axis.length for axis in domain.axes], domain.shape, "open", "first_end")


def build(name: str, preset: Preset, train: Stream) -> nn.Module:
    """Zero pressure stays zero: the sides of the box keep it."""
    return between_fields(name, preset, train, centre=False, domain=strided(train.domain))


def objective(preset: Preset, train: Stream) -> Objective:
    """The relative H1 error."""
    error = RelativeH1(train.domain, train.inputs, train.targets)
    turned = train.domain.axes[0].layout == "both_ends"
    return SquareSymmetries(error, reflections=turned) if preset.symmetries else error


def baselines(preset: Preset, train: Stream, own: bool) -> dict[str, nn.Module]:
    """Ridge regression, the mean, and on the set of the card its solver."""
    found: dict[str, nn.Module] = {"ridge regression": ridge(train), "mean of training": mean_of_training(train)}
    if own:
        problem = read_card(find_card(preset.card)).make_problem()
        found["multigrid solver"] = ReferenceSolver(problem, train.domain, (("a", 1),))
    return found


DARCY = Comparison("Darcy flow", build, objective, PRESETS, PUBLISHED, baselines, open_splits, made)


if __name__ == "__main__":
    given = command_line(DARCY, __doc__, usual=lambda data: "published" if data and data.suffix == ".pt" else "quick")
    compare(DARCY, *given)
