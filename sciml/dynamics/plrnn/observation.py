"""How states are seen: the first of them as they are, or through a matrix."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.plrnn.piecewise_linear import times


class Observation(nn.Module, ABC):
    """x = O(z), and what a series of x says about z.

    Args:
        observed: numbers per instant of a series.
        latent: numbers per state.
    """

    def __init__(self, observed: int, latent: int, replicas: int) -> None:
        super().__init__()
        self.observed, self.latent, self.replicas = observed, latent, replicas
        self.register_buffer("_none", torch.zeros(replicas), persistent=False)

    @abstractmethod
    def forward(self, z: Float[Tensor, "replica *batch latent"]) -> Float[Tensor, "replica *batch observed"]:
        """What is seen of states."""

    @abstractmethod
    def start(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """The state to begin from, with a gradient for what is learned."""

    @abstractmethod
    def targets(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """States to be forced towards, without a gradient."""

    @abstractmethod
    def forced(self) -> Float[Tensor, "latent"]:
        """1 for the states that are forced, 0 for those that a series says nothing about."""

    @abstractmethod
    def penalty(self) -> Float[Tensor, "replica"]:
        """What keeps the inverse well conditioned; 0 where there is none to keep."""


class FirstStates(Observation):
    """x is the first states; the others begin at L x, with L learned, and are never forced."""

    def __init__(self, observed: int, latent: int, replicas: int) -> None:
        super().__init__(observed, latent, replicas)
        if not 1 <= observed <= latent:
            raise ValueError(f"observed: got {observed}, need 1 to latent = {latent}; with more take linear_observation=True")
        rest = latent - observed
        self.others = nn.Parameter(_glorot(replicas, rest, observed)) if rest else None

    def forward(self, z: Float[Tensor, "replica *batch latent"]) -> Float[Tensor, "replica *batch observed"]:
        """The first of them."""
        return z[..., : self.observed]

    def start(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """[x, L x]."""
        return x if self.others is None else torch.cat([x, times(x, self.others)], -1)

    def targets(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """[x, 0]."""
        return nn.functional.pad(x, (0, self.latent - self.observed))

    def forced(self) -> Float[Tensor, "latent"]:
        """The first."""
        none = self.get_buffer("_none")
        return (torch.arange(self.latent, device=none.device) < self.observed).to(none.dtype)

    def penalty(self) -> Float[Tensor, "replica"]:
        """0."""
        return self.get_buffer("_none")


class Linear(Observation):
    """x = B z; series are brought to states by the pseudo-inverse of B, which has a gradient in the first state only."""

    def __init__(self, observed: int, latent: int, replicas: int) -> None:
        super().__init__(observed, latent, replicas)
        if observed < 1:
            raise ValueError(f"observed: got {observed}, need at least 1")
        matrix = torch.empty(replicas, observed, latent).normal_(std=math.sqrt(2 / latent))
        self.matrix = nn.Parameter(matrix)

    def forward(self, z: Float[Tensor, "replica *batch latent"]) -> Float[Tensor, "replica *batch observed"]:
        """B z."""
        return times(z, self.matrix)

    def start(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """pinv(B) x."""
        return times(x, torch.linalg.pinv(self.matrix))

    def targets(self, x: Float[Tensor, "replica *batch observed"]) -> Float[Tensor, "replica *batch latent"]:
        """pinv(B) x."""
        with torch.no_grad():
            return times(x, torch.linalg.pinv(self.matrix))

    def forced(self) -> Float[Tensor, "latent"]:
        """All."""
        return self.matrix.new_ones(self.latent)

    def penalty(self) -> Float[Tensor, "replica"]:
        """(1 - s_max / s_min)² of the singular values of B."""
        sizes = torch.linalg.svdvals(self.matrix)
        return (1 - sizes[:, 0] / (sizes[:, -1] + 1e-8)).square()


def _glorot(replicas: int, rows: int, columns: int) -> Tensor:
    bound = math.sqrt(6 / (rows + columns))
    return torch.empty(replicas, rows, columns).uniform_(-bound, bound)


__all__ = ["FirstStates", "Linear", "Observation"]
