"""DeepONet for one input function and MIONet for several: branch networks, a trunk network, and their products.

Sources: Lu, Jin, Pang, Zhang & Karniadakis, Nat. Mach. Intell. 3 (2021) 218 (unstacked and stacked, biases); Jin, Meng & Lu,
"MIONet", SIAM J. Sci. Comput. 44 (2022) A3490; Lu et al., Comput. Methods Appl. Mech. Eng. 393 (2022) 114778 (several
outputs, hard boundary conditions).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.operators.deeponet.factorised import Basis, Coefficients, Factorised
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.networks import MLP, Activation, before_last, last_linear

Split = Literal["both", "branch", "trunk"]

Units = float | Sequence[float] | Tensor | np.ndarray
"""One number for all outputs, or one for each."""

Layer = tuple[Float[Tensor, "_ _"], Float[Tensor, "_"]]
"""Kernel, (input, output), and bias, (output,)."""


class HardBoundary(nn.Module):
    """s(y) = offset(y) + factor(y) net(y): where the factor is 0, the answer is the offset, whatever the weights.

    Args:
        factor, offset: modules from (*points, coordinate) to (*points, channel or 1); no offset is 0.
    """

    def __init__(self, factor: nn.Module, offset: nn.Module | None = None) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset


class BoxFactor(nn.Module):
    """scale Π (y_i - low_i) (high_i - y_i), without the factors of sides that are None: zero on the others.

    Args:
        low, high: of each coordinate.
        scale: such that the product is about 1 inside.
    Raises:
        ValueError: other numbers of low and high sides, or a side that is not below its opposite.
    """

    def __init__(self, low: Sequence[float | None], high: Sequence[float | None], scale: float = 1.0) -> None:
        super().__init__()
        if len(low) != len(high) or any(a is not None and b is not None and not a < b for a, b in zip(low, high, strict=False)):
            raise ValueError(f"low, high: got {tuple(low)}, {tuple(high)}, need as many of each, low below high")
        self.low, self.high, self.scale = tuple(low), tuple(high), float(scale)

    def forward(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points 1"]:
        """Raises a ValueError for another number of coordinates."""
        if y.shape[-1] != len(self.low):
            raise ValueError(f"y: got shape {tuple(y.shape)}, need {len(self.low)} coordinates")
        value = torch.full_like(y[..., :1], self.scale)
        for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            place = y[..., axis : axis + 1]
            value = value if low is None else value * (place - low)
            value = value if high is None else value * (high - place)
        return value


class _Outputs(Fixed):
    """What DeepONet and MIONet share behind their networks: several outputs, bias, units and sides."""

    def __init__(
        self,
        channels: int,
        split: Split,
        bias: bool,
        scale: Units,
        shift: Units,
        boundary: HardBoundary | None,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels: got {channels}, need at least one output")
        if split not in ("both", "branch", "trunk"):
            raise ValueError(f"split: got {split!r}, need 'both', 'branch' or 'trunk'")
        self.channels, self.split, self.boundary = channels, split, boundary
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.units = scale != 1.0
        for name, values in (("scale", scale), ("shift", shift)):
            numbers = torch.tensor(values, dtype=torch.float64)
            if numbers.numel() not in (1, channels) or not bool(numbers.isfinite().all()):
                raise ValueError(f"{name}: got {values}, need one finite number, or one for each of {channels} outputs")
            self.register_buffer(name, numbers.reshape(-1).expand(channels).clone(), persistent=False)

    def coefficients(self, raw: Float[Tensor, "function number"]) -> Coefficients:
        """In the unit of the answer, unless the outputs share them."""
        return self._cut("branch", raw)

    def basis(self, raw: Float[Tensor, "*points number"], y: Float[Tensor, "*points coordinate"]) -> Basis:
        """Zero where the boundary says so."""
        t = self._cut("trunk", raw)
        return t if self.boundary is None else t * self.boundary.factor(y)[..., None]

    def offset(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points channel"]:
        value = self.get_buffer("shift").to(y)
        if self.bias is not None:
            value = value + self.bias * self.get_buffer("scale").to(y)
        value = value.expand(*y.shape[:-1], self.channels)
        if self.boundary is not None:
            value = value * self.boundary.factor(y)
            value = value if self.boundary.offset is None else value + self.boundary.offset(y)
        return value

    def _cut(self, side: str, raw: Tensor) -> Tensor:
        """A channel axis before the last."""
        parts = self.channels if self.split in ("both", side) else 1
        if raw.shape[-1] % parts:
            raise ValueError(
                f"{side}: gives {raw.shape[-1]} numbers, need a multiple of {parts}, those of each output together"
            )
        cut = raw.unflatten(-1, (parts, -1))
        return self.scaled(side, cut)

    def scaled(self, side: str, values: Tensor) -> Tensor:
        """(..., channel or 1, term) in the unit of the answer, on the side that has a channel of its own for each output."""
        if not self.units or side != ("trunk" if self.split == "trunk" else "branch"):
            return values
        scale = self.get_buffer("scale").to(values)
        return values * (scale[:, None] if self.channels > 1 else scale)


class _WithTrunk(Factorised):
    """What DeepONet and MIONet share: the trunk and the outputs, with their arguments, which a checkpoint reads back by name.

    Args:
        trunk, channels, split, bias, scale, shift, boundary: of `DeepONet`.
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: int,
        split: Split,
        bias: bool,
        scale: Units,
        shift: Units,
        boundary: HardBoundary | None,
    ) -> None:
        super().__init__()
        self.trunk, self.channels, self.bias = trunk, channels, bias
        self.split: Split = split
        self.scale, self.shift, self.boundary = _plain(scale), _plain(shift), boundary
        self.outputs = _Outputs(channels, split, bias, self.scale, self.shift, boundary)

    @property
    def shares_coefficients(self) -> bool:
        return self.split == "trunk" and self.channels > 1

    def basis(self, y: Float[Tensor, "*points coordinate"]) -> Basis:
        return self.outputs.basis(self.trunk(y), y)

    def offset(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points channel"]:
        return self.outputs.offset(y)


class DeepONet(_WithTrunk):
    """G(u)(y)_c = Σ_k b_ck(u) t_ck(y) + bias_c, with networks b, the branch, and t, the trunk.

    Several outputs: `split` says which networks give numbers for each output, those of the first output first:

    - "both": branch and trunk; with `Beside` as branch and trunk each output has networks of its own ("independent");
    - "branch": the outputs share the functions of the trunk;
    - "trunk": the outputs share the coefficients.

    Args:
        branch: any module from u to (function, number): `MLP`, `ResidualMLP`, `StackedMLP`, `ConvolutionalBranch`,
            `SetEncoder`, or one of your own.
        trunk: any module from (*points, coordinate) to (*points, number).
        channels: outputs per point.
        bias: whether there is one per output.
        scale, shift: s = shift + scale net, of all outputs or of each: the unit of the answer. A scale of 1 / sqrt(terms) keeps
            answers of order one at the start.
        boundary: sides where the answer is given.
    Raises:
        ValueError: no output, a `split` that is not known, scale or shift not one per output.
    """

    def __init__(
        self,
        branch: nn.Module,
        trunk: nn.Module,
        *,
        channels: int = 1,
        split: Split = "both",
        bias: bool = True,
        scale: Units = 1.0,
        shift: Units = 0.0,
        boundary: HardBoundary | None = None,
    ) -> None:
        super().__init__(trunk, channels, split, bias, scale, shift, boundary)
        self.branch = branch

    def encode(self, u: object) -> Coefficients:
        """(function, channel or 1, term); raises a ValueError where the branch gives no row per function."""
        return self.outputs.coefficients(_rows("branch", self.branch(u)))

    def in_other_order(self, u: object, y: Float[Tensor, "point coordinate"]) -> Float[Tensor, "function point channel"] | None:
        """h (W t) in place of (h W) t, W the last layer of the branch: for more functions than points one product less."""
        layer = last_linear(self.branch)
        plain = type(self) is DeepONet  # a class of somebody's own may encode in its own way
        if layer is None or not plain or self.channels > 1 or not isinstance(u, Tensor) or len(y) >= len(u):
            return None
        t = self.outputs.scaled("branch", self.basis(y)[:, 0])
        rest = self.offset(y)[:, 0]
        h = before_last(self.branch, u)
        if h.ndim != 2 or layer.out_features != t.shape[1]:
            return None  # what is wrong is told in the usual order
        rest = rest if layer.bias is None else rest + t @ layer.bias
        return torch.addmm(rest, h, (t @ layer.weight).T)[..., None]

    @classmethod
    def from_arrays(
        cls,
        branch: Sequence[Layer],
        trunk: Sequence[Layer],
        bias: float,
        *,
        branch_activation: Activation = "relu",
        trunk_activation: Activation = "relu",
    ) -> DeepONet:
        """An unstacked DeepONet of given weights, in their precision, with an activation behind the trunk.

        Args:
            branch, trunk: (kernel, bias) of each layer, kernels as (input, output).
            bias: of the answer.
        Raises:
            ValueError: layers that do not follow each other.
        """
        nets = _given("branch", branch, branch_activation, False), _given("trunk", trunk, trunk_activation, True)
        made = cls(nets[0], nets[1]).to(branch[0][0].dtype)
        nn.init.constant_(cast(nn.Parameter, made.outputs.bias), bias)
        return made


class MIONet(_WithTrunk):
    """G(u¹, ..., uⁿ)(y)_c = Σ_k b¹_ck(u¹) ... bⁿ_ck(uⁿ) t_ck(y) + bias_c.

    Of an input in which the operator is linear, a branch without biases and activations, `MLP((sensors, terms), bias=False)`,
    keeps it linear.

    Args:
        branches: one per input function, each of as many outputs; sensors may differ.
        others: of `DeepONet`.
    Raises:
        ValueError: no branch, or one module twice; and as `DeepONet`.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        trunk: nn.Module,
        *,
        channels: int = 1,
        split: Split = "both",
        bias: bool = True,
        scale: Units = 1.0,
        shift: Units = 0.0,
        boundary: HardBoundary | None = None,
    ) -> None:
        if not branches or len({id(branch) for branch in branches}) < len(branches):
            raise ValueError(
                f"branches: got {len(branches)}, need at least one, and a module of its own for each input function"
            )
        super().__init__(trunk, channels, split, bias, scale, shift, boundary)
        self.branches = tuple(branches)
        self.networks = nn.ModuleList(branches)

    def encode(self, u: object) -> Coefficients:
        """(function, channel or 1, term).

        Raises:
            ValueError: another number of input functions than branches, or branches that do not give as many rows or numbers.
        """
        if not isinstance(u, tuple | list) or len(u) != len(self.branches):
            got = f"{len(u)} input functions" if isinstance(u, tuple | list) else type(u).__name__
            raise ValueError(f"u: got {got}, need a tuple of {len(self.branches)}")
        rows = [_rows(f"branches[{i}]", branch(part)) for i, (branch, part) in enumerate(zip(self.networks, u, strict=True))]
        if len({row.shape for row in rows}) > 1:
            raise ValueError(f"branches: gave {[tuple(row.shape) for row in rows]}, need the same functions and terms of each")
        product = rows[0]
        for row in rows[1:]:
            product = product * row
        return self.outputs.coefficients(product)

    def in_other_order(self, u: object, y: Float[Tensor, "point coordinate"]) -> None:
        """None: there are several branches."""


def _given(name: str, layers: Sequence[Layer], activation: Activation, last_activation: bool) -> MLP:
    widths = [layers[0][0].shape[0], *(kernel.shape[1] for kernel, _ in layers)]
    shapes = [(tuple(kernel.shape), tuple(bias.shape)) for kernel, bias in layers]
    if shapes != [((n, m), (m,)) for n, m in pairwise(widths)]:
        raise ValueError(f"{name}: got layers of shapes {shapes}, need (input, output) and (output,), one after the other")
    net = MLP(widths, activation, last_activation).to(layers[0][0].dtype)
    for layer, (kernel, bias) in zip(net.layers, layers, strict=True):
        layer.load_state_dict({"weight": kernel.T, "bias": bias})
    return net


def _plain(units: Units) -> float | Sequence[float]:
    """Arrays as numbers, which can be compared and kept in a checkpoint."""
    return units.tolist() if isinstance(units, Tensor | np.ndarray) else units


def _rows(name: str, made: Tensor) -> Float[Tensor, "function number"]:
    if made.ndim != 2:
        raise ValueError(f"{name}: gave shape {tuple(made.shape)}, need (function, number); `Flattened` makes one row of it")
    return made


__all__ = ["BoxFactor", "DeepONet", "HardBoundary", "MIONet", "Split", "Units"]
