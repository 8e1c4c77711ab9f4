"""Darcy flow, from permeability to pressure: generate, learn, compare, draw.

    python recipes/darcy.py --preset quick                       # 2 CPU cores, about 4 minutes: MgNO beside its baselines
    python recipes/darcy.py --preset full --device cuda          # 85 x 85 points, 1,000 samples
    torchrun --nproc-per-node 4 recipes/darcy.py --preset paper --device cuda    # rough coefficients on 257 x 257
    python recipes/darcy.py --data darcy_train_16.pt             # your data: a folder of splits, or the published .pt files

Writes results/NAME/: config.json, log.csv, log.jsonl, best.pt, last.pt; the same of the FNO beside it in fno/; and a folder per
test set with table.csv and report.html, one page with the table, the learning curves and pictures. Started again, it goes on
where it was.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import Stream, stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.operators.mgno import MgNO
from sciml.training.baselines import NeuralOperatorFNO, mean_of_training, ridge
from sciml.training.evaluate import evaluate
from sciml.training.field_report import write_field_report
from sciml.training.fit import Run, fit
from sciml.training.objectives import RelativeH1, RelativeL2
from sciml.training.optimisers import Adam
from sciml.training.ranks import Ranks, launched
from sciml.training.reference import ReferenceSolver
from sciml.training.symmetries import SquareSymmetries


@dataclass(frozen=True)
class Preset:
    """Sizes of a run. `card` names the set; steps and batches are the same for MgNO and for the FNO beside it."""

    card: str
    steps: int
    batch_size: int
    width: int
    levels: int
    fno_width: int
    fno_modes: int
    learning_rate: float
    weight_decay: float
    fno_weight_decay: float = 1e-4
    clip: float | None = 1.0
    symmetries: bool = True  # law and equation know no direction: train on transposed and, where the grid allows, turned copies


PRESETS = {
    "quick": Preset("darcy-quick", 600, 16, 16, 5, 20, 12, learning_rate=2e-3, weight_decay=1e-4),
    "full": Preset("darcy-smooth", 20_000, 16, 24, 5, 32, 16, learning_rate=2e-3, weight_decay=1e-4),
    # The published size, optimiser and number of steps: 500 epochs of 1,280 samples.
    "paper": Preset("darcy-rough", 80_000, 8, 24, 6, 32, 20, 5e-4, 1e-4, clip=None, symmetries=False),
    # For the published 16 x 16 files: their 1,000 samples are the limit, not time. The weight decays were chosen on held-out
    # samples, for MgNO of 1e-4, 1e-3 and 3e-3, for FNO of 1e-5, 1e-4 and 1e-3.
    "published": Preset("darcy_train_16", 4000, 20, 32, 4, 36, 12, learning_rate=2e-3, weight_decay=1e-3),
}


# Relative L2 and spectral H1 errors of the published MgNO, on data that are not ours: the laws agree as far as documented.
PUBLISHED = {
    "darcy-smooth": "MgNO 0.00176 and 0.00576 at 211 x 211 (He, Liu & Xu 2024)",
    "darcy-rough": "MgNO 0.00339 and 0.0138 at 256 x 256 (He, Liu & Xu 2024)",
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
    train, valid, test = (stream(data / s, batch_size=size, seed=seed, device=device) for s in ("train", "valid", "test"))
    return train, valid, {"test": test}


def build(name: str, preset: Preset, train: Stream) -> nn.Module:
    """The operator between fields of order one, with the normalisation of the training set around it."""
    if name == "mgno":
        smoothing = ((1, 0),) * (preset.levels - 1) + ((2, 0),)
        inner: nn.Module = MgNO(1, 1, width=preset.width, layers=4, domain=train.domain, smoothing=smoothing)
    else:
        inner = NeuralOperatorFNO(1, 1, width=preset.fno_width, layers=4, modes=(preset.fno_modes,) * 2)
    # Zero pressure stays zero: the sides of the box keep it.
    inputs, targets = Normaliser.of(train, train.inputs), Normaliser.of(train, train.targets, centre=False)
    return Normalised(inner, inputs, targets).to(train.device)


def learn(name: str, preset: Preset, train: Stream, valid: Stream, out: Path | None, seed: int) -> Run:
    """Train one operator in H1, choose by the validation error in L2."""
    torch.manual_seed(seed)
    decay = preset.weight_decay if name == "mgno" else preset.fno_weight_decay
    objective = RelativeH1(train.domain, train.inputs, train.targets)
    if preset.symmetries:
        objective = SquareSymmetries(objective, reflections=train.domain.axes[0].layout == "both_ends")
    return fit(
        build(name, preset, train),
        objective,
        train,
        steps=preset.steps,
        validation=valid,
        criterion=RelativeL2(train.domain, train.inputs, train.targets),
        optimiser=Adam(preset.learning_rate, decay, clip=preset.clip),
        out=out,
    )


def main(preset: Preset, data: Path | None, model: str, device: str, out: Path | None, seed: int) -> None:
    """Train `model`, and beside an MgNO an FNO, on `data` or on the set of the preset, made if need be; then report."""
    folder = data or Path("data") / preset.card
    out = out or Path("results") / f"{folder.stem}-{model}"
    with launched(device) as here:
        ranks = Ranks.now()
        if data is None and ranks.first:
            print(f"{folder}: generating what is not there yet")
            generate(read_card(find_card(preset.card)), folder, workers=os.cpu_count() or 1)
        ranks.wait()
        train, valid, tests = open_splits(folder, preset, str(here), seed)
        run = learn(model, preset, train, valid, out, seed)
        baselines: dict[str, nn.Module] = {"ridge regression": ridge(train), "mean of training": mean_of_training(train)}
        if data is None:
            problem = read_card(find_card(preset.card)).make_problem()
            baselines["multigrid solver"] = ReferenceSolver(problem, train.domain, (("a", 1),))
        if model == "mgno":
            baselines = {"FNO (neuraloperator)": learn("fno", preset, train, valid, out / "fno", seed).model} | baselines
        for name, test in tests.items() if ranks.first else ():
            table = evaluate(run.model, test, name={"mgno": "MgNO", "fno": "FNO"}[model], baselines=baselines, out=out / name)
            print(table)
            page = out / name / "report.html"
            notes = [
                f"Published on the authors' own data, in L2 and spectral H1: {p}." for p in [PUBLISHED.get(preset.card)] if p
            ]
            write_field_report(page, f"Darcy flow, {folder.stem}: {table.rows[0].name}", run, table, test, baselines, notes)
            print(f"{page}: the table, the learning curves and pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, help="default: quick, or published for a .pt file")
    parser.add_argument("--data", type=Path, help="folder with train, valid and test, or darcy_train_16.pt (default: made now)")
    parser.add_argument("--model", choices=("mgno", "fno"), default="mgno")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the order and what is held out")
    parser.add_argument("--out", type=Path, help="run folder (default: results/NAME-MODEL)")
    given = parser.parse_args()
    usual = "published" if given.data is not None and given.data.suffix == ".pt" else "quick"
    main(PRESETS[given.preset or usual], given.data, given.model, given.device, given.out, given.seed)
