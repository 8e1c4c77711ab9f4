"""Every DeepONet recipe with three seeds: medians of the errors of each operator and of what stands beside it.

python benchmarks/deeponet_recipes.py [--only NAME ...] [--seeds 3] [--out docs/results/deeponet_recipes.json]

Sets are made in ./data once, so start it where there is room; cases that were run before stay in the results. Errors are
`mean_relative_l2`, the mean over the test functions, and `global_relative_l2`, of all of them at once; seconds are processor
seconds of the whole run of the recipe, with all its operators. A target is the value that was published for the authors'
own data, where there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import Figure, commit, machine, report

from recipes import advection, antiderivative, deeponet_comparison, diffusion_reaction, poisson
from sciml.generation.card import find_card, read_card
from sciml.generation.generate import generate
from sciml.training.at_points import PointTable
from sciml.training.evaluate import Table

Result = PointTable | Table
Record = dict[str, float | None]


@dataclass(frozen=True)
class Case:
    """A recipe with its settings.

    Args:
        run: (run folder, seed) to the table of errors.
        preset: its name.
        published: mean relative L2, by the name of the row.
    """

    run: Callable[[Path, int], Result]
    preset: str
    published: dict[str, float]


def made(card: str) -> Path:
    """The set of a card, in ./data."""
    folder = Path("data") / card
    generate(read_card(find_card(card)), folder, workers=1)
    return folder


def ordinary(name: str, preset: str) -> Case:
    chosen = antiderivative.PRESETS[preset]
    card = antiderivative.PROBLEMS[name].card + ("-mini" if chosen.mini else "")
    return Case(lambda out, seed: antiderivative.main(name, chosen, made(card), out, seed), preset, {})


def reaction(learn: str, preset: str, published: dict[str, float]) -> Case:
    chosen = diffusion_reaction.PRESETS[preset]
    return Case(
        lambda out, seed: diffusion_reaction.main(chosen, learn, made(chosen.card), "cpu", out, seed), preset, published
    )


def transport(name: str) -> Case:
    chosen = advection.PRESETS["full"]
    return Case(lambda out, seed: advection.main(name, chosen, made(chosen.card + name), out, seed), "full", {})


def pressure(preset: str) -> Case:
    chosen = poisson.PRESETS[preset]
    return Case(lambda out, seed: poisson.main(chosen, None, "cpu", out, seed), preset, {})


def comparison(name: str, published: tuple[float, float]) -> Case:
    chosen = deeponet_comparison.PRESETS["quick"]
    names = ("DeepONet", "POD-DeepONet")
    values: dict[str, float] = dict(zip(names, published, strict=True))
    return Case(lambda out, seed: deeponet_comparison.main(name, chosen, "cpu", out, seed), "quick", values)


CASES = {
    "antiderivative": ordinary("antiderivative", "full"),
    "nonlinear": ordinary("nonlinear", "quick"),
    "pendulum": ordinary("pendulum", "quick"),
    "diffusion-reaction, data": reaction("data", "quick", {"DeepONet": 9.7e-3}),
    "diffusion-reaction, equation": reaction("equation", "quick", {"DeepONet": 5.3e-3}),
    "diffusion-reaction, both": reaction("both", "quick", {}),
    **{f"advection {name.upper()}": transport(name) for name in advection.CASES},
    "poisson": pressure("quick"),
    "comparison, burgers": comparison("burgers", (2.15e-2, 1.94e-2)),
    "comparison, darcy": comparison("darcy", (2.98e-2, 2.32e-2)),
    "comparison, advection": comparison("advection", (2.2e-3, 4e-4)),
}


def errors(table: Result) -> dict[str, Record]:
    """Both metrics of every row."""
    if isinstance(table, PointTable):
        return {row.name: _pair(row.mean_relative_l2, row.global_relative_l2) for row in table.rows}
    return {row.name: _pair(row.statistic("relative_l2", "mean"), row.global_relative_l2) for row in table.rows}


def medians(runs: list[dict[str, Record]]) -> dict[str, Record]:
    """Over the seeds, number by number; None where one is missing."""
    found: dict[str, Record] = {}
    for name, first in runs[0].items():
        each = {metric: [run[name][metric] for run in runs] for metric in first}
        found[name] = {
            metric: median(v for v in values if v is not None) if None not in values else None
            for metric, values in each.items()
        }
    return found


def measured(case: Case, seeds: int) -> dict[str, object]:
    """A case with all its seeds."""
    runs, seconds = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            runs.append(errors(case.run(Path(folder), seed)))
            seconds.append(time.process_time() - begin)
    origin = {"seeds": seeds, "preset": case.preset, "commit": commit(), "machine": machine()}
    return origin | {"seconds": round(median(seconds), 1), "medians": medians(runs), "runs": runs}


def figures(results: dict[str, dict[str, object]]) -> list[Figure]:
    """Those with a published value."""
    found = []
    for name, result in results.items():
        rows: dict[str, Record] = result["medians"]  # pyright: ignore[reportAssignmentType]
        for row, target in CASES[name].published.items():
            value = rows[row]["mean_relative_l2"]
            assert value is not None
            label = f"{name}: mean_relative_l2 of {row}, median of {result['seeds']} seeds"
            found.append(Figure(label, value, target, "published for the authors' own data"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before = json.loads(given.out.read_text())["cases"] if given.out is not None and given.out.exists() else {}
    results = {name: before[name] for name in CASES if name in before and name not in given.only}
    status = 0
    for name in given.only:
        results[name] = measured(CASES[name], given.seeds)
        results = {known: results[known] for known in CASES if known in results}
        status = report(figures(results), "deeponet_recipes", given.out)
        if given.out is not None:  # after each case, as all together take most of an hour
            kept = json.loads(given.out.read_text()) | {"cases": results}
            given.out.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return status


def _pair(mean: float | None, together: float | None) -> Record:
    return {"mean_relative_l2": mean, "global_relative_l2": together}


if __name__ == "__main__":
    sys.exit(main())
