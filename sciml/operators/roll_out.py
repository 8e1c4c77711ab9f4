"""Steps in time one after the other: an operator for the next instant applied to its own answers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RollOut(nn.Module):
    """From some instants to the next `steps`, by an operator that gives the next one.

    Args:
        step: maps the last instants, joined along the channels, oldest first, to the next.
        steps: how many to give.
        channels: of one instant.
    Raises:
        ValueError: fewer than one step or channel; on call, inputs that are not whole instants, or an operator that gives
            another number of channels.
    """

    def __init__(self, step: nn.Module, steps: int, channels: int = 1) -> None:
        super().__init__()
        if steps < 1 or channels < 1:
            raise ValueError(f"steps, channels: got {steps}, {channels}, need at least 1 each")
        self.step = step
        self.steps = steps
        self.channels = channels

    def forward(self, given: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        """The next instants, joined along the channels."""
        if given.shape[1] % self.channels:
            raise ValueError(f"given: got {given.shape[1]} channels, need whole instants of {self.channels}")
        answers: list[Tensor] = []
        for _ in range(self.steps):
            answer = self.step(given)
            if answer.shape[1] != self.channels:
                raise ValueError(f"step: gave {answer.shape[1]} channels, need the {self.channels} of one instant")
            answers.append(answer)
            given = torch.cat((given[:, self.channels :], answer), 1)
        return torch.cat(answers, 1)


__all__ = ["RollOut"]
