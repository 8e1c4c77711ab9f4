"""Advection along a line by DeepONet at points, the four cases of Lu et al.: generate, learn, polish, compare, draw.

    python recipes/advection.py --case i                      # s_t + s_x = 0, s(x, 0) = V(sin² πx), periodic
    python recipes/advection.py --case ii                     # s_t + s_x = 0, s(x, 0) = x V(x), s(0, t) = 0
    python recipes/advection.py --case iii                    # speed 1 + V(x) / 10, s(x, 0) = x², s(0, t) = sin πt
    python recipes/advection.py --case iv                     # speed 1 + (V(x) + V(1 - x)) / 20, s(x, 0) = sin 2πx, periodic
    python recipes/advection.py --case iii --preset quick     # 100 functions, in seconds

The map is from a random function V to s(x, t); each training function is seen at 100 random points of its own, as published
(Lu et al., Nat. Mach. Intell. 3 (2021) 218). Cases I and II are linear in V: the branch is a matrix, its entries those of least
squares, and the trunk is told the characteristic x - t alone, along which nothing changes. In III and IV the speed is the
input: the trunk sees x, t and x - t, and start and inflow are built in. Writes results/CARD/: the run folder of the training, a
table of errors and a picture.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.batch import Batch, whole
from sciml.data.stream import stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import BoxFactor, DeepONet, HardBoundary
from sciml.operators.deeponet.linear import LinearOperator, solve_last_layer
from sciml.operators.deeponet.networks import MLP, Activation, Beside, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError
from sciml.training.at_points import PointTable
from sciml.training.fit import fit
from sciml.training.optimisers import Adam
from sciml.training.point_report import report_at_points
from sciml.training.polish import polish

READING = FunctionsAtPoints(("v",), ("s",), "y")


@dataclass(frozen=True)
class Case:
    """What is known of a case.

    Args:
        linear: whether the answer is linear in V.
        told: combinations of x and t that the trunk is given.
        periods: of these, for waves; None leaves a combination as it is.
        waves: on each period.
    """

    linear: bool
    told: tuple[tuple[float, float], ...]
    periods: tuple[float | None, ...]
    waves: int
    activation: Activation


@dataclass(frozen=True)
class Preset:
    """Sizes of a run.

    Args:
        card: followed by the case, or of one case alone.
        steps, linear_steps: of case III and IV, and of I and II.
        evaluations: of the objective in float64 after the steps.
        least: deviation of the last principal component of V, of that of the first, where the map is not linear.
        components, degree: of least squares.
    """

    card: str
    width: int
    terms: int
    steps: int
    linear_steps: int
    batch_size: int
    evaluations: int
    least: float
    components: int
    degree: int


ALONG = (1.0, -1.0)
CASES = {
    "i": Case(True, (ALONG,), (1.0,), 24, "tanh"),
    "ii": Case(True, (ALONG,), (2.0,), 16, "tanh"),
    # The kink that travels in is one of the network: of the combination as it is.
    "iii": Case(False, ((1.0, 0.0), (0.0, 1.0), ALONG, ALONG), (2.0, 2.0, 2.0, None), 8, "relu"),
    "iv": Case(False, ((1.0, 0.0), (0.0, 1.0), ALONG), (1.0, 2.0, 1.0), 4, "gelu"),
}
PRESETS = {
    "quick": Preset("advection-deeponet-mini", 48, 32, 800, 300, 20, 20, 3e-2, 6, 5),
    "full": Preset("advection-deeponet-", 96, 96, 4000, 300, 25, 20, 1e-3, 9, 9),
}
QUICK_CASE = "iii"


def combined(rows: Sequence[Sequence[float]], activation: Activation = "tanh", last_activation: bool = False) -> MLP:
    """Fixed combinations of the coordinates, (combination, coordinate), perhaps behind an activation."""
    made = MLP((len(rows[0]), len(rows)), activation, last_activation, bias=False)
    with torch.no_grad():
        made.layers[0].weight.copy_(torch.tensor(rows))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return made.requires_grad_(False)


def sides(name: str) -> HardBoundary | None:
    """What holds whatever the weights: start and inflow."""
    if name == "ii":  # zero where nothing has come in: the factor is max(x - t, 0)
        return HardBoundary(combined([ALONG], "relu", True))
    if name == "iii":  # x² + sin πt, with x² = x - x (1 - x)
        parts = [
            BoxFactor((0.0, None), (None, None)),
            BoxFactor((0.0, None), (1.0, None)),
            combined([(0, math.pi)], "sine", True),
        ]
        return HardBoundary(BoxFactor((0.0, 0.0), (None, None), 4.0), Chain([Beside(parts), combined([(1, -1, 1)])]))
    if name == "iv":
        return HardBoundary(BoxFactor((None, 0.0), (None, None)), combined([(2 * math.pi, 0)], "sine", True))
    return None


def operator(name: str, preset: Preset, v: Tensor) -> DeepONet:
    """Of a linear case with a branch that is a matrix; the basis has a constant and the waves themselves, too.

    Args:
        v: training functions, from which the principal components are found.
    """
    case, width, terms = CASES[name], preset.width, preset.terms
    features = PeriodicFeatures(case.periods, case.waves)
    told = Chain([combined(case.told), features])
    network = MLP((features.count, width, width, terms), case.activation, last_activation=True)
    if case.linear:
        components = PrincipalComponents.of(v, least=1e-6)
        few = MLP((features.count, width, terms // 4), case.activation, last_activation=True)
        count = 1 + features.count + terms // 4
        branch = Chain([components, MLP((components.count, count))])
        basis = Beside([BoxFactor((None, None), (None, None)), told, Chain([combined(case.told), features, few])])
        return DeepONet(branch, basis, scale=count**-0.5, boundary=sides(name))
    components = PrincipalComponents.of(v, least=preset.least)
    branch = Chain([components, MLP((components.count, width, width, terms), "tanh")])
    return DeepONet(branch, Chain([told, network]), scale=terms**-0.5, boundary=sides(name))


def least_squares(batch: Batch, preset: Preset) -> LinearOperator:
    """On as many functions as the unknowns need, and some more."""
    unknowns = (preset.components + 1) * (preset.degree + 1) ** 2
    some = {name: values[: max(20, unknowns // 10)] for name, values in batch.items()}
    u, y, s = READING(some)
    assert isinstance(u, Tensor)
    return LinearOperator.of(u, y, s, components=preset.components, degree=preset.degree)


def draw_answer(path: Path, name: str, domain: Domain, models: dict[str, nn.Module], seed: int) -> None:
    """A function that no set holds: the answer on the plane, and how far the models are from the truth."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    problem = read_card(find_card(f"advection-deeponet-{name}")).make_problem()
    v = replace(problem, queries=1).draw(domain, Seeds(seed + 1, range(1)))["v"]  # pyright: ignore[reportArgumentType, reportCallIssue]
    line = torch.linspace(0, 1, 101, dtype=torch.float64)
    plane = torch.stack([axis.flatten() for axis in torch.meshgrid(line, line, indexing="ij")], 1)
    truth = problem.solve({"v": v, "y": plane[None]}, domain)["s"][0, :, 0]
    figure, axes = plt.subplots(1, 2 + len(models), figsize=(4.2 * (2 + len(models)), 3.5), layout="constrained")
    axes[0].plot(domain.coordinates()[0], v[0, 0])
    axes[0].set(title="V", xlabel="x")
    shown = {"s": truth}
    for label, model in models.items():
        dtype = next((weight.dtype for weight in model.parameters()), torch.float64)
        with torch.no_grad():
            shown[f"{label}: difference"] = model(v.to(dtype), plane.to(dtype))[0, :, 0].double() - truth
    for ax, (title, values) in zip(axes[1:], shown.items(), strict=True):
        image = ax.imshow(values.reshape(101, 101).T.numpy(), origin="lower", extent=(0, 1, 0, 1))
        ax.set(title=title, xlabel="x", ylabel="t")
        figure.colorbar(image, ax=ax)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(name: str, preset: Preset, data: Path | None, out: Path | None, seed: int) -> PointTable:
    """Learn the case on `data`, or on the set of its card, made if need be; then compare."""
    card = f"{preset.card}{name}" if preset.card.endswith("-") else preset.card
    folder, out = data or Path("data") / card, out or Path("results") / card
    if data is None:
        if card == preset.card and name != QUICK_CASE:
            raise ValueError(f"case: got {name!r}, the small set is of {QUICK_CASE!r}; give --data, or take --preset full")
        generate(read_card(find_card(card)), folder, workers=os.cpu_count() or 1)
    samples = stream(folder / "train", batch_size=preset.batch_size, seed=seed)
    train, valid = samples.split(validation=len(samples.set) // 10, seed=seed)
    test = stream(folder / "test", batch_size=500, dtype=torch.float64)
    torch.manual_seed(seed)
    batch = whole(train)
    model = operator(name, preset, batch["v"])
    steps = preset.linear_steps if CASES[name].linear else preset.steps
    run = fit(model, SquaredError(READING), train, steps=steps, validation=valid, optimiser=Adam(3e-3), out=out)
    if CASES[name].linear:
        solve_last_layer(run.model.double(), *READING(batch))  # pyright: ignore[reportArgumentType]
    else:
        polish(run.model, SquaredError(READING), batch, evaluations=preset.evaluations)
    others: dict[str, nn.Module] = {"least squares, linear": least_squares(batch, preset)}
    table = report_at_points(run, READING, test, baselines=others, out=out, name="DeepONet")
    print(table)
    draw_answer(out / "answer.png", name, train.domain, {"DeepONet": run.model} | others, seed)
    print(f"{out / 'report.html'}: errors and curves; {out / 'answer.png'}: an answer")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="iii")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--data", type=Path, help="folder with train and test (default: made now)")
    parser.add_argument("--out", type=Path, help="run folder (default: results/CARD)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.case, PRESETS[given.preset], given.data, given.out, given.seed)
