"""Piecewise-linear recurrent networks, many replicas of each trained together.

Every parameter has a leading axis of replicas: seeds, or settings of training, that do not see each other.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.normalise import Normaliser
from sciml.dynamics.plrnn.observation import FirstStates, Linear, Observation
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear, times
from sciml.dynamics.plrnn.rollout import rollout
from sciml.dynamics.replicas import check_forecast

FIRST_DECAY, LARGEST_DECAY = 0.99, 0.9999
"""Of a bounded network: the most it begins with, and ever has."""


class PiecewiseLinearNetwork(nn.Module, ABC):
    """A recurrent network z' = A z + W f(z) + h + C s with an observation x = O(z).

    Args:
        latent: numbers per state z.
        observed: numbers per instant of a series x; `latent` if not given.
        linear_observation: x = B z; otherwise x is the first states.
        inputs: numbers per instant of an external input s.
        replicas: how many are trained together.
        units: of the series, such as `Normaliser.of(stream, ["state"])`, in which they are given and answered; inside they are
            of order one. Without it they are taken as they are.
    Raises:
        ValueError: a size out of range.
    """

    def __init__(
        self,
        latent: int,
        observed: int | None,
        linear_observation: bool,
        inputs: int,
        replicas: int,
        units: Normaliser | None,
    ) -> None:
        super().__init__()
        for name, value, least in (("latent", latent, 1), ("replicas", replicas, 1), ("inputs", inputs, 0)):
            if value < least:
                raise ValueError(f"{name}: got {value}, need at least {least}")
        self.latent, self.inputs, self.replicas = latent, inputs, replicas
        self.linear_observation = linear_observation
        part = Linear if linear_observation else FirstStates
        self.observation: Observation = part(latent if observed is None else observed, latent, replicas)
        if units is not None and len(units.scale) != self.observed:
            raise ValueError(f"units: got {len(units.scale)} components, the network has {self.observed}")
        self.units = units
        self.decay = nn.Parameter(_decay(replicas, latent))
        self.shift = nn.Parameter(torch.zeros(replicas, latent))
        bound = math.sqrt(6 / (latent + inputs))
        self.input_weight = nn.Parameter(torch.empty(replicas, latent, inputs).uniform_(-bound, bound)) if inputs else None
        # What training forces with, and how many updates it took; kept here so that a run goes on where it was.
        self.register_buffer("strength", torch.full((replicas,), torch.nan))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def observed(self) -> int:
        """Numbers per instant of a series."""
        return self.observation.observed

    def replica(self, index: int) -> PiecewiseLinearNetwork:
        """A network of its own with the numbers of one replica.

        Raises:
            ValueError: no replica of this number.
        """
        if not 0 <= index < self.replicas:
            raise ValueError(f"index: got {index}, need 0 to {self.replicas - 1}")
        one = copy.deepcopy(self)
        one.replicas = one.observation.replicas = 1
        for part in one.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                setattr(part, name, nn.Parameter(weight.detach()[index : index + 1].clone(), weight.requires_grad))
        for part, name in ((one, "strength"), (one.observation, "_none")):
            setattr(part, name, part.get_buffer(name)[index : index + 1].clone())
        return one

    @abstractmethod
    def piecewise_linear(self) -> PiecewiseLinear:
        """The map from state to state in the form that engines and analysis work on, with its gradients."""

    @abstractmethod
    def penalty(self) -> Float[Tensor, "replica"]:
        """Sum of squares of weights and shifts, and of 1 - A."""

    def drive(self, s: Float[Tensor, "replica *batch input"]) -> Float[Tensor, "replica *batch latent"]:
        """C s, what inputs add to the next state.

        Raises:
            ValueError: the network has no inputs, or another number.
        """
        if self.input_weight is None or s.shape[-1] != self.inputs:
            raise ValueError(f"s: got {s.shape[-1]} inputs, the network has {self.inputs}")
        return times(s, self.input_weight)

    def standardised(self, x: Float[Tensor, "*batch observed"]) -> Float[Tensor, "*batch observed"]:
        """A series as the network sees it."""
        return x if self.units is None else self.units.encode(x.reshape(-1, x.shape[-1])).view(x.shape)

    @property
    def context(self) -> int:
        """One: the last instant is all that it starts from."""
        return 1

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The instants that follow the series, without external inputs and without a gradient.

        Raises:
            ValueError: another number of replicas or of values per instant, an empty series, another precision, or
                fewer than one step.
        """
        check_forecast(series, steps, replicas=self.replicas, observed=self.observed, dtype=self.decay.dtype)
        with torch.no_grad():
            return self(series[:, :, -1], steps)

    def forward(
        self,
        x: Float[Tensor, "replica sequence observed"],
        steps: int,
        s: Float[Tensor, "replica sequence step input"] | None = None,
    ) -> Float[Tensor, "replica sequence step observed"]:
        """Series of `steps` instants that follow x, running free.

        Args:
            s: external inputs, the first the one between x and the first instant of the answer.
        """
        start = self.observation.start(self.standardised(x))
        states = rollout(self.piecewise_linear(), start, steps, drive=None if s is None else self.drive(s))
        found = self.observation(states)
        return found if self.units is None else self.units.decode(found.flatten(0, -2)).view(found.shape)


class PLRNN(PiecewiseLinearNetwork):
    """z' = A z + W relu(z) + h, W without a diagonal (Durstewitz, PLoS Comput. Biol. 13 (2017) e1005542).

    Args:
        centred: takes relu(z - mean of z) (mean-centred PLRNN, Brenner et al., ICML 2022).
    """

    def __init__(
        self,
        latent: int,
        *,
        centred: bool = False,
        observed: int | None = None,
        linear_observation: bool = False,
        inputs: int = 0,
        replicas: int = 1,
        units: Normaliser | None = None,
    ) -> None:
        super().__init__(latent, observed, linear_observation, inputs, replicas, units)
        self.centred = centred
        self.weight = nn.Parameter(_without_diagonal(_talathi_vartak(replicas, latent)))

    def piecewise_linear(self) -> PiecewiseLinear:
        """Without inner matrix, or with the centring matrix."""
        weight = _with_diagonal(self.weight)
        lower = self.shift.new_zeros(self.replicas, self.latent)
        inner = None
        if self.centred:
            eye = torch.eye(self.latent, dtype=weight.dtype, device=weight.device)
            inner = (eye - 1 / self.latent).expand(self.replicas, -1, -1)
        return PiecewiseLinear(self.decay, weight, self.shift, inner, lower, lower, torch.full_like(lower, torch.inf))

    def penalty(self) -> Float[Tensor, "replica"]:
        """See the base."""
        return _squares(1 - self.decay, self.weight, self.shift, self.input_weight)


class DendriticPLRNN(PiecewiseLinearNetwork):
    """z' = A z + W sum_b a_b relu(z - H_b) + h (Brenner et al., ICML 2022); `clipped`: relu(z - H_b) - relu(z).

    W has no diagonal; the authors count one, so their number of parameters is larger by `latent`.

    Args:
        bases: B, thresholds per state.
        limits: between which the thresholds begin, such as least and largest value of the data.
    """

    def __init__(
        self,
        latent: int,
        bases: int,
        *,
        clipped: bool = False,
        limits: tuple[float, float] = (-2.0, 2.0),
        observed: int | None = None,
        linear_observation: bool = False,
        inputs: int = 0,
        replicas: int = 1,
        units: Normaliser | None = None,
    ) -> None:
        super().__init__(latent, observed, linear_observation, inputs, replicas, units)
        if bases < 1:
            raise ValueError(f"bases: got {bases}, need at least 1")
        self.bases, self.clipped, self.limits = bases, clipped, limits
        self.weight = nn.Parameter(_without_diagonal(_talathi_vartak(replicas, latent)))
        self.amounts = nn.Parameter(torch.empty(replicas, bases).uniform_(-(bases**-0.5), bases**-0.5))
        self.thresholds = nn.Parameter(torch.empty(replicas, latent, bases).uniform_(*limits))

    def piecewise_linear(self) -> PiecewiseLinear:
        """One hidden unit for every state and threshold."""
        eye = torch.eye(self.latent, dtype=self.shift.dtype, device=self.shift.device)
        inner = eye.repeat_interleave(self.bases, 0).expand(self.replicas, -1, -1)
        weight = (_with_diagonal(self.weight).unsqueeze(-1) * self.amounts[:, None, None, :]).flatten(2)
        return _rectified(self.decay, weight, self.shift, inner, -self.thresholds.flatten(1), self.clipped)

    def penalty(self) -> Float[Tensor, "replica"]:
        """See the base."""
        return _squares(1 - self.decay, self.weight, self.shift, self.amounts, self.thresholds, self.input_weight)


class ShallowPLRNN(PiecewiseLinearNetwork):
    """z' = A z + W1 relu(W2 z + h2) + h1; `clipped`: W1 [relu(W2 z + h2) - relu(W2 z)] (Hess et al., ICML 2023).

    A clipped network cannot run away while all |A| < 1, which training by short windows does not see to by itself.

    Args:
        hidden: L, numbers between.
        bounded: A is the hyperbolic tangent of `decay`, at most 0.9999, so that a clipped network never runs away.
    Raises:
        ValueError: a size out of range, or `bounded` without `clipped`, which bounds nothing.
    """

    def __init__(
        self,
        latent: int,
        hidden: int,
        *,
        clipped: bool = True,
        bounded: bool = False,
        observed: int | None = None,
        linear_observation: bool = False,
        inputs: int = 0,
        replicas: int = 1,
        units: Normaliser | None = None,
    ) -> None:
        super().__init__(latent, observed, linear_observation, inputs, replicas, units)
        if hidden < 1:
            raise ValueError(f"hidden: got {hidden}, need at least 1")
        if bounded and not clipped:
            raise ValueError("bounded: got True for a network that is not clipped, which may run away for any A")
        self.hidden, self.clipped, self.bounded = hidden, clipped, bounded
        if bounded:
            with torch.no_grad():
                self.decay.clamp_(max=FIRST_DECAY).atanh_()
        self.weight = nn.Parameter(torch.empty(replicas, latent, hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.inner = nn.Parameter(torch.empty(replicas, hidden, latent).uniform_(-(latent**-0.5), latent**-0.5))
        bound = hidden**-0.5 if clipped else 0.0
        self.offset = nn.Parameter(torch.empty(replicas, hidden).uniform_(-bound, bound))

    def piecewise_linear(self) -> PiecewiseLinear:
        """As it stands."""
        return _rectified(self._decays(), self.weight, self.shift, self.inner, self.offset, self.clipped)

    def penalty(self) -> Float[Tensor, "replica"]:
        """See the base."""
        return _squares(1 - self._decays(), self.weight, self.inner, self.shift, self.offset, self.input_weight)

    def _decays(self) -> Float[Tensor, "replica latent"]:
        """A."""
        return torch.tanh(self.decay).clamp(-LARGEST_DECAY, LARGEST_DECAY) if self.bounded else self.decay


class AlmostLinearRNN(PiecewiseLinearNetwork):
    """z' = A z + W f(z) + h, f the rectifier on the last `nonlinear` states and the identity on the others.

    Brenner, Hemmer, Monfared & Durstewitz, NeurIPS 2024; W is full.

    Args:
        nonlinear: P, so that there are 2^P linear regions.
    """

    def __init__(
        self,
        latent: int,
        nonlinear: int,
        *,
        observed: int | None = None,
        linear_observation: bool = False,
        inputs: int = 0,
        replicas: int = 1,
        units: Normaliser | None = None,
    ) -> None:
        super().__init__(latent, observed, linear_observation, inputs, replicas, units)
        if not 0 <= nonlinear <= latent:
            raise ValueError(f"nonlinear: got {nonlinear}, need 0 to latent = {latent}")
        self.nonlinear = nonlinear
        self.weight = nn.Parameter(0.01 * torch.randn(replicas, latent, latent))

    def piecewise_linear(self) -> PiecewiseLinear:
        """Linear units have no bounds."""
        zero = self.shift.new_zeros(self.replicas, self.latent)
        linear = torch.arange(self.latent, device=zero.device) < self.latent - self.nonlinear
        lower = torch.where(linear, -torch.inf, zero)
        return PiecewiseLinear(self.decay, self.weight, self.shift, None, zero, lower, torch.full_like(zero, torch.inf))

    def penalty(self) -> Float[Tensor, "replica"]:
        """See the base."""
        return _squares(1 - self.decay, self.weight, self.shift, self.input_weight)


def _rectified(decay: Tensor, weight: Tensor, shift: Tensor, inner: Tensor, offset: Tensor, clipped: bool) -> PiecewiseLinear:
    """With relu(u + c), or clipped relu(u + c) - relu(u) = sign(c) clamp(u + relu(c), 0, |c|)."""
    lower = offset.new_zeros(offset.shape)
    if not clipped:
        return PiecewiseLinear(decay, weight, shift, inner, offset, lower, torch.full_like(lower, torch.inf))
    upwards = offset >= 0
    weight = torch.where(upwards.unsqueeze(1), weight, -weight)
    return PiecewiseLinear(
        decay, weight, shift, inner, torch.where(upwards, offset, 0), lower, torch.where(upwards, offset, -offset)
    )


def _talathi_vartak(replicas: int, size: int) -> Tensor:
    """R'R / M + 1, divided by its largest eigenvalue (Talathi & Vartak 2015)."""
    noise = torch.randn(replicas, size, size)
    matrix = noise.mT @ noise / size + torch.eye(size)
    return matrix / torch.linalg.eigvalsh(matrix)[:, -1, None, None]


def _decay(replicas: int, size: int) -> Tensor:
    return torch.diagonal(_talathi_vartak(replicas, size), dim1=1, dim2=2).clone()


def _without_diagonal(matrix: Float[Tensor, "replica n n"]) -> Float[Tensor, "replica n n-1"]:
    """Its rows without the number on the diagonal."""
    n = matrix.shape[-1]
    return matrix.flatten(1)[:, 1:].view(-1, n - 1, n + 1)[:, :, :-1].reshape(-1, n, n - 1) if n > 1 else matrix[:, :, :0]


def _with_diagonal(rows: Float[Tensor, "replica n n-1"]) -> Float[Tensor, "replica n n"]:
    """Back, with zeros."""
    replicas, n, _ = rows.shape
    if n == 1:
        return rows.new_zeros(replicas, 1, 1)
    padded = nn.functional.pad(rows.reshape(replicas, n - 1, n), (0, 1))
    return nn.functional.pad(padded.flatten(1), (1, 0)).view(replicas, n, n)


def _squares(*parts: Tensor | None) -> Float[Tensor, "replica"]:
    return torch.stack([part.flatten(1).square().sum(1) for part in parts if part is not None]).sum(0)


__all__ = ["PLRNN", "AlmostLinearRNN", "DendriticPLRNN", "PiecewiseLinearNetwork", "ShallowPLRNN"]
