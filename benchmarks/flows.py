"""Lyapunov spectra of all flows with a name: 64 orbits of each, their mean and its standard error.

python benchmarks/flows.py [--quick] [--only lorenz ...] [--out docs/results/flows.json]

One thread. The figure of a flow is how far its exponents together are from the mean divergence, relative to the larger of that
and the largest exponent; the spectrum stands beside it. A spectrum is measured over 30 e-foldings of the flow or 5,000 steps,
whichever is shorter, after ten e-foldings of the orbit and then a third of the steps with the frame; steps are three times as
long as in sets.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from _report import Figure, report
from torch import Tensor

from sciml.numerics.lyapunov import kaplan_yorke
from sciml.numerics.runge_kutta import advanced
from sciml.problems.flows.exponents import flow_exponents
from sciml.problems.flows.flow import Flow
from sciml.problems.flows.named import FLOWS

SEED = 20263120
ORBITS = 64
LORENZ = 0.9056  # Sprott, Chaos and Time-Series Analysis (2003), table 4.1


def begun(flow: Flow, step: float) -> Tensor:
    """Orbits all over the attractor: from near `start`, after ten e-foldings."""
    random = torch.Generator().manual_seed(SEED)
    noise = torch.randn(ORBITS, flow.dim, generator=random, dtype=torch.float64)
    start, scale = (torch.tensor(numbers, dtype=torch.float64) for numbers in (flow.start, flow.scale))
    state = (start + 1e-3 * scale * noise).T.contiguous()
    return advanced(flow.rate(flow.settled(None)), state, step, math.ceil(10 / flow.exponent / step)).T.contiguous()


def spectrum(flow: Flow, longest: int, e_foldings: float) -> tuple[Tensor, Tensor, float]:
    """Exponents, their standard errors, and how far together they are from the mean divergence along the same orbits."""
    step = min(3 * flow.step, flow.interval)
    start = begun(flow, step)
    steps = 10 * math.ceil(min(longest, e_foldings / flow.exponent / step) / 10)
    transient = 10 * math.ceil(steps / 30)
    found = flow_exponents(flow, start, steps=steps, transient=transient, step=step).exponents
    rate = flow.rate(flow.settled(None))
    states = [advanced(rate, start.T.contiguous(), step, transient)]
    for _ in range(steps):
        states.append(advanced(rate, states[-1], step, 1))
    divergence = flow.divergence(torch.stack(states).movedim(1, -1))
    mean = (divergence[1:] + divergence[:-1]).mean(0) / 2
    gap = (found.sum(-1) - mean).abs().max() / max(float(mean.abs().mean()), float(found.mean(0)[0]))
    return found.mean(0), found.std(0) / math.sqrt(ORBITS), float(gap)


def in_words(exponents: Tensor, errors: Tensor) -> str:
    """Each exponent with its standard error, and the Kaplan-Yorke dimension."""
    each = ", ".join(f"{e:.5g} +- {s:.2g}" for e, s in zip(exponents.tolist(), errors.tolist(), strict=True))
    return f"exponents {each}; dimension {float(kaplan_yorke(exponents)):.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="over a tenth of the time")
    parser.add_argument("--only", nargs="+", choices=sorted(FLOWS), default=list(FLOWS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    longest, e_foldings = (500, 3.0) if given.quick else (5000, 30.0)
    figures = []
    for name in given.only:
        began = time.process_time()
        exponents, errors, gap = spectrum(FLOWS[name], longest, e_foldings)
        words = in_words(exponents, errors)
        print(f"{name}: {words} ({time.process_time() - began:.1f} s)", flush=True)
        bound = 1e-2 if name == "chua" else 1e-3  # whose divergence jumps
        figures.append(Figure(f"{name}: exponents together against the mean divergence", gap, bound, words))
        if name == "lorenz" and not given.quick:
            apart = abs(float(exponents[0]) - LORENZ) / float(errors[0])
            figures.append(Figure(f"lorenz: largest exponent against {LORENZ}, in standard errors", apart, 4.0, words))
    return report(figures, "flows", given.out, seed=SEED)


if __name__ == "__main__":
    sys.exit(main())
