"""Networks that serve as branch or trunk: numbers of a function, or points, to the coefficients or functions of a basis.

A branch maps (function, ...) to (function, coefficient), a trunk (*points, coordinate) to (*points, function); any module
that does is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeGuard, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.operators.deeponet.fixed import Fixed

Activation = Literal["relu", "tanh", "gelu", "gelu_tanh", "silu", "elu", "sine"]

_ACTIVATIONS = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "elu": functional.elu,
    "sine": torch.sin,
}


def act(activation: Activation, x: Tensor) -> Tensor:
    """The activation of that name, number by number."""
    return _ACTIVATIONS[activation](x)


def slopes(activation: Activation, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The activation and its first two derivatives, None for a second that is zero; None where they are not known here."""
    match activation:
        case "tanh":
            value = torch.tanh(x)
            slope = 1 - value.square()
            return value, slope, -2 * value * slope
        case "sine":
            value = torch.sin(x)
            return value, torch.cos(x), -value
        case "relu":
            return functional.relu(x), (x > 0).to(x.dtype), None
        case "gelu":
            density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
            part = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
            return x * part, part + x * density, (2 - x.square()) * density
        case _:
            return None


Kind = TypeVar("Kind", bound=nn.Module)


def is_plain(network: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Whether a module is of this very class and nothing is hooked to it, so that its parts may be used in its place.

    Of an MLP also its layers: linear ones, neither replaced nor parametrised, so that their weights may be set, too.
    """
    if type(network) is not kind or not _is_bare(network):
        return False
    layers = network.layers if isinstance(network, MLP) else ()
    return all(type(layer) is nn.Linear and _is_bare(layer) for layer in layers)


def _is_bare(module: nn.Module) -> bool:
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return not any(hooks) and "forward" not in vars(module)


def last_linear(network: nn.Module) -> nn.Linear | None:
    """The linear layer that a network ends in; None where it ends otherwise, or is not of this module."""
    if is_plain(network, MLP):
        return None if network.last_activation else cast(nn.Linear, network.layers[-1])
    if is_plain(network, Flattened):
        return last_linear(network.network)
    return last_linear(network.modules_in_order[-1]) if is_plain(network, Chain) else None


def before_last(network: nn.Module, x: Tensor) -> Tensor:
    """What the layer of `last_linear` is given."""
    if isinstance(network, Flattened):
        return before_last(network.network, x.flatten(1))
    if isinstance(network, Chain):
        for part in network.modules_in_order[:-1]:
            x = part(x)
        return before_last(network.modules_in_order[-1], x)
    assert isinstance(network, MLP)
    return network.hidden(x)


def _check(widths: Sequence[int], activation: str) -> None:
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths: got {tuple(widths)}, need at least two positive numbers, inputs first and outputs last")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: got {activation!r}, need one of {', '.join(_ACTIVATIONS)}")


class MLP(nn.Module):
    """Linear layers with an activation between them; weights from the normal law of Glorot & Bengio (2010), biases 0.

    Args:
        widths: inputs, hidden widths, outputs.
        activation: between the layers.
        last_activation: also behind the last: usual for a trunk, whose outputs are functions of a basis, and not for a branch.
        bias: whether the layers have one. Without biases and with two widths it is a linear map, for operators that are linear
            in this input.
    Raises:
        ValueError: fewer than two widths, or an activation that is not known.
    """

    def __init__(
        self, widths: Sequence[int], activation: Activation = "relu", last_activation: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        _check(widths, activation)
        self.activation: Activation = activation
        self.widths, self.last_activation, self.bias = tuple(widths), last_activation, bias
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=bias) for n, m in pairwise(widths))
        for layer in self.layers:
            _glorot(layer)

    def forward(self, x: Float[Tensor, "*lead input"]) -> Float[Tensor, "*lead output"]:
        """Raises a ValueError for another number of inputs than the first width."""
        x = self.layers[-1](self.hidden(x))
        return act(self.activation, x) if self.last_activation else x

    def hidden(self, x: Float[Tensor, "*lead input"]) -> Float[Tensor, "*lead width"]:
        """What the last layer is given."""
        _check_last(x, self.widths[0])
        for layer in self.layers[:-1]:
            x = act(self.activation, layer(x))
        return x


class ResidualMLP(nn.Module):
    """x <- x + W₂ act(W₁ LayerNorm(x)), `depth` times, between a linear layer in and one out.

    Args:
        widths: inputs, the width of all blocks, outputs.
        depth: number of blocks.
    Raises:
        ValueError: other than three widths, no block, or an activation that is not known.
    """

    def __init__(self, widths: Sequence[int], depth: int = 2, activation: Activation = "gelu") -> None:
        super().__init__()
        _check(widths, activation)
        if len(widths) != 3 or depth < 1:
            raise ValueError(
                f"widths, depth: got {tuple(widths)}, {depth}, need (inputs, width, outputs) and at least one block"
            )
        self.activation: Activation = activation
        self.widths, self.depth = tuple(widths), depth
        inputs, width, outputs = widths
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.blocks = nn.ModuleList(MLP((width, width, width), activation) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def forward(self, x: Float[Tensor, "*lead input"]) -> Float[Tensor, "*lead output"]:
        """Raises a ValueError for another number of inputs than the first width."""
        _check_last(x, self.widths[0])
        x = self.enter(x)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            x = x + block(norm(x))
        return self.leave(x)


class StackedMLP(nn.Module):
    """As many networks of one output each as there are coefficients, side by side: the stacked branch of Lu et al. (2021).

    All are worked through together, layer by layer, as one batched product.

    Args:
        widths: inputs and hidden widths of each network.
        outputs: number of networks.
    Raises:
        ValueError: fewer than two widths, no network, or an activation that is not known.
    """

    def __init__(self, widths: Sequence[int], outputs: int, activation: Activation = "relu") -> None:
        super().__init__()
        _check(widths, activation)
        if outputs < 1:
            raise ValueError(f"outputs: got {outputs}, need at least one network")
        self.activation: Activation = activation
        self.widths, self.outputs = tuple(widths), outputs
        sizes = list(pairwise((*widths, 1)))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(outputs, n, m)) for n, m in sizes)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(outputs, 1, m)) for _, m in sizes)
        for (n, m), weight in zip(sizes, self.weights, strict=True):
            nn.init.normal_(weight, std=math.sqrt(2 / (n + m)))

    def forward(self, x: Float[Tensor, "function input"]) -> Float[Tensor, "function output"]:
        """Raises a ValueError for another number of inputs than the first width."""
        _check_last(x, self.widths[0])
        h = x.expand(self.outputs, *x.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if i + 1 < len(self.weights):
                h = act(self.activation, h)
        return h[..., 0].T


class ConvolutionalBranch(nn.Module):
    """Convolutions with stride 2 over a grid, then an MLP over all that is left; a grid of one size only.

    Args:
        shape: points per side of the input function.
        in_channels: of the input function.
        channels: of the convolutions, 5 points wide, one after the other.
        widths: of the MLP behind, outputs last; its inputs follow from the rest.
    Raises:
        ValueError: no convolution, no widths, a dimension other than 1, 2 or 3, or an activation that is not known.
    """

    def __init__(
        self,
        shape: Sequence[int],
        in_channels: int,
        channels: Sequence[int] = (64, 128),
        widths: Sequence[int] = (128, 128),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        if len(shape) not in (1, 2, 3) or not channels or not widths:
            raise ValueError(
                f"shape: got {tuple(shape)} with channels {tuple(channels)}, widths {tuple(widths)}; need 1 to 3 sides"
            )
        self.shape, self.in_channels, self.channels = tuple(shape), in_channels, tuple(channels)
        self.activation: Activation = activation
        self.widths = tuple(widths)
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(shape) - 1]
        self.convolutions = nn.ModuleList(kind(n, m, 5, stride=2, padding=2) for n, m in pairwise((in_channels, *channels)))
        left = math.prod(_halved(n, len(channels)) for n in shape) * channels[-1]
        self.head = MLP((left, *widths), activation)

    def forward(self, u: Float[Tensor, "function channel *space"]) -> Float[Tensor, "function output"]:
        """Raises a ValueError for another grid or other channels."""
        if tuple(u.shape[1:]) != (self.in_channels, *self.shape):
            raise ValueError(
                f"u: got shape {tuple(u.shape)}, need (function, {self.in_channels}, {', '.join(map(str, self.shape))})"
            )
        for convolution in self.convolutions:
            u = act(self.activation, convolution(u))
        return self.head(u.flatten(1))


class Flattened(nn.Module):
    """A branch that sees all numbers of its function in one row.

    Args:
        network: (function, number) to (function, coefficient).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, u: Float[Tensor, "function *numbers"]) -> Float[Tensor, "function output"]:
        return self.network(u.flatten(1))


class Chain(nn.Module):
    """One module after the other.

    Args:
        parts: in the order in which they are applied.
    Raises:
        ValueError: no part.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts: got none, need at least one module")
        self.parts = tuple(parts)
        self.modules_in_order = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.modules_in_order:
            x = part(x)
        return x


class Beside(nn.Module):
    """The outputs of several modules for the same input, one behind the other: independent networks for several outputs.

    Args:
        parts: distinct modules; the first gives the coefficients of the first output.
    Raises:
        ValueError: a module that is there twice, whose outputs would share their weights.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        if len({id(part) for part in parts}) < len(parts):
            raise ValueError("parts: got one module twice, need modules of their own; make each by its own call")
        self.parts = tuple(parts)
        self.modules_in_order = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.modules_in_order], -1)


class FourierFeatures(Fixed):
    """cos(F y) and sin(F y), F drawn once from N(0, scale²) (Tancik et al. 2020): a trunk that can follow short waves.

    Args:
        dim: coordinates of a point.
        count: rows of F; the outputs are twice as many.
        scale: in radians per unit of length.
        seed: of F.
    """

    def __init__(self, dim: int, count: int, scale: float, seed: int = 0) -> None:
        super().__init__()
        if min(dim, count) < 1 or not 0 < scale < math.inf:
            raise ValueError(f"dim, count, scale: got {dim}, {count}, {scale}, need positive finite numbers")
        self.dim, self.count, self.scale, self.seed = dim, count, scale, seed
        rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points feature"]:
        """Raises a ValueError for another number of coordinates."""
        _check_last(y, self.dim)
        phase = y @ self.get_buffer("rows").to(y).T
        return torch.cat([torch.cos(phase), torch.sin(phase)], -1)


class PeriodicFeatures(nn.Module):
    """cos and sin of the first waves on the period of each periodic coordinate: exactly periodic whatever the weights.

    Args:
        periods: of each coordinate, in its unit; None leaves the coordinate as it is.
        waves: how many, from one on the period on.
    """

    def __init__(self, periods: Sequence[float | None], waves: int = 2) -> None:
        super().__init__()
        if not periods or waves < 1 or any(p is not None and not 0 < p < math.inf for p in periods):
            raise ValueError(f"periods, waves: got {tuple(periods)}, {waves}, need positive finite numbers")
        self.periods, self.waves = tuple(periods), waves

    @property
    def count(self) -> int:
        """Outputs per point."""
        return sum(1 if period is None else 2 * self.waves for period in self.periods)

    def forward(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points feature"]:
        """Raises a ValueError for another number of coordinates."""
        _check_last(y, len(self.periods))
        parts = []
        for axis, period in enumerate(self.periods):
            place = y[..., axis : axis + 1]
            if period is None:
                parts.append(place)
            else:
                phase = place * (2 * math.pi / period * torch.arange(1, self.waves + 1, dtype=torch.float64)).to(y)
                parts += [torch.cos(phase), torch.sin(phase)]
        return torch.cat(parts, -1)


def _check_last(x: Tensor, needed: int) -> None:
    if x.ndim < 1 or x.shape[-1] != needed:
        raise ValueError(f"x: got shape {tuple(x.shape)}, need {needed} numbers along the last axis")


def _glorot(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    nn.init.xavier_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _halved(points: int, times: int) -> int:
    for _ in range(times):
        points = (points + 1) // 2
    return points


__all__ = [
    "MLP",
    "Activation",
    "Beside",
    "Chain",
    "ConvolutionalBranch",
    "Flattened",
    "FourierFeatures",
    "PeriodicFeatures",
    "ResidualMLP",
    "StackedMLP",
    "act",
    "before_last",
    "is_plain",
    "last_linear",
    "slopes",
]
