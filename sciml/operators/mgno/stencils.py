"""The linear maps a cycle is made of: learned stencils within a grid, down to a coarser one, and up to a finer one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.numerics.ghosts import Grid, Line, extend


def _convolve_line(u: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """In a plane of one row: only there does torch keep the channels of a point together."""
    return functional.conv2d(u.unsqueeze(2), weight.unsqueeze(2), bias, (1, stride), (0, padding)).squeeze(2)


def _convolve_line_transposed(
    u: Tensor, weight: Tensor, *, stride: int, padding: int = 0, output_padding: Sequence[int] = (0,)
) -> Tensor:
    u, weight, more = u.unsqueeze(2), weight.unsqueeze(2), (0, *output_padding)
    return functional.conv_transpose2d(u, weight, stride=(1, stride), padding=(0, padding), output_padding=more).squeeze(2)


convolve = {1: _convolve_line, 2: functional.conv2d, 3: functional.conv3d}
convolve_transposed = {1: _convolve_line_transposed, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Uniform with the variance that torch gives a convolution of this fan-in; kernels lie as `channels_together`."""
    bound = 1 / math.sqrt(fan_in)
    values = torch.empty(*shape).uniform_(-bound, bound)
    # Strides of one channel are ambiguous, and then the kernel decides how the output of a convolution lies.
    return nn.Parameter(values.movedim(1, -1).contiguous().movedim(-1, 1) if len(shape) > 2 else values)


def channels_together(u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """The same values with the channels of a point side by side in memory, where convolutions are faster that way."""
    if u.dtype == torch.float64:
        return u
    return u.movedim(1, -1).contiguous().movedim(-1, 1)


def added(fresh: Tensor, other: Tensor) -> Tensor:
    """The sum; `fresh` is a result that nothing else reads, and is overwritten where its gradient does not suffer by it."""
    return fresh + other if torch.compiler.is_compiling() or fresh._is_view() else fresh.add_(other)


def gelu(u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """GELU of values that may be overwritten."""
    u = u.movedim(1, -1)  # a kernel for contiguous memory is faster
    u = functional.gelu(u) if torch.is_grad_enabled() else torch.ops.aten.gelu_(u)
    return u.movedim(-1, 1)


class LearnedStencil(nn.Module):
    """A 3-point-wide convolution that continues its input beyond the sides as the grid says; `stride=2` restricts.

    Args:
        bias: whether a constant per channel is added.
    """

    def __init__(self, in_channels: int, out_channels: int, dim: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.stride = stride
        fan_in = in_channels * 3**dim
        self.weight = uniform(out_channels, in_channels, *[3] * dim, fan_in=fan_in)
        self.bias = uniform(out_channels, fan_in=fan_in) if bias else None

    def forward(self, u: Float[Tensor, "batch in_channels *space"], grid: Grid) -> Float[Tensor, "batch out_channels *coarse"]:
        apply = convolve[len(grid)]
        if all(line.zero_ghosts for line in grid) and (self.stride == 1 or not any(line.offset for line in grid)):
            return apply(u, self.weight, self.bias, stride=self.stride, padding=1)
        u = extend(u, grid)
        if self.stride > 1:
            for axis, line in enumerate(grid):
                if line.offset:
                    at = axis - len(grid)
                    u = u.narrow(at, line.offset, u.shape[at] - line.offset)
        return apply(u, self.weight, self.bias, stride=self.stride)


class Prolongation(nn.Module):
    """A transposed convolution from a coarse grid to the next finer one, with ghost points on the coarse grid."""

    def __init__(self, in_channels: int, out_channels: int, dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = uniform(in_channels, out_channels, *[width] * dim, fan_in=out_channels * width**dim)

    def forward(
        self, u: Float[Tensor, "batch in_channels *coarse"], coarse: Grid, fine: Grid
    ) -> Float[Tensor, "batch out_channels *space"]:
        apply = convolve_transposed[len(fine)]
        if all(line.zero_ghosts for line in coarse) and not any(line.offset for line in fine):
            added = [f.points - (2 * c.points + self.width - 4) for c, f in zip(coarse, fine, strict=True)]
            u = apply(u, self.weight, stride=2, padding=1, output_padding=[max(0, a) for a in added])
            starts = [0] * len(fine)
        else:
            u = apply(extend(u, coarse), self.weight, stride=2)
            starts = [3 - line.offset for line in fine]
        for axis, (start, line) in enumerate(zip(starts, fine, strict=True)):
            at = axis - len(fine)
            if start or u.shape[at] != line.points:
                u = u.narrow(at, start, line.points)
        return u


class Pointwise(nn.Module):
    """A matrix over channels, the same at every point, with a constant per channel."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = uniform(out_channels, in_channels, fan_in=in_channels)
        self.bias = uniform(out_channels, fan_in=in_channels) if bias else None

    def forward(
        self, u: Float[Tensor, "batch in_channels *space"], plus: Float[Tensor, "batch out_channels *space"] | None = None
    ) -> Float[Tensor, "batch out_channels *space"]:
        """The matrix applied to `u`, and `plus` added if given, which may be overwritten."""
        rows = u.movedim(1, -1)
        if not rows.is_contiguous():
            result = convolve[u.ndim - 2](u, self.weight[(...,) + (None,) * (u.ndim - 2)], self.bias)
            return result if plus is None else added(result, plus)
        if plus is None or not plus.movedim(1, -1).is_contiguous():
            result = functional.linear(rows, self.weight, self.bias)
            return (result if plus is None else result.add_(plus.movedim(1, -1))).movedim(-1, 1)
        # One matrix product, as the memory lies.
        flat, matrix = plus.movedim(1, -1).flatten(0, -2), self.weight.mT
        in_place = not torch.is_grad_enabled() and flat.dtype == rows.dtype == matrix.dtype  # which autocast cannot
        flat = (Tensor.addmm_ if in_place else Tensor.addmm)(flat, rows.flatten(0, -2), matrix)
        flat = flat if self.bias is None else flat.add_(self.bias)
        return flat.view(*rows.shape[:-1], flat.shape[1]).movedim(-1, 1)


class BiasField(nn.Module):
    """A function per channel: a sum of `modes` waves along every side, for any grid.

    Cosines of whole and half wavelengths, or whole wavelengths of cosine and sine along a periodic axis.
    """

    def __init__(self, channels: int, modes: int, dim: int) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(channels, *[modes] * dim))

    def forward(self, grid: Grid) -> Float[Tensor, "channels *space"]:
        field = self.coefficients
        for line in grid:  # each product takes the first mode axis and puts a space axis last
            field = field.movedim(1, -1) @ _waves(line, field.shape[1]).to(field)
        return field


def _waves(line: Line, modes: int) -> Float[Tensor, "mode points"]:
    x = (torch.arange(line.points, dtype=torch.float64) + line.gaps[0]) / (line.points - 1 + sum(line.gaps))
    if not line.periodic:
        return torch.cos(math.pi * torch.arange(modes)[:, None] * x)
    phase = 2 * math.pi * x
    return torch.stack([torch.cos((k + 1) // 2 * phase - math.pi / 2 * (k > 0 and k % 2 == 0)) for k in range(modes)])


__all__ = ["BiasField", "LearnedStencil", "Pointwise", "Prolongation", "channels_together"]
