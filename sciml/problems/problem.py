"""What a problem is: an equation, the law its inputs are drawn from, the solver that answers it, and an exact answer."""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.roles import Role

Fields = dict[str, Tensor]


@dataclass(frozen=True)
class Variable:
    """What a variable of a problem is.

    Args:
        role: `input`, `coefficient` and `parameter` are given, `target` is asked for, `state` is both in turn.
        long_name: in words, as on the axis of a figure.
        units: `1` where the problem is stated without dimensions.
        in_time: whether it has a value at every instant of `Evolution.times`: an axis of instants right behind the sample.
        components: how many channels it has, or numbers per point.
        on_grid: whether it has a value at every point of the grid; else it is numbers of the sample.
        points: values at, or coordinates of, so many points that are not those of the grid; 0 where there are none.
    """

    role: Role
    long_name: str
    units: str = "1"
    in_time: bool = False
    components: int = 1
    on_grid: bool = True
    points: int = 0

    def shape(self, domain: Domain) -> tuple[int, ...]:
        """Of one sample at one instant: (channel, *space), (channel,) or (point, component)."""
        if self.points:
            return (self.points, self.components)
        return (self.components, *(domain.shape if self.on_grid else ()))


class Problem(ABC):
    """An equation with the law of its inputs.

    Fields are (sample, channel, *space), numbers without a grid (sample, channel), points (sample, point, component); those
    that are `in_time` have the instants as second axis. They are drawn in float64 on the CPU; `solve` and `residual` work in
    the dtype and on the device of what they are given.

    A problem is a frozen dataclass of its parameters; it knows no file and no model.
    """

    title: str
    tolerance: float
    """What `solve` promises of `residual`."""

    @abstractmethod
    def variables(self) -> Mapping[str, Variable]:
        """Everything that `draw` and `solve` give, by name, in the order of a batch."""

    @abstractmethod
    def parameters(self) -> Mapping[str, object]:
        """The constants of the equation and of the law, as plain JSON values."""

    @abstractmethod
    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        """The inputs of the samples that `seeds` names; of a state its first instant, (sample, 1, ...)."""

    @abstractmethod
    def solve(self, given: Fields, domain: Domain) -> Fields:
        """The answers to the inputs; of a state all instants, the first as given.

        Raises:
            ValueError: a grid, or a step in time, with which the scheme cannot work; the message names what would.
        """

    @abstractmethod
    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """How far inputs and answers are from the discrete equation, relative, per sample."""

    @abstractmethod
    def exact(self, domain: Domain) -> tuple[Fields, Fields] | None:
        """One input and its exact answer on the points of `domain`, from a closed form; None where none is known."""


class Evolution(Problem):
    """A problem that is solved step by step in time."""

    times: tuple[float, ...]
    """The instants of variables that are `in_time`, the first that of what is given; empty where no variable is."""

    horizon: float = math.inf
    """For how long answers are the same however they are rounded; beyond it, those of a chaotic system are compared in their
    residual and their statistics alone."""

    @abstractmethod
    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """By name, how far what the equation conserves, or the budget it obeys, is off at the worst instant, per sample.

        Relative to the size of its terms, so that rounding gives about the eps of the dtype. Empty where there is nothing.
        """

    @abstractmethod
    def halved(self) -> Evolution:
        """The same problem, solved with half the step in time."""


def until_horizon(problem: Problem, fields: Fields) -> Fields:
    """What can be compared number by number: of variables in time the instants up to the horizon, two at least."""
    if not isinstance(problem, Evolution) or problem.horizon == math.inf:
        return fields
    count, variables = comparable_instants(problem), problem.variables()
    return {name: values[:, :count] if variables[name].in_time else values for name, values in fields.items()}


def comparable_instants(problem: Evolution) -> int:
    """How many instants `until_horizon` keeps."""
    return max(2, bisect.bisect_right(problem.times, problem.times[0] + problem.horizon)) if problem.times else 0


def largest_change(values: Float[Tensor, "sample time"], size: Float[Tensor, "sample time"]) -> Float[Tensor, "sample"]:
    """How far a number per instant goes from its first value, relative to the largest `size`; 0 where both are 0."""
    change = (values - values[:, :1]).abs().amax(1)
    return torch.where(change == 0, 0.0, change / size.abs().amax(1))


def relative_distance(u: Float[Tensor, "sample *axes"], v: Float[Tensor, "sample *axes"]) -> Float[Tensor, "sample"]:
    """Norm of u - v over that of v, per sample; 0 where they are equal."""
    gap = (u - v).flatten(1).norm(dim=1)
    return torch.where(gap == 0, 0.0, gap / v.flatten(1).norm(dim=1))


def restart_residual(
    advance: Callable[[Tensor, float, float], Tensor], frames: Float[Tensor, "sample time *state"], times: Sequence[float]
) -> Float[Tensor, "sample"]:
    """How far frames are from what the scheme makes of the frame before: the first, the middle and the last interval, at worst.

    The residual of an evolution of which a few instants are kept; these intervals are solved again.

    Args:
        advance: (state, from, to) -> state; the same that `solve` goes by from one frame to the next.
        times: of the frames, at least two.
    """
    places = sorted({1, len(times) // 2, len(times) - 1})
    again = [advance(frames[:, i - 1], times[i - 1], times[i]) for i in places]
    gaps = [relative_distance(frame, frames[:, i]) for frame, i in zip(again, places, strict=True)]
    return torch.stack(gaps).amax(0)
