"""DeepONet and POD-DeepONet beside the Fourier neural operator on fields: Burgers, Darcy flow, advection of square waves.

    python recipes/deeponet_comparison.py --case burgers --preset quick
    python recipes/deeponet_comparison.py --case darcy --device cuda
    python recipes/deeponet_comparison.py --case advection

The cases of Lu et al., "A comprehensive and fair comparison of two neural operators", CMAME 393 (2022) 114778, on sets drawn
and solved here. Published there for DeepONet / POD-DeepONet / FNO, relative L2 in per cent, as later papers quote it: Burgers
2.15 / 1.94 / 1.93, Darcy 2.98 / 2.32 / 2.41, advection 0.22 / 0.04 / 0.66. The basis of POD-DeepONet is made from training
answers alone; the authors' script for Burgers takes it from the test answers. Advection is linear: there the branches are
matrices on principal components, found in closed form, and the trunk is made of the waves that the grid holds. Darcy flow knows
no direction: there all three train on transposed and reflected copies. Its DeepONet is given sines of the square: a trunk that
sees bare coordinates is still at 24 % after the steps in which this one comes to 4 %. Writes results/CASE-comparison/: a run
folder per operator, and a table.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sciml.data.batch import joined, whole
from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import Stream, stream
from sciml.data.window import Window
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet
from sciml.operators.deeponet.grids import OnGrid
from sciml.operators.deeponet.linear import bilinear_least_squares
from sciml.operators.deeponet.networks import MLP, Beside, Chain, ConvolutionalBranch, Flattened, PeriodicFeatures, last_linear
from sciml.operators.deeponet.objectives import FunctionsAtPoints
from sciml.operators.deeponet.pod import PODBasis, PODDeepONet
from sciml.training.baselines import NeuralOperatorFNO, mean_of_training, ridge
from sciml.training.checkpoint import fields_of, save
from sciml.training.evaluate import Table, evaluate
from sciml.training.fit import fit
from sciml.training.objectives import Objective, RelativeL2
from sciml.training.optimisers import Adam
from sciml.training.symmetries import SquareSymmetries


@dataclass(frozen=True)
class Case:
    """A set of fields.

    Args:
        inputs: of the variables of the set.
        resolution: to solve at instead of the card's, or None.
        window: of states in time; None for maps from one field to another.
        periods: of the sines and cosines that the trunk is given; twice the side where answers are not periodic.
        waves: how many per coordinate.
        modes: of POD-DeepONet; as many as hold 99.99 % of the mean square if None.
        fno_modes, fno_padding: of the Fourier neural operator.
        linear: whether the operator is.
        symmetries: whether law and equation are those of the square.
    """

    card: str
    inputs: tuple[str, ...]
    resolution: int | None
    window: Window | None
    periods: tuple[float, ...]
    waves: int
    modes: int | None
    fno_modes: int
    fno_padding: float | None = None
    linear: bool = False
    symmetries: bool = False


@dataclass(frozen=True)
class Preset:
    """Sizes of a run; the Fourier operator takes fewer steps where they cost more."""

    steps: int
    fno_steps: int
    batch_size: int
    width: int
    fno_width: int


CASES = {
    "burgers": Case("burgers", ("a",), 128, None, (1.0,), 2, 32, 32),
    "darcy": Case("darcy-29", ("a",), None, None, (2.0, 2.0), 6, 115, 12, symmetries=True),
    "advection": Case("advection-square-wave", ("u",), None, Window(1, 39), (1.0,), 19, 40, 24, 0.25, linear=True),
}
PRESETS = {"quick": Preset(1500, 400, 50, 96, 20), "full": Preset(30_000, 30_000, 100, 128, 32)}


def trunk_of(case: Case, width: int, outputs: int) -> nn.Module:
    features = PeriodicFeatures(case.periods, case.waves)
    layers = MLP((features.count, width, width, outputs), "gelu", last_activation=True)
    return Chain([features, layers])


def linear_deeponet(case: Case, components: PrincipalComponents, channels: int) -> DeepONet:
    """All outputs in one and the waves, with coefficients of their own."""
    features = PeriodicFeatures(case.periods, case.waves)
    trunk = Beside([BoxFactor((None,), (None,)), features])
    branch = Chain([components, MLP((components.count, channels * (1 + features.count)))])
    return DeepONet(branch, trunk, channels=channels, split="branch", bias=False)


def branch_of(case: Case, components: PrincipalComponents, domain: Domain, width: int, outputs: int) -> nn.Module:
    """A matrix where the operator is linear; else convolutions over a plane, all values of a line in a row."""
    if case.linear:
        return Chain([components, MLP((components.count, outputs))])
    if domain.dim == 2:
        return ConvolutionalBranch(domain.shape, 1, (width // 2, width), (width, outputs), "gelu")
    return Flattened(MLP((domain.shape[0], width, width, outputs), "gelu"))


def operators(case: Case, preset: Preset, train: Stream, channels: int, seed: int) -> dict[str, nn.Module]:
    """By name, each from fields in physical units to fields in physical units."""
    width, domain = preset.width, train.domain
    inputs, targets = Normaliser.of(train, case.inputs), Normaliser.of(train, train.targets)
    torch.manual_seed(seed)
    basis = PODBasis.of(train, modes=case.modes)
    components = PrincipalComponents.of(torch.cat([inputs(joined(batch, case.inputs, domain.shape)).cpu() for batch in train]))
    count = basis.get_buffer("modes").shape[2]
    deeponet = (
        linear_deeponet(case, components, channels)
        if case.linear
        else DeepONet(
            branch_of(case, components, domain, width, width),
            trunk_of(case, width, channels * width),
            channels=channels,
            split="trunk",
            scale=[s * width**-0.5 for s in targets.scale],
            shift=targets.shift,
        )
    )
    pod = PODDeepONet(branch_of(case, components, domain, width, count), basis)
    width, modes = preset.fno_width, (case.fno_modes,) * domain.dim
    fno = NeuralOperatorFNO(len(inputs.shift), channels, width=width, layers=4, modes=modes, padding=case.fno_padding)
    return {
        "DeepONet": Chain([inputs, OnGrid(deeponet, domain)]),
        "POD-DeepONet": Chain([inputs, OnGrid(pod, domain)]),
        "FNO (neuraloperator)": Normalised(fno, inputs, targets),
    }


def solve(model: nn.Module, case: Case, train: Stream) -> None:
    """The matrix of the branch by least squares over all samples, in float64, where there is nothing else to learn."""
    assert isinstance(model, Chain)
    inputs, grid = model.parts
    assert isinstance(grid, OnGrid)
    operator, reading = grid.operator.double(), FunctionsAtPoints(case.inputs, train.targets, train.domain)
    assert isinstance(operator, DeepONet | PODDeepONet)
    assert isinstance(operator.branch, Chain)
    matrix = last_linear(operator.branch)
    assert matrix is not None
    u, y, s = reading(whole(train))
    p = operator.branch.parts[0](inputs(u))
    p = torch.cat([p, torch.ones_like(p[:, :1])], 1)
    t, rest = operator.basis(y), s - operator.offset(y)
    if isinstance(operator, PODDeepONet):  # the outputs share the coefficients: each at each point is a point
        t, rest = t.flatten(0, 1)[:, None] * operator.pod.get_buffer("deviations"), rest.flatten(1)[..., None]
    weights = bilinear_least_squares(p, t[:, 0], rest).movedim(1, 0).flatten(1)
    with torch.no_grad():
        matrix.weight.copy_(weights[:-1].T)
        matrix.bias.copy_(weights[-1])
    operator.float()


def open_split(folder: Path, case: Case, preset: Preset, device: str, seed: int) -> Stream:
    return stream(folder, batch_size=preset.batch_size, seed=seed, device=device, window=case.window)


def main(name: str, preset: Preset, device: str, out: Path | None, seed: int, samples: int | None = None) -> Table:
    """Make the set where it is not there, train the operators one after the other, and compare."""
    case = CASES[name]
    folder, out = Path("data") / f"{case.card}-comparison", out or Path("results") / f"{name}-comparison"
    card = read_card(find_card(case.card))
    generate(card, folder, resolution=case.resolution, samples=samples, workers=os.cpu_count() or 1)
    opened, test = (open_split(folder / split, case, preset, device, seed) for split in ("train", "test"))
    train, valid = opened.split(validation=len(opened.set) // 10, seed=seed)
    domain: Domain = train.domain
    channels = sum((train.info(t).steps or 1) * train.info(t).shape[0] for t in train.targets)
    objective: Objective = RelativeL2(domain, case.inputs, train.targets)
    moved = SquareSymmetries(objective, reflections=True) if case.symmetries else objective
    learned: dict[str, nn.Module] = {}
    for label, model in operators(case, preset, train, channels, seed).items():
        print(label)
        run_folder = out / label.split()[0].lower()
        if case.linear and not label.startswith("FNO"):
            solve(model, case, train)
            learned[label] = model.to(device)
            given, asked = fields_of(train, case.inputs), fields_of(train, train.targets)
            save(run_folder / "best.pt", model, domain=domain, inputs=given, targets=asked, window=case.window)
            continue
        optimiser = Adam(1e-3, clip=1.0)
        run = fit(
            model.to(device),
            moved,
            train,
            steps=preset.fno_steps if label.startswith("FNO") else preset.steps,
            validation=valid,
            criterion=objective,
            optimiser=optimiser,
            out=run_folder,
        )
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
