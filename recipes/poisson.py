"""Poisson's equation from two input functions, conductance and source, by a DeepONet with a product of branches.

    python recipes/poisson.py --preset quick     # 400 samples of 64 x 64, under a minute on one core, data included
    python recipes/poisson.py                    # 2,000 samples, some minutes

-div(c grad p) = f, p = 0 on all sides; c is lognormal and varies by factors of 70 to 5,000 in a sample. The answer is linear in
f, and so is the operator, whatever its weights (MIONet: Jin, Meng & Lu, SIAM J. Sci. Comput. 44 (2022) A3490):

    p(y) = Σ_k s_k(y) [ f_k / (λ_k g) + w_k Σ_r M_kr b_r(log c / g) Σ_l L_rl f_l / λ_l / g ],     g the geometric mean of c,

s_k the sines of the box, which are zero on its sides, λ_k their eigenvalues, f_k the coefficients of f; b is a convolutional
branch, L a branch without bias. The first term is the answer at constant conductance, a row of the table by itself. FNO of
neuraloperator gets log c and f as channels; all networks train on transposed and reflected copies.

A classical solver answers to 1e-10 in 7 ms per sample on one core, drawing included (a row of the table, too). A network of
this error pays only where a rough answer will do, such as a start for the solver. Writes
results/CARD-deeponet/: a run folder per network, a table of errors and a picture.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import Stream, stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.grids import OnGrid
from sciml.operators.deeponet.networks import MLP, Chain, ConvolutionalBranch
from sciml.plots.fields import Panel, field_panels
from sciml.training.baselines import NeuralOperatorFNO, mean_of_training, ridge
from sciml.training.evaluate import Table, evaluate
from sciml.training.fit import fit
from sciml.training.objectives import Objective, RelativeL2
from sciml.training.optimisers import Adam
from sciml.training.reference import ReferenceSolver
from sciml.training.symmetries import SquareSymmetries

INPUTS, TARGETS = ("conductance", "source"), ("pressure",)


@dataclass(frozen=True)
class Preset:
    """Sizes of a run.

    Args:
        resolution: points per side to solve at instead of the card's, or None.
        waves: sines per side in the basis.
        terms: products of the branches.
        width: of the branch of the conductance; its convolutions have a fourth and an eighth of it.
        fno_width, fno_modes: of the Fourier neural operator, and how many steps of 16 samples it takes.
    """

    card: str
    resolution: int | None
    waves: int
    terms: int
    width: int
    steps: int
    fno_width: int
    fno_modes: int
    fno_steps: int


PRESETS = {
    "quick": Preset("poisson-conductance-mini", None, 16, 384, 192, 800, 12, 16, 150),
    "full": Preset("poisson-conductance", 64, 20, 1024, 256, 4000, 24, 24, 1500),
}


class Sines(nn.Module):
    """sin πiy₁ sin πjy₂ on the unit square, i, j = 1 ... waves, of mean square 1: a trunk that is zero on the sides."""

    def __init__(self, waves: int) -> None:
        super().__init__()
        self.waves = waves

    def forward(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points function"]:
        each = 2**0.5 * torch.sin(y[..., None] * _wavenumbers(self.waves).to(y))
        return (each[..., 0, :, None] * each[..., 1, None, :]).flatten(-2)


class ConstantConductance(nn.Module):
    """The coefficients of p in `Sines` as if the conductance were its geometric mean everywhere, from (conductance, source).

    Args:
        domain: the grid of both, centres of cells of the unit square.
    """

    def __init__(self, domain: Domain, waves: int) -> None:
        super().__init__()
        self.domain, self.waves = domain, waves
        k = _wavenumbers(waves)
        self.register_buffer("eigenvalues", (k[:, None].square() + k[None].square()).flatten(), persistent=False)
        for name, x in zip(("first", "second"), domain.coordinates(), strict=True):
            self.register_buffer(name, 2**0.5 * torch.sin(torch.outer(k, x)) / len(x), persistent=False)

    def forward(self, u: tuple[Tensor, Tensor]) -> Float[Tensor, "function coefficient"]:
        """u: conductance and source, (function, 1, *space) each."""
        conductance, f = u
        first, second, eigenvalues = (self.get_buffer(name).to(f) for name in ("first", "second", "eigenvalues"))
        mean = conductance.log().mean((1, 2, 3)).exp()
        return (first @ f[:, 0] @ second.T).flatten(1) / (eigenvalues * mean[:, None])


class ConductanceAndSource(nn.Module):
    """The coefficients of p in `Sines`, from (conductance, source); see the head of this file.

    Args:
        domain: the grid of both, centres of cells of the unit square.
        size: of p, its root mean square in training.
    """

    def __init__(self, domain: Domain, waves: int, terms: int, width: int, size: float) -> None:
        super().__init__()
        self.domain, self.waves, self.terms, self.width, self.size = domain, waves, terms, width, size
        half = tuple(n // 2 for n in domain.shape)
        self.constant = ConstantConductance(domain, waves)
        self.conductance = ConvolutionalBranch(half, 1, (width // 8, width // 4), (width, terms), "gelu")
        self.source = MLP((waves**2, terms), bias=False)
        self.mixing = MLP((terms, waves**2), bias=False)
        # Short waves of the answer have small coefficients, about as the power 3/4 of the eigenvalues.
        eigenvalues = self.constant.get_buffer("eigenvalues")
        self.register_buffer("decay", (eigenvalues[0] / eigenvalues) ** 0.75, persistent=False)

    def forward(self, u: tuple[Tensor, Tensor]) -> Float[Tensor, "function coefficient"]:
        """u: conductance and source, (function, 1, *space) each."""
        constant, logarithm = self.constant(u), u[0].log()
        contrast = functional.avg_pool2d(logarithm - logarithm.mean((2, 3), keepdim=True), 2)
        products = self.conductance(contrast) * self.source(constant / self.size)
        return constant + self.size * self.get_buffer("decay").to(constant) * self.mixing(products)


class FirstLogarithm(nn.Module):
    """The logarithm of the first channel, the others as they are."""

    def __init__(self) -> None:  # without arguments, so that a checkpoint can make it again
        super().__init__()

    def forward(self, a: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        return torch.cat([a[:, :1].log(), a[:, 1:]], 1)


def on_grid(branch: ConstantConductance | ConductanceAndSource, domain: Domain) -> nn.Module:
    """(function, 2, *space), conductance and source, to the pressure."""
    return OnGrid(DeepONet(branch, Sines(branch.waves), bias=False), domain, inputs=(1, 1))


def deeponet(preset: Preset, train: Stream) -> nn.Module:
    """From fields in physical units to fields in physical units."""
    (size,) = Normaliser.of(train, TARGETS, centre=False).scale
    return on_grid(ConductanceAndSource(train.domain, preset.waves, preset.terms, preset.width, size), train.domain)


def fno(preset: Preset, train: Stream) -> nn.Module:
    """The same, of log c, which the law makes of order one, and f."""
    network = NeuralOperatorFNO(2, 1, width=preset.fno_width, layers=4, modes=(preset.fno_modes,) * 2)
    (source,) = Normaliser.of(train, ("source",)).scale
    return Normalised(
        Chain([FirstLogarithm(), network]), Normaliser((0, 0), (1, source)), Normaliser.of(train, TARGETS, centre=False)
    )


def learn(model: nn.Module, train: Stream, valid: Stream, steps: int, out: Path) -> nn.Module:
    objective: Objective = RelativeL2(train.domain, INPUTS, TARGETS)
    moved = SquareSymmetries(objective, reflections=True)
    optimiser = Adam(1e-3, clip=1.0)
    return fit(model, moved, train, steps=steps, validation=valid, criterion=objective, optimiser=optimiser, out=out).model


def draw_answers(path: Path, model: nn.Module, test: Stream) -> None:
    """Two test samples: what is given, the truth, and the operator's distance from it."""
    batch = next(iter(test))
    with torch.no_grad():
        answer = model(torch.cat([batch[name] for name in INPUTS], 1))
    c, f, p, made = (values[:2, 0].cpu() for values in (batch["conductance"], batch["source"], batch["pressure"], answer))
    panels = [
        Panel("log conductance", c.log(), signed=True),
        Panel("source", f, signed=True),
        Panel("pressure", p, signed=True),
        Panel("DeepONet", made, signed=True, like="pressure"),
        Panel("difference", made - p, signed=True, like="pressure"),
    ]
    field_panels(panels, test.domain, ["sample 0", "sample 1"]).savefig(path)


def main(
    preset: Preset, data: Path | None, device: str, out: Path | None, seed: int, samples: dict[str, int] | None = None
) -> Table:
    """Learn on `data`, or on the set of the preset, made if need be; then compare."""
    card = read_card(find_card(preset.card))
    folder, out = data or Path("data") / f"{preset.card}-deeponet", out or Path("results") / f"{preset.card}-deeponet"
    if data is None:
        generate(card, folder, resolution=preset.resolution, samples=samples, workers=os.cpu_count() or 1)
    train, valid, test = (stream(folder / s, batch_size=32, seed=seed, device=device) for s in ("train", "valid", "test"))
    pieces = stream(folder / "train", batch_size=16, seed=seed, device=device)
    torch.manual_seed(seed)
    learned = learn(deeponet(preset, train).to(device), train, valid, preset.steps, out / "deeponet")
    others: dict[str, nn.Module] = {
        "FNO (neuraloperator)": learn(fno(preset, train).to(device), pieces, valid, preset.fno_steps, out / "fno"),
        "constant conductance": on_grid(ConstantConductance(train.domain, preset.waves), train.domain),
        "ridge regression": ridge(train),
        "mean of training": mean_of_training(train),
        "multigrid solver": ReferenceSolver(card.make_problem(), train.domain, (("conductance", 1), ("source", 1))),
    }
    table = evaluate(learned, test, inputs=INPUTS, targets=TARGETS, name="DeepONet", baselines=others, out=out)
    print(table)
    draw_answers(out / "answers.png", learned, test)
    print(f"{out / 'answers.png'}: two answers and their errors")
    return table


def _wavenumbers(waves: int) -> Float[Tensor, "wave"]:
    return torch.pi * torch.arange(1, waves + 1, dtype=torch.float64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--data", type=Path, help="folder with train, valid and test (default: made now)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/CARD-deeponet)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(PRESETS[given.preset], given.data, given.device, given.out, given.seed)
