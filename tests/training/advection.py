"""Waves that travel, u(x - c t) with the exact solution: sets for what is trained on windows in time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sciml.data.layout import TimeGrid
from sciml.data.variables import VariableInfo
from sciml.data.writer import ShardWriter
from sciml.numerics.domain import Domain

STEPS, STEP = 9, 0.05
POINTS = 16


def line(points: int = POINTS) -> Domain:
    return Domain.box((1.0,), (points,), "periodic")


def write_advection(path: Path, samples: int, seed: int, points: int = POINTS) -> Path:
    """`u` at 9 instants 0.05 s apart, and its speed `c` in 0.2 ... 1 as a parameter; three waves of random phase each."""
    generator = torch.Generator().manual_seed(seed)
    speed = 0.2 + 0.8 * torch.rand(samples, 1, generator=generator, dtype=torch.float64)
    phase = 2 * math.pi * torch.rand(samples, 3, generator=generator, dtype=torch.float64)
    times = STEP * np.arange(STEPS)
    x = line(points).mesh()[0]
    moved = x - speed[:, :, None] * torch.from_numpy(times)[:, None]  # (sample, time, x)
    u = sum(torch.sin(2 * math.pi * k * moved + phase[:, k - 1, None, None]) / k for k in (1, 2, 3))
    variables = (
        VariableInfo("u", "state", "m", "height", (1, points), torch.float64, STEPS),
        VariableInfo("c", "parameter", "m/s", "speed", (1,), torch.float64),
    )
    with ShardWriter(path, variables, range(samples), line(points), {"seed": seed}, TimeGrid(times)) as shard:
        shard.append({"u": torch.as_tensor(u)[:, :, None], "c": speed})
        shard.finish({})
    return path


class Convolution(nn.Module):
    """A linear map of each point and its neighbours, on any periodic line."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.linear = nn.Conv1d(in_channels, out_channels, 5, padding=2, padding_mode="circular")

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.linear(a)
