"""An electroencephalogram of 64 channels: learn its dynamics from a series of others, measure, beside the published numbers.

    python recipes/eeg.py --train EEG.npy                       # as published: 250,000 updates, scored on the series itself
    python recipes/eeg.py --train EEG.npy --held-out            # learn from the first half, score on the second
    python recipes/eeg.py --train EEG.npy --preset cpu          # four networks, 20,000 updates: for a CPU core
    python recipes/eeg.py --train EEG.npy --preset long         # four times as long
    python recipes/eeg.py --train EEG.npy --preset quick        # two networks, 2,000 updates, a minute
    python recipes/eeg.py --train EEG.npy --alpha adaptive      # the published estimator; also `annealed`

The series, (instant, channel), does not come with this package: 9,640 instants are in the repository DurstewitzLab/GTF-shPLRNN
on GitHub, folder ICML2023_datasets/EEG, under the licence given there. Training and test file are the same there, so the
published scores are of series that were learned from; --held-out is not. A --test of your own does as well.

A clipped shallow PLRNN of 16 states, 512 hidden units and a linear observation of the channels, 17,952 numbers, learns by
generalized teacher forcing with the settings of Hess, Monfared, Brenner & Durstewitz (ICML 2023), but for the optimiser,
which is Adam instead of RAdam. D_stsp is that of mixtures of Gaussians, by which linear surrogates do as well: read it beside
that row. Writes results/eeg-ALPHA/ or results/eeg-ALPHA-held-out/: the run folder, a table and a page.
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
        bounded: keeps free runs from running away, in which a few of the networks otherwise end, and is not published.
        instants: of the test series; None for all.
        orbit: steps over which Lyapunov exponents are averaged.
    """

    replicas: int
    steps: int
    updates: int
    latent: int = 16
    hidden: int = 512
    rate: float = 1e-3
    schedule: Schedule = PUBLISHED_SCHEDULE
    bounded: bool = False
    instants: int | None = None
    orbit: int = 20_000


FAST = OneCycle(warmup=0.05, end=1e-2)
PRESETS = {
    "quick": Preset(2, 30, 2000, rate=4e-3, schedule=FAST, bounded=True, instants=4000, orbit=1000),
    "cpu": Preset(4, 50, 20_000, rate=4e-3, schedule=FAST, bounded=True),
    "long": Preset(4, 50, 80_000, rate=2e-3, schedule=FAST, bounded=True),
    "full": Preset(20, 50, 250_000),
}
SEQUENCES = 16
PUBLISHED = {
    "shallow PLRNN, alpha 0.1": ("17,952", "2.1 ± 0.2", "0.11 ± 0.01", "0.55 ± 0.01"),
    "shallow PLRNN, alpha adaptive": ("17,952", "2.4 ± 0.2", "0.13 ± 0.01", "0.54 ± 0.06"),
    "shallow PLRNN, sparse forcing": ("17,952", "14 ± 7", "0.5 ± 0.16", "0.25 ± 0.03"),
    "dendritic PLRNN, identity forcing": ("18,099", "3 ± 1", "0.13 ± 0.04", "0.34 ± 0.01"),
    "reservoir": ("28,672", "14 ± 7", "0.54 ± 0.15", "0.59 ± 0.03"),
    "LSTM": ("51,584", "30 ± 21", "0.2 ± 0.1", "0.92 ± 0.23"),
}
"""Medians and median absolute deviations of 20 runs, Hess et al. (2023), table 1: D_stsp, D_H and PE(20)."""


def objective(alpha: Alpha, updates: int) -> GeneralizedTeacherForcing:
    """As published, with its penalties; `annealed` is ours."""
    strength: dict[Alpha, float | Strength] = {
        "constant": 0.1,
        "adaptive": Adaptive("arithmetic"),
        "annealed": Annealed(0.3, 0.05, updates),
    }
    return GeneralizedTeacherForcing(strength[alpha], latent_penalty=1e-4, observation_penalty=1e-6)


def network(preset: Preset, observed: int) -> ShallowPLRNN:
    """For series of so many components."""
    return ShallowPLRNN(
        preset.latent,
        preset.hidden,
        bounded=preset.bounded,
        observed=observed,
        linear_observation=True,
        replicas=preset.replicas,
    )


def published(ahead: int) -> str:
    """The published rows as a table."""
    head = f"| published | parameters | D_stsp | D_H | PE({ahead}) |\n| --- | ---: | ---: | ---: | ---: |\n"
    return head + "".join(f"| {' | '.join((name, *cells))} |\n" for name, cells in PUBLISHED.items())


def series(path: Path) -> Tensor:
    """Of a file, (instant, component)."""
    return torch.from_numpy(np.load(path)).float()


def halves(train: Path, out: Path) -> tuple[Path, Tensor]:
    """A file in `out` with the first half of a series, and the second half."""
    whole = series(train)
    out.mkdir(parents=True, exist_ok=True)
    first = out / "first_half.npy"
    np.save(first, whole[: len(whole) // 2].numpy())
    return first, whole[len(whole) // 2 :]


def main(
    preset: Preset, train: Path, test: Path | None, alpha: Alpha, device: str, out: Path | None, seed: int
) -> Reconstruction:
    """Learn from `train`, then measure on `test`; without that learn from the first half and measure on the second."""
    out = out or Path("results") / (f"eeg-{alpha}" if test else f"eeg-{alpha}-held-out")
    train, truth = halves(train, out) if test is None else (train, series(test))
    given, truth = series(train), truth[: preset.instants]
    samples = stream(
        train, batch_size=SEQUENCES * preset.replicas, seed=seed, window=Window(preset.steps + 1, 0), device=device
    )
    torch.manual_seed(seed)
    model = network(preset, given.shape[1]).to(device)
    optimiser = Adam(preset.rate, schedule=preset.schedule)
    run = fit(model, objective(alpha, preset.updates), samples, steps=preset.updates, optimiser=optimiser, out=out)
    beside = {"linear map, ridge": PolynomialMap.of(given, degree=1, ridge=1e-6)}
    protocol = Protocol(orbit=preset.orbit)
    name = f"shallow PLRNN, alpha {alpha}"
    # A series is no floor for itself.
    floor = None if torch.equal(given[: len(truth)], truth) else given
    table = reconstruction_report(run, truth, train=floor, baselines=beside, protocol=protocol, out=out, name=name)
    print(table)
    print(published(protocol.ahead))
    print(f"{out / 'report.html'}: attractors, spectra, exponents and fixed points")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="a series, .npy")
    test = parser.add_mutually_exclusive_group()
    test.add_argument("--test", type=Path, help="another, .npy (default: the same, as published)")
    test.add_argument("--held-out", action="store_true", help="learn from the first half, score on the second")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--alpha", choices=("constant", "adaptive", "annealed"), default="constant")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/eeg-ALPHA)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scored = None if given.held_out else given.test or given.train
    main(PRESETS[given.preset], given.train, scored, given.alpha, given.device, given.out, given.seed)
