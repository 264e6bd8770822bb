"""The figure of the toy problem: one panel per method, with the trajectories from all starts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mtlbench.tasks.toy import Array, Toy
from mtlbench.toy.trajectory import Trajectory

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
"""Colours of the starts, from Okabe and Ito's palette for colour-blind readers."""
LEVELS = np.arange(-18.0, 23.0, 2.0)
"""Levels of the mean loss at which contour lines are drawn."""
LIMIT = 10.8
"""Both axes go from minus this to this."""
COLUMNS = (4, 5)
"""Possible numbers of panels per row: the one that leaves fewer empty places is used."""
PANEL, ASIDE, ABOVE = 1.65, 0.16, 0.24
"""Size of a panel, and the gaps beside and above it, in inches."""
LEFT, BOTTOM, LEAST_WIDTH = 0.42, 0.62, 2.9
"""Room for the labels of the y axis, room for those of the x axis and the legend, and least width, in inches."""
TITLE_WIDTH = 26
STYLE: Any = {
    "font.size": 8.0,
    "font.family": "DejaVu Sans",
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.hashsalt": "mtlbench",  # the same file for the same trajectories
}


def draw(problem: Toy, trajectories: dict[str, list[Trajectory]], files: Sequence[Path]) -> None:
    """Draw one panel per method and save the figure.

    :param trajectories: title of the panel, such as the method's spec → one trajectory per start.
    :param files: paths to save to; the suffix decides the format.
    """
    count = len(trajectories)
    columns = count if count <= max(COLUMNS) else min(COLUMNS, key=lambda columns: (-count % columns, -columns))
    rows = -(-count // columns)
    width = max(LEFT + columns * (PANEL + ASIDE), LEAST_WIDTH)
    wide = columns > 2
    height = (BOTTOM if wide else BOTTOM + 0.14) + rows * (PANEL + ABOVE)  # a narrow legend has two lines
    landscape = _landscape(problem)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for number, (title, by_start) in enumerate(trajectories.items()):
            row, column = divmod(number, columns)
            left, top = LEFT + column * (PANEL + ASIDE), height - ABOVE - row * (PANEL + ABOVE)
            panel = figure.add_axes((left / width, (top - PANEL) / height, PANEL / width, PANEL / height))
            _draw_panel(panel, problem, landscape, by_start)
            panel.set_title("\n".join(textwrap.wrap(title, TITLE_WIDTH)), fontsize=8.0, pad=3)
            _label_axes(panel, below=number + columns >= count, left=column == 0)
        _legend(figure, wide=wide)
        for file in files:
            figure.savefig(file, dpi=200, metadata={"Date": None} if file.suffix == ".svg" else None)


def _landscape(problem: Toy) -> tuple[Array, Array, Array]:
    """Return a grid of points and the mean loss at each: x₁, x₂ and loss, all of the same shape."""
    axis = np.linspace(-LIMIT, LIMIT, 361)
    x1, x2 = np.meshgrid(axis, axis)
    losses, _ = problem.evaluate(np.stack([x1.ravel(), x2.ravel()], axis=1))
    return x1, x2, losses.mean(axis=1).reshape(x1.shape)


def _draw_panel(
    panel: Axes, problem: Toy, landscape: tuple[Array, Array, Array], trajectories: Sequence[Trajectory]
) -> None:
    panel.contour(*landscape, levels=LEVELS, colors="0.8", linewidths=0.5, linestyles="solid", zorder=1)
    front = problem.pareto_set(np.linspace(-7.0, 7.0, 101))
    panel.plot(*front.T, color="0.55", linewidth=4.0, solid_capstyle="butt", zorder=2)
    for colour, trajectory in zip(COLOURS, trajectories, strict=False):
        path = np.array(trajectory.path)
        panel.plot(*path.T, color=colour, linewidth=1.2, solid_joinstyle="round", zorder=3)
        panel.plot(*path[0], "o", color=colour, markersize=4.0, markeredgewidth=0.0, zorder=4)
        mark = "X" if trajectory.error is not None else "*"
        panel.plot(
            *path[-1], mark, color=colour, markersize=8.5, markeredgecolor="white", markeredgewidth=0.6, zorder=5
        )
    panel.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=(-10, 0, 10), yticks=(-10, 0, 10))


def _label_axes(panel: Axes, *, below: bool, left: bool) -> None:
    """Label the axes at the border of the figure only: all panels have the same ones."""
    panel.tick_params(length=2.0, pad=2.0, labelbottom=below, labelleft=left)
    if below:
        panel.set_xlabel("$x_1$", labelpad=0)
    if left:
        panel.set_ylabel("$x_2$", labelpad=-4)


def _legend(figure: Figure, *, wide: bool) -> None:
    entries = [
        Line2D([], [], marker="o", markersize=4.0, label="start", color="0.25", linestyle="none", markeredgewidth=0.0),
        Line2D([], [], marker="*", markersize=8.0, label="end", color="0.25", linestyle="none", markeredgewidth=0.0),
        Line2D([], [], color="0.55", linewidth=4.0, label="Pareto set"),
        Line2D([], [], color="0.75", linewidth=0.8, label="levels of the mean loss"),
    ]
    figure.legend(
        handles=entries,
        loc="lower center",
        ncols=4 if wide else 2,
        borderaxespad=0.1,
        frameon=False,
        handletextpad=0.7,
        columnspacing=1.4,
    )
