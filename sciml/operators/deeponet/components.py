"""Principal components of input functions: numbers of order one that do not repeat each other, for a branch to start from.

Values of a smooth function at many sensors are nearly the same number many times over; a network that is given them learns the
differences, in which the function is, last.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.operators.deeponet.fixed import Fixed


class PrincipalComponents(Fixed):
    """(u - mean) directions: of mean 0 and deviation 1 over the functions that they were found from.

    Args:
        mean: of all numbers of an input function in a row, (number,).
        directions: (number, component).
    """

    def __init__(self, mean: Float[Tensor, "number"], directions: Float[Tensor, "number component"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("directions", directions, persistent=False)

    @classmethod
    def of(cls, u: Float[Tensor, "function *numbers"], *, count: int = 64, least: float = 1e-6) -> PrincipalComponents:
        """From training functions, by a singular value decomposition in float64.

        Args:
            count: at most so many.
            least: deviation of the last, of that of the first: below it is what rounding or noise made of the values.
        Raises:
            ValueError: functions that are all the same.
        """
        rows = u.double().flatten(1)
        mean = rows.mean(0)
        _, sizes, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        found = min(count, int((sizes > least * sizes[0]).sum()))
        if found < 1:
            raise ValueError(f"u: got {len(rows)} functions that are all the same, need some that differ")
        return cls(mean, directions[:found].T / (sizes[:found] / len(rows) ** 0.5))

    @property
    def count(self) -> int:
        """Components."""
        return self.get_buffer("directions").shape[1]

    def forward(self, u: Float[Tensor, "function *numbers"]) -> Float[Tensor, "function component"]:
        """Raises a ValueError for another number of values per function."""
        row, mean = u.flatten(1), self.get_buffer("mean")
        if row.shape[1] != len(mean):
            raise ValueError(f"u: got {row.shape[1]} numbers per function, the components are of {len(mean)}")
        return (row - mean.to(row)) @ self.get_buffer("directions").to(row)


__all__ = ["PrincipalComponents"]
