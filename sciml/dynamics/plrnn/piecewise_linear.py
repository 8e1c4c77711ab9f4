"""The one form that all piecewise-linear recurrent networks have, and on which engines and analysis work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class PiecewiseLinear:
    """z' = A z + W clamp(V z + b, lower, upper) + h, for many replicas at once.

    PLRNN, mean-centred, dendritic, shallow, clipped and almost-linear networks are all of this form: a rectifier is a clamp
    with `upper` infinite, a linear unit one with both infinite, and the difference of rectifiers of a clipped network,
    relu(u + c) - relu(u), is sign(c) clamp(u + relu(c), 0, |c|).

    Args:
        decay: A, a diagonal.
        weight: W.
        shift: h.
        inner: V; None for the identity, one hidden unit per state.
        offset: b.
        lower, upper: of the hidden units.
    """

    decay: Float[Tensor, "replica state"]
    weight: Float[Tensor, "replica state hidden"]
    shift: Float[Tensor, "replica state"]
    inner: Float[Tensor, "replica hidden state"] | None
    offset: Float[Tensor, "replica hidden"]
    lower: Float[Tensor, "replica hidden"]
    upper: Float[Tensor, "replica hidden"]

    @property
    def replicas(self) -> int:
        return self.weight.shape[0]

    @property
    def states(self) -> int:
        return self.weight.shape[1]

    def hidden(self, z: Float[Tensor, "replica *batch state"]) -> Float[Tensor, "replica *batch hidden"]:
        """V z + b."""
        if self.inner is None:
            return z + along(self.offset, z)
        return times(z, self.inner) + along(self.offset, z)

    def __call__(
        self, z: Float[Tensor, "replica *batch state"], drive: Float[Tensor, "replica *batch state"] | None = None
    ) -> Float[Tensor, "replica *batch state"]:
        """The next state.

        Args:
            drive: what external inputs add to it.
        """
        u = self.hidden(z)
        active = torch.clamp(u, along(self.lower, u), along(self.upper, u))
        after = along(self.decay, z) * z + times(active, self.weight) + along(self.shift, z)
        return after if drive is None else after + drive

    def regions(self, z: Float[Tensor, "replica *batch state"]) -> Bool[Tensor, "replica *batch hidden"]:
        """Which hidden units follow their input; of the others it is not said on which side they are."""
        u = self.hidden(z)
        return (u >= along(self.lower, u)) & (u <= along(self.upper, u))

    def jacobian(self, z: Float[Tensor, "replica *batch state"]) -> Float[Tensor, "replica *batch state state"]:
        """A + W D V, rows those of the next state."""
        slopes = self.regions(z).to(z.dtype)
        decay = torch.diag_embed(along(self.decay, z).expand_as(z))
        if self.inner is None:
            return along(self.weight, slopes.unsqueeze(-2)) * slopes.unsqueeze(-2) + decay
        # Each hidden unit adds its own matrix, so that all Jacobians are one product of the pattern with those.
        each = self.weight.mT.unsqueeze(-1) * self.inner.unsqueeze(-2)
        return times(slopes, each.flatten(2).mT).unflatten(-1, each.shape[2:]) + decay

    def replica(self, index: int) -> PiecewiseLinear:
        """One of them alone, still with an axis of replicas."""
        return self._each(lambda part: part[index : index + 1])

    def detached(self) -> PiecewiseLinear:
        """The same numbers without gradients."""
        return self._each(torch.Tensor.detach)

    def to(self, dtype: torch.dtype) -> PiecewiseLinear:
        """The same in another precision."""
        return self._each(lambda part: part.to(dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> PiecewiseLinear:
        return PiecewiseLinear(
            change(self.decay),
            change(self.weight),
            change(self.shift),
            None if self.inner is None else change(self.inner),
            change(self.offset),
            change(self.lower),
            change(self.upper),
        )


def along(values: Tensor, like: Tensor) -> Tensor:
    """(replica, *own) with the axes of the batch of `like` put in between."""
    own = values.shape[1:]
    return values.view(values.shape[0], *[1] * (like.ndim - values.ndim), *own)


def times(z: Tensor, matrix: Tensor) -> Tensor:
    """matrix z for every state of every replica."""
    rows = z.reshape(len(z), -1, z.shape[-1])
    return torch.bmm(rows, matrix.mT).view(*z.shape[:-1], matrix.shape[1])


__all__ = ["PiecewiseLinear", "along", "times"]
