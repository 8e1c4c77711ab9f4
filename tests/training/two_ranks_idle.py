"""A model with a weight that nothing uses, in several processes: a program under torchrun."""

from __future__ import annotations

import sys

import torch

from sciml.data.stream import stream
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.ranks import launched
from training.two_ranks import ConvNet

if __name__ == "__main__":
    with launched("cpu"):
        train = stream(sys.argv[1], batch_size=4)
        model = ConvNet(2)
        model.unused = torch.nn.Parameter(torch.zeros(3))
        try:
            fit(model, RelativeL2(train.domain, ("x",), ("y",)), train, steps=3)
        except ValueError as fact:
            print(fact, flush=True)
