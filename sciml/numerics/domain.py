"""Boxes on which functions live: lengths, a condition per side, where the points sit, and integrals over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

Condition = Literal["periodic", "dirichlet", "neumann", "open"]
Layout = Literal["both_ends", "first_end", "last_end", "interior", "cells"]

CONDITIONS: tuple[Condition, ...] = get_args(Condition)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# Distance from the first (last) point to the first (last) side, in spacings.
_GAPS: dict[Layout, tuple[float, float]] = {
    "both_ends": (0.0, 0.0),
    "first_end": (0.0, 1.0),
    "last_end": (1.0, 0.0),
    "interior": (1.0, 1.0),
    "cells": (0.5, 0.5),
}


@dataclass(frozen=True)
class Axis:
    """One direction of a box, a piece of the real line with `points` equally spaced points.

    Args:
        length: distance from side to side, in the unit of the problem.
        points: how many points hold values, at least 2.
        sides: the condition at the first and at the last side. `dirichlet` and `neumann` are homogeneous.
            `open` says that nothing is known of the function beyond the side.
        layout: which points hold values. `both_ends`: the sides and what lies between; `first_end`, `last_end`: one side
            only; `interior`: neither; `cells`: the centres of equal cells.
        origin: coordinate of the first side.
    Raises:
        ValueError: an unknown condition or layout, a length that is not positive, fewer than 2 points, `periodic` on one side
            only or with both ends stored, `neumann` on a side whose nearest point lies a full spacing away.
    """

    length: float
    points: int
    sides: tuple[Condition, Condition]
    layout: Layout
    origin: float = 0.0

    def __post_init__(self) -> None:
        for side in self.sides:
            _condition(side)
        _layout(self.layout)
        if not 0 < self.length < float("inf"):
            raise ValueError(f"lengths: got {self.length}, need a positive finite number")
        if not abs(self.origin) < float("inf"):
            raise ValueError(f"origin: got {self.origin}, need a finite number")
        if self.points < 2:
            raise ValueError(f"points: got {self.points} along an axis, need at least 2")
        if "periodic" in self.sides:
            if self.sides != ("periodic", "periodic"):
                raise ValueError(f"sides: got {self.sides}, an axis is periodic on both sides or on neither")
            if self.layout in ("both_ends", "interior"):
                raise ValueError(f"layout: got {self.layout!r} on a periodic axis, need one end only (first_end) or cells")
        for side, gap, end in zip(self.sides, self.gaps, ("first", "last"), strict=True):
            if side == "neumann" and gap == 1:
                raise ValueError(f"layout: got {self.layout!r} with a neumann {end} side, need a point on that side or cells")

    @property
    def gaps(self) -> tuple[float, float]:
        """Distance from the first point to the first side and from the last point to the last side, in spacings."""
        return _GAPS[self.layout]

    @property
    def spacing(self) -> float:
        return self.length / (self.points - 1 + sum(self.gaps))

    def coordinates(self) -> Float[Tensor, "points"]:
        """Where the points are, float64."""
        steps = torch.arange(self.points, dtype=torch.float64) + self.gaps[0]
        return self.origin + steps * self.spacing

    def weights(self) -> Float[Tensor, "points"]:
        """Second-order quadrature weights over the whole length, float64.

        Trapezoid between points. Up to a side without a point the function runs straight to zero (`dirichlet`), or on as
        between the last two points (`open`).
        """
        w = torch.full((self.points,), self.spacing, dtype=torch.float64)
        if self.sides[0] == "periodic" or self.layout == "cells":
            return w
        for end, inward, side, gap in zip((0, -1), (1, -2), self.sides, self.gaps, strict=True):
            w[end] -= self.spacing / 2
            if gap == 1 and side == "dirichlet":
                w[end] += self.spacing / 2
            elif gap == 1:
                w[end] += self.spacing * 3 / 2
                w[inward] -= self.spacing / 2
        return w

    def edge_weights(self) -> Float[Tensor, "edges"]:
        """Weights of the differences between neighbouring points (see `Domain.differences`), for integrals of derivatives."""
        h, periodic = self.spacing, self.sides[0] == "periodic"
        edges = [self.points - 1, *[1] * sum(_edge_to_side(s, g) for s, g in zip(self.sides, self.gaps, strict=True))]
        w = torch.full((sum(edges) + periodic,), h, dtype=torch.float64)
        if periodic:
            return w
        for end, side, gap in zip((0, -1), self.sides, self.gaps, strict=True):
            if _edge_to_side(side, gap):
                w[end] = gap * h
            elif side == "open":
                w[end] += gap * h
        return w


def _condition(given: str) -> Condition:
    if given not in CONDITIONS:
        raise ValueError(f"sides: got condition {given!r}, a Domain has {', '.join(CONDITIONS)}")
    return given


def _whole(points: float) -> int:
    if int(points) != points:
        raise ValueError(f"points: got {points}, need a whole number")
    return int(points)


def _layout(given: str) -> Layout:
    if given not in LAYOUTS:
        raise ValueError(f"layout: got {given!r}, a Domain has {', '.join(LAYOUTS)}")
    return given


def _edge_to_side(side: Condition, gap: float) -> bool:
    """Whether the function is known on a side that holds no point, so that one more difference exists."""
    return side == "dirichlet" and gap > 0


@dataclass(frozen=True)
class Domain:
    """A box, the condition on each of its sides, and the grid on which functions over it are stored.

    Fields over a Domain are tensors whose last axes are `shape`, in the order of `axes`; integrals, norms and inner
    products are taken over these axes with second-order quadrature and keep the leading ones.

    `Domain(())` has no axes and one point, of weight 1: what has no grid lives there, such as the state of an ordinary
    differential equation. An integral is the value itself.

    >>> square = Domain.box(lengths=(1.0, 1.0), points=(65, 65), sides="dirichlet")
    >>> square.shape, square.spacing
    ((65, 65), (0.015625, 0.015625))
    >>> round(float(square.integral(torch.ones(65, 65))), 6)
    1.0
    """

    axes: tuple[Axis, ...]

    @classmethod
    def box(
        cls,
        lengths: Sequence[float],
        points: Sequence[float],
        sides: str | Sequence[str | Sequence[str]],
        layout: str | Sequence[str] | None = None,
        origin: Sequence[float] | None = None,
    ) -> Domain:
        """A Domain from one value per axis.

        Args:
            sides: one condition for all sides, or per axis a condition or a (first, last) pair.
            layout: one for all axes or one per axis; `first_end` on periodic axes and `both_ends` on others if not given.
            origin: coordinates of the first corner, zero if not given.
        Raises:
            ValueError: lengths differ, or an axis is not possible (see `Axis`).
        """
        dim = len(lengths)
        if not dim:
            raise ValueError("lengths: got none, a box needs at least one; Domain(()) is what has no grid")
        per_axis = [sides] * dim if isinstance(sides, str) else list(sides)
        pairs = [(s, s) if isinstance(s, str) else tuple(s) for s in per_axis]
        if layout is None:
            layouts = ["first_end" if p[0] == "periodic" else "both_ends" for p in pairs]
        else:
            layouts = [layout] * dim if isinstance(layout, str) else list(layout)
        origins = [0.0] * dim if origin is None else list(origin)
        for name, given in (("points", points), ("sides", pairs), ("layout", layouts), ("origin", origins)):
            if len(given) != dim:
                raise ValueError(f"{name}: got {len(given)} entries for {dim} lengths, need one per axis")
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f"sides: got {pair} for an axis, need one condition or a (first, last) pair")
        return cls(
            tuple(
                Axis(float(length), _whole(n), (_condition(p[0]), _condition(p[1])), _layout(lay), float(start))
                for length, n, p, lay, start in zip(lengths, points, pairs, layouts, origins, strict=True)
            )
        )

    @property
    def dim(self) -> int:
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.points for axis in self.axes)

    @property
    def spacing(self) -> tuple[float, ...]:
        return tuple(axis.spacing for axis in self.axes)

    @property
    def volume(self) -> float:
        return float(torch.tensor([axis.length for axis in self.axes], dtype=torch.float64).prod())

    def with_points(self, points: Sequence[int]) -> Domain:
        """The same box and conditions on another grid of the same layout."""
        if len(points) != self.dim:
            raise ValueError(f"points: got {len(points)} entries, need one per axis, {self.dim}")
        return Domain(tuple(replace(a, points=_whole(n)) for a, n in zip(self.axes, points, strict=True)))

    def strided(self, stride: int) -> Domain:
        """The grid that holds every `stride`-th point of this one, from the first.

        Raises:
            ValueError: the kept points do not form one of the layouts; the message names strides that do.
        """
        return Domain(tuple(_strided(axis, stride) for axis in self.axes))

    def coordinates(self) -> tuple[Float[Tensor, "points"], ...]:
        """Per axis, where the points are, float64."""
        return tuple(axis.coordinates() for axis in self.axes)

    def mesh(self) -> tuple[Float[Tensor, "*space"], ...]:
        """Per axis, the coordinate at every point of the grid, float64."""
        return torch.meshgrid(*self.coordinates(), indexing="ij")

    def weights(self) -> Float[Tensor, "*space"]:
        """Quadrature weight of every point, float64; they sum to the volume where the layout allows it."""
        return _outer([axis.weights() for axis in self.axes])

    def integral(self, field: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        """Integral over the box, one per leading index.

        Raises:
            ValueError: the last axes of `field` are not `shape`.
        """
        self.check(field, "field")
        return _weighted_sum(field, tuple(axis.weights() for axis in self.axes))

    def mean(self, field: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        return self.integral(field) / self.volume

    def inner(self, u: Float[Tensor, "*batch"], v: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        """L2 inner product over the box."""
        return self.integral(u * v)

    def norm(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        """L2 norm over the box; its derivative at u = 0 is zero, as is that of the other norms."""
        self.check(u, "u")
        return self._length(u * _roots(self, u.dtype, u.device)[0])

    def differences(self, u: Float[Tensor, "*batch"], axis: int) -> Float[Tensor, "*edges"]:
        """First derivative along `axis` midway between neighbouring points, and up to `dirichlet` sides without a point."""
        self.check(u, "u")
        line = self.axes[axis]
        u = u.movedim(axis - self.dim, -1)
        if line.sides[0] == "periodic":
            slopes = (u.roll(-1, -1) - u) / line.spacing
        else:
            pieces = [u.diff(dim=-1) / line.spacing]
            first, last = (_edge_to_side(s, g) for s, g in zip(line.sides, line.gaps, strict=True))
            if first:
                pieces.insert(0, u[..., :1] / (line.gaps[0] * line.spacing))
            if last:
                pieces.append(-u[..., -1:] / (line.gaps[1] * line.spacing))
            slopes = torch.cat(pieces, -1)
        return slopes.movedim(-1, axis - self.dim)

    def h1_seminorm(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        """L2 norm of the gradient over the box, second order in the spacing."""
        return vector_norm(torch.stack(self._slopes(u) or [torch.zeros_like(u)]), dim=0)

    def h1_norm(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead"]:
        """Norm of the function and its gradient together: sqrt(norm² + h1_seminorm²)."""
        return vector_norm(torch.stack([self.norm(u), *self._slopes(u)]), dim=0)

    def _slopes(self, u: Tensor) -> list[Tensor]:
        """L2 norm of the derivative along each axis."""
        roots = _roots(self, u.dtype, u.device)[1:]
        return [self._length(self.differences(u, axis) * root) for axis, root in enumerate(roots)]

    def _length(self, weighted: Tensor) -> Tensor:
        if not self.axes:  # a norm over no axes would be one over all
            return weighted.abs()
        # One pass; and the derivative of vector_norm at zero is zero, where that of a square root is not.
        return vector_norm(weighted, dim=tuple(range(-self.dim, 0)))

    def check(self, field: Tensor, name: str) -> None:
        """Raise a ValueError that names the variable when `field` does not end in this grid or holds no fractions."""
        if not (field.is_floating_point() or field.is_complex()):
            raise ValueError(f"{name}: got {field.dtype}, need floating-point numbers, such as {name}.double()")
        if tuple(field.shape[field.ndim - self.dim :]) != self.shape or field.ndim < self.dim:
            raise ValueError(f"{name}: got shape {tuple(field.shape)}, its last axes must be the grid {self.shape}")

    def to_dict(self) -> dict[str, Sequence[float | str | Sequence[str]]]:
        """Plain lists, as cards, files and checkpoints hold them."""
        return {
            "lengths": [a.length for a in self.axes],
            "points": [a.points for a in self.axes],
            "sides": [list(a.sides) for a in self.axes],
            "layout": [a.layout for a in self.axes],
            "origin": [a.origin for a in self.axes],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, object]) -> Domain:
        """The inverse of `to_dict`; `layout` and `origin` may be left out, `sides` may be one condition."""
        unknown = set(given) - {"lengths", "points", "sides", "layout", "origin"}
        missing = {"lengths", "points", "sides"} - set(given)
        if unknown or missing:
            raise ValueError(f"domain: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
        return cls.box(**given)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        axes = (
            f"[{a.origin:g}, {a.origin + a.length:g}] {a.points} points ({a.layout}, {'/'.join(dict.fromkeys(a.sides))})"
            for a in self.axes
        )
        return " x ".join(axes) or "no grid"


@lru_cache(maxsize=64)
def _roots(domain: Domain, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Roots of the quadrature weights of the values, then of the differences along each axis.

    Kept, so that an objective builds and copies nothing in a training step; made outside of inference mode, whose tensors
    training could not use.
    """
    with torch.inference_mode(False):
        tables = [[axis.weights() for axis in domain.axes]]
        for along, axis in enumerate(domain.axes):
            tables.append([*tables[0][:along], axis.edge_weights(), *tables[0][along + 1 :]])
        return tuple(_outer(table).sqrt().to(device, dtype) for table in tables)


def _outer(factors: Sequence[Tensor]) -> Tensor:
    out = torch.ones((), dtype=torch.float64)
    for factor in factors:
        out = out[..., None] * factor
    return out


def _weighted_sum(field: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    for w in reversed(weights):
        field = field @ w.to(field)
    return field


def _strided(axis: Axis, stride: int) -> Axis:
    if stride < 1:
        raise ValueError(f"stride: got {stride}, need at least 1")
    kept = -(-axis.points // stride)
    left = axis.gaps[0] / stride
    right = (axis.gaps[1] + (axis.points - 1) % stride) / stride
    for layout, gaps in _GAPS.items():
        if gaps == (left, right):
            return replace(axis, points=kept, layout=layout)
    good = [s for s in range(2, 17) if (axis.points - 1) % s == (axis.gaps[1] * (s - 1)) % s and not axis.gaps[0]]
    raise ValueError(f"stride: got {stride} on {axis.points} points ({axis.layout}), need one of {good or 'none'}")


__all__ = ["CONDITIONS", "LAYOUTS", "Axis", "Condition", "Domain", "Layout"]
