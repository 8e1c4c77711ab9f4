"""What stands beside a model on a finer grid than its own: its answer on its own grid, interpolated."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import pyramid
from sciml.numerics.resolution import inject, interpolate


class Subsampled(nn.Module):
    """A model on every 2^k-th point of a grid, and cubics between its answers.

    Args:
        model: one whose grid is that of `coarse`.
        coarse, fine: the same box, with the same conditions; `fine` has a power of two times as many points per length.
    Raises:
        ValueError: the points of `coarse` are not every second, fourth, ... point of `fine`; on call, another grid than `fine`.
    """

    def __init__(self, model: nn.Module, coarse: Domain, fine: Domain) -> None:
        super().__init__()
        self.model = model
        self.domain = fine
        wanted = pyramid(coarse, coarse.shape, 1)[0]
        grids = pyramid(fine, fine.shape, 1 + max(fine.shape).bit_length())
        boxes = [[(axis.origin, axis.length) for axis in domain.axes] for domain in (coarse, fine)]
        if boxes[0] != boxes[1] or wanted not in grids:
            raise ValueError(f"fine: got {fine}, whose every second, fourth, ... point is not {coarse}")
        self._grids = grids[: grids.index(wanted) + 1]

    def forward(self, given: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch out_channel *space"]:
        """The answers at all points of the fine grid."""
        self.domain.check(given, "given")
        for fine, coarse in pairwise(self._grids):
            given = inject(given, fine, coarse)
        answer = self.model(given)
        for coarse, fine in pairwise(reversed(self._grids)):
            answer = interpolate(answer, coarse, fine)
        return answer


__all__ = ["Subsampled"]
