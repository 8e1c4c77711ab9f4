"""Damaged files of all formats: a clear error, or the values that the library of the format reads; never anything else."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data.formats import files_a, files_b, fuzz_worker

MUTATIONS = int(os.environ.get("SCIML_FUZZ", "500"))
SEED = int(os.environ.get("SCIML_FUZZ_SEED", "0"))

VALUES = files_a.formula(3, (4, 5), steps=2, channels=2, dtype=np.float32)

# Of each: how its file ends, by which library it is to be read, how it is made.
FIXTURES = {
    "well": (".hdf5", "hdf5", files_a.well),
    "pdebench_line": (".h5", "hdf5", files_a.pdebench_line),
    "pdebench_darcy": (".h5", "hdf5", files_a.pdebench_darcy),
    "pdebench_fluid": (".h5", "hdf5", files_a.pdebench_fluid),
    "pdebench_seeds": (".h5", "hdf5", lambda path: files_a.pdebench_seeds(path, samples=4, compression="gzip", shuffle=True)),
    "pdebench_incompressible": (".h5", "hdf5", files_a.pdebench_incompressible),
    "mat_73": (".mat", "hdf5", lambda path: files_a.mat_73(path, files_a.burgers_arrays())),
    "mat_5": (".mat", "mat", lambda path: files_a.mat_5(path, files_a.burgers_arrays())),
    "arena_smoke": (".h5", "hdf5", files_a.arena_smoke),
    "arena_line": (".h5", "hdf5", files_a.arena_line),
    "ours": (".h5", "hdf5", lambda path: files_a.ours(path, {"u": (VALUES[:, 0], {"role": "input"})})),
    "poseidon": (".nc", "hdf5", lambda path: files_b.poseidon(path, velocity=VALUES)),
    "pbdl": (".h5", "hdf5", files_b.pbdl),
    "h5md": (".h5", "hdf5", files_b.h5md),
    "netcdf_4": (".nc", "netcdf", files_b.shallow_water),
    "netcdf_3": (".nc", "netcdf", lambda path: files_b.shallow_water(path, engine="scipy")),
    "packed": (".nc", "netcdf", lambda path: files_b.shallow_water(path, encoding={"u": {"dtype": "int16", "_FillValue": -1}})),
    "torch": (".pt", "torch", lambda path: files_b.saved(path, files_b.operator_tensors())),
    "torch_old": (
        ".pt",
        "torch",
        lambda path: files_b.saved(path, files_b.operator_series(), _use_new_zipfile_serialization=False),
    ),
    "npz": (".npz", "numpy", lambda path: files_b.npz(path, x=VALUES[:, 0, 0], y=VALUES[:, 1, 0])),
    "npz_packed": (".npz", "numpy", lambda path: files_b.npz(path, packed=True, x=VALUES[:, 0, 0], y=VALUES[:, 1, 0])),
    "npy": (".npy", "numpy", lambda path: files_b.npy(path, VALUES[:, 0, 0])),
    "csv": (".csv", "text", lambda path: files_b.text(path, VALUES[0, 0, 0], "t,a,b,c,d")),
    "gsd": (".gsd", "gsd", files_b.gsd),
}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, the end cut off, a range zeroed, or two blocks exchanged."""
    data, size = bytearray(content), len(content)
    kind = chance.choice(("flip", "flip", "flip", "cut", "zero", "swap"))
    # Structure stands at the beginning of most files; half of the changes are made there.
    reach = size if chance.random() < 0.5 else min(size, 2048)
    if kind == "flip":
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[chance.randrange(1, size) :]
    elif kind == "zero":
        start, length = chance.randrange(reach), chance.choice((1, 4, 16, 64, 512))
        data[start : start + length] = bytes(len(data[start : start + length]))
    else:
        length = chance.choice((4, 16, 64))
        a, b = (chance.randrange(max(1, reach - length)) for _ in range(2))
        data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    return bytes(data[:size])


def outcomes(jobs: list[tuple[str, Path, Path]], *options: str) -> dict[Path, str]:
    """What became of each file in worker processes; those that end a worker are told by the number of the signal."""
    found: dict[Path, str] = {}
    left = list(jobs)
    while left:
        worker = subprocess.run(
            [sys.executable, fuzz_worker.__file__, *options],
            input="".join(" ".join(map(str, job)) + "\n" for job in left),
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            check=False,
        )
        lines = [line for line in worker.stdout.split("\n") if line]
        assert lines, worker.stderr
        for begin, outcome in zip(lines[::2], lines[1::2], strict=False):
            found[Path(begin.removeprefix("begin "))] = outcome
        if len(lines) % 2:
            found[Path(lines[-1].removeprefix("begin "))] = f"ended by {-worker.returncode}"
        left = [job for job in left if job[2] not in found]
    return found


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {name: make(folder / f"{name}{suffix}") for name, (suffix, _, make) in FIXTURES.items()}


def test_damaged_files_are_told_or_read_as_by_the_library(originals, tmp_path):
    jobs = [(FIXTURES[name][1], path, path) for name, path in originals.items()]
    for number in range(MUTATIONS):
        name = list(FIXTURES)[number % len(FIXTURES)]
        suffix, kind, _ = FIXTURES[name]
        # A folder of its own for each: nothing is kept from one file to the next.
        path = tmp_path / f"{number}" / f"{name}{suffix}"
        path.parent.mkdir()
        path.write_bytes(mutated(originals[name].read_bytes(), random.Random(f"{SEED} {number}")))
        jobs.append((kind, originals[name], path))
    found = outcomes(jobs)
    assert {originals[name].name: found[path] for name, path in originals.items()} == {
        path.name: "same" for path in originals.values()
    }
    # HDF5 itself may end the process on damaged files; then it must do so without us, too.
    ended = [job for job in jobs if found[job[2]].startswith("ended")]
    alone = outcomes(ended, "--library") if ended else {}
    bad = [f"{path}: {found[path]}" for _, _, path in jobs if found[path].startswith("wrong")]
    bad += [
        f"{path}: {found[path]} while the library survives"
        for path, outcome in alone.items()
        if not outcome.startswith("ended")
    ]
    counts = Counter(outcome.partition(":")[0] for outcome in found.values())
    print(f"{MUTATIONS} damaged files: {dict(counts)}; that ended the process: {[(str(p), found[p]) for *_, p in ended]}")
    assert not bad, "\n".join(bad)
    assert counts["told"] > MUTATIONS / 3
