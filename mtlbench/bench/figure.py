"""The figure of ``mtlbench bench``: two panels of bars, step time and peak memory, by contender."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlbench.bench.result import BenchResult, Measured

COLOURS = {None: "0.55", "packed": "#0072B2", "lean": "#009E73", "loop": "#D55E00"}
"""Of the engines: Okabe and Ito's palette, which the colour-blind tell apart; grey for the plain sum."""
WIDTH, BAR, AROUND = 7.2, 0.24, 0.95
"""Width of the figure, height of a bar's place, and room for title and labels, in inches."""
LABEL_WIDTH = 26
STYLE: Any = {
    "font.size": 8.0,
    "font.family": "DejaVu Sans",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "svg.hashsalt": "mtlbench",  # the same file for the same numbers
}


def draw(outcome: BenchResult, files: Sequence[Path]) -> None:
    """Draw the bars of what was measured, and save the figure under every name; the suffix decides the format."""
    found = [one for one in outcome.found if one.median is not None]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, AROUND + BAR * max(len(found), 2)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, "milliseconds a step (median)", [1e3 * (one.median or 0.0) for one in found], found)
        _panel(right, "peak memory, MB", [(one.peak or 0) / 1e6 for one in found], found)
        left.set_yticks(range(len(found)), [_label(one) for one in found])
        left.invert_yaxis()
        figure.suptitle(outcome.title, fontsize=8.0)
        for file in files:
            figure.savefig(file, dpi=200, metadata={"Date": None} if file.suffix == ".svg" else None)


def _panel(panel: Axes, title: str, values: Sequence[float], found: Sequence[Measured]) -> None:
    bars = panel.barh(range(len(values)), values, height=0.72, color=[COLOURS[one.engine] for one in found])
    numbers = [f"{value:.0f}" if value >= 100 else f"{value:.1f}" for value in values]
    panel.bar_label(bars, numbers, padding=2, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    if found and found[0].engine is None:
        panel.axvline(values[0], color="0.55", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    panel.set_xlabel(title)
    panel.tick_params(axis="y", length=0.0)
    panel.margins(x=0.16)


def _label(one: Measured) -> str:
    return "\n".join(textwrap.wrap(one.title, LABEL_WIDTH))
