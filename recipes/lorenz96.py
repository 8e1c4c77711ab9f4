"""The ring of Lorenz 1996 from a noisy series: generate, learn several networks at once, measure, draw.

    python recipes/lorenz96.py --sites 20                   # 1e5 instants, 5 % noise, five networks
    python recipes/lorenz96.py --sites 10 --preset quick    # 10,000 instants, two networks, a minute

A clipped shallow PLRNN, a state per site and 200 hidden units, learns by generalized teacher forcing. A page of benchmarks
quotes D_stsp 1.68 of 20 sites for Hess, Monfared, Brenner & Durstewitz (ICML 2023), without the settings. With more than five
components D_stsp is that of mixtures of Gaussians, which barely tells a true series from a linear surrogate: read it beside
that row. Writes results/lorenz-96-SITES/: the run folder, a table and a page.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sciml.data.normalise import Normaliser
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.fit import fit
from sciml.training.optimisers import Adam, OneCycle
from sciml.training.reconstruction import Protocol, Reconstruction
from sciml.training.reconstruction_report import reconstruction_report


@dataclass(frozen=True)
class Preset:
    """Sizes of a run; `steps` is the length of a window, `warm_up` of its part whose errors do not count.

    Args:
        frames: instants of each series; None for those of the card.
        orbit: steps over which Lyapunov exponents are averaged.
    """

    replicas: int
    hidden: int
    alpha: float
    steps: int
    warm_up: int
    updates: int
    frames: int | None = None
    orbit: int = 20_000


PRESETS = {
    "quick": Preset(2, 200, 0.1, 30, 10, 5000, frames=10_000, orbit=2000),
    "full": Preset(5, 200, 0.1, 60, 20, 40_000),
}
INTERVAL = 0.01
SEQUENCES = 16


def name_of(sites: int, preset: Preset) -> str:
    """Of the folders of the set and its results."""
    return f"lorenz-96-{sites}" + ("" if preset.frames is None else f"-{preset.frames}")


def made(sites: int, preset: Preset) -> tuple[Path, Tensor, Tensor]:
    """The training folder of the set, with the variable `observed`, and clean series to test on and for the floor."""
    card, folder = read_card(find_card(f"lorenz-96-{sites}")), Path("data") / name_of(sites, preset)
    if preset.frames is not None:
        card = replace(card, parameters={**card.parameters, "frames": preset.frames}, expected={})
    generate(card, folder, workers=os.cpu_count() or 1)
    clean = [next(iter(stream(folder / split, batch_size=1)))["state"][0] for split in ("test", "valid")]
    return folder / "train", clean[0], clean[1]


def main(preset: Preset, sites: int, device: str, out: Path | None, seed: int) -> Reconstruction:
    """Learn from the set of so many sites, made if need be; then measure."""
    train, truth, other = made(sites, preset)
    samples = stream(
        train, batch_size=SEQUENCES * preset.replicas, seed=seed, window=Window(preset.steps + 1, 0), device=device
    )
    units = Normaliser.of(stream(train, batch_size=64, window=Window(1, 0)), ["observed"])
    torch.manual_seed(seed)
    model = ShallowPLRNN(sites, preset.hidden, replicas=preset.replicas, units=units).to(device)
    objective = GeneralizedTeacherForcing(preset.alpha, series="observed", warm_up=preset.warm_up)
    optimiser = Adam(3e-3, schedule=OneCycle(warmup=0.05))
    out = out or Path("results") / name_of(sites, preset)
    run = fit(model, objective, samples, steps=preset.updates, optimiser=optimiser, out=out)
    noisy = next(iter(stream(train, batch_size=1)))["observed"]
    beside = {"polynomials of degree 2, ridge": PolynomialMap.of(noisy, degree=2, ridge=1e-6)}
    # The Gaussians have variance 1 where the series has; all sites are alike, so one number does.
    protocol = Protocol(orbit=preset.orbit, standardised=True)
    table = reconstruction_report(
        run,
        truth,
        train=other,
        baselines=beside,
        interval=INTERVAL,
        protocol=protocol,
        out=out,
        name="shallow PLRNN",
    )
    print(table)
    print(f"{out / 'report.html'}: attractors, spectra, exponents and fixed points")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--sites", type=int, choices=(10, 20), default=20)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="run folder (default: results/, and the name of the set)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(PRESETS[given.preset], given.sites, given.device, given.out, given.seed)
