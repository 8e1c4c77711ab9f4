"""A flow: s' = f(s), an autonomous system of a few ordinary differential equations, for many states and parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_positive, check_times
from sciml.numerics.runge_kutta import advanced
from sciml.numerics.spectral import steps_between

Number = float | Tensor
"""A parameter: one for all, or one per state."""

Parameters = Mapping[str, Number]

Rates = Tensor | tuple[Tensor, ...]
"""The derivative of every component, or one tensor of all with the components first."""

Scalar = Callable[..., Number]
"""(state with the components first, parameters by name) -> a number per state."""


@dataclass(frozen=True)
class Flow:
    """The equations of a flow, with the parameters at which it is known to be chaotic and numbers measured there.

    Args:
        name: as in cards.
        rates: the right-hand side, (state with the components first, parameters by name) -> derivatives. Products,
            quotients and sums alone round alike everywhere, see `advanced`.
        start: a point on the attractor.
        scale: standard deviation of every component there; 0 for one that is a clock.
        step: of the classical Runge-Kutta scheme, with which the local error over `interval` is below `tolerance`.
        interval: between two instants of a series, about a hundredth of the time of one turn.
        exponent: the largest Lyapunov exponent, per unit of time, measured to about a tenth; it says for how long rounding does
            not matter.
        equation: in text.
        source: who published it, and where.
        parameters: by name, the published values.
        contraction: the divergence of `rates` in closed form, where it is short.
        invariant: what does not change along an orbit and is not 0 at `start`, if there is such a thing.
        tolerance: of the local error, relative to the root mean square of the state.
    """

    name: str
    rates: Callable[..., Rates]
    start: tuple[float, ...]
    scale: tuple[float, ...]
    step: float
    interval: float
    exponent: float
    equation: str
    source: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    contraction: Scalar | None = None
    invariant: Scalar | None = None
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        check_positive(step=self.step, interval=self.interval, exponent=self.exponent, tolerance=self.tolerance)

    @property
    def dim(self) -> int:
        """Components of a state."""
        return len(self.start)

    def slope(self, state: Float[Tensor, "*lead dim"], parameters: Parameters | None = None) -> Float[Tensor, "*lead dim"]:
        """The derivative of the state.

        Args:
            parameters: instead of the published ones, numbers or tensors that broadcast against (*lead).
        Raises:
            ValueError: another number of components, or a parameter that the flow does not have.
        """
        self._check(state)
        return self.rate(self.settled(parameters))(state.movedim(-1, 0)).movedim(0, -1)

    def divergence(self, state: Float[Tensor, "*lead dim"], parameters: Parameters | None = None) -> Float[Tensor, "*lead"]:
        """How fast a small volume grows: the trace of the derivative of `slope` by the state, at every state.

        From the closed form where there is one, else by `traced_divergence`.
        """
        self._check(state)
        if self.contraction is None:
            return self.traced_divergence(state, parameters)
        found = self.contraction(state.movedim(-1, 0), **self.settled(parameters))
        return found + torch.zeros_like(state[..., 0])

    def traced_divergence(
        self, state: Float[Tensor, "*lead dim"], parameters: Parameters | None = None
    ) -> Float[Tensor, "*lead"]:
        """The divergence by derivatives of `rates`, one component after the other."""
        with torch.enable_grad():
            first = state.detach().movedim(-1, 0).requires_grad_()
            rates = self.rate(self.settled(parameters))(first)
            # Reverse mode, as the first use of forward mode costs seconds.
            slopes = [torch.autograd.grad(rates[i].sum(), first, retain_graph=True)[0][i] for i in range(self.dim)]
        return torch.stack(slopes).sum(0)

    def trajectory(
        self,
        start: Float[Tensor, "*lead dim"],
        times: Sequence[float],
        *,
        parameters: Parameters | None = None,
        step: float | None = None,
    ) -> Float[Tensor, "*lead time dim"]:
        """The states at `times`, the first of which is that of `start`; by the classical Runge-Kutta scheme.

        One call for many initial states and, with tensors as parameters, for many values of these: a bifurcation diagram.

        Args:
            step: in time, at most; each interval is cut into equal ones. That of the flow if not given.
        Raises:
            ValueError: as `slope`; times that do not grow, or a step that is not positive.
        """
        self._check(start)
        check_times(times)
        rate, state = self.rate(self.settled(parameters)), start.movedim(-1, 0)
        states = [state]
        for before, after in pairwise(times):
            count, length = steps_between(before, after, self.step if step is None else step)
            state = advanced(rate, state, length, count)
            states.append(state)
        return torch.stack(states).movedim((0, 1), (-2, -1))

    def settled(self, parameters: Parameters | None) -> dict[str, float | Tensor]:
        """The published parameters, some of them changed.

        Raises:
            ValueError: one that the flow does not have.
        """
        given = {} if parameters is None else dict(parameters)
        if unknown := sorted(given.keys() - self.parameters.keys()):
            raise ValueError(f"parameters: got {unknown[0]!r}, {self.name} has {', '.join(self.parameters) or 'none'}")
        return {**self.parameters, **given}

    def rate(self, parameters: Parameters) -> Callable[[Tensor], Tensor]:
        """The right-hand side with all parameters in place, for states with the components first."""

        def rate(state: Tensor) -> Tensor:
            found = self.rates(state, **parameters)
            return found if isinstance(found, Tensor) else torch.stack(torch.broadcast_tensors(*found))

        return rate

    def _check(self, state: Tensor) -> None:
        if not state.ndim or state.shape[-1] != self.dim:
            raise ValueError(f"state: got shape {tuple(state.shape)}, {self.name} has {self.dim} components on the last axis")


__all__ = ["Flow", "Number", "Parameters", "Rates", "Scalar"]
