"""Stages of Levenberg and Marquardt's method after the steps of `fit`, each kept as soon as it is done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from sciml.data.batch import MASK
from sciml.data.stream import Stream
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.levenberg_marquardt import levenberg_marquardt
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.dynamics.plrnn.strength import Kalman
from sciml.training.checkpoint import fields_of, save

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """So many iterations on windows of so many steps, one beginning `every` instants; errors of the warm-up do not count.

    Args:
        strength: of forcing, constant, or the gains of a Kalman filter of the networks as the stage begins.
    """

    strength: float | Kalman
    steps: int
    warm_up: int
    every: int
    iterations: int

    def windows(self, series: Shaped[Tensor, "trajectory time component"]) -> Shaped[Tensor, "window step component"]:
        """Of a series.

        Raises:
            ValueError: a series that is not longer than a window.
        """
        if series.shape[1] <= self.steps:
            raise ValueError(f"series: got {series.shape[1]} instants, need more than the {self.steps} steps of a stage")
        return series.unfold(1, self.steps + 1, self.every).movedim(-1, 2).flatten(0, 1)


def refine(
    model: PiecewiseLinearNetwork,
    series: Float[Tensor, "trajectory time component"],
    stages: Sequence[Stage],
    samples: Stream,
    folder: Path,
    *,
    name: str = "state",
    good: Bool[Tensor, "trajectory time component"] | None = None,
) -> None:
    """Take a trained network through `stages`, in place, and write `refined.pt` into `folder` after each.

    Args:
        series: in float64, what the network learns from.
        samples: the stream of `fit`, whose variables the checkpoint names.
        name: of the series there.
        good: which values of the series there are, where some are missing; the others may be any number.
    Raises:
        ValueError: as `Stage.windows` or `levenberg_marquardt`.
    """
    given, asked = fields_of(samples, samples.inputs), fields_of(samples, samples.targets)
    for stage in stages:
        objective = GeneralizedTeacherForcing(stage.strength, series=name, warm_up=stage.warm_up)
        batch = {name: stage.windows(series if good is None else torch.where(good, series, 0))}
        if good is not None:
            batch[f"{name}{MASK}"] = stage.windows(good)
        done = levenberg_marquardt(model, objective, batch, iterations=stage.iterations)
        _log.info("%s: median of the objective %.6f, then %.6f", stage, median(done.first), median(done.last))
        model.float()
        save(folder / "refined.pt", model, domain=None, inputs=given, targets=asked, window=samples.window)


__all__ = ["Stage", "refine"]
