"""Navier-Stokes, the vorticity from instant to instant: generate, learn a step, roll it out, compare, draw.

    python recipes/navier_stokes.py --preset quick                        # viscosity 1e-3, 40 flows, minutes on 2 CPU cores
    python recipes/navier_stokes.py --preset full --device cuda           # viscosity 1e-5, one instant in, ten out
    python recipes/navier_stokes.py --preset full-10 --device cuda        # ten instants in, ten out
    python recipes/navier_stokes.py --preset paper --device cuda          # the published number of epochs; also paper-10
    python recipes/navier_stokes.py --data FOLDER                         # your data: a folder of splits

Learns one step of one unit of time, from the true instants before it (teacher forcing), and is tested by ten steps from its own
answers: the relative L2 error over all ten together. Every window of instants in the test flows counts; the published tables
take the first one of each. Writes results/NAME/: config.json, log.csv, log.jsonl, best.pt, last.pt; the same of the FNO beside
it in fno/; and test/ with table.csv and report.html, one page with the table, the learning curves and pictures.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from sciml.data.stream import Stream
from sciml.data.window import Window
from sciml.generation.generate import made
from sciml.operators.mgno import MgNO
from sciml.operators.roll_out import RollOut
from sciml.training.baselines import persistence
from sciml.training.comparison import Comparison, Preset, command_line, compare, fno, splits
from sciml.training.objectives import Objective, RelativeL2

AHEAD = 10
"""Instants of a roll-out."""
PRESETS = {
    "quick": Preset("navier-stokes-mini", 400, 10, 16, 5, 16, 12, learning_rate=2e-3, weight_decay=1e-5),
    "full": Preset("navier-stokes-1e-5", 20_000, 20, 32, 5, 32, 16, learning_rate=1e-3, weight_decay=1e-5, layers=5),
    # 500 epochs of 20,000 steps of time.
    "paper": Preset("navier-stokes-1e-5", 100_000, 100, 32, 5, 32, 20, learning_rate=1e-3, weight_decay=1e-5, layers=5),
}
PRESETS |= {
    "full-10": replace(PRESETS["full"], given=10),
    "paper-10": replace(PRESETS["paper"], given=10, steps=55_000),  # 500 epochs of 11,000
}
PUBLISHED = {
    "navier-stokes-1e-5": "MgNO 0.0163 from the first instant, with 2.89 M numbers, and 0.1082 from ten: relative L2 over ten "
    "instants, of the first window of each flow alone (He, Liu & Xu 2024); the table above is over all windows",
}


def build(name: str, preset: Preset, train: Stream) -> nn.Module:
    """One step; a vorticity of order one needs no scaling."""
    given = preset.given
    if name == "fno":
        return fno(preset, given, 1, 2).to(train.device)
    arguments = {"width": preset.width, "layers": preset.layers, "smoothing": preset.smoothing()}
    # Cycles on a periodic box know no place; the waves of the bias tell where the force is.
    return MgNO(given, 1, domain=train.domain, increment=True, bias_modes=3, **arguments).to(train.device)


def objective(preset: Preset, train: Stream) -> Objective:
    """The relative L2 error of a step."""
    return RelativeL2(train.domain, train.inputs, train.targets)


def standing_still(preset: Preset, train: Stream, own: bool) -> dict[str, nn.Module]:
    """The last instant, for ever."""
    return {"persistence": RollOut(persistence(train), AHEAD)}


def open_splits(data: Path, preset: Preset, device: str, seed: int) -> tuple[Stream, Stream, dict[str, Stream]]:
    """Steps to train on, roll-outs to test on."""
    return splits(data, preset, device, seed, window=Window(preset.given, 1), tested=Window(preset.given, AHEAD))


NAVIER_STOKES = Comparison(
    "Navier-Stokes",
    build,
    objective,
    PRESETS,
    PUBLISHED,
    standing_still,
    open_splits,
    made,
    answer=partial(RollOut, steps=AHEAD),
)


if __name__ == "__main__":
    compare(NAVIER_STOKES, *command_line(NAVIER_STOKES, __doc__))
