"""Forest plot: every method's differences from the baseline by seed. It is the most important figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context, listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import interval, signed
from mtlbench.report.result import CONFIDENCE, Difference

ROW, PANEL = 0.25, 0.42
"""Height of a method's row, and of a panel without its rows, in inches."""
LOW_ROW, COLUMNS = 0.15, 3
"""Of many methods: height of a row, and panels beside each other, which share the names."""
TITLE_WIDTH, NARROW_TITLE = 40, 16
JITTER = 0.26
"""Vertical spread of a method's seeds, as a share of its row, so that equal values do not hide each other."""


@dataclass(frozen=True)
class ForestPanel:
    """The differences on one endpoint."""

    label: str
    digits: int
    differences: tuple[Difference, ...]


def forest(context: Context) -> Figure:
    """Draw the differences in Δm, where it is defined, and in the primary metric of every task.

    :param context: the group's data.
    :raises Unavailable: when no method could be compared.
    """
    primary = [d for d in context.group.comparisons if d.family == "primary"]
    if not primary:
        raise Unavailable("Differences from the baseline: no method could be compared")
    panels = [
        ForestPanel("Δm %", 2, context.group.delta_m_comparisons),
        *(
            ForestPanel(f"{task.name} {task.primary}", 3, tuple(d for d in primary if d.task == task.name))
            for task in context.group.tasks
        ),
    ]
    shown = [panel for panel in panels if panel.differences]
    return Figure(
        name="differences",
        title=f"Differences from {context.labels[primary[0].baseline]}, seed by seed",
        description=_described(context.labels, primary[0].baseline, shown),
        draw=lambda: _draw(context, shown),
    )


def seed_differences(context: Context, d: Difference) -> dict[int, float]:
    """Return the difference by seed; empty for unpaired runs.

    :param context: the group's data.
    :param d: the comparison.
    """
    if not d.paired:
        return {}
    method_scores, baseline_scores = (
        context.deltas[method] if d.family == "delta_m" else context.cells.series(method, d.task, d.metric)
        for method in (d.method, d.baseline)
    )
    seeds = sorted(method_scores.keys() & baseline_scores.keys())
    return {seed: method_scores[seed] - baseline_scores[seed] for seed in seeds}


def _described(label: Mapping[str, str], baseline: str, panels: list[ForestPanel]) -> str:
    """Return the description: how to read the plot, and each panel's extremes."""
    words = [
        f"Method - {label[baseline]}; right of the line is better. Dot: one seed. Diamond and bar: mean and "
        f"{CONFIDENCE:.0%} interval (Student's t)."
    ]
    if panels[0].differences[0].family == "delta_m":
        words.append("Δm: mean relative improvement over single-task training, which itself has none.")
    for panel in panels:
        ordered = sorted(panel.differences, key=lambda d: d.mean_difference)
        ends = [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
        extremes = [
            f"{label[d.method]} {signed(d.mean_difference, panel.digits)}{_bounds(d, panel)}, n = {d.n}" for d in ends
        ]
        words.append(f"{panel.label}: {'from ' if len(extremes) > 1 else ''}{' to '.join(extremes)}.")
    unpaired = sorted({label[d.method] for panel in panels for d in panel.differences if not d.paired})
    if unpaired:
        words.append(f"Not paired, so without seeds' dots: {listed(unpaired)}.")
    return " ".join(words)


def _bounds(d: Difference, panel: ForestPanel) -> str:
    """Return the interval of a difference with a leading space, or nothing."""
    return f" {interval(d.ci_low, d.ci_high, panel.digits)}" if d.ci_low is not None else ""


def _draw(context: Context, panels: list[ForestPanel]) -> matplotlib.figure.Figure:
    """Draw all panels and the legend."""
    compared = {d.method for panel in panels for d in panel.differences}
    methods = [method for method in context.ranking if method in compared]
    columns = min(COLUMNS, len(panels)) if context.many else 1
    rows = -(-len(panels) // columns)
    height = rows * (PANEL + (LOW_ROW if context.many else ROW) * len(methods)) + 0.45
    figure, axes = style.sheet(height, rows, columns, sharey=True)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for panel, ax in zip(panels, axes, strict=False):
        _draw_panel(ax, context, methods, panel, columns)
    style.legend(
        figure,
        [
            Line2D([], [], color=style.PALETTE[0], marker="o", markersize=4, linestyle="none", label="one seed"),
            Line2D([], [], color=style.INK, marker="D", markersize=5, label=f"mean, {CONFIDENCE:.0%} interval"),
        ],
    )
    return figure


def _draw_panel(ax: Axes, context: Context, methods: list[str], panel: ForestPanel, columns: int) -> None:
    """Draw one panel, with a row per method. Of many methods, seeds are small and behind their mean."""
    style.grid(ax, "x", most=5 if columns == 1 else 2)
    small = context.many
    ax.axvline(0.0, color=style.INK, linewidth=0.9, zorder=1)
    rows = {method: number for number, method in enumerate(methods)}
    for d in panel.differences:
        row = rows[d.method]
        dots = list(seed_differences(context, d).values())
        places = [row + JITTER * (2 * i / (len(dots) - 1) - 1) if len(dots) > 1 else row for i in range(len(dots))]
        if d.ci_low is not None and d.ci_high is not None:
            ax.plot([d.ci_low, d.ci_high], [row, row], color=style.INK, linewidth=1.4, zorder=5 if small else 2)
        ax.plot(d.mean_difference, row, "D", color=style.INK, markersize=2.5 if small else 5, zorder=5 if small else 3)
        ax.plot(
            dots, places, "o", color=style.PALETTE[0], markersize=1.8 if small else 4, zorder=4, gid="seeds",
            markeredgecolor=style.PAPER, markeredgewidth=0.0 if small else 0.5, alpha=0.6 if small else 1.0,
        )  # fmt: skip
    ax.set_title(f"{style.short(panel.label, TITLE_WIDTH if columns == 1 else NARROW_TITLE)} →")
    ax.set_yticks(range(len(methods)), [context.named(m) for m in methods], fontsize=7.0 if small else None)
    ax.set_ylim(len(methods) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
