"""What attractors look like: projections, return maps, spectra, bifurcations, basins. Needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MARGIN = 0.05
"""Around the first series, in parts of its range."""

COLOURS = ("C0", "C1", "C2", "C4", "C5", "C6", "C7", "C8", "C9")
"""Of attractors, and again from the first; grey is for what stays, white for what runs away."""


def attractors_picture(
    series: Mapping[str, Numbers], title: str = "", components: Sequence[int] = (0, 1, 2), names: Sequence[str] = ()
) -> Figure:
    """Orbits (time, component) side by side in two or three of their components, with the limits of the first, the truth.

    A series that leaves these limits is cut off there, so that a generated one that blows up does not hide the truth.

    Args:
        series: by what stands above them.
        components: numbers of those shown; the first two where the series have no third.
        names: of all components; x1, x2, ... if not given.
    Raises:
        ValueError: no series, a series with fewer components, or a first one that is not finite or has no instant.
    """
    first = _first(series)
    shown = _components(first, components)
    for name, values in series.items():
        if values.ndim != 2 or values.shape[1] != first.shape[1]:
            raise ValueError(f"{name}: got shape {values.shape}, need (time, {first.shape[1]}) as the first series")
    limits = [_limits(first[:, number]) for number in shown]
    labels = [names[number] if names else f"x{number + 1}" for number in shown]
    deep = len(shown) == 3
    figure = Figure(figsize=(3.6 * len(series), 3.4), layout="constrained", dpi=110)
    if title:
        figure.suptitle(title, fontsize=10)
    for column, (name, values) in enumerate(series.items()):
        ax = figure.add_subplot(1, len(series), column + 1, projection="3d" if deep else None)
        ax.set_title(name, fontsize=9)
        _orbit(ax, _within(values[:, shown], limits), f"C{min(column, 1)}")
        _boxed(ax, limits, labels)
    return figure


def successive_maxima(x: Numbers) -> Numbers:
    """Heights of the local maxima of a series (time,), between instants by the parabola through three of them.

    Raises:
        ValueError: another shape.
    """
    if x.ndim != 1:
        raise ValueError(f"x: got shape {x.shape}, need (time,)")
    before, top, after = x[:-2], x[1:-1], x[2:]
    peak = (top > before) & (top >= after)
    before, top, after = before[peak], top[peak], after[peak]
    return top + (after - before) ** 2 / (8 * (2 * top - before - after))


def return_map_picture(series: Mapping[str, Numbers], name: str = "maximum", title: str = "") -> Figure:
    """Each maximum of series (time,) against the one before it, all series in one picture with the limits of the first.

    Raises:
        ValueError: no series, or a first one with fewer than two maxima.
    """
    maxima = {key: successive_maxima(x) for key, x in series.items()}
    if not maxima:
        raise ValueError("series: got none, a picture needs one")
    key, first = next(iter(maxima.items()))
    if len(first) < 2:
        raise ValueError(f"{key}: got {len(first)} maxima, need at least 2")
    figure = Figure(figsize=(4.2, 4.0), layout="constrained", dpi=110)
    ax = figure.subplots()
    if title:
        figure.suptitle(title, fontsize=10)
    limits = _limits(first)
    ax.plot(limits, limits, color="0.75", linewidth=0.8, zorder=0)
    for number, (key, heights) in enumerate(maxima.items()):
        ax.plot(heights[:-1], heights[1:], ".", markersize=2.5, color=f"C{number}", label=key)
    _boxed(ax, [limits, limits], [f"{name} n", f"{name} n + 1"])
    ax.set_aspect("equal")
    ax.legend(frameon=False, fontsize=8, markerscale=3)
    return figure


def spectra_picture(
    frequencies: Numbers,
    powers: Mapping[str, Numbers],
    title: str = "",
    names: Sequence[str] = (),
    unit: str = "cycles per step",
) -> Figure:
    """Power (frequency, component) of series on logarithmic scales, a panel for each component, without frequency 0.

    Args:
        powers: such as those of `sciml.metrics.spectra.power_spectrum`.
    Raises:
        ValueError: no spectrum, or one of another shape than the first or the frequencies.
    """
    first = _first(powers)
    for name, power in powers.items():
        if power.shape != (len(frequencies), first.shape[1]):
            raise ValueError(f"{name}: got shape {power.shape}, need {(len(frequencies), first.shape[1])}")
    count = first.shape[1]
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.3), layout="constrained", dpi=110)
    if title:
        figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    positive = frequencies > 0
    for component, ax in enumerate(panels[:count]):
        for number, (name, power) in enumerate(powers.items()):
            ax.loglog(frequencies[positive], power[positive, component], linewidth=1.0, color=f"C{number}", label=name)
        ax.set_title(names[component] if names else f"x{component + 1}", fontsize=9)
        ax.grid(which="major", alpha=0.25)
        _labels(ax, unit, "part of the power")
    shown = panels[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=len(powers), frameon=False, fontsize=8)
    for ax in panels[count:]:
        ax.set_axis_off()
    return figure


def bifurcation_picture(
    parameters: Sequence[float], samples: Sequence[Numbers], parameter: str = "parameter", name: str = "x", title: str = ""
) -> Figure:
    """Values that orbits take, against a parameter; those that are not finite are left out.

    Args:
        samples: for each value of the parameter some numbers, not always as many: states of a map, maxima of a flow.
    Raises:
        ValueError: another number of parameters than of samples, or nothing to draw.
    """
    if len(parameters) != len(samples):
        raise ValueError(f"samples: got {len(samples)}, need one for each of {len(parameters)} parameters")
    kept = [np.asarray(values, dtype=np.float64).ravel() for values in samples]
    kept = [values[np.isfinite(values)] for values in kept]
    if not sum(map(len, kept)):
        raise ValueError("samples: got no finite value, there is nothing to draw")
    figure = Figure(figsize=(6.4, 3.8), layout="constrained", dpi=110)
    ax = figure.subplots()
    if title:
        figure.suptitle(title, fontsize=10)
    x = np.repeat(np.asarray(parameters, dtype=np.float64), [len(values) for values in kept])
    ax.plot(x, np.concatenate(kept), linestyle="none", marker=",", color="C0")
    _labels(ax, parameter, name)
    return figure


def basins_picture(
    labels: Integers,
    across: Sequence[float],
    up: Sequence[float],
    attractors: Sequence[Numbers] = (),
    axes: tuple[int, int] = (0, 1),
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """In the colour of its attractor each initial state of a plane, (across, up); grey for label len(attractors), white for -1.

    Args:
        across, up: values of the two components, equally far apart.
        attractors: points (point, state) of each label, drawn where they lie in the picture.
        axes: components of the plane.
        names: of all components.
    Raises:
        ValueError: labels of another shape than the grid, of a number out of range, or a grid of fewer than 2 values.
    """
    if labels.shape != (len(across), len(up)) or min(labels.shape) < 2:
        raise ValueError(f"labels: got shape {labels.shape}, need {(len(across), len(up))}, at least 2 each way")
    count = len(attractors)
    if labels.min() < -1 or labels.max() > count:
        raise ValueError(f"labels: got {labels.min()} to {labels.max()}, need -1 to {count}, the number of attractors")
    colours = ["white", *(COLOURS[i % len(COLOURS)] for i in range(count)), "0.75"]
    figure = Figure(figsize=(5.6, 4.2), layout="constrained", dpi=110)
    ax = figure.subplots()
    if title:
        figure.suptitle(title, fontsize=10)
    half = (across[1] - across[0]) / 2, (up[1] - up[0]) / 2
    extent = (across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1])
    norm = BoundaryNorm(np.arange(-1.5, count + 1), count + 2)
    ax.imshow(labels.T, origin="lower", extent=extent, cmap=ListedColormap(colours), norm=norm, aspect="auto", alpha=0.6)
    for number, points in enumerate(attractors):
        label = "fixed point" if len(points) == 1 else f"cycle of {len(points)}"
        ax.plot(
            points[:, axes[0]],
            points[:, axes[1]],
            linestyle="none",
            marker="o",
            markersize=5,
            markeredgecolor="black",
            color=colours[number + 1],
            label=label,
        )
    _boxed(ax, [extent[:2], extent[2:]], [names[axis] if names else f"x{axis + 1}" for axis in axes])
    if count:
        ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _first(series: Mapping[str, Numbers]) -> Numbers:
    if not series:
        raise ValueError("series: got none, a picture needs one")
    name, first = next(iter(series.items()))
    if first.ndim != 2 or not first.size or not np.isfinite(first).all():
        raise ValueError(f"{name}: got shape {first.shape}, need (time, component), not empty and all finite")
    return first


def _components(first: Numbers, components: Sequence[int]) -> list[int]:
    shown = list(components)[: min(3, first.shape[1])]
    if len(shown) < 2 or not all(0 <= number < first.shape[1] for number in shown):
        raise ValueError(f"components: got {tuple(components)}, need two or three of 0 to {first.shape[1] - 1}")
    return shown


def _limits(values: Numbers) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _within(values: Numbers, limits: Sequence[tuple[float, float]]) -> Numbers:
    """NaN where a series is outside, so that nothing is drawn there; axes of three dimensions do not cut."""
    low, high = np.asarray(limits).T
    inside = ((values >= low) & (values <= high)).all(1)
    return np.where(inside[:, None], values, np.nan)


def _orbit(ax: Axes, values: Numbers, colour: str) -> None:
    ax.plot(*values.T, linewidth=0.4, color=colour)


def _boxed(ax: Axes, limits: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    ax.set_xlim(*limits[0])
    ax.set_ylim(*limits[1])
    _labels(ax, names[0], names[1])
    if len(limits) > 2:
        deep = cast(Axes3D, ax)
        deep.set_zlim(*limits[2])
        deep.set_zlabel(names[2], fontsize=9)
        # Smaller than its place, so that the label of z is within the picture.
        deep.set_box_aspect(None, zoom=0.82)  # pyright: ignore[reportArgumentType]


def _labels(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=7)


__all__ = [
    "attractors_picture",
    "basins_picture",
    "bifurcation_picture",
    "return_map_picture",
    "spectra_picture",
    "successive_maxima",
]
