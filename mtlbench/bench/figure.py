"""The figure of ``mtlbench bench``: two panels of bars, step time and peak memory, by contender."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtlbench.bench.result import BenchResult, ContenderResult

COLOURS = {None: "0.55", "packed": "#0072B2", "lean": "#009E73", "loop": "#D55E00", "surgery": "#0072B2"}
"""Colour of each engine, from Okabe and Ito's palette for colour-blind readers; grey for the plain sum."""
WIDTH, BAR, AROUND = 7.2, 0.24, 0.95
"""Width of the figure, height per bar, and height of title and labels, in inches."""
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


def draw(result: BenchResult, files: Sequence[Path]) -> None:
    """Draw step time and peak memory of the contenders that did not fail, and save the figure.

    :param files: paths to save to; the suffix decides the format.
    """
    contenders = [contender for contender in result.contenders if contender.median is not None]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, AROUND + BAR * max(len(contenders), 2)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        times = [1e3 * (contender.median or 0.0) for contender in contenders]
        _draw_panel(left, "milliseconds a step (median)", times, contenders)
        _draw_panel(right, "peak memory, MB", [(contender.peak or 0) / 1e6 for contender in contenders], contenders)
        left.set_yticks(range(len(contenders)), [_label(contender) for contender in contenders])
        left.invert_yaxis()
        figure.suptitle(result.title, fontsize=8.0)
        for file in files:
            figure.savefig(file, dpi=200, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw_panel(panel: Axes, title: str, values: Sequence[float], contenders: Sequence[ContenderResult]) -> None:
    colours = [COLOURS[contender.engine] for contender in contenders]
    bars = panel.barh(range(len(values)), values, height=0.72, color=colours)
    numbers = [f"{value:.0f}" if value >= 100 else f"{value:.1f}" for value in values]
    panel.bar_label(bars, numbers, padding=2, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    if contenders and contenders[0].engine is None:
        panel.axvline(values[0], color="0.55", linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
    panel.set_xlabel(title)
    panel.tick_params(axis="y", length=0.0)
    panel.margins(x=0.16)


def _label(contender: ContenderResult) -> str:
    return "\n".join(textwrap.wrap(contender.title, LABEL_WIDTH))
