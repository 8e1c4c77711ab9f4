"""Lyapunov exponents of maps along orbits, and the dimension that they imply."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive

BLOCKS = 20
"""Parts of an orbit whose means give the standard error."""
DIGITS = 1e3
"""A frame may be squeezed until its shortest side is so many roundings of its longest: three digits."""

Step = Callable[[Float[Tensor, "*batch state"]], Float[Tensor, "*batch state"]]
Tangent = Callable[[Float[Tensor, "*batch state"], Float[Tensor, "*batch state k"]], Float[Tensor, "*batch state k"]]


class LyapunovSpectrum(NamedTuple):
    """Lyapunov exponents per unit of time and their standard errors, float64, one set per orbit.

    Args:
        exponents: as the frame orders them, which after a long enough transient is from the largest down.
        standard_error: from the means over 20 parts of the orbit (fewer when it is short), taken as independent: right when a
            part is much longer than the memory of the orbit, and too large on shorter ones that oscillate. What is left of a
            short transient is not in it. Over a batch of orbits the scatter of their exponents is the better one.
    """

    exponents: Float[Tensor, "*batch k"]
    standard_error: Float[Tensor, "*batch k"]


@torch.no_grad()
def lyapunov_spectrum(
    step: Step,
    tangent: Tangent | None,
    start: Float[Tensor, "*batch state"],
    *,
    steps: int,
    transient: int,
    every: int = 10,
    dt: float = 1.0,
    exponents: int | None = None,
) -> LyapunovSpectrum:
    """The k largest Lyapunov exponents of z -> step(z), by QR decomposition of a frame that the tangent map carries along.

    A random orthonormal frame, the same for all orbits, is carried through the transient with the state, so that it points
    along the orbit's own directions when counting begins. The exponents are the mean of log |diag R| per unit time.
    States and frames keep the dtype of `start` (a model has its own); logarithms are summed in float64.

    Args:
        step: the map, for states with any leading axes: replicas, parameters, initial states.
        tangent: (z, Q) to J(z) Q, with J the Jacobian of `step`. None: forward-mode derivatives of `step`, which must then be
            one that `torch.func` can take.
        steps: that count; a multiple of `every`, and at least twice it.
        transient: steps before, on the attractor and with the frame. With too few the exponents are mixed: it takes a
            few times 1 / (gap between neighbouring exponents).
        every: steps from one QR to the next. 1 is safest; more is faster, until the frame collapses, which raises.
        dt: time of one step.
        exponents: k, up to the dimension; None is all of them.
    Returns:
        NaN for an orbit that left the finite numbers. The directions that a singular map loses get `-inf`, or with
        rounding about log(eps) / dt.
    Raises:
        ValueError: numbers or shapes that do not fit, or a frame that collapsed between two decompositions.

    Source: Benettin et al., Meccanica 15 (1980) 9; Eckmann & Ruelle, Rev. Mod. Phys. 57 (1985) 617.
    """
    count = _check(start, steps, transient, every, dt, exponents)
    carried = _derivative_of(step) if tangent is None else tangent
    random = torch.Generator().manual_seed(0)
    frame = torch.linalg.qr(torch.randn(start.shape[-1], count, generator=random, dtype=torch.float64)).Q
    state, frame = start, frame.to(start).expand(*start.shape, count)
    for last in range(every, transient + every, every):
        state, frame = _advance(step, carried, state, frame, min(every, transient - last + every))
        frame = torch.linalg.qr(frame).Q
    intervals = steps // every
    blocks = min(BLOCKS, intervals)
    sums = torch.zeros(blocks, *start.shape[:-1], count, dtype=torch.float64, device=start.device)
    flattest = torch.ones_like(sums[0, ..., 0])
    for i in range(intervals):
        state, frame = _advance(step, carried, state, frame, every)
        frame, upper = torch.linalg.qr(frame)
        sides = upper.diagonal(dim1=-2, dim2=-1).abs().double()
        sums[i * blocks // intervals] += sides.log()
        flattest = torch.fmin(flattest, sides.amin(-1) / sides.amax(-1))
    # Orbits whose state alone overflowed may have a frame that is still finite.
    sums = torch.where(torch.isfinite(state).all(-1)[..., None], sums, math.nan)
    if every > 1:
        _check_frame(flattest[~sums.isnan().any(0).any(-1)], every, start.dtype)
    lengths = torch.bincount(torch.arange(intervals) * blocks // intervals).to(sums) * (every * dt)
    means = sums / lengths.reshape(blocks, *[1] * start.ndim)
    return LyapunovSpectrum(sums.sum(0) / (steps * dt), means.std(0) / math.sqrt(blocks))


def kaplan_yorke(exponents: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
    """The Kaplan-Yorke dimension: j + (sum of the j largest exponents) / |the next one|, with j the most whose sum is >= 0.

    0 when all are negative. When even the sum of all is >= 0 it is their number, which is then a bound from below if these are
    not all exponents of the system. NaN when one is NaN.

    Args:
        exponents: in any order and unit, float64 kept, others raised to it.

    Source: Kaplan & Yorke (1979), Lecture Notes in Mathematics 730, 204.
    """
    if exponents.ndim < 1 or exponents.shape[-1] < 1:
        raise ValueError(f"exponents: got shape {tuple(exponents.shape)}, need (*batch, k) with k >= 1")
    ordered = exponents.double().sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    # Sums of falling numbers rise and then fall, and below zero they stay.
    count = (sums >= 0).sum(-1, keepdim=True)
    size = exponents.shape[-1]
    kept = torch.where(count > 0, sums.gather(-1, (count - 1).clamp_min(0)), 0)
    following = ordered.gather(-1, count.clamp_max(size - 1)).abs()
    part = torch.where((count < size) & (count > 0), kept / following, 0)
    dimension = (count + part).squeeze(-1)
    return torch.where(exponents.isnan().any(-1), math.nan, dimension)


def _advance(step: Step, tangent: Tangent, state: Tensor, frame: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    for _ in range(steps):
        frame = tangent(state, frame)
        state = step(state)
    return state, frame


def _derivative_of(step: Step) -> Tangent:
    def tangent(state: Tensor, frame: Tensor) -> Tensor:
        def along(direction: Tensor) -> Tensor:
            return torch.func.jvp(step, (state,), (direction,))[1]

        return torch.vmap(along, in_dims=-1, out_dims=-1)(frame)

    return tangent


def _check(start: Tensor, steps: int, transient: int, every: int, dt: float, exponents: int | None) -> int:
    check_positive(dt=dt)
    check_count(every=every)
    check_count(2 * every, steps=steps)
    check_count(0, transient=transient)
    if steps % every:
        raise ValueError(f"steps: got {steps}, need a multiple of every = {every}")
    if start.ndim < 1 or start.shape[-1] < 1 or not start.dtype.is_floating_point:
        raise ValueError(f"start: got {start.dtype} of shape {tuple(start.shape)}, need floating point (*batch, state)")
    if not bool(torch.isfinite(start).all()):
        raise ValueError("start: got a value that is not finite, need finite ones")
    count = start.shape[-1] if exponents is None else exponents
    check_count(exponents=count)
    if count > start.shape[-1]:
        raise ValueError(f"exponents: got {count}, need at most {start.shape[-1]}, the dimension of the state")
    return count


def _check_frame(flattest: Tensor, every: int, dtype: torch.dtype) -> None:
    """Sides of R below the rounding of the longest are noise, and their logarithms are too."""
    least = DIGITS * torch.finfo(dtype).eps
    ratio = float(flattest.min()) if flattest.numel() else 1.0
    if ratio < least:
        enough = max(1, math.floor(every * math.log(least) / math.log(ratio))) if ratio > 0 else 1
        raise ValueError(
            f"every: got {every}, after which the shortest side of a frame is {ratio:.1g} of the longest, below the "
            f"{least:.1g} that {dtype} resolves; need about {enough}, or fewer exponents"
        )


__all__ = ["LyapunovSpectrum", "kaplan_yorke", "lyapunov_spectrum"]
