"""Series made in a moment, for recipes that learn from files."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.problems.flows.named import FLOWS


def orbits(name: str, instants: int, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Two stretches of the attractor of a flow, one behind the other, of deviation 1; the first with noise in it."""
    flow = FLOWS[name]
    start = torch.tensor(flow.start, dtype=torch.float64)
    states = flow.trajectory(start, [i * flow.interval for i in range(2 * instants)])
    states = (states - states.mean(0)) / states.std(0)
    first, second = states.split(instants)
    random = torch.Generator().manual_seed(0)
    return first + noise * torch.randn(first.shape, generator=random, dtype=first.dtype), second


def saved(path: Path, series: Tensor) -> Path:
    np.save(path, series.float().numpy())
    return path
