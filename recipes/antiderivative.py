"""From a forcing to the solution of an ordinary differential equation by DeepONet: generate, learn, polish, compare, draw.

    python recipes/antiderivative.py                          # s' = u: two minutes on 2 CPU cores, data included
    python recipes/antiderivative.py --problem nonlinear      # s' = -s² + u
    python recipes/antiderivative.py --problem pendulum       # s1' = s2, s2' = -sin s1 + u
    python recipes/antiderivative.py --preset quick           # the small set of the problem, in seconds

Each training function is seen at one random point, as published (Lu et al., Nat. Mach. Intell. 3 (2021) 218). Writes
results/NAME/: the run folder of the training, polished.pt, a table of errors and a picture.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.data.batch import whole
from sciml.data.stream import stream
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.linear import LinearOperator, solve_last_layer
from sciml.operators.deeponet.networks import MLP, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError
from sciml.training.at_points import PointTable, evaluate_at_points
from sciml.training.checkpoint import fields_of, save
from sciml.training.fit import fit
from sciml.training.optimisers import Adam
from sciml.training.point_report import report_at_points
from sciml.training.polish import polish


@dataclass(frozen=True)
class Problem:
    """Names of a problem: its card, the variables of input and answer, and whether the answer is linear in the input."""

    card: str
    input: str
    target: str
    linear: bool = False


@dataclass(frozen=True)
class Preset:
    """Sizes of a run.

    Args:
        mini: whether the small card is taken.
        width, terms: of the networks, and their products.
        evaluations: of the objective in float64 after the steps.
        least: deviation of the last principal component of the inputs, of that of the first.
    """

    mini: bool
    width: int
    terms: int
    steps: int
    batch_size: int
    evaluations: int
    least: float = 1e-4


PROBLEMS = {
    "antiderivative": Problem("antiderivative", "f", "u", linear=True),
    "nonlinear": Problem("ode-nonlinear", "u", "s"),
    "pendulum": Problem("gravity-pendulum", "u", "s"),
}
PRESETS = {
    "quick": Preset(mini=True, width=32, terms=24, steps=1500, batch_size=200, evaluations=200),
    "full": Preset(mini=False, width=40, terms=40, steps=8000, batch_size=1000, evaluations=1500),
}
PUBLISHED = {"antiderivative": "mean squared error 9.27e-7 after 50,000 steps on their own data (authors' README)"}


def operator(problem: Problem, preset: Preset, u: Tensor, length: float) -> DeepONet:
    """Of a linear problem with a branch that is a matrix, so that the operator is affine in its input whatever the weights.

    Args:
        u: training functions, from which the principal components are found.
        length: of the interval.
    """
    width, terms = preset.width, preset.terms
    components = PrincipalComponents.of(u, least=preset.least)
    sizes = (components.count, terms) if problem.linear else (components.count, width, width, terms)
    # Waves on twice the interval: smooth functions of any size at both ends, and far from being multiples of each other.
    features = PeriodicFeatures((2 * length,), waves=8)
    trunk = Chain([features, MLP((features.count, width, terms), "tanh", last_activation=True)])
    return DeepONet(Chain([components, MLP(sizes, "tanh")]), trunk, scale=terms**-0.5)


def draw_answers(path: Path, problem: Problem, domain: Domain, models: dict[str, nn.Module], seed: int) -> None:
    """Four functions that no set holds, and what the models say of them on the whole interval."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    equation = replace(read_card(find_card(problem.card)).make_problem(), queries=0)  # pyright: ignore[reportArgumentType, reportCallIssue]
    given = equation.draw(domain, Seeds(seed + 1, range(4)))
    truth = equation.solve(given, domain)[problem.target][:, 0]
    x = domain.coordinates()[0]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for i in range(4):
        axes[0].plot(x, truth[i], color=f"C{i}")
        for name, model in models.items():
            answer = _answers(model, given[problem.input][i : i + 1], x)
            if name == next(iter(models)):
                axes[0].plot(x, answer, "--", color="black", linewidth=1)
            axes[1].semilogy(
                x[1:], (answer - truth[i]).abs()[1:], label=name if i == 0 else None, color=f"C{list(models).index(name)}"
            )
    axes[0].set(title="solutions, and the operator's (dashed)", xlabel="y", ylabel=problem.target)
    axes[1].set(title="distance from the truth", xlabel="y")
    axes[1].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _answers(model: nn.Module, u: Tensor, x: Tensor) -> Tensor:
    dtype = next((weight.dtype for weight in model.parameters()), torch.float64)
    with torch.no_grad():
        return model(u.to(dtype), x[:, None].to(dtype))[0, :, 0].double()


def main(name: str, preset: Preset, data: Path | None, out: Path | None, seed: int) -> PointTable:
    """Learn the problem on `data`, or on the set of its card, made if need be; then compare, before and after the polish."""
    begin = time.perf_counter()
    problem = PROBLEMS[name]
    card = f"{problem.card}-mini" if preset.mini else problem.card
    folder, out = data or Path("data") / card, out or Path("results") / card
    if data is None:
        generate(read_card(find_card(card)), folder, workers=os.cpu_count() or 1)
    samples = stream(folder / "train", batch_size=preset.batch_size, seed=seed)
    train, valid = samples.split(validation=len(samples.set) // 20, seed=seed)
    test = stream(folder / "test", batch_size=5000, dtype=torch.float64)
    domain = train.domain
    # Answers at points of each function its own, or of all functions on the grid of the sensors.
    reading = FunctionsAtPoints((problem.input,), (problem.target,), "y" if "y" in train.inputs else domain)
    torch.manual_seed(seed)
    batch = whole(train)
    model = operator(problem, preset, batch[problem.input], domain.axes[0].length)
    optimiser = Adam(3e-3)
    run = fit(model, SquaredError(reading), train, steps=preset.steps, validation=valid, optimiser=optimiser, out=out)
    learned = time.perf_counter() - begin
    others: dict[str, nn.Module] = {"least squares, linear": LinearOperator.of(*reading(batch))}  # pyright: ignore[reportArgumentType]
    first = evaluate_at_points({"DeepONet": run.model} | others, reading, test, out=out)
    print(f"{first}\n{learned:.0f} s with the data")
    solve_last_layer(run.model.double(), *reading(batch))  # pyright: ignore[reportArgumentType]
    done = polish(run.model, SquaredError(reading), batch, evaluations=preset.evaluations)
    ours = "DeepONet, polished"
    table = report_at_points(run, reading, test, baselines=others, out=out / "polished", name=ours)
    print(f"{table}\n{time.perf_counter() - begin:.0f} s with {done.evaluations} evaluations in float64")
    if name in PUBLISHED:
        print(f"published: {PUBLISHED[name]}")
    save(
        out / "polished.pt",
        run.model,
        domain=domain,
        inputs=fields_of(train, train.inputs),
        targets=fields_of(train, train.targets),
        metrics={"test mean squared error": table.rows[0].mean_squared_error},
    )
    draw_answers(out / "answers.png", problem, domain, {ours: run.model} | others, seed)
    print(f"{out / 'polished' / 'report.html'}: errors and curves; {out / 'answers.png'}: four functions and their errors")
    return replace(table, rows=(first.rows[0], *table.rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=PROBLEMS, default="antiderivative")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--data", type=Path, help="folder with train and test (default: made now)")
    parser.add_argument("--out", type=Path, help="run folder (default: results/CARD)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.problem, PRESETS[given.preset], given.data, given.out, given.seed)
