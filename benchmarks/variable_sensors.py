"""One DeepONet for 20 to 200 random sensors beside one for 100 fixed sensors: the antiderivative, the same network and steps.

python benchmarks/variable_sensors.py [--quick] [--out docs/results/variable_sensors.json]

Functions are Gaussian processes of length 0.2 on [0, 1], known at every point. Each function has its own number of sensors,
uniform from 20 to 200, at places uniform on [0, 1]; errors are means over functions of the relative L2 error at 100 points.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import torch
from _report import Figure, report
from torch import Tensor, nn

from sciml.metrics.functions import mean_relative_l2
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_functions import GaussianProcess
from sciml.operators.deeponet.components import PrincipalComponents
from sciml.operators.deeponet.deeponet import DeepONet
from sciml.operators.deeponet.networks import MLP, Chain, PeriodicFeatures
from sciml.operators.deeponet.sensors import AtSensors, Sampled, SetEncoder

LAW = GaussianProcess(0.2)
FIXED = torch.linspace(0, 1, 100)[:, None]
Y = torch.linspace(0, 1, 101)[1:, None]
LEAST, MOST = 20, 200
BATCH = 40


def amplitudes(samples: range) -> Tensor:
    return LAW.draw(Seeds(20264501, samples))


def sampled(numbers: Tensor, generator: torch.Generator, counts: tuple[int, int]) -> Sampled:
    """Each function at its own number of its own places."""
    most = counts[1]
    places = torch.rand(len(numbers), most, generator=generator, dtype=torch.float64)
    count = torch.randint(counts[0], most + 1, (len(numbers), 1), generator=generator)
    good = torch.arange(most) < count
    return Sampled(LAW.values(numbers, places)[..., None].float(), places[..., None].float(), good)


def network(numbers: Tensor) -> Chain:
    components = PrincipalComponents.of(LAW.values(numbers, FIXED[:, 0].double()), least=1e-3)
    return Chain([components, MLP((components.count, 64, 64), "gelu")])


def learned(branch: nn.Module, numbers: Tensor, steps: int, fixed: bool, seed: int) -> DeepONet:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    trunk = Chain([PeriodicFeatures((2.0,), waves=8), MLP((16, 64, 64), "gelu", last_activation=True)])
    model = DeepONet(branch, trunk, scale=1 / 8)
    truth = LAW.integral(numbers, Y[:, 0].double())[..., None].float()
    values = LAW.values(numbers, FIXED[:, 0].double()).float()
    rule = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(steps):
        for group in rule.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        rows = torch.randint(len(numbers), (BATCH,), generator=generator)
        u = values[rows] if fixed else sampled(numbers[rows], generator, (LEAST, MOST))
        loss = (model(u, Y) - truth[rows]).square().mean()
        rule.zero_grad()
        loss.backward()
        rule.step()
    return model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer steps")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    train, test = amplitudes(range(2000)), amplitudes(range(2000, 3000))
    truth = LAW.integral(test, Y[:, 0].double())[..., None].float()
    ratios, lines = [], []
    for seed in range(1 if given.quick else 3):
        steps = 150 if given.quick else 1500
        torch.manual_seed(seed)
        fixed = learned(AtSensors(network(train), FIXED), train, steps, True, seed)
        torch.manual_seed(seed)
        variable = learned(AtSensors(SetEncoder(network(train), FIXED, 0.2, 1e-3), FIXED, "set"), train, steps, False, seed)
        generator = torch.Generator().manual_seed(99)
        with torch.no_grad():
            base = float(mean_relative_l2(fixed(LAW.values(test, FIXED[:, 0].double()).float(), Y), truth))
            errors = {
                counts: float(mean_relative_l2(variable(sampled(test, generator, counts), Y), truth))
                for counts in ((LEAST, MOST), (20, 20), (50, 50), (100, 100), (200, 200))
            }
        shown = ", ".join(f"{a} {e:.2e}" if a == b else f"{a} to {b} {e:.2e}" for (a, b), e in errors.items())
        lines.append(f"seed {seed}: fixed {base:.2e}; {shown}")
        print(lines[-1], flush=True)
        ratios.append(errors[LEAST, MOST] / base)
    figure = Figure("error with 20 to 200 random sensors over that with 100 fixed ones", median(ratios), 1.3, lines[0])
    return report([figure], "variable_sensors", given.out)


if __name__ == "__main__":
    sys.exit(main())
