"""How strongly a trajectory is forced in training: constant, falling, at intervals, or found from the network's Jacobians."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.dynamics.plrnn.newton import entering
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear
from sciml.dynamics.plrnn.rollout import Forcing, rollout

Estimator = Literal["arithmetic", "product", "logarithm", "largest", "bound"]


@dataclass(frozen=True)
class Signal:
    """What a batch of windows does to a network, apart from where trajectories start.

    Args:
        targets: of the instants between first and last; where values are missing, the last good ones.
        drive: what external inputs add to the state in each step, the first of them away from the first instant.
        good: which targets there are. The others are not forced, whatever the rule says.
    """

    targets: Float[Tensor, "replica sequence between state"]
    drive: Float[Tensor, "replica sequence step state"] | None = None
    good: Bool[Tensor, "replica sequence between"] | None = None


class Strength(ABC):
    """A rule for the strength of forcing, alpha."""

    @abstractmethod
    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Float[Tensor, "replica one #between one"]:
        """For each replica, and instant where they differ; in training the rule may go on from here."""


@dataclass(frozen=True)
class Constant(Strength):
    """The same throughout.

    Args:
        alpha: one number, or one for each replica.
    """

    alpha: float | tuple[float, ...]

    def __post_init__(self) -> None:
        values = (self.alpha,) if isinstance(self.alpha, float | int) else tuple(self.alpha)
        if not values or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"alpha: got {self.alpha}, need numbers between 0 and 1")

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha."""
        values = [self.alpha] * model.replicas if isinstance(self.alpha, float | int) else list(self.alpha)
        if len(values) != model.replicas:
            raise ValueError(f"alpha: got {len(values)} numbers, the network has {model.replicas} replicas")
        return signal.targets.new_tensor(values).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Annealed(Strength):
    """From `first` to `last` by the same factor in every update, then `last`.

    Args:
        updates: until `last` is reached.
    """

    first: float
    last: float
    updates: int

    def __post_init__(self) -> None:
        if not 0 < self.first <= 1 or not 0 < self.last <= 1 or self.updates < 1:
            raise ValueError(
                f"alpha: got {self.first} to {self.last} in {self.updates} updates, need numbers above 0 up to 1 and at least 1"
            )

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha of this update."""
        part = (model.get_buffer("updates").to(signal.targets.dtype) / self.updates).clamp(max=1)
        return (self.first * (self.last / self.first) ** part).expand(model.replicas).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Sparse(Strength):
    """1 at every `interval`-th state and 0 between (sparse teacher forcing, Mikhaeil et al., NeurIPS 2022).

    Of a network whose observation is the first states this is the identity teacher forcing of Brenner et al., ICML 2022.
    ln 2 / (largest exponent per step) is the interval of the paper.
    """

    interval: int

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval: got {self.interval}, need at least 1")

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """1 or 0 for every instant."""
        targets = signal.targets
        number = torch.arange(1, targets.shape[2] + 1, device=targets.device)
        return (number % self.interval == 0).to(targets.dtype).view(1, 1, -1, 1).expand(model.replicas, -1, -1, -1)


@dataclass(frozen=True)
class Adaptive(Strength):
    """1 - 1 / kappa, with kappa from the Jacobians at the forcing signal (adaptive GTF, Hess et al., ICML 2023, Algorithm 1).

    Found anew every `every` updates; a larger value is taken at once, a smaller one approached by the factor `decay`.

    Args:
        estimator: kappa of a sequence, of which the largest counts. "arithmetic": norm of the mean Jacobian; "product":
            geometric mean of their norms; "logarithm": norm of exp(mean of their logarithms), for Jacobians that have one;
            "largest": of their norms; "bound": max |A| + ||W1|| ||W2||, without looking at a sequence.
        first: alpha to begin with.
    """

    estimator: Estimator = "product"
    first: float = 1.0
    decay: float = 0.999
    every: int = 5

    def __post_init__(self) -> None:
        if self.estimator not in _ESTIMATORS:
            raise ValueError(f"estimator: got {self.estimator!r}, need one of {', '.join(_ESTIMATORS)}")
        _check_rule(self.first, self.decay, self.every)

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha now, after a look at the Jacobians where one is due."""

        def follow(alpha: Tensor) -> Tensor:
            kappa = _ESTIMATORS[self.estimator](model.piecewise_linear().detached(), signal.targets).amax(1)
            found = (1 - 1 / kappa).clamp(0, 1)
            return torch.where(found > alpha, found, self.decay * alpha + (1 - self.decay) * found)

        return _followed(model, self.first, self.every, follow)


@dataclass(frozen=True)
class LyapunovMatched(Strength):
    """1 - exp(-λ), λ the largest exponent per step of the network as it is forced: just as much as the chaos asks for.

    λ is the logarithm of the norm of the product of the Jacobians along a trajectory forced as it is now, divided by its
    length, and its mean over the sequences. Stronger forcing lets gradients die out over long sequences, weaker lets them
    explode: between the two they neither grow nor fall by a rate. The other estimators bound the norms of single Jacobians,
    which are far larger.

    Args:
        first: alpha to begin with.
        decay: part of the old value that each look keeps.
        every: updates between two looks.
    """

    first: float = 0.5
    decay: float = 0.95
    every: int = 5

    def __post_init__(self) -> None:
        _check_rule(self.first, self.decay, self.every)

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha now, after a look at the Jacobians where one is due."""

        def follow(alpha: Tensor) -> Tensor:
            return self.decay * alpha + (1 - self.decay) * matched(model.piecewise_linear().detached(), signal, alpha)

        return _followed(model, self.first, self.every, follow)


def matched(network: PiecewiseLinear, signal: Signal, alpha: Float[Tensor, "replica"]) -> Float[Tensor, "replica"]:
    """1 - exp(-λ) of `LyapunovMatched`, without memory; 0 where λ is not positive.

    Args:
        alpha: that the trajectory is forced with, along which λ is found.
    Raises:
        ValueError: fewer than two targets.
    """
    if signal.targets.shape[2] < 2:
        raise ValueError(f"windows: got {signal.targets.shape[2] + 2} instants, LyapunovMatched needs at least 4")
    targets, strength, steps = signal.targets, alpha.view(-1, 1, 1, 1), signal.targets.shape[2] - 1
    if signal.good is not None:
        strength = strength * signal.good[:, :, 1:-1].unsqueeze(-1)
    forcing = Forcing(targets[:, :, 1:-1], strength)
    driven = None if signal.drive is None else signal.drive[:, :, 1 : 1 + steps]
    states = rollout(network, targets[:, :, 0], steps, forcing=forcing, drive=driven)
    entered = entering(targets[:, :, 0], states, forcing.targets, forcing.strength)
    rate = log_norm_of_product(network.jacobian(entered)) / entered.shape[2]
    return (1 - torch.exp(-rate.mean(1).clamp(min=0))).to(targets.dtype)


@dataclass(frozen=True)
class Kalman(Strength):
    """For every instant the number that leaves the least error: the gain of a Kalman filter, one for all states of it.

    The error of a forced trajectory has the covariance P' = J P J' + drift 1 after a step and (1 - alpha)² P + alpha² 1 after
    forcing, in units of the variance of the noise of the data, and alpha = tr P / (tr P + states) makes the latter least. J is
    the Jacobian of the network at the data, P = 1 at the first instant. Where the system is slow alpha falls, and the
    trajectory averages over many instants; where neighbours part it rises. For noisy series, windows of several hundred
    instants, and networks that have learned something already; in training it follows the network in every update.

    Args:
        drift: variance of the errors that the network itself makes in a step, in units of that of the noise.
    """

    drift: float = 3e-4

    def __post_init__(self) -> None:
        if not 0 <= self.drift < float("inf"):
            raise ValueError(f"drift: got {self.drift}, need a number that is not negative")

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha of every instant.

        Raises:
            ValueError: some states are not forced.
        """
        _all_forced(model)
        with torch.no_grad():
            return _gains(model.piecewise_linear().detached(), signal, self.drift)


@dataclass(frozen=True)
class Bounded(Strength):
    """For every instant as little as keeps the gradient by the first one bounded, so that over any length it stays alive.

    Where values are missing nothing is forced, and the gradient grows until there are some.

    G is the derivative of the state by the first target, along the trajectory as it is forced; wherever its norm has grown
    above `limit`, alpha = 1 - limit / norm brings it back there, and elsewhere alpha is 0. The first target is taken as it is.

    Args:
        limit: of the Frobenius norm after forcing; before it, it may be larger by what one step does.
    """

    limit: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.limit < float("inf"):
            raise ValueError(f"limit: got {self.limit}, need a number above 0")

    def __call__(self, model: PiecewiseLinearNetwork, signal: Signal) -> Tensor:
        """Alpha of every instant.

        Raises:
            ValueError: some states are not forced.
        """
        _all_forced(model)
        network, targets, good = model.piecewise_linear().detached(), signal.targets, signal.good
        with torch.no_grad():
            z, strengths = targets[:, :, 0], [torch.ones_like(targets[:, :, 0, :1])]
            driven = None if signal.drive is None else signal.drive.unbind(2)
            product = torch.eye(model.latent, dtype=z.dtype, device=z.device).expand(*z.shape, -1)
            for t in range(1, targets.shape[2]):
                product = network.jacobian(z) @ product
                norm = product.flatten(2).norm(dim=2, keepdim=True)
                alpha = (1 - self.limit / norm).clamp(min=0)
                strengths.append(alpha if good is None else alpha * good[:, :, t, None])
                product = product * (1 - strengths[-1]).unsqueeze(-1)
                z = torch.lerp(network(z, None if driven is None else driven[t]), targets[:, :, t], strengths[-1])
        return torch.stack(strengths, 2)


def _all_forced(model: PiecewiseLinearNetwork) -> None:
    if model.observed < model.latent:
        raise ValueError(f"observed: got {model.observed} of {model.latent} states, need all, those unseen are not forced")


def _gains(network: PiecewiseLinear, signal: Signal, drift: float) -> Tensor:
    targets, states = signal.targets, signal.targets.shape[3]
    eye = torch.eye(states, dtype=targets.dtype, device=targets.device)
    jacobians = network.jacobian(targets)
    covariance, gains = eye.expand(*targets.shape[:2], states, states), []
    for t in range(targets.shape[2]):
        step = jacobians[:, :, max(t - 1, 0)]  # of the first instant itself nothing is known here
        covariance = step @ covariance @ step.mT + drift * eye
        error = covariance.diagonal(dim1=2, dim2=3).sum(2)
        gain = (error / (error + states))[..., None, None]
        if signal.good is not None:
            gain = gain * signal.good[:, :, t, None, None]
        covariance = (1 - gain) ** 2 * covariance + gain**2 * eye
        gains.append(gain[..., 0])
    return torch.stack(gains, 2)


def log_norm_of_product(matrices: Float[Tensor, "*batch time n n"]) -> Float[Tensor, "*batch"]:
    """Logarithm of the spectral norm of J_T ... J_1, by pairs and with their sizes taken out, so that nothing overflows."""
    left, logs = matrices.double(), matrices.new_zeros(matrices.shape[:-3], dtype=torch.float64)
    while left.shape[-3] > 1:
        odd = left[..., -1:, :, :] if left.shape[-3] % 2 else left[..., :0, :, :]
        pairs = left.shape[-3] // 2
        left = torch.cat([left[..., 1 : 2 * pairs : 2, :, :] @ left[..., 0 : 2 * pairs : 2, :, :], odd], -3)
        size = left.flatten(-2).norm(dim=-1).clamp(min=torch.finfo(torch.float64).tiny)
        left, logs = left / size[..., None, None], logs + size.log().sum(-1)
    return logs + torch.linalg.matrix_norm(left[..., 0, :, :], 2).log()


def _followed(model: PiecewiseLinearNetwork, first: float, every: int, follow: Callable[[Tensor], Tensor]) -> Tensor:
    """Alpha, kept by the model; in training it goes on at every `every`-th update."""
    alpha, updates = model.get_buffer("strength"), model.get_buffer("updates")
    if bool(alpha.isnan().all()):
        alpha.fill_(first)
    if model.training and int(updates) % every == 0:
        with torch.no_grad():
            found = follow(alpha)
            alpha.copy_(torch.where(found.isfinite(), found, alpha))
    return alpha.clone().view(-1, 1, 1, 1)


def _arithmetic(network: PiecewiseLinear, targets: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(network.jacobian(targets).mean(2), 2)


def _product(network: PiecewiseLinear, targets: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(network.jacobian(targets), 2).log().mean(2).exp()


def _logarithm(network: PiecewiseLinear, targets: Tensor) -> Tensor:
    values, vectors = torch.linalg.eig(network.jacobian(targets))
    logs = vectors @ torch.diag_embed(values.log()) @ torch.linalg.inv(vectors)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(logs.mean(2)), 2)


def _largest(network: PiecewiseLinear, targets: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(network.jacobian(targets), 2).amax(2)


def _bound(network: PiecewiseLinear, targets: Tensor) -> Tensor:
    size = torch.linalg.matrix_norm(network.weight, 2)
    if network.inner is not None:
        size = size * torch.linalg.matrix_norm(network.inner, 2)
    return (network.decay.abs().amax(1) + size).unsqueeze(1)


_ESTIMATORS: Mapping[str, Callable[[PiecewiseLinear, Tensor], Tensor]] = MappingProxyType(
    {"arithmetic": _arithmetic, "product": _product, "logarithm": _logarithm, "largest": _largest, "bound": _bound}
)
"""kappa of each replica and sequence."""


def _check_rule(first: float, decay: float, every: int) -> None:
    if not 0 <= first <= 1:
        raise ValueError(f"first: got {first}, need a number between 0 and 1")
    if not 0 <= decay < 1:
        raise ValueError(f"decay: got {decay}, need a number from 0 up to but without 1")
    if every < 1:
        raise ValueError(f"every: got {every}, need at least 1")


__all__ = [
    "Adaptive",
    "Annealed",
    "Bounded",
    "Constant",
    "Estimator",
    "Kalman",
    "LyapunovMatched",
    "Signal",
    "Sparse",
    "Strength",
    "log_norm_of_product",
    "matched",
]
