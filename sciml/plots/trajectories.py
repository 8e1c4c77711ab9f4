"""What trajectories look like: numbers in time with their phase portrait, particles in their box. Needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from sciml.plots.sets import INSTANTS, at, save_film

Numbers = npt.NDArray[np.float64]

CURVES = 6
"""Components that have an axis of their own; more are an image."""

TAIL = 12
"""Instants of a film that a particle leaves behind itself."""


def series_picture(name: str, values: Numbers, times: Numbers, title: str, units: str = "1", clock: str = "t") -> Figure:
    """Numbers (time, component) against time, and of two or more components the phase portrait of the first two or three.

    Args:
        clock: what the times are: `t`, or `instant` where only the numbers of the instants are known.
    """
    _check(name, values, times)
    components = values.shape[1]
    portrait = components > 1 and len(values) > 1
    figure = Figure(
        figsize=(9.4 if portrait else 6.4, max(3.6, 1.1 * min(components, CURVES) + 0.8)), layout="constrained", dpi=110
    )
    figure.suptitle(title, fontsize=10)
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 1], squeeze=False)[0] if portrait else (figure, None)
    if components > CURVES:
        ax = left.subplots()
        top = float(np.nanmax(np.abs(values))) or 1.0
        mesh = ax.pcolormesh(times, np.arange(components), values.T, cmap="RdBu_r", vmin=-top, vmax=top, shading="nearest")
        left.colorbar(mesh, ax=ax).set_label(_label(name, units), fontsize=9)
        _axes(ax, clock, "component")
    else:
        for number, ax in enumerate(left.subplots(components, 1, squeeze=False, sharex=True)[:, 0]):
            ax.plot(times, values[:, number], linewidth=1.0, color=f"C{number}", marker="." if len(times) <= 40 else None)
            ax.grid(alpha=0.25)
            _axes(ax, clock if number == components - 1 else "", _label(_component(name, number, components), units))
    if right is not None:
        _portrait(right.add_subplot(projection="3d" if components > 2 else None), name, values)
    return figure


def particles_picture(
    name: str, positions: Numbers, times: Numbers, title: str, units: str = "1", box: Numbers | None = None, clock: str = "t"
) -> Figure:
    """Particles (time, particle, component) in their box at some instants, the first two or three components.

    Args:
        box: lower and upper corner, (2, component); what the particles reach if not given.
        clock: as of `series_picture`.
    """
    _check(name, positions, times)
    chosen = np.unique(np.linspace(0, len(times) - 1, INSTANTS).round().astype(int))
    low, high = corners(positions) if box is None else box
    deep = positions.shape[2] > 2
    side = 2.6 if deep else 2.3
    aspect = 1.0 if deep or positions.shape[2] < 2 else float(np.clip((high - low)[1] / (high - low)[0], 0.3, 3))
    figure = Figure(figsize=(side * len(chosen) + 0.4, side * aspect + 0.8), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10)
    for number, instant in enumerate(chosen):
        ax = figure.add_subplot(1, len(chosen), number + 1, projection="3d" if deep else None)
        _scatter(ax, positions[instant], low, high, units)
        ax.set_title(at(clock, float(times[instant])), fontsize=8)
        if not deep and number:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    return figure


def particles_film(
    name: str,
    positions: Numbers,
    times: Numbers,
    title: str,
    path: Path,
    units: str = "1",
    box: Numbers | None = None,
    clock: str = "t",
) -> None:
    """The same as a film; a tail shows where each particle was."""
    _check(name, positions, times)
    low, high = corners(positions) if box is None else box
    deep = positions.shape[2] > 2
    figure = Figure(figsize=(4.6, 4.9), layout="constrained", dpi=90)
    ax = figure.add_subplot(projection="3d" if deep else None)
    update = _scatter(ax, positions[0], low, high, units)
    tails = [] if deep else [ax.plot([], [], color="C0", linewidth=0.7, alpha=0.5)[0] for _ in positions[0]]
    jump = (high - low) / 2

    def show(instant: int) -> None:
        figure.suptitle(f"{title}, {at(clock, float(times[instant]))}", fontsize=10)
        update(positions[instant])
        past = _plane(positions[max(instant - TAIL, 0) : instant + 1])
        for particle, tail in enumerate(tails):
            line = past[:, particle].copy()
            line[1:][(np.abs(np.diff(line, axis=0)) > jump[: line.shape[1]]).any(1)] = np.nan  # through a periodic side
            tail.set_data(line[:, 0], line[:, 1])

    save_film(figure, show, len(times), path)


def series_film(name: str, values: Numbers, times: Numbers, title: str, path: Path, units: str = "1", clock: str = "t") -> None:
    """Numbers (time, component) as a film: of one component its curve, else the phase portrait as it grows."""
    _check(name, values, times)
    components = values.shape[1]
    figure = Figure(figsize=(5.2, 4.6), layout="constrained", dpi=90)
    ax = figure.add_subplot(projection="3d" if components > 2 else None)
    path_ = np.stack([times, values[:, 0]], 1) if components == 1 else values[:, :3]
    (faint,) = ax.plot(*path_.T, linewidth=0.5, color="0.8")
    (line,) = ax.plot(*path_[:1].T, linewidth=1.2, color="C0")
    (head,) = ax.plot(*path_[:1].T, linestyle="none", marker="o", markersize=5, color="C3", zorder=10)
    names = (
        [clock, _label(name, units)] if components == 1 else [_component(name, i, components) for i in range(path_.shape[1])]
    )
    _named(ax, names)
    faint.set_zorder(0)
    if components > 2:
        cast(Axes3D, ax).computed_zorder = False  # the head stays in front
    if components == 2:
        ax.set_aspect("equal", adjustable="datalim")

    def show(instant: int) -> None:
        figure.suptitle(f"{title}, {at(clock, float(times[instant]))}", fontsize=10)
        for drawn, part in ((line, path_[: instant + 1]), (head, path_[instant : instant + 1])):
            if path_.shape[1] == 3:
                drawn.set_data_3d(*part.T)  # pyright: ignore[reportAttributeAccessIssue]
            else:
                drawn.set_data(*part.T)

    save_film(figure, show, len(times), path)


def corners(positions: Numbers) -> Numbers:
    """Of the box that particles reach, a little beyond; (2, component)."""
    low, high = np.nanmin(positions, axis=(0, 1)), np.nanmax(positions, axis=(0, 1))
    margin = 0.03 * np.where(high > low, high - low, 1.0)
    return np.stack([low - margin, high + margin])


def _scatter(ax: Axes, positions: Numbers, low: Numbers, high: Numbers, units: str) -> Callable[[Numbers], None]:
    """Draw particles; what moves them."""
    count, dim = positions.shape
    size = int(np.clip(4000 // max(count, 1), 2, 40))
    if dim > 2:
        deep = cast(Axes3D, ax)
        points = deep.scatter(*positions[:, :3].T, s=size, alpha=0.8, edgecolors="none")
        for setter, a, b in zip((deep.set_xlim, deep.set_ylim, deep.set_zlim), low, high, strict=False):
            setter(a, b)
        _named(ax, [_label(axis, units) for axis in "xyz"], np.clip(high - low, 1e-12, None)[:3])

        def move(to: Numbers) -> None:
            points._offsets3d = tuple(to[:, :3].T)  # pyright: ignore[reportAttributeAccessIssue]

        return move
    flat = ax.scatter(*_plane(positions).T, s=size, alpha=0.8, edgecolors="none")
    ax.set_xlim(low[0], high[0])
    ax.set_ylim((low[1], high[1]) if dim > 1 else (-1, 1))
    if dim > 1:
        ax.set_aspect("equal")
    else:
        ax.set_yticks([])
    _axes(ax, _label("x", units), _label("y", units) if dim > 1 else "")
    return lambda to: flat.set_offsets(_plane(to))


def _plane(positions: Numbers) -> Numbers:
    """The first two components, the second 0 where there is one."""
    return positions[..., :2] if positions.shape[-1] > 1 else np.concatenate([positions, 0 * positions], -1)


def _portrait(ax: Axes, name: str, values: Numbers) -> None:
    shown = values[:, : 3 if values.shape[1] > 2 else 2]
    ax.plot(*shown.T, linewidth=0.8, color="C0")
    ax.plot(*shown[:1].T, linestyle="none", marker="o", markersize=5, color="C3", label="first instant")
    _named(ax, [_component(name, i, values.shape[1]) for i in range(shown.shape[1])])
    if shown.shape[1] == 2:
        ax.set_aspect("equal", adjustable="datalim")
    ax.legend(frameon=False, fontsize=8, loc="upper right")


def _named(ax: Axes, names: Sequence[str], box: Numbers | None = None) -> None:
    _axes(ax, names[0], names[1])
    if len(names) > 2:
        deep = cast(Axes3D, ax)
        deep.set_zlabel(names[2], fontsize=9)
        deep.tick_params(labelsize=7)
        # Smaller than its place, so that the label of z is within the picture.
        deep.set_box_aspect(None if box is None else tuple(box), zoom=0.82)  # pyright: ignore[reportArgumentType]


def _check(name: str, values: Numbers, times: Numbers) -> None:
    if len(values) != len(times) or not len(values):
        raise ValueError(f"{name}: got {len(values)} instants and {len(times)} times, need as many, at least one")
    if not np.isfinite(values).any():
        raise ValueError(f"{name}: got no finite value, there is nothing to draw")


def _component(name: str, number: int, components: int) -> str:
    return name if components == 1 else f"{name}[{number}]"


def _label(name: str, units: str) -> str:
    return name if units in ("1", "") else f"{name} [{units}]"


def _axes(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=7)


__all__ = ["corners", "particles_film", "particles_picture", "series_film", "series_picture"]
