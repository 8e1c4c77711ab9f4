"""One DeepONet for 20 to 200 random sensors beside one for 100 fixed sensors: the antiderivative, the same network and steps.

python benchmarks/variable_sensors.py [--quick] [--out docs/results/variable_sensors.json]

Functions are Gaussian processes of length 0.2 on [0, 1], known at every point. Each function has its own number of sensors,
uniform from 20 to 200, at places uniform on [0, 1]; errors are means over functions of the relative L2 error at 100 points.

Both models have a branch of principal components and a matrix, as the operator is linear, trained by the same steps of Adam and
then, in float64 on all training rows, by the least-squares solution of the matrix and L-BFGS. The set encoder is told the
length of the functions; length and noise stay fixed, so its values at the nodes are found once for each set of sensors, and a
training function appears with three sets. Beside the errors stands what no estimator from the same sensors can beat in the mean
square: the conditional mean of the process, integrated exactly.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch
from _report import Figure, report
from torch import Tensor

from sciml.data.batch import Batch
from sciml.metrics.functions import relative_l2_of_functions
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import GaussianProcess
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.linear import solve_last_layer
from sciml.operators.deeponet.networks import MLP, Chain, PeriodicFeatures
from sciml.operators.deeponet.objectives import FunctionsAtPoints, SquaredError
from sciml.operators.deeponet.sensors import AtSensors, Sampled, SetEncoder
from sciml.training.polish import polish

LAW = GaussianProcess(0.2)
FIXED = torch.linspace(0, 1, 100, dtype=torch.float64)[:, None]
LINE = Domain.box((1.0,), (101,), "open", "both_ends")
Y = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
LEAST, MOST = 20, 200
RANGES = (20, 50), (50, 100), (100, 201)
WIDTH, TERMS, BATCH = 48, 32, 200
NOISE = 1e-6


def amplitudes(samples: range) -> Tensor:
    return LAW.draw(Seeds(20264501, samples))


def sampled(numbers: Tensor, generator: torch.Generator) -> Sampled:
    """Each function at its own number of its own places."""
    places = torch.rand(len(numbers), MOST, generator=generator, dtype=torch.float64)
    count = torch.randint(LEAST, MOST + 1, (len(numbers), 1), generator=generator)
    return Sampled(LAW.values(numbers, places)[..., None], places[..., None], torch.arange(MOST) < count)


def some(given: Sampled, rows: slice) -> Sampled:
    assert given.good is not None
    return Sampled(given.values[rows], given.points[rows], given.good[rows])


def encoded(encoder: SetEncoder, given: Sampled) -> Tensor:
    """Values at the nodes, (function, node), a few functions at a time."""
    pieces = (slice(start, start + 100) for start in range(0, len(given.values), 100))
    with torch.no_grad():
        return torch.cat([encoder.at_nodes(some(given, rows))[..., 0] for rows in pieces])


def conditional_mean(given: Sampled) -> Tensor:
    """The antiderivative of the most likely functions of the law itself, (function, point, 1)."""
    assert given.good is not None
    found = []
    for values, places, good in zip(given.values, given.points, given.good, strict=True):
        rows = LAW.terms(places[good, 0]) * LAW.deviations()
        # Rows beyond rounding of each other count once; what is left out is 1e-10 of the function.
        left, sizes, right = torch.linalg.svd(rows, full_matrices=False)
        kept = sizes > 1e-10 * sizes[0]
        found.append(right[kept].T @ ((left[:, kept].T @ values[good, 0]) / sizes[kept]) * LAW.deviations())
    return LAW.integral(torch.stack(found), Y[:, 0])[..., None]


def network(at_nodes: Tensor) -> Chain:
    components = PrincipalComponents.of(at_nodes, least=1e-4)
    return Chain([components, MLP((components.count, TERMS))])


def learned(branch: Chain, u: Tensor, s: Tensor, steps: int, evaluations: int, seed: int) -> DeepONet:
    """Trained on rows: values at the nodes, (row, node), and answers, (row, point, 1)."""
    torch.manual_seed(seed)
    trunk = Chain([PeriodicFeatures((2.0,), waves=8), MLP((16, WIDTH, TERMS), "tanh", last_activation=True)])
    model = DeepONet(branch, trunk, scale=TERMS**-0.5)
    objective = SquaredError(FunctionsAtPoints(("u",), ("s",), LINE))
    batch: Batch = {"u": u, "s": s.mT}
    single = {name: values.float() for name, values in batch.items()}
    rule = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    for step in range(steps):
        rule.param_groups[0]["lr"] = 3e-3 * (1 - step / steps) ** 2 + 1e-6
        rows = torch.randint(len(u), (BATCH,))
        loss = objective(model, {name: values[rows] for name, values in single.items()})
        rule.zero_grad()
        loss.backward()
        rule.step()
    model.double()
    solve_last_layer(model, u, Y, s)
    polish(model, objective, batch, evaluations=evaluations)
    return model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer steps")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    steps, evaluations, draws = (1000, 30, 1) if given.quick else (4000, 300, 3)
    train, test = amplitudes(range(2000)), amplitudes(range(2000, 3000))
    several = train.repeat(draws, 1)
    places = sampled(test, torch.Generator().manual_seed(99))
    assert places.good is not None
    counts = places.good.sum(1)
    truth = LAW.integral(test, Y[:, 0])[..., None]
    fixed_values, test_values = (LAW.values(numbers, FIXED[:, 0]) for numbers in (train, test))
    bound = relative_l2_of_functions(conditional_mean(places), truth)
    ratios, bases, errors = [], [], []
    for seed in range(1 if given.quick else 3):
        begin = time.perf_counter()
        torch.manual_seed(seed)
        branch = network(fixed_values)
        fixed = learned(branch, fixed_values, LAW.integral(train, Y[:, 0])[..., None], steps, evaluations, seed)
        middle = time.perf_counter()
        torch.manual_seed(seed)
        branch = network(fixed_values)
        encoder = SetEncoder(branch, FIXED, LAW.length, NOISE).requires_grad_(False)
        at_nodes = encoded(encoder, sampled(several, torch.Generator().manual_seed(seed)))
        branch.requires_grad_(True)
        variable = learned(branch, at_nodes, LAW.integral(several, Y[:, 0])[..., None], steps, evaluations, seed)
        variable.branch = AtSensors(encoder, FIXED, "set")
        with torch.no_grad():
            bases.append(float(relative_l2_of_functions(fixed(test_values, Y), truth).mean()))
            pieces = [some(places, slice(i, i + 100)) for i in range(0, len(test), 100)]
            answers = torch.cat([variable(piece, Y) for piece in pieces])
        errors.append(relative_l2_of_functions(answers, truth))
        ratios.append(float(errors[-1].mean()) / bases[-1])
        times = f"{middle - begin:.0f} and {time.perf_counter() - middle:.0f} s"
        print(f"seed {seed}: fixed {bases[-1]:.2e}, variable {float(errors[-1].mean()):.2e}, {times}", flush=True)
    base = median(bases)
    text = f"fixed {base:.2e}; conditional mean {float(bound.mean()):.2e}, its median {float(bound.median()):.2e}"
    figures = [Figure("error with 20 to 200 random sensors over that with 100 fixed ones", median(ratios), 1.3, text)]
    for low, high in RANGES:
        chosen = (counts >= low) & (counts < high)
        ratio = median(float(each[chosen].mean()) for each in errors) / base
        text = f"{int(chosen.sum())} functions; conditional mean {float(bound[chosen].mean()):.2e}"
        figures.append(Figure(f"the same, {low} to {high - 1} sensors", ratio, 1.3, text))
    return report(figures, "variable_sensors", given.out)


if __name__ == "__main__":
    sys.exit(main())
