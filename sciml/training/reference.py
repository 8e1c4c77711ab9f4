"""The classical method as a row of the table: the problem's own solver on the grid of the test samples."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.numerics.domain import Domain
from sciml.problems.problem import Problem


class ReferenceSolver(nn.Module):
    """Answers inputs by solving the equation, so that its error and its time stand beside those of learned operators.

    On the grid that the set was solved on the error is that of the stored digits; on a coarser one it is that of the
    discretisation.

    Args:
        problem: one with one target.
        domain: the grid of the inputs.
        channels: per input variable, in the order of the channels, how many it has.
    Raises:
        ValueError: the problem has several targets.
    """

    def __init__(self, problem: Problem, domain: Domain, channels: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        targets = [name for name, variable in problem.variables().items() if variable.role == "target"]
        if len(targets) != 1:
            raise ValueError(f"problem: has targets {', '.join(targets) or 'none'}, a reference answers exactly one")
        self.problem = problem
        self.domain = domain
        self.channels = channels
        self._target = targets[0]

    def forward(self, given: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch out_channel *space"]:
        """Solve in float64, on the device of the inputs.

        Raises:
            ValueError: another grid than that of the domain.
        """
        self.domain.check(given, "given")
        parts = given.to(torch.float64).split([count for _, count in self.channels], dim=1)
        fields = {name: part.contiguous() for (name, _), part in zip(self.channels, parts, strict=True)}
        return self.problem.solve(fields, self.domain)[self._target].to(given.dtype)
