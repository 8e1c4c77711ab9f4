"""Random sums of a few sine waves on a period: initial functions that are known at every point of space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count
from sciml.numerics.random_fields import Seeds


@dataclass(frozen=True)
class WaveSum:
    """u(s) = ± Σ_j A_j sin(2π n_j s + φ_j) on the period 0 <= s < 1, in parts of the samples |u| or seen through a window.

    n_j is a whole number from 1 to `largest`, A_j uniform on [0, 1), φ_j uniform on [0, 2π), each drawn anew per wave and
    sample; two waves may have the same number. The absolute value is taken before the sign. The window is
    (tanh((s - l) / d) - tanh((s - r) / d)) / 2 with l uniform on [0.1, 0.45), r on [0.55, 0.9) and d = 0.01, a rise and a
    fall.

    Source: Takamoto et al., "PDEBench", NeurIPS 2022 (arXiv 2210.07182), its one-dimensional initial conditions.

    Args:
        waves: how many are added up.
        largest: highest number of waves on the period.
        absolute: share of the samples of which the absolute value is taken.
        windowed: share of the samples seen through a window.
    """

    waves: int = 2
    largest: int = 8
    absolute: float = 0.1
    windowed: float = 0.1

    def __post_init__(self) -> None:
        check_count(waves=self.waves, largest=self.largest)
        for name, share in (("absolute", self.absolute), ("windowed", self.windowed)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: got {share}, need a share from 0 to 1")

    @property
    def count(self) -> int:
        """How many numbers fix a function."""
        return 3 * self.waves + 5

    @property
    def meaning(self) -> str:
        """What the columns of `draw` are."""
        return f"{self.waves} each of n, A, φ; sign, absolute, windowed, left, right"

    def parameters(self) -> Mapping[str, object]:
        return asdict(self)

    def draw(self, seeds: Seeds) -> Float[Tensor, "sample numbers"]:
        """The numbers of the functions: n_1 ..., A_1 ..., φ_1 ..., sign, absolute or not, windowed or not, l, r; float64."""
        k = self.waves
        random = seeds.uniform("waves", self.count)
        n = torch.floor(random[:, :k] * self.largest) + 1
        sign, absolute, windowed, left, right = random[:, 3 * k :].unbind(1)
        rest = [
            torch.where(sign < 0.5, -1.0, 1.0),
            (absolute < self.absolute).double(),
            (windowed < self.windowed).double(),
            0.1 + 0.35 * left,
            0.55 + 0.35 * right,
        ]
        return torch.cat([n, random[:, k : 2 * k], 2 * math.pi * random[:, 2 * k : 3 * k], torch.stack(rest, 1)], 1)

    def __call__(
        self, numbers: Float[Tensor, "sample numbers"], place: Float[Tensor, "*points"]
    ) -> Float[Tensor, "sample *points"]:
        """Values at `place`, in periods and within [0, 1)."""
        columns = numbers.reshape(*numbers.shape, *[1] * place.ndim).unbind(1)
        k = self.waves
        u = torch.zeros_like(place).expand(len(numbers), *place.shape)
        for n, amplitude, phase in zip(columns[:k], columns[k : 2 * k], columns[2 * k : 3 * k], strict=True):
            u = u + amplitude * torch.sin(2 * math.pi * n * place + phase)
        sign, absolute, windowed, left, right = columns[3 * k :]
        u = sign * torch.where(absolute > 0.5, u.abs(), u)
        window = (torch.tanh((place - left) / 0.01) - torch.tanh((place - right) / 0.01)) / 2
        return torch.where(windowed > 0.5, u * window, u)
