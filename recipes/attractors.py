"""Any flow that has a name, from a noisy series: generate, learn, measure, draw; or many flows, one line each.

    python recipes/attractors.py --flow rossler              # 1e5 instants, 5 % noise, five networks
    python recipes/attractors.py --flow chua --preset quick  # 5,000 instants, two networks, a minute
    python recipes/attractors.py --all 10 --preset quick     # the first ten of sciml.problems.flows.named, one after the other

A clipped shallow PLRNN, a state per component and 50 hidden units, learns by generalized teacher forcing, the same settings for
all flows. The clock of a driven flow, such as `duffing`, is part of its state, cos and sin of the phase, and is learned as the
rest is. Writes results/attractors/FLOW/ with a table and a page for each flow, and with --all results/attractors/table.md.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sciml.data.normalise import Normaliser
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.baselines.polynomial import PolynomialMap
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.lyapunov import lyapunov_exponents
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.problems.flows.flow import Flow
from sciml.problems.flows.named import FLOWS
from sciml.training.fit import fit
from sciml.training.optimisers import Adam, OneCycle
from sciml.training.reconstruction import Protocol, Reconstruction
from sciml.training.reconstruction_report import reconstruction_report, states_of


@dataclass(frozen=True)
class Preset:
    """Sizes of a run; `steps` is the length of a window, `warm_up` of its part whose errors do not count.

    Args:
        frames: instants of each series.
        orbit: steps over which Lyapunov exponents are averaged.
    """

    frames: int
    replicas: int
    hidden: int
    alpha: float
    steps: int
    warm_up: int
    updates: int
    orbit: int = 20_000


PRESETS = {
    "quick": Preset(5000, 2, 50, 0.1, 60, 20, 2000, orbit=3000),
    "full": Preset(100_000, 5, 50, 0.1, 100, 30, 30_000),
}
SEQUENCES = 16
OURS = "shallow PLRNN"


def flow_of(name: str) -> Flow:
    """Raises a ValueError that names the nearest ones where there is none of this name."""
    if name not in FLOWS:
        near = difflib.get_close_matches(name, FLOWS, 3) or sorted(FLOWS)
        raise ValueError(f"flow: got {name!r}, need one of {', '.join(near)}")
    return FLOWS[name]


def made(flow: Flow, frames: int, data: Path) -> tuple[Path, Tensor, Tensor]:
    """A folder with the variable `observed`, and clean series to test on and for the floor."""
    card, folder = read_card(find_card("attractors-mini")), data / f"{flow.name}-{frames}"
    parameters = {"name": flow.name, "frames": frames, "noise": 0.05}
    storage = replace(card.storage, shard=1, block=1)
    samples = {"train": 1, "valid": 1, "test": 1}
    card = replace(card, title=flow.equation, parameters=parameters, samples=samples, storage=storage, expected={})
    generate(replace(card, citation=flow.source), folder, workers=os.cpu_count() or 1)
    clean = [next(iter(stream(folder / split, batch_size=1)))["state"][0] for split in ("test", "valid")]
    return folder / "train", clean[0], clean[1]


def learn(preset: Preset, flow: Flow, data: Path, device: str, out: Path, seed: int) -> tuple[Reconstruction, float]:
    """Scores, and the largest exponent per unit of time: the median over the networks."""
    train, truth, other = made(flow, preset.frames, data)
    samples = stream(
        train, batch_size=SEQUENCES * preset.replicas, seed=seed, window=Window(preset.steps + 1, 0), device=device
    )
    units = Normaliser.of(stream(train, batch_size=64, window=Window(1, 0)), ["observed"])
    torch.manual_seed(seed)
    model = ShallowPLRNN(flow.dim, preset.hidden, replicas=preset.replicas, units=units).to(device)
    objective = GeneralizedTeacherForcing(preset.alpha, series="observed", warm_up=preset.warm_up)
    optimiser = Adam(3e-3, schedule=OneCycle(warmup=0.05))
    run = fit(model, objective, samples, steps=preset.updates, optimiser=optimiser, out=out)
    noisy = next(iter(stream(train, batch_size=1)))["observed"]
    table = reconstruction_report(
        run,
        truth,
        train=other,
        baselines={"polynomials of degree 3, ridge": PolynomialMap.of(noisy, degree=3, ridge=1e-6)},
        interval=flow.interval,
        protocol=Protocol(orbit=preset.orbit, standardised=True),
        out=out,
        name=f"{OURS} of {flow.name}",
    )
    start = states_of(model, truth)[:, 0]
    found = lyapunov_exponents(
        model.piecewise_linear(), start, steps=preset.orbit, transient=preset.orbit // 10, dt=flow.interval, exponents=1
    )
    return table, float(found.exponents[:, 0].nanquantile(0.5))


def line(flow: Flow, table: Reconstruction, exponent: float) -> str:
    """A row of the table of many flows; errors of forecasts are divided by those of persistence."""
    rows = {row.name: row for row in table.rows}
    ours, floor = table.rows[0], rows["another true series"]
    still = rows["persistence"].summary("prediction_error")[0]
    error = ours.summary("prediction_error")[0] / still
    shown = [ours.summary("divergence")[0], floor.summary("divergence")[0], ours.summary("hellinger")[0], error]
    cells = [flow.name, *(f"{value:.3g}" for value in shown), f"{exponent:.3g}", f"{flow.exponent:.3g}"]
    return f"| {' | '.join(cells)} | {ours.failed} of {len(ours.divergence)} |\n"


def main(
    preset: Preset, flows: Sequence[Flow], device: str, out: Path | None, seed: int, data: Path | None = None
) -> list[Reconstruction]:
    """Learn the flows one after the other; of more than one also write table.md, and after each flow the lines so far."""
    out, tables = out or Path("results") / "attractors", []
    many = (
        f"| flow | D_stsp | floor | D_H | PE({Protocol().ahead}) / persistence | exponent | of the flow | failed |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    for flow in flows:
        table, exponent = learn(preset, flow, data or Path("data") / "attractors", device, out / flow.name, seed)
        print(table)
        print(f"{out / flow.name / 'report.html'}: attractors, spectra, return map, exponents and fixed points", flush=True)
        many += line(flow, table, exponent)
        tables.append(table)
        if len(flows) > 1:
            text = f"Medians over {preset.replicas} networks, {preset.frames:,} instants on both sides.\n\n{many}"
            (out / "table.md").write_text(text, encoding="utf-8")
    if len(flows) > 1:
        print(many)
    return tables


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--flow", help="its name in sciml.problems.flows.named")
    which.add_argument("--all", type=int, metavar="N", help="the first N flows, one table of them all")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, help="folder (default: results/attractors)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = [flow_of(given.flow)] if given.flow else list(FLOWS.values())[: given.all]
    main(PRESETS[given.preset], chosen, given.device, given.out, given.seed)
