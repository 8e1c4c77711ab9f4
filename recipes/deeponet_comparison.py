"""DeepONet and POD-DeepONet beside the Fourier neural operator on fields: Burgers, Darcy flow, advection of square waves.

    python recipes/deeponet_comparison.py --case burgers --preset quick
    python recipes/deeponet_comparison.py --case darcy --device cuda
    python recipes/deeponet_comparison.py --case advection

The cases of Lu et al., "A comprehensive and fair comparison of two neural operators", CMAME 393 (2022) 114778, on sets drawn
and solved here. Published there for DeepONet / POD-DeepONet / FNO, relative L2 in per cent, as later papers quote it: Burgers
2.15 / 1.94 / 1.93, Darcy 2.98 / 2.32 / 2.41, advection 0.22 / 0.04 / 0.66. The basis of POD-DeepONet is made from training
answers alone; the authors' script for Burgers takes it from the test answers. Writes results/CASE-comparison/: a run folder per
operator, and a table.
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
from sciml.data.window import Window
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.grids import OnGrid
from sciml.operators.deeponet.networks import MLP, Chain, ConvolutionalBranch, Flattened, PeriodicFeatures
from sciml.operators.deeponet.pod import PODBasis, PODDeepONet
from sciml.training.baselines import NeuralOperatorFNO, mean_of_training, ridge
from sciml.training.evaluate import Table, evaluate
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam


@dataclass(frozen=True)
class Case:
    """A set of fields.

    Args:
        inputs: of the variables of the set.
        resolution: to solve at instead of the card's, or None.
        window: of states in time; None for maps from one field to another.
        periods: of the coordinates, None for those that are not periodic.
        modes: of POD-DeepONet; as many as hold 99.99 % of the mean square if None.
        waves, padding: of the Fourier neural operator.
    """

    card: str
    inputs: tuple[str, ...]
    resolution: int | None
    window: Window | None
    periods: tuple[float | None, ...]
    modes: int | None
    waves: int
    padding: float | None = None


@dataclass(frozen=True)
class Preset:
    """Sizes of a run, the same for all operators; the Fourier operator sees smaller batches, as its steps cost more."""

    steps: int
    batch_size: int
    width: int
    fno_width: int


CASES = {
    "burgers": Case("burgers", ("a",), 128, None, (1.0,), 32, 32),
    "darcy": Case("darcy-29", ("a",), None, None, (None, None), 115, 12),
    "advection": Case("advection-square-wave", ("u",), None, Window(1, 39), (None,), None, 24, 0.25),
}
PRESETS = {"quick": Preset(600, 50, 96, 20), "full": Preset(30_000, 100, 128, 32)}


def trunk_of(case: Case, width: int, outputs: int) -> nn.Module:
    features = PeriodicFeatures(case.periods, waves=2)
    layers = MLP((features.count, width, width, outputs), "gelu", last_activation=True)
    return Chain([features, layers])


def branch_of(domain: Domain, width: int, outputs: int) -> nn.Module:
    """Convolutions over a plane, all values of a line in a row."""
    if domain.dim == 2:
        return ConvolutionalBranch(domain.shape, 1, (width // 2, width), (width, outputs), "gelu")
    return Flattened(MLP((domain.shape[0], width, width, outputs), "gelu"))


def operators(case: Case, preset: Preset, train: Stream, channels: int, seed: int) -> dict[str, nn.Module]:
    """By name, each from fields in physical units to fields in physical units."""
    width, domain = preset.width, train.domain
    inputs, targets = Normaliser.of(train, case.inputs), Normaliser.of(train, train.targets)
    torch.manual_seed(seed)
    basis = PODBasis.of(train, modes=case.modes)
    count = basis.get_buffer("modes").shape[2]
    deeponet = DeepONet(
        branch_of(domain, width, width),
        trunk_of(case, width, channels * width),
        channels=channels,
        split="trunk",
        scale=[s * width**-0.5 for s in targets.scale],
        shift=targets.shift,
    )
    pod = PODDeepONet(branch_of(domain, width, count), basis)
    modes = (case.waves,) * domain.dim
    fno = NeuralOperatorFNO(len(inputs.shift), channels, width=preset.fno_width, layers=4, modes=modes, padding=case.padding)
    return {
        "DeepONet": Chain([inputs, OnGrid(deeponet, domain)]),
        "POD-DeepONet": Chain([inputs, OnGrid(pod, domain)]),
        "FNO (neuraloperator)": Normalised(fno, inputs, targets),
    }


def open_split(folder: Path, case: Case, preset: Preset, device: str, seed: int) -> Stream:
    return stream(folder, batch_size=preset.batch_size, seed=seed, device=device, window=case.window)


def main(name: str, preset: Preset, device: str, out: Path | None, seed: int, samples: int | None = None) -> Table:
    """Make the set where it is not there, train the operators one after the other, and compare."""
    case = CASES[name]
    folder, out = Path("data") / f"{case.card}-comparison", out or Path("results") / f"{name}-comparison"
    card = read_card(find_card(case.card))
    generate(card, folder, resolution=case.resolution, samples=samples, workers=os.cpu_count() or 1)
    whole, test = (open_split(folder / split, case, preset, device, seed) for split in ("train", "test"))
    train, valid = whole.split(validation=len(whole.set) // 10, seed=seed)
    domain: Domain = train.domain
    channels = sum((train.info(t).steps or 1) * train.info(t).shape[0] for t in train.targets)
    objective = RelativeL2(domain, case.inputs, train.targets)
    learned: dict[str, nn.Module] = {}
    for label, model in operators(case, preset, train, channels, seed).items():
        print(label)
        optimiser = Adam(1e-3, clip=1.0)
        run_folder = out / label.split()[0].lower()
        run = fit(model.to(device), objective, train, steps=preset.steps, validation=valid, optimiser=optimiser, out=run_folder)
        learned[label] = run.model
    others: dict[str, nn.Module] = dict(list(learned.items())[1:])
    if set(case.inputs) == set(train.inputs):
        others["ridge regression"] = ridge(train)
    others["mean of training"] = mean_of_training(train)
    table = evaluate(learned["DeepONet"], test, name="DeepONet", inputs=case.inputs, baselines=others, out=out)
    print(table)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="burgers")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/CASE-comparison)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.case, PRESETS[given.preset], given.device, given.out, given.seed)
