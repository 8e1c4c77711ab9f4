"""How far a generated attractor is from the true one: divergence of the two densities in state space, and forecasts.

All measures take generated series with leading axes for replicas, compute in float64, give one number per replica, and give
`inf` for a replica that has a NaN or an infinite value. None is differentiable.

The divergences depend on the number of instants: two true Lorenz-63 series give 15 at 1e3 instants each, 1.7 at 1e4 and
0.13 at 1e5. Say the lengths beside each score, and hold it against the score of a second true series of the same length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.metrics.series import check_generated, check_moves, check_truth, finite, replicas
from sciml.numerics.checks import check_count, check_positive

Grid = Literal["widened", "deviations", "extremes"]
Outside = Literal["cell", "ignored"]
CELLS = 2**62
"""The most cells that a number can name."""
ENTRIES = 4_000_000
"""Distances that the mixture form holds at a time: 32 MB."""
FARTHEST = 1e150
"""The largest value with a finite square."""


@torch.no_grad()
def state_space_divergence(
    generated: Float[Tensor, "*replica time state"],
    truth: Float[Tensor, "instants state"],
    *,
    bins: int = 30,
    grid: Grid = "widened",
    outside: Outside = "cell",
    smoothing: float = 1e-5,
) -> Float[Tensor, "*replica"]:
    """D_stsp by binning: the Kullback-Leibler divergence KL(truth || generated) of visits to the cells of a grid, in nats.

    With c the visits to one of the K = bins^state cells and S their sum, each density is (c + smoothing) / (S + K smoothing).
    Only visited cells are stored; all others are one term in closed form, so the result is that of the full histogram.

    What is ignored costs nothing, so with `outside="ignored"`, the published form, a series that has left the grid altogether
    counts as uniform and beats one that stays in a wrong place: about 4 against 16 on Lorenz-63. By default all
    points off the grid are visits to one more cell, and on the widened grid a series that blows up scores like one that
    stands still. A series that stays on that grid scores the same in both, up to smoothing / time. On the other two
    grids the cell holds a share of the truth too, so scores differ more and a blow-up is a little cheaper.

    Args:
        bins: per axis.
        grid: the range of each axis, from the truth. "widened": least to largest value, widened on each side by a tenth of the
            standard deviation (Hess et al. 2023). "deviations": mean -+ two standard deviations, beyond which true points count
            as outside too (Brenner et al. 2022). "extremes": least to largest value, and every point in the first
            bin of any axis counts as outside (the Python code of Brenner et al. 2024; the cells stay in K).
        outside: "cell" or "ignored", see above.
        smoothing: visits added to each cell.
    Returns:
        float64; `inf` for a replica with a value that is not finite.
    Raises:
        ValueError: shapes that do not fit, a truth that is not finite or constant in a component, a number that is not
            positive, more than 2^62 cells (then use `state_space_divergence_mixture`), or no true point on the grid.
    """
    check_generated(generated, truth)
    check_moves(truth)
    check_count(2, bins=bins)
    check_positive(smoothing=smoothing)
    state = truth.shape[1]
    if bins**state > CELLS:
        raise ValueError(f"bins: got {bins} in {state} dimensions, need bins^{state} <= 2^62; use the mixture form")
    if outside not in ("cell", "ignored"):
        raise ValueError(f"outside: got {outside!r}, need 'cell' or 'ignored'")
    low, high = _ranges(truth.double(), grid)
    first = 1 if grid == "extremes" else 0
    true_cells = _cells(truth.double(), low, high, bins, first, outside)
    if true_cells.numel() == 0 or (outside == "cell" and bool((true_cells == bins**state).all())):
        raise ValueError(f"bins: got {bins} with grid {grid!r}, which leaves no true point on the grid")
    visits = torch.unique(true_cells, return_counts=True)
    total = bins**state + (outside == "cell")
    scores = [
        _divergence(visits, _cells(one.double(), low, high, bins, first, outside), total, smoothing) if alive else math.inf
        for one, alive in zip(replicas(generated), finite(generated).flatten().tolist(), strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64, device=truth.device).reshape(generated.shape[:-2])


def _ranges(truth: Float[Tensor, "time state"], grid: Grid) -> tuple[Tensor, Tensor]:
    deviation = truth.std(0)
    if grid == "widened":
        return truth.amin(0) - 0.1 * deviation, truth.amax(0) + 0.1 * deviation
    if grid == "deviations":
        return truth.mean(0) - 2 * deviation, truth.mean(0) + 2 * deviation
    if grid == "extremes":
        return truth.amin(0), truth.amax(0)
    raise ValueError(f"grid: got {grid!r}, need 'widened', 'deviations' or 'extremes'")


def _cells(
    points: Float[Tensor, "time state"], low: Tensor, high: Tensor, bins: int, first: int, outside: Outside
) -> Int64[Tensor, "kept"]:
    """The number of each point's cell, the last axis fastest; points off the grid are number bins^state, or left out."""
    inside = ((points >= low) & (points <= high)).all(-1)
    # Compared before they are rounded: a value of 1e300 has no whole number. The upper edge belongs to the last bin.
    index = ((points.clamp(low, high) - low) * (bins / (high - low))).long().clamp_(max=bins - 1)
    inside &= (index >= first).all(-1)
    cell = index[:, 0]
    for axis in range(1, index.shape[1]):
        cell = cell * bins + index[:, axis]
    return cell[inside] if outside == "ignored" else torch.where(inside, cell, bins ** points.shape[1])


def _divergence(visits: tuple[Tensor, Tensor], generated: Int64[Tensor, "kept"], total: int, smoothing: float) -> float:
    true_cells, true_counts = visits
    cells, counts = torch.unique(generated, return_counts=True)
    at = torch.searchsorted(true_cells, cells).clamp_(max=len(true_cells) - 1)
    shared = true_cells[at] == cells
    met = torch.zeros_like(true_counts)
    met[at[shared]] = counts[shared]
    alone = counts[~shared]
    # Densities of a cell as parts of smoothing: log ratios are then sums of logarithms of what differs.
    true_sum, sum_ = int(true_counts.sum()) + total * smoothing, int(counts.sum()) + total * smoothing
    level = math.log(sum_ / true_sum)
    p, q = true_counts.double() + smoothing, met.double() + smoothing
    seen = (p * ((p / q).log() + level)).sum()
    strange = (smoothing * (level - (alone.double() / smoothing).log1p())).sum()
    rest = (total - len(true_cells) - len(alone)) * smoothing * level
    return (float(seen + strange) + rest) / true_sum


@torch.no_grad()
def state_space_divergence_mixture(
    generated: Float[Tensor, "*replica time state"],
    truth: Float[Tensor, "instants state"],
    *,
    variance: float = 1.0,
    points: int = 10_000,
    samples: int = 1000,
    seed: int = 0,
) -> Float[Tensor, "*replica"]:
    """D_stsp for many dimensions: KL(truth || generated) of two mixtures of Gaussians by Monte Carlo, in nats.

    Each density is the equal mixture of isotropic Gaussians at the first `points` instants; the mean of the log ratio is
    taken over `samples` draws from that of the truth, the same for all replicas. Logarithms are summed
    without underflow, so no sample is ever dropped: in float32 likelihoods a series ten times too large loses most of
    its samples, the worst ones, and its score halves. With a variance as large as that of the data the measure is
    blunt: white noise of the same covariance scores better than the other half of an EEG. Give surrogates beside it
    (`phase_randomised`), which score like it.

    Args:
        variance: of each Gaussian, in squared units of the series. 1 in Hess et al. (2023), for standardised data.
        seed: of the draws. With 1000 the standard error on an EEG is 0.1 at a score of 2.8 and 0.6 at 27.
    Returns:
        float64; `inf` for a replica with a value that is not finite or beyond 1e150.
    Raises:
        ValueError: shapes that do not fit, a truth that is not finite or beyond 1e150, a number that is not positive.
    """
    check_generated(generated, truth)
    check_positive(variance=variance)
    check_count(points=points, samples=samples)
    if float(truth.abs().amax()) > FARTHEST:
        raise ValueError(f"truth: got values up to {float(truth.abs().amax()):g}, need up to {FARTHEST:g}")
    centre = truth.double().mean(0)
    centres = (truth[:points].double() - centre) / math.sqrt(variance)
    random = torch.Generator().manual_seed(seed)  # on the CPU, so that all devices draw the same
    chosen = torch.randint(len(centres), (samples,), generator=random)
    noise = torch.randn(samples, truth.shape[1], generator=random, dtype=torch.float64)
    drawn = centres[chosen.to(truth.device)] + noise.to(truth.device)
    true = _log_density(drawn, centres)
    alive = finite(generated) & (generated.abs().flatten(-2).amax(-1) <= FARTHEST)
    scores = torch.full((alive.numel(),), math.inf, dtype=torch.float64, device=truth.device)
    for k in alive.flatten().nonzero().flatten().tolist():
        centres = (replicas(generated)[k, :points].double() - centre) / math.sqrt(variance)
        scores[k] = (true - _log_density(drawn, centres)).mean()
    return scores.reshape(generated.shape[:-2])


def _log_density(x: Float[Tensor, "sample state"], centres: Float[Tensor, "centre state"]) -> Float[Tensor, "sample"]:
    """Of the mixture of unit Gaussians, up to a constant that depends on the dimension alone."""
    squares = centres.square().sum(-1)
    logs = []
    for some in x.split(max(1, ENTRIES // len(centres))):
        gaps = torch.addmm(squares, some, centres.T, alpha=-2)  # |x - c|^2 less |x|^2
        logs.append(torch.logsumexp(gaps.mul_(-0.5), -1) - 0.5 * some.square().sum(-1))
    return torch.cat(logs) - math.log(len(centres))


Forecast = Callable[[Float[Tensor, "start state"], int], Float[Tensor, "*replica start state"]]


@torch.no_grad()
def prediction_error(
    forecast: Forecast, series: Float[Tensor, "time state"], steps: int, *, chunk: int = 10_000
) -> Float[Tensor, "*replica"]:
    """PE(n): the mean squared error of forecasts n = `steps` ahead, from every instant of the series that has one.

    Only the state at step n counts, and the mean is over instants and components.

    Args:
        forecast: from states (start, state) and a number of steps to the states so many steps later.
        chunk: starts that are forecast at a time.
    Returns:
        float64; `inf` for a replica with a forecast that is not finite.
    Raises:
        ValueError: a series of fewer than steps + 1 instants or not finite, or a forecast of another shape.
    """
    check_count(steps=steps, chunk=chunk)
    check_truth(series, steps + 1, "series")
    starts, targets = series[:-steps], series[steps:]
    total = torch.zeros((), dtype=torch.float64, device=series.device)
    for some, target in zip(starts.split(chunk), targets.split(chunk), strict=True):
        predicted = forecast(some, steps)
        if predicted.shape[-2:] != target.shape:
            raise ValueError(f"forecast: got shape {tuple(predicted.shape)}, need (*replica, {len(some)}, {series.shape[1]})")
        total = total + (predicted.double() - target.double()).square().flatten(-2).sum(-1)
    error = total / targets.numel()
    return torch.where(torch.isfinite(error), error, math.inf)


def persistence_error(series: Float[Tensor, "time state"], steps: int) -> Float[Tensor, ""]:
    """`prediction_error` of the forecast that nothing changes: what any model has to beat."""
    return prediction_error(lambda start, _: start, series, steps)


__all__ = [
    "persistence_error",
    "prediction_error",
    "state_space_divergence",
    "state_space_divergence_mixture",
]
