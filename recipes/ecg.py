"""An electrocardiogram in delay coordinates: learn its dynamics from a series of others, measure, beside the published numbers.

    python recipes/ecg.py --train ECG_pecuzal_5d_train.npy --test ECG_pecuzal_5d_test.npy   # as published: 250,000 updates
    python recipes/ecg.py --train TRAIN.npy --test TEST.npy --preset cpu      # six networks, windows of 50: for a CPU core
    python recipes/ecg.py --train TRAIN.npy --test TEST.npy --preset long     # ten times as long
    python recipes/ecg.py --train TRAIN.npy --test TEST.npy --preset quick    # two networks, 3,000 updates, a minute
    python recipes/ecg.py --train TRAIN.npy --test TEST.npy --alpha adaptive  # the published estimator; also `annealed`

The series, (instant, component) each, do not come with this package: 100,000 instants of five delay coordinates are in the
repository DurstewitzLab/GTF-shPLRNN on GitHub, folder ICML2023_datasets/ECG, under the licence given there. Others of your
own do as well; `sciml.data.delay_embedding` makes delay coordinates of a single number.

A clipped shallow PLRNN of 5 states, 250 hidden units and a linear observation, 2,785 numbers, learns by generalized teacher
forcing with the settings of Hess, Monfared, Brenner & Durstewitz (ICML 2023), but for the optimiser, which is Adam instead of
RAdam. Writes results/ecg-ALPHA/: the run folder, a table and a page.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.strength import Adaptive, Annealed, Strength
from sciml.training.fit import fit
from sciml.training.optimisers import Adam, Exponential, OneCycle, Schedule
from sciml.training.reconstruction import Protocol, Reconstruction
from sciml.training.reconstruction_report import reconstruction_report

Alpha = Literal["constant", "adaptive", "annealed"]


PUBLISHED_SCHEDULE = Exponential(1e-3)


@dataclass(frozen=True)
class Preset:
    """Sizes of a run; `steps` is the length of a window.

    Args:
        rate: of learning, the largest; `schedule` says how it goes on.
        warm_up: of a window, whose errors do not count.
        instants: of the test series; None for all.
        orbit: steps over which Lyapunov exponents are averaged.
    """

    replicas: int
    steps: int
    updates: int
    latent: int = 5
    hidden: int = 250
    rate: float = 1e-3
    schedule: Schedule = PUBLISHED_SCHEDULE
    warm_up: int = 0
    instants: int | None = None
    orbit: int = 20_000


FAST = OneCycle(warmup=0.05, end=1e-2)
PRESETS = {
    "quick": Preset(2, 50, 3000, rate=4e-3, schedule=FAST, warm_up=5, instants=10_000, orbit=2000),
    "cpu": Preset(6, 50, 8000, rate=4e-3, schedule=FAST, warm_up=5),
    "long": Preset(6, 50, 80_000, rate=2e-3, schedule=FAST, warm_up=5),
    "full": Preset(20, 200, 250_000),
}
SEQUENCES = 16
PUBLISHED = {
    "shallow PLRNN, alpha 0.3": ("2,785", "4.3 ± 0.6", "0.34 ± 0.02", "0.0024 ± 0.0001"),
    "shallow PLRNN, alpha adaptive": ("2,785", "4.5 ± 0.4", "0.34 ± 0.02", "0.0024 ± 0.0002"),
    "shallow PLRNN, sparse forcing": ("2,785", "7.1 ± 1.8", "0.38 ± 0.03", "0.005 ± 0.002"),
    "dendritic PLRNN, identity forcing": ("3,245", "5.8 ± 0.6", "0.37 ± 0.06", "0.004 ± 0.0004"),
    "reservoir": ("5,000", "5.3 ± 1.7", "0.39 ± 0.05", "0.004 ± 0.001"),
    "LSTM": ("5,920", "15.2 ± 0.5", "0.73 ± 0.02", "0.025 ± 0.005"),
}
"""Medians and median absolute deviations of 20 runs, Hess et al. (2023), table 1: D_stsp, D_H and PE(20)."""


def objective(alpha: Alpha, preset: Preset) -> GeneralizedTeacherForcing:
    """As published, with the penalties that belong to each; `annealed` is ours."""
    strength: dict[Alpha, float | Strength] = {
        "constant": 0.3,
        "adaptive": Adaptive("product"),
        "annealed": Annealed(0.3, 0.05, preset.updates),
    }
    latent, observation = (1e-5, 1e-6) if alpha == "adaptive" else (0.0, 1e-7)
    return GeneralizedTeacherForcing(
        strength[alpha], warm_up=preset.warm_up, latent_penalty=latent, observation_penalty=observation
    )


def network(preset: Preset, observed: int) -> ShallowPLRNN:
    """For series of so many components."""
    return ShallowPLRNN(preset.latent, preset.hidden, observed=observed, linear_observation=True, replicas=preset.replicas)


def published(ahead: int) -> str:
    """The published rows as a table."""
    head = f"| published | parameters | D_stsp | D_H | PE({ahead}) |\n| --- | ---: | ---: | ---: | ---: |\n"
    return head + "".join(f"| {' | '.join((name, *cells))} |\n" for name, cells in PUBLISHED.items())


def series(path: Path) -> Tensor:
    """Of a file, (instant, component)."""
    return torch.from_numpy(np.load(path)).float()


def main(preset: Preset, train: Path, test: Path, alpha: Alpha, device: str, out: Path | None, seed: int) -> Reconstruction:
    """Learn from `train`, then measure on `test`."""
    given, truth = series(train), series(test)[: preset.instants]
    samples = stream(
        train, batch_size=SEQUENCES * preset.replicas, seed=seed, window=Window(preset.steps + 1, 0), device=device
    )
    torch.manual_seed(seed)
    model = network(preset, given.shape[1]).to(device)
    optimiser = Adam(preset.rate, schedule=preset.schedule)
    out = out or Path("results") / f"ecg-{alpha}"
    run = fit(model, objective(alpha, preset), samples, steps=preset.updates, optimiser=optimiser, out=out)
    beside = {
        "linear map, ridge": PolynomialMap.of(given, degree=1, ridge=1e-6),
        "polynomials of degree 3, ridge": PolynomialMap.of(given, degree=3, ridge=1e-6),
    }
    protocol = Protocol(orbit=preset.orbit)
    name = f"shallow PLRNN, alpha {alpha}"
    table = reconstruction_report(run, truth, train=given, baselines=beside, protocol=protocol, out=out, name=name)
    print(table)
    print(published(protocol.ahead))
    print(f"{out / 'report.html'}: attractors, spectra, return map, exponents and fixed points")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="a series, .npy")
    parser.add_argument("--test", type=Path, required=True, help="another of the same heart, .npy")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--alpha", choices=("constant", "adaptive", "annealed"), default="constant")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/ecg-ALPHA)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(PRESETS[given.preset], given.train, given.test, given.alpha, given.device, given.out, given.seed)
