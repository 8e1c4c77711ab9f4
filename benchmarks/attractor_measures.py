"""Measures of attractors: the time of the binned divergence against numpy's full histogram, and the floors of published series.

python benchmarks/attractor_measures.py [--quick] [--device cuda] [--data FOLDER] [--out docs/results/attractor_measures.json]

One thread. FOLDER (or the variable SCIML_TEST_DATA) holds lorenz63, ecg and eeg with the published `.npy` files; without it the
floors are left out and the times are those of made-up series of the same shape. A floor is the score of a second true
series: no model can be expected to do better. --device moves ours, the peer stays on the CPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _report import Figure, report, seconds
from torch import Tensor

from sciml.metrics.attractors import persistence_error, state_space_divergence, state_space_divergence_mixture
from sciml.metrics.spectra import spectral_hellinger
from sciml.metrics.surrogates import phase_randomised

SEED = 20261128
BINS, SMOOTHING = 30, 1e-5


def dense(generated: np.ndarray, truth: np.ndarray) -> float:
    """The published definition with every cell: numpy.histogramdd, 30^5 cells of 8 bytes for each series."""
    margin = 0.1 * truth.std(0, ddof=1)
    sides = list(zip(truth.min(0) - margin, truth.max(0) + margin, strict=True))
    p, q = (np.histogramdd(x, BINS, range=sides)[0] + SMOOTHING for x in (truth, generated))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def made_up() -> tuple[Tensor, Tensor]:
    """Two series of 1e5 x 5 that are not from a file: correlated noise."""
    random = torch.Generator().manual_seed(SEED)
    mix = torch.randn(5, 5, generator=random, dtype=torch.float64)
    a, b = (torch.randn(100_000, 5, generator=random, dtype=torch.float64) @ mix for _ in range(2))
    return a, b


def times(generated: Tensor, truth: Tensor, device: str, repeats: int) -> list[Figure]:
    there, near = generated.to(device), truth.to(device)
    ours = seconds(lambda: state_space_divergence(there, near, outside="ignored"), repeats)
    peer = seconds(lambda: dense(generated.numpy(), truth.numpy()), max(1, repeats // 3))
    score = state_space_divergence(there, near, outside="ignored").item()
    gap = abs(score - dense(generated.numpy(), truth.numpy()))
    hellinger = seconds(lambda: spectral_hellinger(there, near), repeats)
    shape = "1e5 x 5 on both sides, 30 bins"
    bound = 1.0 if device == "cpu" else 0.05
    return [
        Figure(f"binned divergence, {shape}, seconds", ours, bound, f"numpy.histogramdd, all cells: {peer:.3g} s", device),
        Figure("binned divergence: gap to all cells in full", gap, 1e-10, f"numpy.histogramdd: {peer:.3g} s", device),
        Figure("spectral Hellinger distance, 1e5 x 5, seconds", hellinger, 1.0, device=device),
    ]


def lorenz63(folder: Path) -> list[Figure]:
    test, noisy, other = (read(folder, f"lorenz63/lorenz63_{name}") for name in ("test", "on0.05_train", "mit"))
    published = partial(state_space_divergence, outside="ignored")
    return [
        near("Lorenz-63 test, its noisy train file, widened", published(noisy, test), 0.119),
        near("Lorenz-63 test, its noisy train file, deviations", published(noisy, test, grid="deviations"), 0.219),
        near("Lorenz-63 test, another true series, widened", published(other, test), 0.136, 0.003),
        near("Lorenz-63 test, another true series, extremes", published(other, test, grid="extremes"), 0.127, 0.006),
        near("Lorenz-63 test, another true series, Hellinger", spectral_hellinger(other, test), 0.053, 0.0035),
        near("Lorenz-63 test, its noisy train file, Hellinger", spectral_hellinger(noisy, test), 0.070),
        near("Lorenz-63 test, 1e4 instants on both sides, widened", published(other[:10_000], test[:10_000]), 1.72, 0.02),
        near("Lorenz-63 test, surrogate, widened", published(phase_randomised(test), test), 2.33, 0.1),
        near("Lorenz-63 test, persistence over 20 steps", persistence_error(test, 20), 1.34, 0.005),
        blow_up("Lorenz-63 test", test),
    ]


def ecg(folder: Path) -> list[Figure]:
    """The surrogate's score scatters by 0.7 over 16 seeds; its spread is twice that."""
    test, train = (read(folder, f"ecg/ECG_pecuzal_5d_{name}") for name in ("test", "train"))
    return [
        near("ECG test, train, widened", state_space_divergence(train, test), 0.294),
        near("ECG test, train, Hellinger", spectral_hellinger(train, test), 0.060),
        near("ECG test, surrogate, widened", state_space_divergence(phase_randomised(test), test), 11.5, 1.4),
        near("ECG test, surrogate, Hellinger", spectral_hellinger(phase_randomised(test), test), 0.0),
        near("ECG test, constant, widened", state_space_divergence(0 * test, test), 16.9, 0.05),
        near("ECG test, persistence over 20 steps", persistence_error(test, 20), 1.13, 0.005),
        blow_up("ECG test", test),
    ]


def eeg(folder: Path) -> list[Figure]:
    """Spreads are four standard errors of the 1000 draws, from seven seeds."""
    series = read(folder, "eeg/EEG")
    half = len(series) // 2
    first, second = series[:half], series[half:]
    return [
        near("EEG first half, second half, mixture", state_space_divergence_mixture(second, first), 2.68, 0.4),
        near("EEG first half, second half, Hellinger", spectral_hellinger(second, first), 0.075),
        near("EEG, zero, mixture", state_space_divergence_mixture(0 * series, series), 25.8, 2.6),
        near("EEG, ten times too large, mixture", state_space_divergence_mixture(10 * series, series), 112, 2.8),
        near("EEG, persistence over 20 steps", persistence_error(series, 20), 0.90, 0.005),
    ]


def near(figure: str, value: Tensor, published: float, spread: float = 0.001) -> Figure:
    """A score and how far it is from the calibrated one; the bound is on the distance."""
    found = value.item()
    return Figure(
        f"{figure}: gap to calibration", abs(found - published), spread, f"ours {found:.4g}, calibration {published:g}"
    )


def blow_up(name: str, test: Tensor) -> Figure:
    """The largest fall of the score from one size of a blown-up series to the next."""
    sizes = (1.0, 1.5, 2.0, 3.0, 10.0, 100.0)
    ours, ignored = (
        [state_space_divergence(size * test, test, outside=outside).item() for size in sizes] for outside in ("cell", "ignored")
    )
    fall, published = (max(a - b for a, b in pairwise(s)) for s in (ours, ignored))
    scores = ", ".join(f"{score:.3g}" for score in ours)
    peer = f"scores {scores}; with points off the grid ignored it falls by {published:.2g}"
    return Figure(f"{name} times {', '.join(f'{size:g}' for size in sizes)}: largest fall", max(fall, 0.0), 1e-3, peer)


def read(folder: Path, name: str) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{name}.npy"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat of each time, Lorenz-63 alone")
    parser.add_argument("--device", default="cpu", help="where ours is timed")
    parser.add_argument("--data", type=Path, default=os.environ.get("SCIML_TEST_DATA"), help="folder of the published series")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pair = made_up()
    if given.data is not None:
        pair = read(given.data, "ecg/ECG_pecuzal_5d_train"), read(given.data, "ecg/ECG_pecuzal_5d_test")
    figures = times(*pair, given.device, 1 if given.quick else 9)
    if given.data is not None:
        figures += lorenz63(given.data)
        if not given.quick:
            figures += ecg(given.data) + eeg(given.data)
    return report(figures, "attractor_measures", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
