"""What one sample of a set looks like: fields, fields in time, as a picture or as a film. Needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, SubFigure

from sciml.numerics.domain import Axis, Domain

Numbers = npt.NDArray[np.float64]

INSTANTS = 5
"""Of a field in time, side by side."""

FRAMES = 100
"""Of a film, at most."""

_NAMES = "xyz"
_SIDE = 2.1


@dataclass(frozen=True)
class Quantity:
    """One channel of a variable of one sample.

    Args:
        name: with the number of the channel where there are several.
        units: of the values; `1` where there are none.
        values: (*space), or (time, *space).
        times: of the instants; None where it does not change in time.
        clock: what the times are: `t`, or `instant` where only the numbers of the instants are known.
    """

    name: str
    units: str
    values: Numbers
    times: Numbers | None = None
    clock: str = "t"

    @property
    def label(self) -> str:
        """Name and unit."""
        return self.name if self.units in ("1", "") else f"{self.name} [{self.units}]"


def fields_picture(quantities: Sequence[Quantity], domain: Domain, title: str) -> Figure:
    """Fields of one sample: a row for each, in time as instants side by side with one scale of colours.

    Over a line they are curves, and in time images of place and time; over a box of three dimensions planes through its middle.

    Raises:
        ValueError: no quantity, one of another grid, or a domain of more than 3 dimensions.
    """
    _check(quantities, domain)
    if domain.dim == 1:
        return _lines(quantities, domain, title)
    if domain.dim == 2 and all(quantity.times is None for quantity in quantities):
        return _side_by_side(quantities, domain, title)
    planes = [_planes(quantity, domain) for quantity in quantities]
    columns = max(len(row) for row in planes)
    heights = [max(panel.aspect for panel in row) for row in planes]
    figure = Figure(
        figsize=(_SIDE * columns + 1.3, _SIDE * sum(heights) + 0.55 * len(planes) + 0.4), layout="constrained", dpi=110
    )
    figure.suptitle(title, fontsize=10)
    rows = figure.subfigures(len(planes), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, quantity, panels in zip(rows, quantities, planes, strict=True):
        _row(part, quantity, panels, columns)
    return figure


def fields_film(quantities: Sequence[Quantity], domain: Domain, title: str, path: Path) -> None:
    """Fields of one sample as a film, side by side; those that do not change in time stand still.

    Raises:
        ValueError: as `fields_picture`; or nothing changes in time.
    """
    _check(quantities, domain)
    moving = next((quantity for quantity in quantities if quantity.times is not None), None)
    if moving is None or moving.times is None:
        raise ValueError(f"{path}: nothing in this sample changes in time, a film needs that; write a .png")
    times, clock = moving.times, moving.clock
    width = 3.0 if domain.dim > 1 else 4.2
    aspect = _aspect(domain, (0, 1)) if domain.dim > 1 else 0.7
    figure = Figure(figsize=(width * len(quantities) + 0.2, width * aspect + 0.7), layout="constrained", dpi=90)
    figure.suptitle(title, fontsize=10)
    updates = [
        _moving(ax, quantity, domain)
        for ax, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True)
    ]

    def show(instant: int) -> None:
        figure.suptitle(f"{title}, {at(clock, float(times[instant]))}", fontsize=10)
        for update in updates:
            update(instant)

    save_film(figure, show, len(times), path)


def save_film(figure: Figure, show: Callable[[int], None], instants: int, path: Path) -> None:
    """Write a GIF of at most `FRAMES` instants, equally far apart.

    Args:
        show: makes the figure that of an instant.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    chosen = np.unique(np.linspace(0, instants - 1, min(instants, FRAMES)).round().astype(int))
    frames: list[Image.Image] = []
    for instant in chosen.tolist():
        show(instant)
        canvas.draw()
        if not frames:
            figure.set_layout_engine("none")  # so that nothing moves but the values
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(255, Image.Quantize.MAXCOVERAGE))
    milliseconds = int(np.clip(5000 // len(frames), 50, 250))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


@dataclass(frozen=True)
class _Panel:
    """One image.

    Args:
        title: above it.
        values: (right, up).
        extent: left, right, lower and upper edge.
        axes: names of the axes to the right and up.
        aspect: height by width.
    """

    title: str
    values: Numbers
    extent: tuple[float, float, float, float]
    axes: tuple[str, str]
    aspect: float


def _check(quantities: Sequence[Quantity], domain: Domain) -> None:
    if not quantities:
        raise ValueError("quantities: got none, a picture needs one")
    if domain.dim > 3:
        raise ValueError(f"domain: got {domain.dim} dimensions, pictures of fields need 1 to 3")
    for quantity in quantities:
        shape = (() if quantity.times is None else (len(quantity.times),)) + domain.shape
        if quantity.values.shape != shape:
            raise ValueError(f"{quantity.name}: got shape {quantity.values.shape}, need {shape}")


def _lines(quantities: Sequence[Quantity], domain: Domain, title: str) -> Figure:
    """Of one dimension: curves, and images of place and time."""
    columns = min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows + 0.4), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10)
    line, x = domain.axes[0], domain.coordinates()[0].numpy()
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, quantity in zip(panels, quantities, strict=False):
        if quantity.times is None or len(quantity.times) == 1:
            ax.plot(x, quantity.values.reshape(-1), linewidth=1.4, marker="." if len(x) <= 64 else None, markersize=4)
            _label(ax, "x", quantity.label)
            ax.grid(alpha=0.25)
            continue
        times = quantity.times
        low, high, colours = colour_range(quantity.values)
        mesh = ax.pcolormesh(_borders(times), np.linspace(*_edges(line), line.points + 1), quantity.values.T)
        mesh.set(cmap=colours, clim=(low, high))
        _colour_bar(figure.colorbar(mesh, ax=ax), quantity.label)
        _label(ax, quantity.clock, "x")
    for ax in panels[len(quantities) :]:
        ax.set_axis_off()
    return figure


def _side_by_side(quantities: Sequence[Quantity], domain: Domain, title: str) -> Figure:
    """Of two dimensions and one instant: images, each with a scale of its own."""
    columns = min(len(quantities), 4)
    rows, aspect = -(-len(quantities) // columns), _aspect(domain, (0, 1))
    figure = Figure(figsize=(3.3 * columns, (2.6 * aspect + 0.5) * rows + 0.3), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, quantity in zip(panels, quantities, strict=False):
        _moving(ax, quantity, domain)
    for ax in panels[len(quantities) :]:
        ax.set_axis_off()
    return figure


def _planes(quantity: Quantity, domain: Domain) -> list[_Panel]:
    """The images of a quantity: instants, or the planes through the middle of a box."""
    pairs = [(0, 1)] if domain.dim == 2 else [(0, 1), (0, 2), (1, 2)]
    if quantity.times is None:
        return [_plane(quantity.values, domain, pair, _where(domain, pair)) for pair in pairs]
    chosen = np.unique(np.linspace(0, len(quantity.times) - 1, INSTANTS).round().astype(int))
    cut = _where(domain, (0, 1))
    return [
        _plane(quantity.values[i], domain, (0, 1), f"{at(quantity.clock, float(quantity.times[i]))}{f', {cut}' if cut else ''}")
        for i in chosen
    ]


def _plane(values: Numbers, domain: Domain, pair: tuple[int, int], title: str) -> _Panel:
    """Through the middle of a field, spanned by two of its axes."""
    for axis in reversed(range(domain.dim)):
        if axis not in pair:
            values = values.take([domain.shape[axis] // 2], axis).squeeze(axis)
    extent = (*_edges(domain.axes[pair[0]]), *_edges(domain.axes[pair[1]]))
    return _Panel(title, values, extent, (_NAMES[pair[0]], _NAMES[pair[1]]), _aspect(domain, pair))


def _where(domain: Domain, pair: tuple[int, int]) -> str:
    """Which plane of a box it is."""
    rest = [axis for axis in range(domain.dim) if axis not in pair]
    return ", ".join(f"{_NAMES[i]} = {float(domain.coordinates()[i][domain.shape[i] // 2]):.3g}" for i in rest)


def _row(part: SubFigure, quantity: Quantity, panels: Sequence[_Panel], columns: int) -> None:
    low, high, colours = colour_range(np.concatenate([panel.values.reshape(-1) for panel in panels]))
    axes = part.subplots(1, columns, squeeze=False)[0]
    for number, ax in enumerate(axes):
        if number >= len(panels):
            ax.set_axis_off()
            continue
        panel = panels[number]
        image = ax.imshow(panel.values.T, origin="lower", extent=panel.extent, cmap=colours, vmin=low, vmax=high)
        ax.set_facecolor("0.7")  # what is not finite
        ax.set_title(panel.title, fontsize=8)
        _label(ax, panel.axes[0], panel.axes[1] if number == 0 or panel.axes != panels[0].axes else "")
        if number and panel.axes == panels[0].axes:
            ax.tick_params(labelleft=False)
        if number == len(panels) - 1:
            _colour_bar(part.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.05, 1))), quantity.label)


def _moving(ax: Axes, quantity: Quantity, domain: Domain) -> Callable[[int], None]:
    """Draw the first instant; what changes it to another."""
    low, high, colours = colour_range(quantity.values)
    first = quantity.values if quantity.times is None else quantity.values[0]
    if domain.dim == 1:
        (curve,) = ax.plot(domain.coordinates()[0].numpy(), first, linewidth=1.4)
        margin = 0.05 * (high - low)
        ax.set_ylim(low - margin, high + margin)
        ax.grid(alpha=0.25)
        _label(ax, "x", quantity.label)
        return (lambda _: None) if quantity.times is None else lambda i: curve.set_ydata(quantity.values[i])
    cut = _where(domain, (0, 1))
    panel = _plane(first, domain, (0, 1), f"{quantity.label}{f', {cut}' if cut else ''}")
    image = ax.imshow(panel.values.T, origin="lower", extent=panel.extent, cmap=colours, vmin=low, vmax=high)
    ax.set_facecolor("0.7")
    _colour_bar(ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.045, 1))), "")
    ax.set_title(panel.title, fontsize=9)
    _label(ax, *panel.axes)
    if quantity.times is None:
        return lambda _: None
    return lambda i: image.set_data(_plane(quantity.values[i], domain, (0, 1), "").values.T)


def at(clock: str, time: float) -> str:
    """`t = 0.5`, `instant 3`."""
    return f"instant {time:.0f}" if clock == "instant" else f"{clock} = {time:.4g}"


def colour_range(values: Numbers) -> tuple[float, float, str]:
    """Least and greatest value and a map of colours: about zero in two colours where values have both signs."""
    there = values[np.isfinite(values)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)
    # A little of the other sign, as of rounding, does not make values signed.
    if min(-low, high) > 0.05 * max(-low, high):
        high = max(-low, high)
        return -high, high, "RdBu_r"
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return low, high, "viridis"


def _edges(axis: Axis) -> tuple[float, float]:
    """Of the picture, so that each point is the middle of its square."""
    points = axis.coordinates()
    return float(points[0]) - axis.spacing / 2, float(points[-1]) + axis.spacing / 2


def _aspect(domain: Domain, pair: tuple[int, int]) -> float:
    width, height = (right - left for left, right in (_edges(domain.axes[axis]) for axis in pair))
    return min(max(height / width, 0.25), 4.0)


def _borders(times: Numbers) -> Numbers:
    """Between instants, and as far beyond the first and the last."""
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])


def _colour_bar(bar: Colorbar, label: str) -> None:
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=7)


def _label(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=7)


__all__ = ["FRAMES", "INSTANTS", "Quantity", "at", "colour_range", "fields_film", "fields_picture", "save_film"]
