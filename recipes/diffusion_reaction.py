"""Diffusion and reaction under a source by DeepONet: from data, from the equation alone, or from both.

    python recipes/diffusion_reaction.py                       # 100 answers per function, minutes on 2 CPU cores
    python recipes/diffusion_reaction.py --learn equation      # no answers at all: residual of the equation, sides built in
    python recipes/diffusion_reaction.py --learn both
    python recipes/diffusion_reaction.py --preset paper --device cuda

s_t = D s_xx + k s² + u(x), s = 0 at the start and at both ends; the map is from u to s(x, t), and nearly linear: k s² moves the
answer by a hundredth. The branch starts from principal components of u, and is a matrix beside a network; from 90 functions a
network learns by heart, and the matrix stands alone. Published, on their own data: mean relative L2 9.7e-3 from data, 5.3e-3
from the equation after 120,000 steps (Wang, Wang & Perdikaris, Sci. Adv. 7 (2021) eabi8605, notebooks).
Writes results/NAME/: the run folder of the training, a table of errors and a picture.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.batch import Batch, whole
from sciml.data.stream import Stream, stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet, HardBoundary
from sciml.operators.deeponet.linear import LinearOperator
from sciml.operators.deeponet.networks import MLP, Beside, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError, Sum
from sciml.operators.deeponet.physics import Residual
from sciml.training.at_points import PointTable
from sciml.training.fit import fit
from sciml.training.optimisers import Adam
from sciml.training.point_report import report_at_points
from sciml.training.polish import polish

READING = FunctionsAtPoints(("u",), ("s",), "y")
DIFFUSION = REACTION = 0.01


@dataclass(frozen=True)
class Preset:
    """Sizes of a run.

    Args:
        terms: products of branch and trunk.
        nonlinear: width of the network beside the matrix in the branch; 0 for none.
        points: of the equation in a step, the same for all functions of the batch.
        evaluations: of the objective in float64 after the steps, on so many `functions` and five times the points.
    """

    card: str
    width: int
    terms: int
    nonlinear: int
    steps: int
    batch_size: int
    points: int
    evaluations: int
    functions: int


PRESETS = {
    "quick": Preset("diffusion-reaction-source-mini", 64, 32, 0, 1000, 20, 100, 600, 100),
    "full": Preset("diffusion-reaction-source", 64, 48, 64, 4000, 50, 200, 300, 500),
    "paper": Preset("diffusion-reaction-source", 128, 100, 128, 120_000, 100, 1000, 1000, 5000),
}


def operator(preset: Preset, u: Tensor) -> DeepONet:
    """Zero at the start and at both ends whatever the weights.

    Args:
        u: training functions, from which the principal components are found.
    """
    width, terms, nonlinear = preset.width, preset.terms, preset.nonlinear
    components = PrincipalComponents.of(u, least=1e-3)
    count, half = components.count, terms // 2
    matrix = MLP((count, half if nonlinear else terms))
    parts = [matrix, MLP((count, nonlinear, nonlinear, terms - half), "tanh")] if nonlinear else [matrix]
    features = PeriodicFeatures((2.0, None), waves=6)
    trunk = Chain([features, MLP((features.count, width, width, terms), "tanh", last_activation=True)])
    sides = HardBoundary(BoxFactor((0.0, 0.0), (1.0, None), 4.0))
    return DeepONet(Chain([components, Beside(parts)]), trunk, scale=terms**-0.5, boundary=sides)


def on_sensors(domain: Domain, count: int) -> Callable[[Batch], Tensor]:
    """Points (x, t), new in every step: x where the source is known, t uniform on [0, 1]."""
    x = domain.coordinates()[0]

    def points(batch: Batch) -> Tensor:
        chosen = x[torch.randint(len(x), (count,))]
        return torch.stack([chosen, torch.rand(count, dtype=x.dtype)], 1).to(batch["u"])

    return points


def at_fixed(points: Callable[[Batch], Tensor], batch: Batch) -> Callable[[Batch], Tensor]:
    """Points drawn once, for an objective without chance."""
    drawn = points(batch)
    return lambda _: drawn


def equation(domain: Domain) -> Callable[[Mapping[tuple[int, ...], Tensor], Tensor, Batch], Tensor]:
    """What the equation leaves at points that lie on sensors."""
    first, spacing = float(domain.coordinates()[0][0]), domain.spacing[0]

    def left(d: Mapping[tuple[int, ...], Tensor], y: Tensor, batch: Batch) -> Tensor:
        source = batch["u"][:, 0, ((y[:, 0] - first) / spacing).round().long(), None]
        return d[(1,)] - DIFFUSION * d[(0, 0)] - REACTION * d[()].square() - source

    return left


def objective(learn: str, domain: Domain, points: Callable[[Batch], Tensor]) -> Callable[[nn.Module, Batch], Tensor]:
    """Data, equation, or their sum."""
    data = SquaredError(READING)
    residual = Residual(equation(domain), points, ((), (1,), (0, 0)), ("u",))
    return {"data": data, "equation": residual, "both": Sum((1.0, data), (0.1, residual))}[learn]


def draw_answer(path: Path, model: nn.Module, test: Stream) -> None:
    """One test function: the answer on the plane, and its errors at the points where the truth is known."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    batch = next(iter(test))
    line = torch.linspace(0, 1, 101)
    plane = torch.stack([axis.flatten() for axis in torch.meshgrid(line, line, indexing="ij")], 1).to(batch["u"])
    with torch.no_grad():
        answer = model(batch["u"][:1], plane)[0, :, 0].reshape(101, 101).cpu()
        error = (model(batch["u"][:1], batch["y"][:1]) - batch["s"][:1])[0, :, 0].abs().cpu()
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    axes[0].plot(test.domain.coordinates()[0].numpy(), batch["u"][0, 0].cpu().numpy())
    axes[0].set(title="source u", xlabel="x")
    image = axes[1].imshow(answer.numpy().T, origin="lower", extent=(0, 1, 0, 1), aspect="auto")
    axes[1].set(title="the operator's s", xlabel="x", ylabel="t")
    figure.colorbar(image, ax=axes[1])
    x, t = batch["y"][0].cpu().numpy().T
    dots = axes[2].scatter(x, t, c=error.numpy(), s=12)
    axes[2].set(title="distance from the truth", xlabel="x", ylabel="t")
    figure.colorbar(dots, ax=axes[2])
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(preset: Preset, learn: str, data: Path | None, device: str, out: Path | None, seed: int) -> PointTable:
    """Learn on `data`, or on the set of the preset, made if need be; then compare."""
    folder, out = data or Path("data") / preset.card, out or Path("results") / f"{preset.card}-{learn}"
    if data is None:
        generate(read_card(find_card(preset.card)), folder, workers=os.cpu_count() or 1)
    samples = stream(folder / "train", batch_size=preset.batch_size, seed=seed, device=device)
    train, valid = samples.split(validation=len(samples.set) // 10, seed=seed)
    test = stream(folder / "test", batch_size=100, device=device, dtype=torch.float64)
    torch.manual_seed(seed)
    batch = whole(train)
    model = operator(preset, batch["u"]).to(device)
    points = on_sensors(train.domain, preset.points)
    run = fit(
        model,
        objective(learn, train.domain, points),
        train,
        steps=preset.steps,
        validation=valid,
        criterion=SquaredError(READING),
        optimiser=Adam(3e-3),
        out=out,
    )
    some = {name: values[: preset.functions].to(device) for name, values in batch.items()}
    fixed = at_fixed(on_sensors(train.domain, 5 * preset.points), some)
    polish(run.model, objective(learn, train.domain, fixed), some, evaluations=preset.evaluations)
    u, y, s = READING({name: values[:400] for name, values in batch.items()})
    assert isinstance(u, Tensor)
    linear = LinearOperator.of(u, y, s, components=12, degree=9)
    table = report_at_points(run, READING, test, baselines={"least squares, linear": linear}, out=out, name="DeepONet")
    print(table)
    draw_answer(out / "answer.png", run.model, test)
    print(f"{out / 'report.html'}: errors and curves; {out / 'answer.png'}: an answer")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--learn", choices=("data", "equation", "both"), default="data")
    parser.add_argument("--data", type=Path, help="folder with train and test (default: made now)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/CARD-LEARN)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(PRESETS[given.preset], given.learn, given.data, given.device, given.out, given.seed)
