"""The last digits of forced trajectories: Gauss-Newton steps with damping, from sensitivities that run along with the states.

Networks of a few hundred or thousand numbers are badly conditioned least squares: gradient steps creep where these do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.batch import MASK, Batch
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing, Task
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.dynamics.plrnn.piecewise_linear import PiecewiseLinear

PARTS = ("decay", "weight", "shift", "inner", "offset", "lower", "upper")
HELD = 2**22
"""Numbers of the sensitivities of the windows that are worked on together: what caches hold, more or less."""
STRIPS = 4
"""In which J'J is added up, each from its diagonal on: its other half is the same."""
ATTEMPTS = 12
"""Dampings tried in one iteration; each raises it by twice the factor of the one before (Nielsen 1999)."""


@dataclass(frozen=True)
class Refined:
    """What came of it.

    Args:
        first, last: the objective of each replica before and after.
        iterations: that each replica took.
    """

    first: tuple[float, ...]
    last: tuple[float, ...]
    iterations: tuple[int, ...]


def levenberg_marquardt(
    model: PiecewiseLinearNetwork,
    objective: GeneralizedTeacherForcing,
    batch: Batch,
    *,
    iterations: int,
    damping: float = 1e-3,
) -> Refined:
    """Take a network to float64 and every replica down the objective on all windows, in place (Marquardt 1963).

    An iteration solves (H + damping diag H) step = -gradient with H = J'J, J the derivative of all errors by the numbers of the
    network, and is taken only if the objective falls; damping follows. An observation stays as it is. A replica whose objective
    is not finite stays as it is, and has an infinite one here. The strength of forcing is that of the network as it comes: call
    again to follow it.

    Costs per iteration and replica 2 N P² operations, N errors of the batch and P numbers of the network: about 1.5 s for
    3·10^5 errors of a network of 356 numbers on a CPU core, 18 s for 1.5·10^5 of 2,785.

    Args:
        objective: without `latent_penalty`.
        batch: all windows, in float64; every replica learns from all of them.
        iterations: at most; a replica that no damping brings down stops.
        damping: to begin with.
    Raises:
        ValueError: a batch in another precision or not finite, nothing in it that counts, a latent penalty, a damping that is
            not positive, a network with nothing to learn, or as `objective`.
    """
    if not isinstance(model, PiecewiseLinearNetwork):
        raise ValueError(f"model: got {type(model).__name__}, need a piecewise-linear network")
    if not 0 < damping < math.inf or iterations < 0:
        raise ValueError(f"damping, iterations: got {damping}, {iterations}, need a positive number and 0 or more")
    names = [name for name, w in model.named_parameters() if w.requires_grad and not name.startswith("observation.")]
    if not names:
        raise ValueError("model: none of its parameters wants a gradient, need at least one")
    if objective.latent_penalty:
        raise ValueError(f"latent_penalty: got {objective.latent_penalty}, need 0, these are least squares of errors alone")
    for name, values in batch.items():
        if values.is_floating_point() and values.dtype != torch.float64:
            raise ValueError(f"variable {name}: got {values.dtype}, need float64; `whole` of sciml.data.batch makes it")
        if bad := int((~values.isfinite()).sum()):
            raise ValueError(f"variable {name}: {bad} values are not finite, need all, and a mask {name}{MASK}")
    training = model.training
    model.double().eval()
    first, last, taken = [], [], []
    try:
        with torch.enable_grad():
            task = objective.task(model, batch)
            if task.counted is not None and not bool(task.counted[:, :, objective.warm_up :].any()):
                raise ValueError(f"{objective.series}: every value that could count is masked, need at least one")
            for index in range(model.replicas):
                one = model.replica(index)
                results = _refine(one, objective, task.replica(index), names, iterations, damping)
                for results_of_all, result in zip((first, last, taken), results, strict=True):
                    results_of_all.append(result)
                with torch.no_grad():
                    for name in names:
                        model.get_parameter(name)[index] = one.get_parameter(name)[0]
    finally:
        model.train(training)
    return Refined(tuple(first), tuple(last), tuple(taken))


def _refine(
    model: PiecewiseLinearNetwork,
    objective: GeneralizedTeacherForcing,
    task: Task,
    names: list[str],
    iterations: int,
    damping: float,
) -> tuple[float, float, int]:
    """One replica in place; the objective before and after, and iterations."""
    weights = [model.get_parameter(name) for name in names]
    first = last = _value(model, objective, task)
    for iteration in range(iterations if math.isfinite(first) else 0):
        matrix, gradient = normal_equations(model, task, objective.warm_up, names)
        scale = matrix.diagonal().clamp(min=1e-9 * float(matrix.diagonal().max()))
        before = [weight.detach().clone() for weight in weights]
        growth, value = 2.0, math.inf
        for _ in range(ATTEMPTS):
            factor, failed = torch.linalg.cholesky_ex(matrix + damping * torch.diag(scale))
            if not int(failed):
                step = -torch.cholesky_solve(gradient[:, None], factor)[:, 0]
                parts = step.split([old.numel() for old in before])
                with torch.no_grad():
                    for weight, old, part in zip(weights, before, parts, strict=True):
                        weight.copy_(old + part.view_as(old))
                value = _value(model, objective, task)
                if value < last:
                    break
            damping, growth = damping * growth, 2 * growth
        if not value < last:
            with torch.no_grad():
                for weight, old in zip(weights, before, strict=True):
                    weight.copy_(old)
            return first, last, iteration
        last, damping = value, max(damping / 5, 1e-12)
    return first, last, iterations if math.isfinite(first) else 0


def _value(model: PiecewiseLinearNetwork, objective: GeneralizedTeacherForcing, task: Task) -> float:
    """Infinite where a trajectory runs away."""
    with torch.no_grad():
        found = float(objective.errors_of(model, task))
    return found if math.isfinite(found) else math.inf


def normal_equations(
    model: PiecewiseLinearNetwork,
    task: Task,
    warm_up: int,
    names: Sequence[str],
    dtype: torch.dtype = torch.float32,
) -> tuple[Float[Tensor, "parameter parameter"], Float[Tensor, "parameter"]]:
    """J'J and J'e of the errors that count, of a network of one replica, in float64.

    Args:
        names: of its parameters, one after the other.
        dtype: of the sensitivities; the states are in that of the network.
    """
    live = model.piecewise_linear()
    free = {name: part for name in PARTS if (part := getattr(live, name)) is not None and part.requires_grad}
    if model.input_weight is not None and task.inputs is not None:
        free["inputs"] = model.input_weight
    ends = list(accumulate(part.numel() for part in free.values()))
    blocks = {name: slice(end - part.numel(), end) for (name, part), end in zip(free.items(), ends, strict=True)}
    matrix = torch.zeros(ends[-1], ends[-1], dtype=torch.float64, device=task.start.device)
    gradient = torch.zeros_like(matrix[0])
    with torch.no_grad():
        together = max(1, HELD // (model.latent * ends[-1]))
        for begin in range(0, task.truth.shape[1], together):
            sums = _sums(model, blocks, task.windows(begin, begin + together), warm_up, dtype)
            matrix += sums[0]
            gradient += sums[1]
    pull = partial(_pulled, torch.cat([part.flatten() for part in free.values()]), [model.get_parameter(n) for n in names])
    return pull(pull(matrix).mT), pull(gradient[None])[0]


def _pulled(parts: Tensor, weights: list[Tensor], rows: Tensor) -> Tensor:
    """Derivatives by what the map is made of, such as the bounds of its clamps, as derivatives by the parameters."""
    pieces: list[Tensor] = []
    for some in rows.split(256):
        found = torch.autograd.grad(parts, weights, some.to(parts), retain_graph=True, allow_unused=True, is_grads_batched=True)
        each = [w.new_zeros(len(some), w.numel()) if f is None else f.flatten(1) for f, w in zip(found, weights, strict=True)]
        pieces.append(torch.cat(each, 1).double())
    return torch.cat(pieces)


def _sums(
    model: PiecewiseLinearNetwork, blocks: Mapping[str, slice], task: Task, warm_up: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """J'J and J'e by what the map is made of, where `blocks` says, over all windows."""
    network, states = model.piecewise_linear(), torch.eye(model.latent, dtype=task.start.dtype, device=task.start.device)
    observe = model.observation(states[None])[0].mT
    z, size = task.start[0], max(block.stop for block in blocks.values())
    strength = task.forcing.strength[0].expand_as(task.forcing.targets[0])
    sensitivity = torch.zeros(*z.shape, size, dtype=dtype, device=z.device)
    matrix, gradient = sensitivity.new_zeros(size, size), sensitivity.new_zeros(size)
    seen_whole = torch.equal(observe, torch.eye(len(observe), dtype=z.dtype, device=z.device))
    for t in range(task.truth.shape[2]):
        if t:
            z = torch.lerp(z, task.forcing.targets[0, :, t - 1], strength[:, t - 1])
            sensitivity *= (1 - strength[:, t - 1]).to(dtype).unsqueeze(-1)
        inputs = None if task.inputs is None else task.inputs[0, :, t]
        sensitivity = _propagated(network, z, inputs, sensitivity, blocks)
        z = network(z[None], None if inputs is None else model.drive(inputs[None]))[0]
        if t < warm_up:
            continue
        errors = z @ observe.mT - task.truth[0, :, t]
        rows = sensitivity if seen_whole else observe.to(dtype) @ sensitivity
        if task.counted is not None:
            errors = torch.where(task.counted[0, :, t], errors, 0)
            rows = rows * task.counted[0, :, t].unsqueeze(-1)
        rows = rows.flatten(0, 1)
        for strip in torch.arange(size).split(-(-size // STRIPS)):
            first, last = int(strip[0]), int(strip[-1]) + 1
            matrix[first:last, first:].addmm_(rows[:, first:last].mT, rows[:, first:])
        gradient.addmv_(rows.mT, errors.flatten().to(dtype))
    return (matrix.triu() + matrix.triu(1).mT).double(), gradient.double()


def _propagated(
    network: PiecewiseLinear, z: Tensor, inputs: Tensor | None, sensitivity: Tensor, blocks: Mapping[str, slice]
) -> Tensor:
    """dz'/dθ = dz'/dz dz/dθ + what θ does to the step itself, (window, state, θ)."""
    after = torch.bmm(network.jacobian(z[None])[0].to(sensitivity), sensitivity)
    weight, lower, upper, u = network.weight[0], network.lower[0], network.upper[0], network.hidden(z[None])[0]
    states, hidden = weight.shape
    reached = weight * ((u >= lower) & (u <= upper)).unsqueeze(1)
    for name, where in blocks.items():
        block = after[:, :, where]
        match name:
            case "decay":
                block.diagonal(dim1=1, dim2=2).add_(z)
            case "shift":
                block.diagonal(dim1=1, dim2=2).add_(1)
            case "weight":
                block.unflatten(2, (states, hidden)).diagonal(dim1=1, dim2=2).add_(u.clamp(lower, upper).unsqueeze(-1))
            case "inner":
                block.unflatten(2, (hidden, states)).addcmul_(reached.to(after).unsqueeze(-1), z.to(after)[:, None, None])
            case "offset":
                block.add_(reached)
            case "lower":
                block.add_(weight * (u < lower).unsqueeze(1))
            case "upper":
                block.add_(weight * (u > upper).unsqueeze(1))
            case _:
                assert inputs is not None
                block.unflatten(2, (states, -1)).diagonal(dim1=1, dim2=2).add_(inputs.unsqueeze(-1))
    return after


__all__ = ["Refined", "levenberg_marquardt", "normal_equations"]
