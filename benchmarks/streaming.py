"""Streams beside memory, h5py and The Well's own loader: python benchmarks/streaming.py [--quick].

1. Bare reads: random windows of two 256 x 256 frames out of a file in the page cache, beside memcpy of as many bytes.
2. End to end: batches of 4 + 1 frames of three channels, normalised, in random order, beside `WellDataset` on the same files
   with the same tensors, at 64 x 64 and 256 x 256; and beside h5py with kept handles behind a DataLoader with 2 workers.
3. Training from disk beside training from memory, with the pages of the files dropped all the time.
4. State and restart of an epoch of 10^8 windows; first and later index of many files; `check`, and bit flips.

Both sides of a ratio take turns in one process; medians over rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import mmap
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import cast

import h5py
import numpy as np
import torch
from _report import Figure, report
from torch.utils.data import DataLoader, Dataset

from sciml.data.buffers import Buffers
from sciml.data.caching import Cache
from sciml.data.manifest import manifest_path, read_manifest
from sciml.data.set import open_set
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_frames
from sciml.data.stream import Batch, Stream, stream
from sciml.data.variables import VariableInfo
from sciml.data.window import Window
from sciml.data.writer import ShardWriter
from sciml.generation.check import check
from sciml.generation.check_bytes import bytes_faults
from sciml.numerics.domain import Domain
from sciml.numerics.roles import Role

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "streaming.json"
SEED = 20261121
BATCH, WARM = 32, 4
"""Samples per batch; batches before the clock begins, which is what a DataLoader with 2 workers prepares ahead."""
CHANNELS = (("density", 0, 0.25, 1.5), ("velocity", 0, 0.1, 2.0), ("velocity", 1, -0.2, 0.5))
"""Field, component, mean and standard deviation."""


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# 1. Bare reads


def bare_reads(folder: Path, rounds: int, frames: int) -> list[Figure]:
    """Sixteen windows at a time, as a stream asks for them, into the same buffer by one thread; memcpy likewise."""
    memory = np.random.default_rng(SEED).standard_normal((frames, 256, 256), dtype=np.float32)
    samples = frames // 32
    figures = []
    for name, chunks in {"contiguous": None, "one frame per chunk": (1, 1, 256, 256)}.items():
        path = folder / f"{name}.h5"
        with h5py.File(path, "w", alignment_threshold=4096, alignment_interval=4096) as file:
            file.create_dataset("u", data=memory.reshape(samples, 32, 256, 256), chunks=chunks)
        for at_once in (BATCH, 1):
            taken = _read_and_copied(path, memory, at_once, rounds)
            ratio = median(copy / read for copy, read, _ in taken)
            size = 2 * memory[0].nbytes * 384 / 1e9
            copied, read, system = (size / median(column) for column in zip(*taken, strict=True))
            what = f"bare reads, {name}, {at_once} windows per call, of memcpy"
            peer = f"memcpy {copied:.1f} GB/s, read {read:.1f} GB/s, os.preadv alone, in one piece, {system:.1f} GB/s"
            figures.append(Figure(what, ratio, 0.75, peer, better="higher"))
    return figures


def _read_and_copied(path: Path, memory: np.ndarray, at_once: int, rounds: int) -> list[tuple[float, float, float]]:
    """Seconds of 384 windows by memcpy, by position, and by the system's call with nothing around it, in turns."""
    stored = StoredFile(path)
    array = stored.hdf5.arrays["u"]
    pool = Buffers()
    out = pool.take((2 * at_once, 256, 256), np.dtype(np.float32))
    copied = pool.take((at_once, 2, 256, 256), np.dtype(np.float32))
    draw = np.random.default_rng(1)
    sample, first = draw.integers(0, array.shape[0], 384), draw.integers(0, 31, 384)
    index = np.stack([np.repeat(sample, 2), (first[:, None] + np.arange(2)).reshape(-1)], 1)
    places = draw.integers(0, len(memory) - 2, 384).tolist()

    def read() -> None:
        for start in range(0, 768, 2 * at_once):
            read_frames(path, stored.stamp, array, index[start : start + 2 * at_once], out)

    def copy() -> None:
        for number, place in enumerate(places):
            np.copyto(copied[number % at_once], memory[place : place + 2])

    views = [memoryview(window).cast("B") for window in copied]

    def call() -> None:
        for number, place in enumerate(places):
            os.preadv(file, (views[number % at_once],), place * memory[0].nbytes)

    file = os.open(path, os.O_RDONLY)
    try:
        return [(seconds(copy), seconds(read), seconds(call)) for _ in range(rounds + 1)][1:]
    finally:
        os.close(file)


# 2. End to end


def write_well(folder: Path, points: int, files: int, samples: int, steps: int) -> Path:
    """A set in The Well's layout: density and velocity on a periodic square; the folder of its training files."""
    draw = np.random.default_rng(SEED)
    home = folder / f"waves{points}" / "data" / "train"
    home.mkdir(parents=True)
    for number in range(files):
        with h5py.File(home / f"waves_{number}.hdf5", "w") as file:
            file.attrs.update(dataset_name=f"waves{points}", grid_type="cartesian", n_spatial_dims=2, n_trajectories=samples)
            file.attrs["simulation_parameters"] = []
            dimensions = file.create_group("dimensions")
            dimensions.attrs["spatial_dims"] = ["x", "y"]
            places = np.arange(points) / points
            for name, values in (("time", np.arange(steps) * 0.1), ("x", places), ("y", places)):
                axis = dimensions.create_dataset(name, data=values.astype(np.float32))
                axis.attrs["sample_varying"] = axis.attrs["time_varying"] = False
            conditions = file.create_group("boundary_conditions")
            for name in ("x", "y"):
                group = conditions.create_group(f"{name}_periodic")
                group.attrs.update(bc_type="PERIODIC", sample_varying=False, time_varying=False)
                group.attrs["associated_dims"], group.attrs["associated_fields"] = [name], []
                mask = np.zeros(points, bool)
                mask[[0, -1]] = True
                group.create_dataset("mask", data=mask)
            file.create_group("scalars").attrs["field_names"] = []
            for order, names in enumerate((["density"], ["velocity"], [])):
                group = file.create_group(f"t{order}_fields")
                group.attrs["field_names"] = names
                for name in names:
                    shape = (samples, steps, points, points, *[2] * order)
                    field = group.create_dataset(name, data=draw.standard_normal(shape, dtype=np.float32))
                    field.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=True)
    mean, std = ([channel[key] for channel in CHANNELS] for key in (2, 3))
    tables = {"mean": mean, "std": std} | dict.fromkeys(("rms", "mean_delta", "std_delta", "rms_delta"), std)
    lines = [f"{key}:\n  density: {table[0]}\n  velocity: {table[1:]}\n" for key, table in tables.items()]
    (folder / f"waves{points}" / "stats.yaml").write_text("".join(lines))
    return home


def ours(home: Path, readers: int) -> Stream:
    return stream(home, batch_size=BATCH, seed=SEED, window=Window(4, 1), cache="disk", readers=readers)


POOL = Buffers()


def normalised(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, time, channel, x, y) of what is given and of what is asked for, every channel scaled: one pass, into memory
    that is used again."""
    made = []
    for suffix in ("", "_next"):
        samples, steps, _, *grid = batch[f"density{suffix}"].shape
        out = torch.from_numpy(POOL.take((samples, steps, 3, *grid), np.dtype(np.float32)))
        for place, (name, channel, mean, std) in enumerate(CHANNELS):
            torch.add(torch.tensor(-mean / std), batch[f"{name}{suffix}"][:, :, channel], alpha=1 / std, out=out[:, :, place])
        made.append(out)
    return made[0], made[1]


def well_dataset(home: Path) -> Dataset[dict[str, torch.Tensor]]:
    """The Well's own set, normalised by its own class."""
    from the_well.data import WellDataset
    from the_well.data.normalization import ZScoreNormalization

    return WellDataset(
        path=str(home.parents[1]), well_split_name="train", n_steps_input=4, n_steps_output=1, use_normalization=True,
        normalization_type=ZScoreNormalization,
    )  # fmt: skip


def well_loader(home: Path, workers: int, number: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of it behind a DataLoader, `number` samples at random."""
    data = well_dataset(home)
    chosen = torch.randint(len(data), (number,), generator=torch.Generator().manual_seed(SEED)).tolist()  # pyright: ignore[reportArgumentType]
    return iter(DataLoader(data, batch_size=BATCH, sampler=chosen, num_workers=workers))


class KeptHandles(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What a careful user writes: files opened once per worker, one slice per field, channels first, normalised."""

    def __init__(self, files: Sequence[Path], samples: int, windows: int) -> None:
        self.files, self.samples, self.windows = files, samples, windows
        self.opened: dict[int, h5py.File] = {}

    def __len__(self) -> int:
        return len(self.files) * self.samples * self.windows

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        row, start = divmod(item, self.windows)
        number, sample = divmod(row, self.samples)
        if number not in self.opened:
            self.opened[number] = h5py.File(self.files[number], "r")
        file = self.opened[number]
        density = torch.from_numpy(cast(h5py.Dataset, file["t0_fields/density"])[sample, start : start + 5])
        velocity = torch.from_numpy(cast(h5py.Dataset, file["t1_fields/velocity"])[sample, start : start + 5])
        mean, std = (torch.tensor([channel[key] for channel in CHANNELS]).view(3, 1, 1) for key in (2, 3))
        both = (torch.cat([density[:, None], velocity.movedim(-1, 1)], 1) - mean) / std
        return both[:4], both[4:]


def same_tensors(home: Path) -> None:
    """The first batch in stored order, against WellDataset: equal values, of windows and of their times."""
    data = well_dataset(home)
    batch = next(iter(ours(home, 1)))
    given, asked = normalised(batch)
    for i in range(BATCH):
        theirs = data[i]
        for mine, key in ((given[i], "input_fields"), (asked[i], "output_fields")):
            torch.testing.assert_close(mine, theirs[key].movedim(-1, 1), rtol=1e-6, atol=1e-6)
        times = batch["time"][i] - batch["time"][i, 0]  # theirs begin with 0 in every window
        torch.testing.assert_close(times, theirs["input_time_grid"].float(), rtol=0, atol=1e-6)


def end_to_end(folder: Path, points: int, rounds: int, quick: bool) -> list[Figure]:
    """Samples per second of each way, in turns: ours with 2 readers and with one, theirs with 2 workers and none."""
    files, samples, steps = (2, 4, 20) if points == 256 else (4, 16, 20)
    home = write_well(folder, points, files, samples, steps)
    same_tensors(home)
    paths = sorted(home.glob("*.hdf5"))
    number = BATCH * (6 if quick else 16)

    def steady(batches: Iterator[object]) -> float:
        """After the first batches, and before the last, so that what was prepared before the clock began is left over."""
        for _ in range(WARM):
            next(batches)
        return seconds(lambda: [None for _ in islice(batches, number // BATCH)])

    def by_us(readers: int) -> float:
        batches = ours(home, readers).endless()
        for batch, _ in islice(batches, WARM):
            normalised(batch)
        return seconds(lambda: [None for batch, _ in islice(batches, number // BATCH) if normalised(batch) is None])

    def by_the_well(workers: int) -> float:
        return steady(well_loader(home, workers, number + 2 * WARM * BATCH))

    def by_h5py(workers: int) -> float:
        data = KeptHandles(paths, samples, steps - 4)
        chosen = torch.randint(len(data), (number + 2 * WARM * BATCH,), generator=torch.Generator().manual_seed(SEED)).tolist()
        return steady(iter(DataLoader(data, batch_size=BATCH, sampler=chosen, num_workers=workers)))

    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: by_us(2),
        "ours, one reader": lambda: by_us(1),
        "WellDataset, 2 workers": lambda: by_the_well(2),
        "WellDataset": lambda: by_the_well(0),
        "h5py, 2 workers": lambda: by_h5py(2),
    }
    times = {name: [] for name in ways}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for what is done behind a stream, as the workers of a DataLoader have one thread each
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way())
    torch.set_num_threads(threads)
    rate = {name: number / median(taken) for name, taken in times.items()}
    said = ", ".join(f"{name} {value:,.0f}/s" for name, value in rate.items())
    ratio = rate["ours"] / max(rate["WellDataset, 2 workers"], rate["WellDataset"])
    target = 10 if points == 64 else 3
    figures = [Figure(f"samples/s at {points}^2, 4+1 frames, over WellDataset", ratio, target, said, better="higher")]
    if points == 64:
        ratio = rate["ours"] / rate["h5py, 2 workers"]
        figures.append(Figure("samples/s at 64^2 over h5py + DataLoader, 2 workers", ratio, 3, said, better="higher"))
    return figures


# 3. Training from disk


@contextlib.contextmanager
def pages_dropped(files: Sequence[Path], every: float = 0.05) -> Iterator[None]:
    """The system forgets the pages of these files again and again, so that memory holds next to nothing of them."""
    stop = threading.Event()

    def drop() -> None:
        while not stop.wait(every):
            for path in files:
                handle = os.open(path, os.O_RDONLY)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)

    thread = threading.Thread(target=drop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def training(folder: Path, rounds: int, steps: int) -> list[Figure]:
    """Steps per second of `fit` on windows 64 x 64, MgNO of the trunk's size, from memory and from disk without pages."""
    from sciml.operators.mgno import MgNO
    from sciml.training.fit import fit
    from sciml.training.objectives import RelativeL2

    home = write_well(folder / "training", 64, 4, 32, 20)
    files = sorted(home.glob("*.hdf5"))

    def run(cache: Cache) -> float:
        data = stream(home, batch_size=8, seed=SEED, window=Window(1, 1), cache=cache)
        torch.manual_seed(0)
        model = MgNO(3, 3, width=16, layers=3, domain=data.domain)
        objective = RelativeL2(data.domain, data.inputs, data.targets)
        with contextlib.redirect_stderr(None):
            fit(model, objective, data, steps=2)
            return steps / seconds(lambda: fit(model, objective, data, steps=steps, every=steps))

    rates = []
    for _ in range(rounds):
        memory = run("memory")
        with pages_dropped(files):
            rates.append((memory, run("disk")))
    ratio = median(disk / memory for memory, disk in rates)
    memory, disk = (median(column) for column in zip(*rates, strict=True))
    peer = f"from memory {memory:.1f} steps/s, from disk {disk:.1f}; pages dropped by posix_fadvise every 50 ms"
    return [Figure("steps/s from disk, of those from memory", ratio, 0.9, peer, better="higher")]


# 4. State, index, check


def long_epoch(folder: Path) -> list[Figure]:
    """An epoch of 10^8 windows, out of a sparse file."""
    path = folder / "long.npy"
    shape = (1000, 100_001, 1)
    header = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    del header
    data = stream(path, batch_size=16, seed=SEED, window=Window(1, 1), cache="disk")
    assert data.samples == 10**8
    next(data.endless())
    state = data.state_dict()
    taken = []
    for position in np.random.default_rng(SEED).integers(0, 10**8 - 16, 25).tolist():

        def restore(position: int = position) -> None:
            data.load_state_dict({**state, "epoch": 3, "position": position})
            batches = data.endless()
            next(batches)
            batches.close()

        taken.append(1e3 * seconds(restore))
    return [
        Figure("state of a stream, bytes", len(str(state)), 1024),
        Figure("restore and first batch at any of 10^8 windows, ms", max(taken), 50, f"median {median(taken):.1f} ms"),
    ]


def many_files(folder: Path, files: int) -> list[Figure]:
    """First and later opening of a folder of files; a chunked field, a contiguous one, and a scalar series in each."""
    home = folder / "many"
    home.mkdir()
    for number in range(files):
        write_indexed(home / f"part-{number:04d}.h5")
    first = seconds(lambda: open_set(home))
    later = median(seconds(lambda: open_set(home)) for _ in range(3))
    return [
        Figure(f"index of {files} files, first, s", first, 60 * files / 1000),
        Figure(f"index of {files} files, later, s", later, 1 * files / 1000),
    ]


def write_indexed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("tensor", data=np.ones((32, 64, 128), np.float32), chunks=(1, 1, 128))
        file["x-coordinate"] = (np.arange(128) + 0.5) / 128
        file["t-coordinate"] = np.arange(64) * 0.01


def written_shards(folder: Path, samples: int, shards: int, points: int) -> list[Path]:
    """Files of ours: two fields on a periodic square, random values."""
    domain = Domain.box((1.0, 1.0), (points, points), "periodic")
    kinds: tuple[tuple[str, Role], ...] = (("a", "input"), ("u", "target"))
    variables = [VariableInfo(name, role, "1", name, (1, points, points), torch.float32) for name, role in kinds]
    paths = [folder / f"part-{number}.h5" for number in range(shards)]
    for number, path in enumerate(paths):
        with ShardWriter(path, variables, range(number * samples, (number + 1) * samples), domain, {}) as shard:
            generator = torch.Generator().manual_seed(number)
            for _ in range(samples // 10):
                shard.append({name: torch.randn(10, 1, points, points, generator=generator) for name, _ in kinds})
            shard.finish({})
    return paths


def checking(folder: Path, rounds: int, samples: int) -> Figure:
    """Bytes and finite values of a set, by one thread, from the page cache."""
    paths = written_shards(folder / "checked", samples, 8, 128)
    size = sum(path.stat().st_size for path in paths)
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        assert check(folder / "checked", equation=False).ok
        taken.append(time.process_time() - start)
    return Figure(
        f"check of {size / 1e9:.2f} GB, bytes and finite values, GB/s per core",
        size / median(taken) / 1e9,
        1.5,
        better="higher",
    )


def flips(folder: Path, count: int) -> list[Figure]:
    """Single bits at random places of a file: found, and named to the bit."""
    (path,) = written_shards(folder / "flipped", 50, 1, 64)
    manifest = read_manifest(manifest_path(path))
    chance = random.Random(SEED)
    found = named = 0
    for _ in range(count):
        byte, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
            content[byte] ^= 1 << bit
            faults = bytes_faults(path, manifest)
            content[byte] ^= 1 << bit
        found += bool(faults)
        named += len(faults) == 1 and f"bit {bit} of byte {byte}" in faults[0].message
    assert not bytes_faults(path, manifest)
    peer = f"{named} of {count} named to the bit; plain HDF5 finds none"
    return [Figure(f"single-bit flips found, of {count}", found, count, peer, better="higher")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and fewer, at most 45 s")
    parser.add_argument("--out", type=Path, help=f"where to write the figures, such as {RESULTS.name}")
    given = parser.parse_args()
    logging.getLogger("sciml").setLevel(logging.WARNING)
    rounds = 3 if given.quick else 7
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures += bare_reads(folder, rounds, 256 if given.quick else 2048)
        for points in (64, 256):
            figures += end_to_end(folder, points, rounds, given.quick)
        figures += training(folder, 1 if given.quick else 3, 20 if given.quick else 100)
        figures += long_epoch(folder)
        figures += many_files(folder, 50 if given.quick else 1000)
        figures.append(checking(folder, rounds, 100 if given.quick else 1000))
        figures += flips(folder, 200 if given.quick else 10_000)
    return report(figures, "streaming", given.out, seed=SEED)


if __name__ == "__main__":
    raise SystemExit(main())
