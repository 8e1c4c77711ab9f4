"""`generate` is killed (SIGKILL) at random moments and started again.

Every set must end with the bytes of one made in one go, no finished shard may be lost or made again, and of what a worker had
begun no more than one shard.

python benchmarks/kills.py [--quick] [--kills 100] [--out docs/results/kills.json]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from _report import Figure, report

from sciml.generation.card import Card, Storage, find_card, read_card
from sciml.generation.generate import generate
from sciml.generation.plan import shards_of
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.darcy import Darcy, smooth
from sciml.problems.problem import Fields

RUN = """
import sys; sys.path[:] = sys.argv[4:]
from sciml.generation.generate import generate
from kills import card_of
print("begins", flush=True)
generate(card_of(int(sys.argv[1])), sys.argv[2], workers=int(sys.argv[3]), progress=lambda *_: print("block", flush=True))
"""

SHARD, BLOCK = 10, 5
NOTES = "SCIML_KILLS_NOTES"  # names the file in which runs that may be killed note what they begin


@dataclass(frozen=True)
class NotedDarcy(Darcy):
    """Darcy flow that notes each block of samples when it begins: the process, the first sample and the one after the last."""

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        if NOTES in os.environ:
            line = f"{os.getpid()} {seeds.samples.start} {seeds.samples.stop}\n"
            file = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, line.encode())  # one call, so that a kill leaves a whole line or none
            os.close(file)
        return super().draw(domain, seeds)


def noted() -> NotedDarcy:
    return NotedDarcy(smooth().permeability)


def card_of(seed: int) -> Card:
    """Smooth Darcy samples in many small shards: about a second of work on one core."""
    card = read_card(find_card("darcy-quick")).changed(seed=seed, resolution=97)
    storage = Storage(shard=SHARD, block=BLOCK)
    return replace(card, problem="kills:noted", samples={"train": 160, "test": 40}, storage=storage)


@dataclass
class Watch:
    """One set that is made in several runs: what was finished at each kill, and what was begun again.

    Args:
        finished: at each kill, how many blocks had been begun by then and the first samples of the shards that were finished.
    """

    card: Card
    out: Path
    notes: Path
    finished: list[tuple[int, set[int]]] = field(default_factory=list)

    def look(self) -> None:
        """To be called after each kill."""
        done = {shard.samples.start for shard in shards_of(self.card, self.out) if shard.done}
        self.finished.append((len(self.begun()), done))

    def begun(self) -> list[tuple[int, int]]:
        """The process and the first sample of each block, in the order in which they were begun."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(int(process), int(first)) for process, first, _ in map(str.split, lines)]

    def lost_work(self) -> list[float]:
        """For each process the samples it began and a later one began again, in shards."""
        last = {first: place for place, (_, first) in enumerate(self.begun())}
        again = Counter({process: 0 for process, _ in self.begun()})
        again.update(process for place, (process, first) in enumerate(self.begun()) if last[first] > place)
        return [blocks * BLOCK / SHARD for blocks in again.values()]

    def lost_shards(self) -> int:
        """Finished shards that were not finished any more at a later kill, or that were begun again."""
        lost: set[int] = set()
        for place, (blocks, done) in enumerate(self.finished):
            lost |= {first for _, later in self.finished[place + 1 :] for first in done - later}
            lost |= done & {first - first % SHARD for _, first in self.begun()[blocks:]}
        return len(lost)


@dataclass
class Tally:
    """Over all sets.

    Args:
        differing: files that differ from those of one run, or are left over.
        inside: kills that left a part of a file.
        kept: finished shards that were there at the kills, summed over the kills.
        lost: of these how many were gone or made again.
        work: of each process, shards of work that were done again.
    """

    sets: int = 0
    kills: int = 0
    differing: int = 0
    inside: int = 0
    kept: int = 0
    lost: int = 0
    work: list[float] = field(default_factory=list)


def killed_runs(kills: int, workers: int, folder: Path, chance: random.Random) -> Tally:
    """Kill and restart until `kills` runs died; then the last set is finished."""
    tally = Tally()
    while tally.kills < kills:
        card, whole = card_of(tally.sets), folder / f"whole-{tally.sets}"
        watch = Watch(card, folder / f"killed-{tally.sets}", folder / f"notes-{tally.sets}")
        begin = time.perf_counter()
        generate(card, whole)
        usual = time.perf_counter() - begin
        while tally.kills < kills and _is_killed(watch, workers, tally.kills % 2 == 1, chance.uniform(0.0, 0.4 * usual)):
            tally.kills += 1
            tally.inside += bool(list(watch.out.rglob("*.part")))
            watch.look()
            print(f"\r{workers} worker(s): {tally.kills} kills, {tally.sets} sets", end="", file=sys.stderr, flush=True)
        if tally.kills >= kills:
            _is_killed(watch, workers, False, None)
        _add(tally, watch, whole)
    print(file=sys.stderr)
    return tally


def _is_killed(watch: Watch, workers: int, after_a_block: bool, patience: float | None) -> bool:
    """Run and kill; False where it ended by itself before.

    Args:
        after_a_block: half of the kills come after a first block, others also while workers start.
        patience: seconds, short enough that a set takes several kills; None to let it end.
    """
    path = [str(Path(__file__).parent), *(entry or os.getcwd() for entry in sys.path)]
    command = [sys.executable, "-c", RUN, str(watch.card.seed), str(watch.out), str(workers), *path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, NOTES: str(watch.notes)}) as process:
        assert process.stdout is not None
        for _ in range(2 if after_a_block else 1):
            process.stdout.readline()
        try:
            if process.wait(timeout=patience):
                raise SystemExit(f"generate ended with exit code {process.returncode}")
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def _add(tally: Tally, watch: Watch, whole: Path) -> None:
    expected, found = _content(whole), _content(watch.out)
    tally.sets += 1
    tally.differing += sum(expected.get(name) != found.get(name) for name in expected.keys() | found.keys())
    tally.kept += sum(len(done) for _, done in watch.finished)
    tally.lost += watch.lost_shards()
    tally.work += watch.lost_work()


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def figures_after(kills: int) -> list[Figure]:
    """What differs and what is lost after so many kills, with one worker and with two."""
    figures: list[Figure] = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            tally = killed_runs(kills, workers, Path(folder), random.Random(workers))
        crew = f"{kills} kills, {workers} worker(s)"
        peer = f"one run without kills; {tally.sets} sets, {tally.inside} kills left a part of a file"
        again = f"{sum(work > 0 for work in tally.work)} processes lost some, {sum(tally.work) / kills:.2f} shards per kill"
        figures += [
            Figure(f"files that differ after {crew}", tally.differing, 0, peer),
            Figure(f"shards of work lost to a kill per worker, largest of {crew}", max(tally.work, default=0.0), 1, again),
            Figure(f"finished shards lost or made again after {crew}", tally.lost, 0, f"{tally.kept} were there at the kills"),
        ]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="per number of workers")
    parser.add_argument("--quick", action="store_true", help="6 kills per number of workers")
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    return report(figures_after(6 if given.quick else given.kills), "kills", given.out)


if __name__ == "__main__":
    sys.exit(main())
