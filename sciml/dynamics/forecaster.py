"""What every model of a dynamical system can do, whatever is inside: go on from the last instants of a series."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Forecaster(Protocol):
    """A model that goes on from a series by itself; reports and measures need no more of it.

    Replicas are models of the same kind that do not see each other, such as seeds. One that was not made for several has one.
    """

    @property
    def replicas(self) -> int: ...
    @property
    def observed(self) -> int:
        """Numbers per instant of a series."""
        ...

    @property
    def context(self) -> int:
        """How many instants it wants to see before it goes on; more do no harm."""
        ...

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The `steps` instants that follow the last one of the series."""
        ...


__all__ = ["Forecaster"]
