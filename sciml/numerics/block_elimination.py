"""Symmetric nine-point systems by exact elimination, line of nodes by line, batched over samples; also indefinite ones.

Couplings reach from a line of the grid to the next one only: the matrix is block tridiagonal. With D_j the block of line j and
C_j the coupling of lines j and j + 1, elimination from the first line on gives

    S_0 = D_0,   S_(j+1) = D_(j+1) - C_j S_j⁻¹ C_j        (C_j is symmetric here),

a dense n x n matrix per line (Golub & Van Loan, Matrix Computations, section 4.5). There is no exchange of rows between lines:
where the box cut off at line j is near a resonance digits are lost, and refinement brings them back.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.finite_elements import ElementMatrix

Nodes = Float[Tensor, "batch rows columns"]

WORKING_SPACE = 2**27  # numbers: samples are solved together up to so many, 1 GiB in float64


class BlockElimination:
    """The inverses S_j⁻¹ of a matrix, `lines` n² numbers per sample for n nodes on a line; lines are the shorter axis.

    Raises:
        ArithmeticError: an S_j without inverse; the message names the sample and the line.
    """

    def __init__(self, matrix: ElementMatrix) -> None:
        self.across = matrix.centre.shape[2] > matrix.centre.shape[1]
        self.matrix = matrix.transposed() if self.across else matrix
        self.inverses: list[Float[Tensor, "batch node node"]] = []
        for j in range(self.matrix.centre.shape[1]):
            block = _tridiagonal(self.matrix.centre[:, j], self.matrix.right[:, j])
            if j:
                # C X C with X symmetric: C times the transpose of C X
                block -= self._coupled(j - 1, self._coupled(j - 1, self.inverses[-1]).mT)
            inverse, failed = torch.linalg.inv_ex(block)
            if bool(failed.any()):
                sample = int(failed.ne(0).int().argmax())
                raise ArithmeticError(f"matrix: the box up to line {j} of sample {sample} is at a resonance, it has no inverse")
            self.inverses.append(inverse)

    def solve(self, load: Nodes) -> Nodes:
        """A⁻¹ load, as exact as elimination leaves it."""
        load = load.mT if self.across else load
        lines = [load[:, 0, :, None]]
        for j, inverse in enumerate(self.inverses[:-1]):
            lines.append(load[:, j + 1, :, None] - self._coupled(j, inverse @ lines[j]))
        lines[-1] = self.inverses[-1] @ lines[-1]
        for j in range(len(lines) - 2, -1, -1):
            lines[j] = self.inverses[j] @ (lines[j] - self._coupled(j, lines[j + 1]))
        u = torch.stack(lines, 1)[..., 0]
        return u.mT if self.across else u

    def _coupled(self, j: int, x: Float[Tensor, "batch node column"]) -> Float[Tensor, "batch node column"]:
        """C_j x."""
        product = self.matrix.down[:, j, :, None] * x
        beside = self.matrix.cross[:, j, :, None]
        product[:, :-1].addcmul_(beside, x[:, 1:])
        product[:, 1:].addcmul_(beside, x[:, :-1])
        return product


def solve_nine_point(matrix: ElementMatrix, load: Nodes, *, tolerance: float = 1e-10) -> Nodes:
    """Solve A u = f by elimination and one step of refinement; differentiable with respect to A and f.

    The gradient takes one more solve with the same inverses, as A is symmetric. On n x n nodes a sample takes 2 n⁴ operations.

    Args:
        tolerance: the largest relative residual allowed; at least 1000 eps of the dtype.
    Raises:
        ArithmeticError: a sample did not reach it, as it is close to a resonance; the message says what it reached.
    """
    together = max(1, WORKING_SPACE // (load[0].numel() * min(load.shape[1:])))
    if len(load) > together:
        pairs = zip(matrix.split(together), load.split(together), strict=True)
        return torch.cat([solve_nine_point(some, f, tolerance=tolerance) for some, f in pairs])
    with torch.no_grad():
        plain = matrix.detached()
        elimination = BlockElimination(plain)
        first = elimination.solve(load)
    # A solves for what is left over: this refines the value, and carries the whole gradient.
    u = first + _Solve.apply(load - matrix.apply(first), elimination)
    reached = plain.relative_residual(u.detach(), load.detach())
    limit = max(tolerance, 1e3 * torch.finfo(load.dtype).eps)
    if not bool((reached <= limit).all()):
        worst = int(reached.nan_to_num(torch.inf).argmax())
        raise ArithmeticError(
            f"solve_nine_point: sample {worst} reached a relative residual of {reached[worst]:.1e}, need {limit:.1e}; "
            "it is close to a resonance"
        )
    return u


class _Solve(torch.autograd.Function):
    """A⁻¹ times a load, A being held fixed."""

    @staticmethod
    def forward(ctx, load: Tensor, elimination: BlockElimination) -> Tensor:  # pyright: ignore[reportMissingParameterType]
        ctx.elimination = elimination
        return elimination.solve(load)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportMissingParameterType, reportIncompatibleMethodOverride]
        return ctx.elimination.solve(gradient), None


def _tridiagonal(diagonal: Float[Tensor, "batch node"], beside: Float[Tensor, "batch node-1"]) -> Tensor:
    return torch.diag_embed(diagonal) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
