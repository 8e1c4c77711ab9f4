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
        return with_unit(self.name, self.units)


@dataclass(frozen=True)
class Points:
    """One component of the values of one sample at points that are not those of a grid.

    Args:
        name, units: of the values, as of a `Quantity`.
        places: (point, coordinate), of one coordinate or two.
        values: (point,).
        axes: names of the coordinates, with their unit.
    """

    name: str
    units: str
    places: Numbers
    values: Numbers
    axes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name and unit."""
        return with_unit(self.name, self.units)


def fields_picture(quantities: Sequence[Quantity], domain: Domain, title: str, points: Sequence[Points] = ()) -> Figure:
    """Fields of one sample: a row for each, in time as instants side by side with one scale of colours.

    Over a line they are curves, and in time images of place and time; over a box of three dimensions planes through its middle.

    Args:
        points: drawn after the fields, as `points_picture` does.
    Raises:
        ValueError: no quantity, one of another grid, or a domain of more than 3 dimensions.
    """
    _check(quantities, domain)
    if domain.dim == 1:
        return _lines(quantities, domain, title, points)
    if domain.dim == 2 and all(quantity.times is None for quantity in quantities):
        return _side_by_side(quantities, domain, title, points)
    planes = [_planes(quantity, domain) for quantity in quantities]
    columns = max(len(points), *(len(row) for row in planes))
    heights = [max(panel.aspect for panel in row) for row in planes] + [1.0] * bool(points)
    figure = Figure(
        figsize=(_SIDE * columns + 1.3, _SIDE * sum(heights) + 0.55 * len(heights) + 0.4), layout="constrained", dpi=110
    )
    figure.suptitle(title, fontsize=10)
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, quantity, panels in zip(rows, quantities, planes, strict=False):
        _row(part, quantity, panels, columns)
    if points:
        _all_points(list(rows[-1].subplots(1, columns, squeeze=False)[0]), points, None)
    return figure


def points_picture(points: Sequence[Points], title: str, domain: Domain | None = None) -> Figure:
    """Values at points: dots over the coordinate, of two coordinates dots in the colour of their value.

    Args:
        domain: of one dimension; its axis is that of a single coordinate where all points lie on it.
    Raises:
        ValueError: no points, or of other than one or two coordinates.
    """
    if not points:
        raise ValueError("points: got none, a picture needs some")
    return _lines([], domain, title, points)


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


def _lines(quantities: Sequence[Quantity], domain: Domain | None, title: str, points: Sequence[Points] = ()) -> Figure:
    """Of one dimension: curves, images of place and time, and values at points."""
    count = len(quantities) + len(points)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows + 0.4), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    line = domain.axes[0] if domain is not None and domain.dim == 1 else None
    if line is not None:
        _curves(panels, quantities, line)
    _all_points(panels[len(quantities) :], points, line)
    return figure


def _curves(panels: Sequence[Axes], quantities: Sequence[Quantity], line: Axis) -> None:
    x = line.coordinates().numpy()
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
        _colour_bar(ax.figure.colorbar(mesh, ax=ax), quantity.label)
        _label(ax, quantity.clock, "x")


def _side_by_side(quantities: Sequence[Quantity], domain: Domain, title: str, points: Sequence[Points]) -> Figure:
    """Of two dimensions and one instant: images, each with a scale of its own."""
    count = len(quantities) + len(points)
    columns = min(count, 4)
    rows, aspect = -(-count // columns), _aspect(domain, (0, 1))
    figure = Figure(figsize=(3.3 * columns, (2.6 * aspect + 0.5) * rows + 0.3), layout="constrained", dpi=110)
    figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, quantity in zip(panels, quantities, strict=False):
        _moving(ax, quantity, domain)
    _all_points(panels[len(quantities) :], points, None)
    return figure


def _all_points(panels: Sequence[Axes], points: Sequence[Points], line: Axis | None) -> None:
    """One after the other; panels that are left are empty."""
    for ax, one in zip(panels, points, strict=False):
        _dots(ax, one, line)
    for ax in panels[len(points) :]:
        ax.set_axis_off()


def _dots(ax: Axes, points: Points, line: Axis | None) -> None:
    coordinates = points.places.shape[1]
    if coordinates not in (1, 2):
        raise ValueError(f"{points.name}: got points of {coordinates} coordinates, pictures need 1 or 2")
    size = float(np.clip(2000 / len(points.values), 4, 30))
    if coordinates == 2:
        low, high, colours = colour_range(points.values)
        dots = ax.scatter(*points.places.T, c=points.values, s=size, cmap=colours, vmin=low, vmax=high)
        _colour_bar(ax.figure.colorbar(dots, ax=ax), points.label)
        _label(ax, *points.axes)
        return
    y = points.places[:, 0]
    ax.scatter(y, points.values, s=size)
    ax.grid(alpha=0.25)
    _label(ax, points.axes[0], points.label)
    if line is not None and line.origin <= y.min() and y.max() <= line.origin + line.length:
        margin = 0.05 * line.length  # as that of the curves beside it
        ax.set_xlim(line.origin - margin, line.origin + line.length + margin)


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


def with_unit(name: str, units: str) -> str:
    """`u [Pa]`; the name alone where there is no unit."""
    return name if units in ("1", "") else f"{name} [{units}]"


def _colour_bar(bar: Colorbar, label: str) -> None:
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=7)


def _label(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=7)


__all__ = [
    "FRAMES",
    "INSTANTS",
    "Points",
    "Quantity",
    "at",
    "colour_range",
    "fields_film",
    "fields_picture",
    "points_picture",
    "save_film",
    "with_unit",
]
