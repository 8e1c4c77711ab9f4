"""Pictures of fields over boxes of one and two dimensions. Needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from sciml.numerics.domain import Domain


@dataclass(frozen=True)
class Panel:
    """One column of a picture.

    Args:
        title: above the column.
        fields: one per row.
        signed: whether values are shown about zero, in two colours; else in one range from least to greatest.
        like: title of the column whose colours this one shares.
    """

    title: str
    fields: Float[Tensor, "row *space"]
    signed: bool = False
    like: str | None = None


def field_panels(panels: Sequence[Panel], domain: Domain, row_titles: Sequence[str]) -> Figure:
    """Fields side by side: a row per sample, a column per panel, the first axis of the domain to the right.

    Fields over a line are drawn as curves, those over a plane in colours.

    Raises:
        ValueError: the domain has neither one nor two dimensions, or a panel has another grid.
    """
    if domain.dim not in (1, 2):
        raise ValueError(f"domain: got {domain.dim} dimensions, pictures of fields need 1 or 2")
    for panel in panels:
        domain.check(panel.fields, panel.title)
    rows = len(row_titles)
    line = domain.dim == 1
    aspect = 0.7 if line else domain.axes[1].length / domain.axes[0].length
    figure = Figure(figsize=(2.9 * len(panels), 2.4 * aspect * rows + 0.5), layout="constrained", dpi=110)
    axes = figure.subplots(rows, len(panels), squeeze=False, sharex=True, sharey=not line)
    ranges: dict[tuple[str, int], tuple[float, float]] = {}
    for row in range(rows):
        for column, panel in enumerate(panels):
            ax = axes[row, column]
            values = panel.fields[row].double().cpu().numpy()
            low, high = ranges.get((panel.like or panel.title, row)) or _range(values, panel.signed)
            ranges[panel.title, row] = (low, high)
            if line:
                ax.plot(domain.coordinates()[0].numpy(), values, linewidth=1.2)
                margin = 0.05 * (high - low) or 1.0
                ax.set_ylim(low - margin, high + margin)
            else:
                colours = "RdBu_r" if panel.signed else "viridis"
                image = ax.imshow(values.T, origin="lower", extent=_extent(domain), cmap=colours, vmin=low, vmax=high)
                figure.colorbar(image, ax=ax, shrink=0.8)
            if row == 0:
                ax.set_title(panel.title, fontsize=10)
            if column == 0:
                ax.set_ylabel(row_titles[row] if line else f"{row_titles[row]}\ny", fontsize=9)
            if row == rows - 1:
                ax.set_xlabel("x", fontsize=9)
            ax.tick_params(labelsize=7)
    return figure


def _range(values: np.ndarray, signed: bool) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if signed:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    return low, high


def _extent(domain: Domain) -> tuple[float, float, float, float]:
    """Edges of the picture, so that each point is the centre of its square."""
    edges: list[float] = []
    for axis, x in zip(domain.axes, domain.coordinates(), strict=True):
        edges += [float(x[0]) - axis.spacing / 2, float(x[-1]) + axis.spacing / 2]
    return edges[0], edges[1], edges[2], edges[3]


def learning_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], best_step: float | None = None) -> Figure:
    """Errors against steps on a logarithmic scale; `curves` maps a name, which says what error, to its steps and values."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained", dpi=110)
    ax = figure.subplots()
    for name, (steps, values) in curves.items():
        ax.plot(steps, values, label=name, linewidth=1.4)
    if best_step is not None:
        ax.axvline(best_step, color="0.6", linestyle=":", label="kept (best validation)")
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.grid(which="both", alpha=0.25)
    ax.legend(frameon=False, fontsize=8)
    return figure
