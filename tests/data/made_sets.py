"""Sets of every kind with values from a fixed generator: fields in time, series, particles, samples of unequal length."""

from pathlib import Path

import numpy as np
import torch

from sciml.data.layout import TimeGrid
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter
from sciml.numerics.domain import Domain

PLANE = Domain.box((3.0, 2.0), (6, 5), ("periodic", "dirichlet"), ("cells", "interior"))
LINE = Domain.box((1.0,), (8,), "periodic", "first_end")
TIMES = np.array([0.0, 0.1, 0.3, 0.7])

FIELDS = (
    VariableInfo("kappa", "coefficient", "m2", "permeability", (1, 6, 5), torch.float64),
    VariableInfo("inside", "input", "1", "where there is fluid", (1, 6, 5), torch.bool),
    VariableInfo("v", "state", "m/s", "velocity", (2, 6, 5), torch.float32, 4),
    VariableInfo("c", "state", "mol/l", "concentrations", (3, 6, 5), torch.float64, 4),
    VariableInfo("p", "state", "Pa", "pressure", (1, 6, 5), torch.float32, 4),
    VariableInfo("drag", "state", "N", "force on the wall", (2,), torch.float64, 4),
    VariableInfo("nu", "parameter", "m2/s", "viscosity", (1,), torch.float64),
    VariableInfo("law", "parameter", "1", "constants of the law", (2,), torch.float32),
)
WAVES = (VariableInfo("u", "state", "1", "height", (1, 8), torch.float32, 4),)
MAPS = (
    VariableInfo("a", "input", "1", "source", (1, 8), torch.float32),
    VariableInfo("u", "target", "K", "temperature", (2, 8), torch.float64),
)
SERIES = (VariableInfo("x1", "state", "1", "Lorenz 63", (3,), torch.float64, 9),)
PARTICLES = (
    VariableInfo("position", "state", "um", "where they are", (7, 2), torch.float32, 4, particles=True),
    VariableInfo("radius", "coefficient", "um", "of each", (7, 1), torch.float32, particles=True),
)

AT_POINTS = (
    VariableInfo("f", "input", "N", "function at the sensors", (1, 8), torch.float32),
    VariableInfo("y", "input", "m", "where it is asked for", (7, 2), torch.float32, particles=True),
    VariableInfo("s", "target", "K", "answers at y", (7, 2), torch.float64, particles=True),
)


def values_of(variables, samples, seed=0):
    """Normal numbers about 3, reproducible; of `bool` their sign."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for info in variables:
        numbers = torch.randn(samples, *info.sample_shape, generator=draw, dtype=torch.float64)
        found[info.name] = numbers > 0 if info.dtype == torch.bool else (numbers + 3).to(info.dtype)
    return found


def write_folder(folder: Path, variables, domain, values, time=None, *, split="train") -> Path:
    """One shard, as a whole split."""
    samples = len(next(iter(values.values())))
    place = {"shard": 0, "shards": 1, "split": split}
    about = {"problem": "made up", **place}
    with ShardWriter(folder / "shard-00000.h5", variables, range(samples), domain, about, time) as shard:
        shard.append(values)
        shard.finish(place)
    return folder


def fields_in_time(folder: Path, samples=5) -> Path:
    values = values_of(FIELDS, samples)
    values["nu"][:] = 0.1
    return write_folder(folder, FIELDS, PLANE, values, TimeGrid(TIMES))


def series_of_unequal_length(folder: Path) -> Path:
    steps = np.array([9, 4, 4, 1, 6])
    times = np.where(np.arange(9) < steps[:, None], np.arange(9) * np.arange(1, 6)[:, None] / 8, np.nan)
    return write_folder(folder, SERIES, None, values_of(SERIES, 5), TimeGrid(times, steps))


def particles(folder: Path) -> Path:
    return write_folder(folder, PARTICLES, None, values_of(PARTICLES, 3), TimeGrid(TIMES))


def maps(folder: Path) -> Path:
    return write_folder(folder, MAPS, LINE, values_of(MAPS, 4))


def waves(folder: Path) -> Path:
    return write_folder(folder, WAVES, LINE, values_of(WAVES, 4), TimeGrid(np.arange(4) / 4))


def at_points(folder: Path) -> Path:
    return write_folder(folder, AT_POINTS, LINE, values_of(AT_POINTS, 4))


KINDS = {
    "fields in time": fields_in_time,
    "series of unequal length": series_of_unequal_length,
    "particles": particles,
    "maps": maps,
    "waves": waves,
    "values at points": at_points,
}
