"""One network of every kind, with weights of order one, and the formulas of the papers written out plainly."""

import torch
from torch import Tensor

from sciml.dynamics.plrnn.networks import (
    PLRNN,
    AlmostLinearRNN,
    DendriticPLRNN,
    PiecewiseLinearNetwork,
    ShallowPLRNN,
)


def networks(replicas: int = 2, **kwargs) -> dict[str, PiecewiseLinearNetwork]:
    torch.manual_seed(3)
    made: dict[str, PiecewiseLinearNetwork] = {
        "plrnn": PLRNN(4, replicas=replicas, **kwargs),
        "mean-centred": PLRNN(4, centred=True, replicas=replicas, **kwargs),
        "dendritic": DendriticPLRNN(4, 3, replicas=replicas, **kwargs),
        "clipped dendritic": DendriticPLRNN(4, 3, clipped=True, replicas=replicas, **kwargs),
        "shallow": ShallowPLRNN(4, 7, clipped=False, replicas=replicas, **kwargs),
        "clipped shallow": ShallowPLRNN(4, 7, replicas=replicas, **kwargs),
        "clipped shallow, bounded": ShallowPLRNN(4, 7, bounded=True, replicas=replicas, **kwargs),
        "almost linear": AlmostLinearRNN(4, 2, replicas=replicas, **kwargs),
    }
    for network in made.values():
        network.double()
        with torch.no_grad():
            for weight in network.parameters():
                weight += 0.2 * torch.randn_like(weight)
    return made


def formula(name: str, network: PiecewiseLinearNetwork, r: int, z: Tensor) -> Tensor:
    """The next state of replica r, z of shape (state,)."""
    decay = torch.tanh(network.decay[r]) if name.endswith("bounded") else network.decay[r]
    A, h = torch.diag(decay), network.shift[r]
    relu = torch.relu
    if name in ("plrnn", "mean-centred", "dendritic", "clipped dendritic"):
        W = torch.zeros(4, 4, dtype=z.dtype)
        for i in range(4):
            W[i, [j for j in range(4) if j != i]] = network.weight[r, i]
        if name == "plrnn":
            return A @ z + W @ relu(z) + h
        if name == "mean-centred":
            return A @ z + W @ relu(z - z.mean()) + h
        total = torch.zeros_like(z)
        for b in range(3):
            term = relu(z - network.thresholds[r, :, b])
            total = total + network.amounts[r, b] * (term - relu(z) if name.startswith("clipped") else term)
        return A @ z + W @ total + h
    if name == "almost linear":
        return A @ z + network.weight[r] @ torch.cat([z[:2], relu(z[2:])]) + h
    u = network.inner[r] @ z
    active = relu(u + network.offset[r])
    return A @ z + network.weight[r] @ (active - relu(u) if name.startswith("clipped") else active) + h
