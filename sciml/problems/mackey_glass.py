"""The delay equation of Mackey and Glass: x' = beta x(t - delay) / (1 + x(t - delay)^power) - gamma x.

Source: Mackey & Glass, "Oscillation and chaos in physiological control systems", Science 197 (1977) 287.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_range, check_times
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.problem import Evolution, Fields, Variable

_EXPONENT = 0.007  # largest Lyapunov exponent per unit of time at delay 17, for how long samples are compared
_SAME = 3.0  # e-foldings


@dataclass(frozen=True)
class MackeyGlass(Evolution):
    """A scalar that is fed back later, (sample, time, 1): chaotic from a delay of about 16.8 on.

    The method of steps with the classical Runge-Kutta scheme; the delayed value in the middle of a step is that of the cubic of
    Hermite, so that the error is O(step⁴). Before the first instant there is `history`, (sample, point, 2): x and x' at `nodes`
    points, the first a delay ago, between which the function is that cubic.

    A sample is constant, uniform between 0.5 and 1.3, until `warm_up` before its first instant. `residual` solves up to
    `horizon` again, with half the step, and gives the largest distance by the root mean square of x.

    Args:
        times: of the states, whole numbers of steps apart.
        nodes: steps per delay.
        warm_up: how long the equation goes on before the first instant.
        halvings: of the step.
    Raises:
        ValueError: a number out of range, or instants that lie between steps; the message names nodes that would do.
    """

    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    delay: float = 17.0
    beta: float = 0.2
    gamma: float = 0.1
    power: int = 10
    nodes: int = 68
    warm_up: float = 1000.0
    halvings: int = 0
    title: str = field(default="Mackey-Glass equation", init=False)
    tolerance: float = 1e-6
    horizon: float = field(default=_SAME / _EXPONENT, init=False)

    def __post_init__(self) -> None:
        check_times(self.times)
        check_positive(delay=self.delay)
        check_range(0.0, 1e3, beta=self.beta)
        check_range(0.0, 1e3, gamma=self.gamma)
        check_range(0.0, 1e6, warm_up=self.warm_up)
        check_count(1, power=self.power)
        check_range(1, 100, power=self.power)
        check_count(4, nodes=self.nodes)
        check_count(0, halvings=self.halvings)
        self._counts()

    def variables(self) -> Mapping[str, Variable]:
        return {
            "history": Variable("input", "state and its derivative before the first instant", components=2, points=self.nodes),
            "state": Variable("state", "state", in_time=True, on_grid=False),
        }

    def parameters(self) -> Mapping[str, object]:
        return {
            "delay": self.delay,
            "beta": self.beta,
            "gamma": self.gamma,
            "power": self.power,
            "frames": len(self.times),
            "duration": self.times[-1] - self.times[0],
            "step": self._step,
            "warm_up": self.warm_up,
        }

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        """Raises a ValueError for a domain with axes."""
        _check_none(domain)
        level = (0.5 + 0.8 * seeds.uniform("level", 1)).expand(-1, self.nodes + 1)
        past = torch.stack([level, torch.zeros_like(level)])
        steps = round(self.warm_up / self._step)
        path = self._path(past, steps, keep=(self.nodes << self.halvings) + 1)[..., :: 1 << self.halvings]
        return {"history": path[..., :-1].permute(1, 2, 0).contiguous(), "state": path[0, :, -1:, None].contiguous()}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain with axes, or where the state is not finite."""
        _check_none(domain)
        x = self._solved(given, self._counts())
        good = x.isfinite().all(1)
        if not good.all():
            sample = int((~good).nonzero()[0])
            raise ValueError(f"variable state, sample {sample} of the block: leaves for infinity; take more nodes")
        return {"state": x[..., None].contiguous()}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        finer = self.halved()
        near = [n for n, t in zip(finer._counts(), self.times, strict=True) if t - self.times[0] <= self.horizon]
        states = fields["state"][..., 0]
        gap = (finer._solved(fields, near) - states[:, : len(near)]).abs().amax(1)
        return torch.where(gap == 0, 0.0, gap / states.square().mean(1).sqrt())

    def exact(self, domain: Domain) -> None:
        return None

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing."""
        return {}

    def halved(self) -> MackeyGlass:
        return replace(self, halvings=self.halvings + 1)

    @property
    def _step(self) -> float:
        return self.delay / (self.nodes << self.halvings)

    def _counts(self) -> list[int]:
        """At which step each instant is."""
        found = [round((t - self.times[0]) / self._step) for t in self.times]
        for count, t in zip(found, self.times, strict=True):
            if abs(count * self._step - (t - self.times[0])) > 1e-9 * max(1.0, abs(t)):
                raise ValueError(
                    f"nodes: got {self.nodes}, steps of {self._step:g} miss instant {t:g}; need multiples of delay / interval"
                )
        return found

    def _solved(self, given: Fields, counts: list[int]) -> Float[Tensor, "sample time"]:
        past, state = given["history"].permute(2, 0, 1), given["state"][:, :1, 0]
        slope = self._fed(past[0, :, :1]) - self.gamma * state
        first = torch.cat([past, torch.stack([state, slope])], 2)
        path = self._path(first, counts[-1], keep=counts[-1] + 1)[0]
        return path[:, counts]

    def _fed(self, x: Tensor) -> Tensor:
        """beta x / (1 + x^power), by products alone, which round alike everywhere."""
        power, square, left = torch.ones_like(x), x, self.power
        while left:
            if left & 1:
                power = power * square
            square, left = square * square, left >> 1
        return self.beta * x / (1 + power)

    def _path(self, past: Float[Tensor, "two sample node"], steps: int, *, keep: int) -> Float[Tensor, "two sample instant"]:
        """x and x' at the last `keep` steps, the first of all the end of `past`."""
        for halving in range(self.halvings):
            past = _with_middles(past, self.delay / (self.nodes << halving))
        h, lag = self._step, past.shape[2] - 1
        line = list(past.unbind(2))
        # All steps of one delay know what is fed back to them before they begin: it is found for all of them at once.
        for begin in range(0, steps, lag):
            count = min(lag, steps - begin)
            known = torch.stack(line[begin : begin + count + 1], 2)
            fed, middle = self._fed(known[0]), self._fed(_with_middles(known, h)[0, :, 1::2])
            x = line[-1][0]
            for i in range(count):
                first = fed[:, i] - self.gamma * x
                second = middle[:, i] - self.gamma * (x + h / 2 * first)
                third = middle[:, i] - self.gamma * (x + h / 2 * second)
                fourth = fed[:, i + 1] - self.gamma * (x + h * third)
                x = x + h / 6 * (first + 2 * (second + third) + fourth)
                line.append(torch.stack([x, fed[:, i + 1] - self.gamma * x]))
        return torch.stack(line[-keep:], 2)


def _with_middles(nodes: Float[Tensor, "two sample node"], h: float) -> Float[Tensor, "two sample more"]:
    """Nodes h apart, and midway between them the cubic of Hermite and its derivative."""
    (x, slope), rise = nodes, nodes.diff(dim=2)
    middle = (x[:, 1:] + x[:, :-1]) / 2 - h / 8 * rise[1]
    middle_slope = 1.5 * rise[0] / h - (slope[:, 1:] + slope[:, :-1]) / 4
    out = nodes.new_empty(2, nodes.shape[1], 2 * nodes.shape[2] - 1)
    out[..., ::2], out[0, :, 1::2], out[1, :, 1::2] = nodes, middle, middle_slope
    return out


def mackey_glass(
    frames: int = 1000, interval: float = 1.0, delay: float = 17.0, nodes: int = 68, warm_up: float = 1000.0
) -> MackeyGlass:
    """beta 0.2, gamma 0.1, power 10, delay 17, one unit of time apart."""
    check_count(2, frames=frames)
    check_positive(interval=interval)
    return MackeyGlass(tuple(i * interval for i in range(frames)), delay, nodes=nodes, warm_up=warm_up)


def _check_none(domain: Domain) -> None:
    if domain.dim:
        raise ValueError(f"domain: got {domain}, a delay equation has no grid; leave the table out of the card")


__all__ = ["MackeyGlass", "mackey_glass"]
