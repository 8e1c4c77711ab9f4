"""`generate` is killed (SIGKILL) at random moments and started again: every set must end with the bytes of one made in one go.

python benchmarks/kills.py [--quick] [--kills 100]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from _report import Figure, report

from sciml.generation.card import Card, Storage, find_card, read_card
from sciml.generation.generate import generate

RUN = """
import sys; sys.path[:] = sys.argv[4:]
from sciml.generation.generate import generate
from kills import card_of
print("begins", flush=True)
generate(card_of(int(sys.argv[1])), sys.argv[2], workers=int(sys.argv[3]), progress=lambda *_: print("block", flush=True))
"""


def card_of(seed: int) -> Card:
    """Smooth Darcy samples in many small shards: about a second of work on one core."""
    card = read_card(find_card("darcy-quick")).changed(seed=seed, resolution=97)
    return replace(card, samples={"train": 160, "test": 40}, storage=Storage(shard=10, block=5))


def killed_runs(kills: int, workers: int, folder: Path, chance: random.Random) -> tuple[int, int, int]:
    """Kill and restart until `kills` runs died; (sets finished, files that differ or are left over, kills inside a file)."""
    path = [str(Path(__file__).parent), *(entry or os.getcwd() for entry in sys.path)]
    sets = differing = inside = done = 0
    while done < kills:
        card, whole, out = card_of(sets), folder / f"whole-{sets}", folder / f"killed-{sets}-{workers}"
        begin = time.perf_counter()
        generate(card, whole)
        usual = time.perf_counter() - begin
        while True:
            arguments = [str(sets), str(out), str(workers), *path]
            with subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                if done % 2:  # half of the kills come after a first block, others also while workers start
                    process.stdout.readline()
                if done >= kills:
                    process.wait()
                    break
                try:
                    # Often enough before the end: a set takes several kills.
                    process.wait(timeout=chance.uniform(0.0, 0.4 * usual))
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
            done += 1
            inside += bool(list(out.rglob("*.part")))
            print(f"\r{workers} worker(s): {done} kills, {sets} sets finished", end="", file=sys.stderr, flush=True)
        sets += 1
        expected, found = _content(whole), _content(out)
        differing += sum(expected.get(name) != found.get(name) for name in expected.keys() | found.keys())
    print(file=sys.stderr)
    return sets, differing, inside


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def figures_after(kills: int) -> list[Figure]:
    """Files that differ after so many kills, with one worker and with two."""
    figures: list[Figure] = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            sets, differing, inside = killed_runs(kills, workers, Path(folder), random.Random(workers))
        peer = f"one run without kills; {sets} sets, {inside} kills left a part of a file"
        figures.append(Figure(f"files that differ after {kills} kills, {workers} worker(s)", differing, 0, peer))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="per number of workers")
    parser.add_argument("--quick", action="store_true", help="6 kills per number of workers")
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    return report(figures_after(6 if given.quick else given.kills), "kills", given.out)


if __name__ == "__main__":
    sys.exit(main())
