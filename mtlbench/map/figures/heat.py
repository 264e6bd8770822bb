"""Drawing of panels over two knobs: colours by gain, hatched where nothing is separable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from mtlbench.map import palette
from mtlbench.map.cells import Setting
from mtlbench.map.layout import Layout
from mtlbench.map.tally import Shown
from mtlbench.report.figures import style

PANEL = 0.62
"""Size of a panel, in inches."""
LEFT, ABOVE, BELOW, GAP = 1.25, 0.24, 0.98, 0.12
"""Inches for the labels of the rows, for the names of the columns, for ticks and colours, and between panels."""
HATCHES = 3
"""Lines in a hatched cell."""


@dataclass(frozen=True)
class HeatRow:
    """A row of panels.

    :param label: what the row shows, lines separated by newlines.
    :param slice: the slice of the study.
    :param gains: method → setting → gain.
    """

    label: str
    slice: int
    gains: Mapping[str, Mapping[Setting, Shown]]


def draw_heat(layout: Layout, methods: Sequence[str], rows: Sequence[HeatRow]) -> matplotlib.figure.Figure:
    """Draw a panel for every method and row.

    :param layout: the places of the cells.
    :param methods: the columns.
    :param rows: the rows.
    """
    width = max(LEFT + len(methods) * (PANEL + GAP), style.WIDTH)
    height = ABOVE + len(rows) * (PANEL + GAP) + BELOW
    figure = matplotlib.figure.Figure(figsize=(width, height))
    for number, row in enumerate(rows):
        top = height - ABOVE - number * (PANEL + GAP)
        for column, method in enumerate(methods):
            left = LEFT + column * (PANEL + GAP)
            panel = figure.add_axes((left / width, (top - PANEL) / height, PANEL / width, PANEL / height))
            _draw_panel(panel, layout, row, method)
            _label(panel, layout, below=row is rows[-1], left=column == 0)
            if number == 0:
                panel.set_title(style.short(method, 15), fontsize=6.4, fontweight="normal", loc="center", pad=3)
        figure.text(0.04 / width, (top - PANEL / 2) / height, row.label, fontsize=6.8, va="center", linespacing=1.25)
    _axis_names(figure, layout, height)
    _key(figure)
    return figure


def _draw_panel(panel: Axes, layout: Layout, row: HeatRow, method: str) -> None:
    grid, gains = layout.grid[row.slice], row.gains.get(method, {})
    colours = np.full((len(grid), len(layout.across.values)), np.nan)
    hatched = []
    for y, numbers in enumerate(grid):
        for x, number in enumerate(numbers):
            shown = None if number is None else gains.get(layout.settings[number])
            if shown is not None:
                colours[y, x] = palette.step(shown.mean)
                hatched += [] if shown.gain.separable else [(x, y)]
    steps = len(palette.LIGHT)
    norm = BoundaryNorm(np.arange(steps + 1) - 0.5, steps)
    panel.pcolormesh(
        np.ma.masked_invalid(colours),
        cmap=ListedColormap(palette.LIGHT),
        norm=norm,
        edgecolors=style.PAPER,
        linewidth=0.4,
    )
    lines = [line for x, y in hatched for line in _hatch(x, y)]
    panel.add_collection(LineCollection(lines, colors=style.QUIET, linewidths=0.35))
    panel.set(xlim=(0, colours.shape[1]), ylim=(0, colours.shape[0]))
    for spine in panel.spines.values():
        spine.set_visible(False)


def _hatch(x: int, y: int) -> list[list[tuple[float, float]]]:
    """Return diagonal lines across the cell with this lower left corner."""
    offsets = np.arange(1, HATCHES + 1) / (HATCHES + 1) * 2.0 - 1.0
    return [
        [(x + max(0.0, o), y + max(0.0, -o)), (x + min(1.0, 1.0 + o), y + min(1.0, 1.0 - o))] for o in offsets.tolist()
    ]


def _label(panel: Axes, layout: Layout, *, below: bool, left: bool) -> None:
    """Label the axes at the border of the figure only: all panels have the same ones."""
    panel.set_xticks(np.arange(len(layout.across.texts)) + 0.5, layout.across.texts if below else [], rotation=90)
    panel.set_yticks(np.arange(len(layout.row_texts)) + 0.5, layout.row_texts if left else [])
    panel.tick_params(length=0.0, pad=2.0, labelsize=5.8)


def _axis_names(figure: matplotlib.figure.Figure, layout: Layout, height: float) -> None:
    up = f"   ↑ {layout.up.name}" if layout.up else ""
    figure.text(0.5, 0.5 / height, f"→ {layout.across.name}{up}", fontsize=6.8, ha="center", va="center")


def _key(figure: matplotlib.figure.Figure) -> None:
    """Add the colours, from the worst to the best, and the hatching."""
    labels = palette.labels()
    handles = [Patch(facecolor=colour, label=label) for colour, label in zip(palette.LIGHT, labels, strict=True)]
    hatched = Patch(facecolor=palette.LIGHT[palette.MIDDLE], edgecolor=style.QUIET, hatch="//////", linewidth=0.0)
    hatched.set_label("not separable")
    figure.legend(
        handles=[*handles, hatched],
        loc="lower center",
        ncols=6,
        fontsize=5.8,
        handlelength=1.4,
        handleheight=0.9,
        columnspacing=0.9,
        handletextpad=0.4,
        borderaxespad=0.2,
    )
