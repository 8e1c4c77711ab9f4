"""Series of states of a chaotic flow, s' = f(s), on no grid: one variable `state` (sample, time, component).

The flows themselves, their equations, parameters and sources, are in `sciml.problems.flows`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_range, check_times
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.runge_kutta import advanced
from sciml.numerics.spectral import steps_between
from sciml.problems.flows.flow import Flow, Parameters
from sciml.problems.flows.named import FLOWS
from sciml.problems.problem import Evolution, Fields, Variable, largest_change

_SHAKEN = 1e-3  # standard deviations by which the first point is moved
_WARM = 10.0  # e-foldings until the moved point is anywhere on the attractor; rounding grows to 1e-12 meanwhile
_SAME = 3.0  # e-foldings for which samples are compared instant by instant
_AT_ONCE = 1 << 20  # numbers of states that are advanced together by `residual`


@dataclass(frozen=True)
class ChaoticFlow(Evolution):
    """Orbits of a flow on its attractor.

    A sample begins `warm_up` after a point a thousandth of a standard deviation from the `start` of the flow. All take the same
    steps of the classical Runge-Kutta scheme. `residual` solves every interval again with half the step, from the state at its
    beginning, and gives the largest distance by the root mean square of the state: the local error. Beyond `horizon`
    samples are the same digit by digit only where the flow has nothing but products, quotients and sums.

    With noise, `observed` is the state with white noise in it, that of the sample, in `noise`; the state itself stays clean.

    Args:
        times: of the states.
        step: in time, at most; each interval is cut into equal ones.
        warm_up: how long the flow goes on before the first state.
        noise: standard deviation of the noise in `observed`, in standard deviations of the component on the attractor; without
            noise there is no `observed`.
        parameters_changed: by name, what is not as published.
        ranges: by name, parameters that are uniform between two numbers, another for every sample; they are in `parameters`.
    Raises:
        ValueError: times that do not grow, a number out of range, or a parameter that the flow does not have.
    """

    flow: Flow
    times: tuple[float, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    step: float
    warm_up: float
    noise: float = 0.0
    parameters_changed: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    title: str = field(default="chaotic flow", init=False)
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        check_times(self.times)
        check_positive(step=self.step)
        check_range(0.0, 1e6, warm_up=self.warm_up)
        check_range(0.0, 1e3, noise=self.noise)
        for before, after in pairwise(self.times):
            steps_between(before, after, self.step)
        if self.warm_up:
            steps_between(0.0, self.warm_up, self.step)
        self.flow.settled({**self.parameters_changed, **dict.fromkeys(self.ranges, 0.0)})
        for name, value in self.parameters_changed.items():
            check_range(**{name: value})
        for name, (low, high) in self.ranges.items():
            check_range(**{name: low})
            check_range(low, **{name: high})

    @property
    def horizon(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A few e-foldings; see `Evolution`."""
        return _SAME / self.flow.exponent

    def variables(self) -> Mapping[str, Variable]:
        count, found = self.flow.dim, {}
        if self.ranges:
            found["parameters"] = Variable("parameter", ", ".join(self.ranges), components=len(self.ranges), on_grid=False)
        if self.noise:
            found["noise"] = Variable("input", "noise, standard normal", in_time=True, components=count, on_grid=False)
        found["state"] = Variable("state", "state", in_time=True, components=count, on_grid=False)
        if self.noise:
            found["observed"] = Variable("state", "state with noise", in_time=True, components=count, on_grid=False)
        return found

    def parameters(self) -> Mapping[str, object]:
        return {
            "flow": self.flow.name,
            **self.flow.parameters,
            **self.parameters_changed,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "frames": len(self.times),
            "duration": self.times[-1] - self.times[0],
            "step": self.step,
            "warm_up": self.warm_up,
            "noise": self.noise,
        }

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        """Raises a ValueError for a domain with axes, or where an orbit leaves for infinity."""
        _check_none(domain)
        given, dim = {}, self.flow.dim
        if self.ranges:
            low, high = torch.tensor(list(self.ranges.values()), dtype=torch.float64).T
            given["parameters"] = low + (high - low) * seeds.uniform("parameters", len(self.ranges))
        start, scale = (torch.tensor(numbers, dtype=torch.float64) for numbers in (self.flow.start, self.flow.scale))
        state = start + _SHAKEN * scale * seeds.normal("start", dim)
        if self.warm_up:
            count, step = steps_between(0.0, self.warm_up, self.step)
            state = advanced(self._rate(given), state.T, step, count).T
        _check_finite(state[:, None], seeds.samples.start)
        first = state[:, None].contiguous()
        if not self.noise:
            return {**given, "state": first}
        noise = seeds.normal("noise", len(self.times) * dim).unflatten(1, (len(self.times), dim))
        return {**given, "noise": noise, "state": first, **self._observed({"noise": noise[:, :1]}, first)}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """Raises a ValueError for a domain with axes, or where an orbit leaves for infinity."""
        _check_none(domain)
        rate, state = self._rate(given), given["state"][:, 0].T
        states = [state]
        for before, after in pairwise(self.times):
            count, step = steps_between(before, after, self.step)
            state = advanced(rate, state, step, count)
            states.append(state)
        found = torch.stack(states, 1).movedim(0, -1).movedim(0, 1).contiguous()
        _check_finite(found, 0)
        return {"state": found, **self._observed(given, found)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        states, rate = fields["state"], self._rate({n: v[:, None] for n, v in fields.items() if n == "parameters"})
        gaps = torch.tensor(self.times, dtype=torch.float64).diff().to(states)
        count, _ = steps_between(0.0, float(gaps.max()), self.step / 2)
        size = states.norm(dim=-1).square().mean(1).sqrt()
        most = max(1, _AT_ONCE // (states.shape[0] * self.flow.dim))
        worst = torch.zeros_like(size)
        for first in range(0, len(gaps), most):
            some = slice(first, first + most)
            again = advanced(rate, states[:, :-1][:, some].movedim(-1, 0).contiguous(), gaps[some] / count, count)
            gap = (again.movedim(0, -1) - states[:, 1:][:, some]).norm(dim=-1).amax(1)
            worst = torch.maximum(worst, torch.where(gap == 0, 0.0, gap / size))
        for name, observed in self._observed(fields, states).items():
            gap = (fields[name] - observed).norm(dim=-1).amax(1)
            worst = torch.maximum(worst, torch.where(gap == 0, 0.0, gap / size))
        return worst

    def exact(self, domain: Domain) -> None:
        return None

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """The invariant of the flow, where it has one."""
        if self.flow.invariant is None:
            return {}
        values = self.flow.invariant(fields["state"].movedim(-1, 0), **self._settled(fields, 1))
        assert isinstance(values, Tensor)
        return {"invariant": largest_change(values, values)}

    def halved(self) -> ChaoticFlow:
        return replace(self, step=self.step / 2)

    def _observed(self, fields: Fields, states: Float[Tensor, "sample time dim"]) -> Fields:
        if not self.noise:
            return {}
        scale = torch.tensor(self.flow.scale, dtype=torch.float64).to(states)
        return {"observed": states + self.noise * scale * fields["noise"]}

    def _rate(self, fields: Fields) -> Callable[[Tensor], Tensor]:
        return self.flow.rate(self._settled(fields))

    def _settled(self, fields: Fields, axes: int = 0) -> Parameters:
        """The parameters, those that differ from sample to sample with so many axes behind."""
        if not self.ranges:
            return self.flow.settled(self.parameters_changed)
        values = fields["parameters"].movedim(-1, 0)
        own = dict(zip(self.ranges, values[(...,) + (None,) * axes], strict=True))
        return self.flow.settled({**self.parameters_changed, **own})


def flow(
    name: str,
    frames: int = 1000,
    interval: float | None = None,
    noise: float = 0.0,
    warm_up: float | None = None,
    parameters: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> ChaoticFlow:
    """One of the flows with a name, such as "lorenz"; see `FLOWS`.

    Args:
        interval: between the instants, that of the flow if not given.
        warm_up: ten e-foldings if not given.
    Raises:
        ValueError: no flow of this name, or a number out of range.
    """
    if name not in FLOWS:
        near = difflib.get_close_matches(name, FLOWS, 3) or sorted(FLOWS)
        raise ValueError(f"name: got {name!r}, need one of {', '.join(near)}")
    return series_of(FLOWS[name], frames, interval, noise, warm_up, parameters, ranges)


def series_of(
    system: Flow,
    frames: int = 1000,
    interval: float | None = None,
    noise: float = 0.0,
    warm_up: float | None = None,
    parameters: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> ChaoticFlow:
    """A flow at instants that are equally far apart, with the step of the flow; see `flow`."""
    check_count(2, frames=frames)
    apart = system.interval if interval is None else interval
    check_positive(interval=apart)
    return ChaoticFlow(
        system,
        tuple(i * apart for i in range(frames)),
        system.step,
        _WARM / system.exponent if warm_up is None else warm_up,
        noise,
        dict(parameters or {}),
        {key: (float(low), float(high)) for key, (low, high) in (ranges or {}).items()},
        tolerance=system.tolerance * max(1.0, apart / system.interval),
    )


def _check_none(domain: Domain) -> None:
    if domain.dim:
        raise ValueError(f"domain: got {domain}, a flow has no grid; leave the table out of the card")


def _check_finite(states: Float[Tensor, "sample time dim"], first: int) -> None:
    there = states.isfinite().flatten(1).all(1)
    if not there.all():
        raise ValueError(
            f"variable state, sample {first + int((~there).nonzero()[0])}: leaves for infinity; take a shorter step"
        )


__all__ = ["ChaoticFlow", "flow", "series_of"]
