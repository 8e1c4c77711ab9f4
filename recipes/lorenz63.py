"""Lorenz's three equations from a noisy series: generate, learn twenty networks at once, measure, draw.

    python recipes/lorenz63.py                   # the published setting: 1e5 instants, 5 % noise; half an hour on 2 CPU cores
    python recipes/lorenz63.py --preset quick    # 5,000 instants, four networks, a minute
    python recipes/lorenz63.py --train noisy.npy --test clean.npy    # series of your own, (instant, component) each

A clipped shallow PLRNN of 3 states and 50 hidden units, 356 numbers, learns by generalized teacher forcing (Hess, Monfared,
Brenner & Durstewitz, ICML 2023, who report D_stsp 0.26). Gradient steps come first, then Levenberg and Marquardt's method, at
last forced by the gain of a Kalman filter, which sees the slow spirals that noise hides from a constant strength.
Writes results/lorenz-63/: the run folder, a table and a page with scores of every network, exponents and pictures.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.data.normalise import Normaliser
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.dynamics.plrnn.strength import Kalman
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.fit import fit
from sciml.training.optimisers import Adam, OneCycle
from sciml.training.reconstruction import Protocol, Reconstruction
from sciml.training.reconstruction_report import reconstruction_report
from sciml.training.refine import Stage, refine


@dataclass(frozen=True)
class Preset:
    """Sizes of a run.

    Args:
        updates: by gradients.
        stages: by Levenberg and Marquardt's method after that.
        frames: instants of each series; None for those of the card.
        orbit: steps over which Lyapunov exponents are averaged.
    """

    card: str
    replicas: int
    hidden: int
    updates: int
    stages: tuple[Stage, ...]
    frames: int | None = None
    orbit: int = 20_000

    @property
    def name(self) -> str:
        """Of the folders of its set and its results."""
        return self.card if self.frames is None else f"{self.card}-{self.frames}"


ALPHA, STEPS, WARM_UP = 0.12, 60, 20
FILTERED = Stage(Kalman(), 200, 40, every=160, iterations=12)
"""Each time with the gains of the networks as they are then."""
STAGES = (Stage(ALPHA, STEPS, WARM_UP, 80, 20), Stage(ALPHA, STEPS, WARM_UP, 40, 20), *[FILTERED] * 4)
PRESETS = {
    "quick": Preset("lorenz-63", 4, 50, 2000, (Stage(ALPHA, STEPS, WARM_UP, 40, 12), FILTERED), frames=5000, orbit=5000),
    "full": Preset("lorenz-63", 20, 50, 8000, STAGES),
}
INTERVAL = 0.01
SEQUENCES = 16


def made(preset: Preset) -> tuple[Path, str, Tensor, Tensor]:
    """The set of the card: its training folder and the noisy variable there, and clean series to test on and for the floor."""
    card, folder = read_card(find_card(preset.card)), Path("data") / preset.name
    if preset.frames is not None:
        card = replace(card, parameters={**card.parameters, "frames": preset.frames}, expected={})
    generate(card, folder, workers=os.cpu_count() or 1)
    clean = [next(iter(stream(folder / split, batch_size=1)))["state"][0] for split in ("test", "valid")]
    return folder / "train", "observed", clean[0], clean[1]


def main(preset: Preset, train: Path | None, test: Path | None, device: str, out: Path | None, seed: int) -> Reconstruction:
    """Learn from `train`, or from the set of the preset, made if need be; then measure."""
    if (train is None) != (test is None):
        raise ValueError("--train, --test: got one of them, need both or neither")
    if train is None or test is None:
        train, name, truth, other = made(preset)
    else:
        name, truth, other = (
            "state",
            torch.from_numpy(np.load(test)),
            torch.from_numpy(np.load(train)),
        )
    noisy = next(iter(stream(train, batch_size=1, dtype=torch.float64)))[name]
    for stage in preset.stages:
        stage.windows(noisy)  # refuses a short series before the training
    sequences = SEQUENCES * preset.replicas
    samples = stream(train, batch_size=sequences, seed=seed, window=Window(STEPS + 1, 0), device=device)
    units = Normaliser.of(stream(train, batch_size=64, window=Window(1, 0)), [name])
    torch.manual_seed(seed)
    model = ShallowPLRNN(truth.shape[1], preset.hidden, replicas=preset.replicas, units=units).to(device)
    objective = GeneralizedTeacherForcing(ALPHA, series=name, warm_up=WARM_UP)
    optimiser = Adam(4e-3, schedule=OneCycle(warmup=0.05, end=1e-2))
    out = out or Path("results") / preset.name
    run = fit(model, objective, samples, steps=preset.updates, optimiser=optimiser, out=out)
    assert isinstance(run.model, ShallowPLRNN)
    refine(run.model, noisy.to(device), preset.stages, samples, out, name=name)
    beside = {"polynomials of degree 3, ridge": PolynomialMap.of(noisy.float(), degree=3, ridge=1e-6)}
    table = reconstruction_report(
        run,
        truth,
        train=other,
        baselines=beside,
        interval=INTERVAL,
        protocol=Protocol(orbit=preset.orbit, standardised=True),
        out=out,
        name="shallow PLRNN",
    )
    print(table)
    print(f"{out / 'report.html'}: attractors, spectra, return map, exponents and fixed points")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--train", type=Path, help="a noisy series, .npy (default: made now)")
    parser.add_argument("--test", type=Path, help="a clean one of another orbit, .npy")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/, and the name of the set)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(PRESETS[given.preset], given.train, given.test, given.device, given.out, given.seed)
