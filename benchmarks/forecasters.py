"""Other forecasters on the published series: reservoir, LSTM, long expressive memory, neural ODE and polynomials.

python benchmarks/forecasters.py ecg --train ECG_pecuzal_5d_train.npy --test ECG_pecuzal_5d_test.npy
python benchmarks/forecasters.py eeg --train EEG.npy [--held-out]
    [--quick] [--seed 0] [--out docs/results/ecg_forecasters.json]

Sizes are the published ones, Hess et al. (2023), table 1, but for the degree of the polynomials. Of every kind a few settings
are tried, three seeds of each, and that is kept whose free runs of 10,000 instants are nearest to the training series, by the
median D_stsp; what is kept is scored on the test series, which without --held-out is the training series of an EEG, as
published. Every trained setting takes 2,000 updates on windows of 100, where the shallow PLRNN of benchmarks/reconstruction.py
takes more; compare the seconds, which are of the processor, one thread, all settings of a kind together. The targets are the
published values of the same kind, so that none is weaker here than elsewhere; SINDy's polynomials diverged there.
`--quick` takes 100 updates, for a look.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from _report import Figure, report
from torch import Tensor, nn

from recipes.eeg import halves, series
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.memory import LSTM, LongExpressiveMemory
from sciml.dynamics.baselines.neural_ode import NeuralODE
from sciml.dynamics.baselines.objectives import ForcedRollout, TeacherForced
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.baselines.reservoir import Reservoir
from sciml.dynamics.forecaster import Forecaster
from sciml.training.fit import fit
from sciml.training.objectives import Objective
from sciml.training.optimisers import Adam, OneCycle
from sciml.training.reconstruction import MEASURES, Reconstruction, divergence_of, free_run, reconstruct

REPLICAS, SEQUENCES, STEPS, WARM_UP, UPDATES = 3, 16, 100, 20, 2000
CHOSEN_ON = 10_000
"""Instants of the training series."""


@dataclass(frozen=True)
class Case:
    """A series.

    Args:
        units, lstm, memory, ode: cells of the reservoir and hidden numbers of the others, as published.
        degree: of the polynomials; that of the published ones, which diverge, is 7 and 2.
        alphas: by which roll-outs of the neural ODE are drawn to the data; those of an EEG run away with any of them.
        published: medians of D_stsp, D_H and PE(20) of each kind that did not diverge.
    """

    units: int
    lstm: int
    memory: int
    ode: int
    degree: int
    alphas: tuple[float, ...]
    published: dict[str, tuple[float, float, float]]


CASES = {
    "ecg": Case(
        units=1000,
        lstm=35,
        memory=31,
        ode=450,
        degree=3,
        alphas=(0.1, 0.3),
        published={
            "reservoir": (5.3, 0.39, 4e-3),
            "LSTM": (15.2, 0.73, 2.5e-2),
            "long expressive memory": (16.3, 0.56, 0.74),
            "neural ODE": (12.2, 0.7, 0.41),
        },
    ),
    "eeg": Case(
        units=448,
        lstm=80,
        memory=38,
        ode=139,
        degree=2,
        alphas=(0.0, 0.1, 0.3),
        published={
            "reservoir": (14, 0.54, 0.59),
            "LSTM": (30, 0.2, 0.92),
            "long expressive memory": (10.2, 0.38, 0.82),
            "neural ODE": (20, 0.47, 0.55),
        },
    ),
}

Trial = Callable[[], Forecaster]


def reservoirs(case: Case, given: Tensor, seed: int) -> dict[str, Trial]:
    """Fitted to the series in pieces of 1,000 instants, which run through the cells together."""
    pieces = given[: len(given) // 1000 * 1000].view(-1, 1000, given.shape[1])
    return {
        f"spectral radius {radius}, leak {leak}, noise {noise}": lambda radius=radius, leak=leak, noise=noise: Reservoir.of(
            pieces, case.units, spectral_radius=radius, leak=leak, noise=noise, replicas=REPLICAS, seed=seed
        ).float()
        for radius in (0.7, 1.0)
        for leak in (0.3, 1.0)
        for noise in (1e-3, 1e-2)
    }


def trained(
    make: Callable[[], nn.Module], objective: Objective, rate: float, train: Path, updates: int, seed: int
) -> Forecaster:
    """A network after so many updates."""
    samples = stream(train, batch_size=SEQUENCES * REPLICAS, seed=seed, window=Window(STEPS + 1, 0))
    torch.manual_seed(seed)
    optimiser = Adam(rate, schedule=OneCycle(warmup=0.05, end=1e-2), clip=10.0)
    model = fit(make(), objective, samples, steps=updates, optimiser=optimiser).model
    assert isinstance(model, Forecaster)
    return model


def kinds(case: Case, given: Tensor, train: Path, updates: int, seed: int) -> dict[str, dict[str, Trial]]:
    """The settings of each."""
    size = given.shape[1]

    def network(make: Callable[[], nn.Module], objective: Objective, rate: float) -> Trial:
        return lambda: trained(make, objective, rate, train, updates, seed)

    driven = TeacherForced(warm_up=WARM_UP)
    return {
        "reservoir": reservoirs(case, given, seed),
        "LSTM": {
            f"rate {rate}": network(lambda: LSTM(size, case.lstm, replicas=REPLICAS), driven, rate) for rate in (2e-3, 1e-2)
        },
        "long expressive memory": {
            f"step {step}": network(
                lambda step=step: LongExpressiveMemory(size, case.memory, step=step, replicas=REPLICAS), driven, 5e-3
            )
            for step in (0.3, 1.0)
        },
        "neural ODE": {
            f"alpha {alpha}": network(
                lambda: NeuralODE(size, case.ode, step=0.1, replicas=REPLICAS), ForcedRollout(alpha, warm_up=5), 5e-3
            )
            for alpha in case.alphas
        },
        "polynomials, ridge": {
            f"degree {degree}, ridge {ridge}": lambda degree=degree, ridge=ridge: PolynomialMap.of(given, degree, ridge=ridge)
            for degree in range(1, case.degree + 1)
            for ridge in (1e-6, 1e-3)
        },
    }


def distance(model: Forecaster, given: Tensor) -> float:
    """Median D_stsp of free runs from the beginning of the training series."""
    given = given[:CHOSEN_ON]
    run = free_run(model, given)
    return float(divergence_of(run, given.to(run)).median())


def chosen(kind: str, trials: Mapping[str, Trial], given: Tensor) -> tuple[Forecaster, dict[str, object]]:
    """The model nearest to the training series, and what every setting reached there."""
    begin, models, scores = time.process_time(), {}, {}
    for setting, trial in trials.items():
        models[setting] = trial()
        scores[setting] = distance(models[setting], given)
        print(f"{kind}, {setting}: {scores[setting]:.3g} on the training series", flush=True)
    best = min(scores, key=scores.__getitem__)
    shown = {setting: float(f"{score:.4g}") if math.isfinite(score) else None for setting, score in scores.items()}
    return models[best], {"setting": best, "seconds": round(time.process_time() - begin), "on the training series": shown}


def figures(case: Case, table: Reconstruction) -> list[Figure]:
    """Medians, none of which should be worse than what is published of the same kind."""
    rows = {row.name: row for row in table.rows}
    return [
        Figure(f"{kind}: {measure}, median of {REPLICAS} replicas", rows[kind].summary(measure)[0], published, "published")
        for kind, values in case.published.items()
        for measure, published in zip(MEASURES, values, strict=True)
    ]


def main(name: str, train: Path, test: Tensor | None, updates: int, out: Path | None, seed: int) -> int:
    """Choose, then measure on `test`."""
    torch.set_num_threads(1)
    case, given = CASES[name], series(train)
    truth = given if test is None else test
    found = {kind: chosen(kind, trials, given) for kind, trials in kinds(case, given, train, updates, seed).items()}
    models = {kind: model for kind, (model, _) in found.items()}
    table = reconstruct(models, truth, train=None if test is None else given)
    print(table)
    more = {"updates": updates, "kinds": {kind: facts for kind, (_, facts) in found.items()}, **table.to_dict()}
    return report(figures(case, table), f"benchmarks/forecasters.py {name}", out, seed=seed, more=more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--train", type=Path, required=True, help="a series, .npy")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--test", type=Path, help="another of the same system, .npy (default: the same)")
    other.add_argument("--held-out", action="store_true", help="learn from the first half, score on the second")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        train, test = given.train, None if given.test is None else series(given.test)
        if given.held_out:
            train, test = halves(given.train, Path(scratch))
        sys.exit(main(given.case, train, test, 100 if given.quick else UPDATES, given.out, given.seed))
