"""Where an input function is sampled: sensors that are kept with the model, and sets of sensors that differ by function."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Policy = Literal["strict", "interpolate", "set"]


class Sampled(NamedTuple):
    """Values of functions with the places where they were taken.

    Args:
        values: (function, sensor, component).
        points: (sensor, coordinate) of all functions, or (function, sensor, coordinate) of each its own.
        good: which sensors there are, (function, sensor), where functions have different numbers of them; None for all.
    """

    values: Float[Tensor, "function sensor component"]
    points: Float[Tensor, "*function sensor coordinate"]
    good: Bool[Tensor, "function sensor"] | None = None


class AtSensors(nn.Module):
    """A branch that knows its sensors, and what to do with values from others.

    Values without places, a tensor, are taken to be at its own sensors. With places, `Sampled`:

    - "strict": other places are an error;
    - "interpolate": values are interpolated to its own sensors, linearly, on a line; places beyond those given are an error;
    - "set": the network itself takes `Sampled`, as `SetEncoder` does.

    Args:
        network: (function, number) to (function, coefficient), the numbers those of (sensor, component) in a row.
        sensors: (sensor, coordinate).
        policy: one of these.
    Raises:
        ValueError: sensors of another shape; interpolation in more than one dimension.
    """

    def __init__(self, network: nn.Module, sensors: Float[Tensor, "sensor coordinate"], policy: Policy = "strict") -> None:
        super().__init__()
        if policy not in ("strict", "interpolate", "set"):
            raise ValueError(f"policy: got {policy!r}, need 'strict', 'interpolate' or 'set'")
        if policy == "interpolate" and sensors.shape[1] != 1:
            raise ValueError(f"policy: got 'interpolate' in {sensors.shape[1]} dimensions, need a line; `SetEncoder` takes any")
        self.network, self.sensors, self.policy = network, sensors, policy

    def forward(self, u: Tensor | Sampled) -> Float[Tensor, "function output"]:
        """Coefficients.

        Raises:
            ValueError: another number of sensors, or other places than the policy takes; values and places that do not belong
                together, or that are not finite.
        """
        if isinstance(u, Sampled):
            _check(u, self.sensors.shape[1])
        if self.policy == "set":
            return self.network(u if isinstance(u, Sampled) else self._at_own(u))
        if not isinstance(u, Sampled):
            return self.network(self._at_own(u).values.flatten(1))
        own = self.sensors.to(u.points)
        extent = (own.amax(0) - own.amin(0)).max()
        if self.policy == "interpolate":
            return self.network(_interpolated(u, own[:, 0]).flatten(1))
        if u.good is not None or u.points.shape[-2:] != own.shape or not bool((u.points - own).abs().max() <= 1e-6 * extent):
            got = f"{u.points.shape[-2]} sensors"
            if u.points.shape[-2:] == own.shape:
                got += f", up to {float((u.points - own).abs().max()):.3g} from those of the model"
            raise ValueError(
                f"u: got {got}; the model has {len(own)} of its own; sample the functions there, or build it with "
                "policy='interpolate' or 'set'"
            )
        return self.network(u.values.flatten(1))

    def _at_own(self, u: Tensor) -> Sampled:
        """Of fields (function, component, *sensors), or rows of one component; other orders are said by `Sampled`."""
        count = len(self.sensors)
        if u.ndim == 2 and u.shape[1] == count:
            return Sampled(u[..., None], self.sensors.to(u))
        if u.ndim >= 3 and u.shape[2:].numel() == count:
            return Sampled(u.flatten(2).mT, self.sensors.to(u))
        raise ValueError(
            f"u: got shape {tuple(u.shape)}, the model has {count} sensors; need (function, sensor) or a field "
            "(function, component, *grid), or `Sampled`"
        )


class SetEncoder(nn.Module):
    """A branch for sensors that differ in number and place from function to function, in any order.

    From the values the most likely function of a Gaussian process with covariance exp(-d² / 2 length²) is found and read at
    fixed nodes, whose values a network takes. The answer does not depend on the order of the sensors, is as good as the sensors
    determine the function, and is continuous in their places. Length and noise are trained with the rest.

    Args:
        network: (function, number) to (function, coefficient), the numbers those of (node, component) in a row.
        nodes: (node, coordinate); about two per length or more.
        length: in the unit of the coordinates, to start with.
        noise: deviation of the values at sensors from such functions, relative to their size, to start with.
    Raises:
        ValueError: a length or noise that is not positive.
    """

    def __init__(
        self, network: nn.Module, nodes: Float[Tensor, "node coordinate"], length: float = 0.2, noise: float = 1e-3
    ) -> None:
        super().__init__()
        if not 0 < length < math.inf or not 0 < noise < math.inf:
            raise ValueError(f"length, noise: got {length}, {noise}, need positive finite numbers")
        self.network, self.nodes, self.length, self.noise = network, nodes, length, noise
        self.log_length, self.log_noise = (nn.Parameter(torch.tensor(math.log(value))) for value in (length, noise))

    def forward(self, u: object) -> Float[Tensor, "function output"]:
        """Coefficients of `Sampled`; raises as `at_nodes`."""
        return self.network(self.at_nodes(u).flatten(1))

    def at_nodes(self, u: object) -> Float[Tensor, "function node component"]:
        """The most likely functions at the nodes; in float64, as close sensors make large numbers that cancel.

        Raises:
            ValueError: no `Sampled`; values and places that do not belong together or to the nodes, or that are not finite.
        """
        if not isinstance(u, Sampled):
            raise ValueError(f"u: got {type(u).__name__}, need `Sampled`, values with their places; `AtSensors` knows its own")
        _check(u, self.nodes.shape[1])
        values, points = u.values.double(), u.points.double()
        if u.good is not None:  # whatever stands there must not reach a product, not even with zero
            values = torch.where(u.good[..., None], values, 0)
            points = torch.where(u.good[..., None], points, 0)
        nodes = self.nodes.to(points)
        between = self._covariance(points, points)
        across = self._covariance(nodes.expand(*points.shape[:-2], *nodes.shape), points)
        if u.good is not None:  # sensors that are not there are independent of everything
            pairs = u.good[:, :, None] & u.good[:, None, :]
            between = torch.where(pairs, between, 0)
            across = torch.where(u.good[:, None, :], across, 0)
        noise = (2 * self.log_noise.double()).exp() + 1e-12
        factor = torch.linalg.cholesky(between + noise * torch.eye(points.shape[-2], dtype=torch.float64, device=points.device))
        return (across @ torch.cholesky_solve(values, factor.expand(len(values), -1, -1))).to(u.values)

    def _covariance(self, x: Tensor, y: Tensor) -> Tensor:
        square = (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1)
        return torch.exp(-square / (2 * (2 * self.log_length.double()).exp()))


def _check(u: Sampled, coordinates: int) -> None:
    """That values and places belong together and are finite, where there are any."""
    values, points, good = tuple(u.values.shape), tuple(u.points.shape), None if u.good is None else tuple(u.good.shape)
    fits = len(values) == 3 and points in ((values[1], coordinates), (*values[:2], coordinates)) and good in (None, values[:2])
    if not fits:
        raise ValueError(
            f"u: got values {values}, points {points}, good {good}; need (function, sensor, component), "
            f"(sensor, {coordinates}) or (function, sensor, {coordinates}), and (function, sensor) or None"
        )
    for name, numbers in (("values", u.values), ("points", u.points)):
        finite = numbers.isfinite().all(-1)
        if not bool((finite if u.good is None else finite | ~u.good).all()):
            raise ValueError(f"u: got {name} that are not finite; need finite ones, or False in `good`")


def _interpolated(u: Sampled, own: Float[Tensor, "sensor"]) -> Float[Tensor, "function sensor component"]:
    if u.points.shape[-1] != 1 or u.good is not None:
        raise ValueError(f"u: got points {tuple(u.points.shape)}, need places on a line, none of them missing, to interpolate")
    places, order = u.points[..., 0].sort(-1)
    places = places.expand(len(u.values), -1).contiguous()
    values = u.values.gather(1, order.expand(len(u.values), -1)[..., None].expand_as(u.values))
    spread = places[:, -1:] - places[:, :1]
    if bool((places[:, :1] > own.min() + 1e-6 * spread).any() or (places[:, -1:] < own.max() - 1e-6 * spread).any()):
        low, high = float(places[:, 0].max()), float(places[:, -1].min())
        raise ValueError(
            f"u: got places from {low:.4g} to {high:.4g}, the sensors of the model reach from {float(own.min()):.4g} to "
            f"{float(own.max()):.4g}; sample the functions there, too"
        )
    right = torch.searchsorted(places, own.expand(len(places), -1).contiguous()).clamp(1, places.shape[1] - 1)
    left = right - 1
    start, stop = places.gather(1, left), places.gather(1, right)
    width = stop - start
    part = torch.where(width > 0, (own - start) / torch.where(width > 0, width, 1), 0).clamp(0, 1)[..., None]
    index = (left[..., None].expand(-1, -1, values.shape[2]), right[..., None].expand(-1, -1, values.shape[2]))
    return values.gather(1, index[0]) * (1 - part) + values.gather(1, index[1]) * part


__all__ = ["AtSensors", "Policy", "Sampled", "SetEncoder"]
