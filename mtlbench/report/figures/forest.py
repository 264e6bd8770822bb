"""The forest plot: every method's differences from the baseline, seed by seed. The figure to look at first."""

from __future__ import annotations

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.model import CONFIDENCE, Difference
from mtlbench.report.numbers import interval, signed

ROW, PANEL = 0.25, 0.42
"""Height of a method, and of what surrounds a panel, in inches."""
JITTER = 0.26
"""Vertical room of a method's seeds, as a share of its row, so that equal ones do not hide each other."""


def forest(context: Context) -> Figure:
    """Draw one panel per task: the primary metric's differences."""
    found = [d for d in context.group.comparisons if d.family == "primary"]
    if not found:
        raise Unavailable("Differences from the baseline: no method could be compared")
    baseline = found[0].baseline
    return Figure(
        name="differences",
        title=f"Differences from {baseline}, seed by seed",
        description=_described(context, found),
        draw=lambda theme: _draw(context, found, theme),
    )


def seed_differences(context: Context, d: Difference) -> dict[int, float]:
    """Return the difference of every seed; of runs that are not paired there is none."""
    if not d.paired:
        return {}
    ours = context.cells.series(d.method, d.task, d.metric)
    theirs = context.cells.series(d.baseline, d.task, d.metric)
    return {seed: ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())}


def _described(context: Context, found: list[Difference]) -> str:
    """Say what is shown, and each task's extremes."""
    words = [
        f"Method - {found[0].baseline}; right of the line is better. Dot: one seed. Diamond and bar: mean and "
        f"{CONFIDENCE:.0%} interval (Student's t)."
    ]
    for task in context.group.tasks:
        here = sorted((d for d in found if d.task == task.name), key=lambda d: d.mean_difference)
        ends = [here[0], here[-1]] if len(here) > 1 else here
        said = [f"{d.method} {signed(d.mean_difference)}{_bounds(d)}, n = {d.n}" for d in ends]
        if said:
            label = "from " if len(said) > 1 else ""
            words.append(f"{task.name} {task.primary}: {label}{' to '.join(said)}.")
    unpaired = sorted({d.method for d in found if not d.paired})
    if unpaired:
        words.append(f"Not paired, so without seeds' dots: {', '.join(unpaired)}.")
    return " ".join(words)


def _bounds(d: Difference) -> str:
    return f" {interval(d.ci_low, d.ci_high)}" if d.ci_low is not None else ""


def _draw(context: Context, found: list[Difference], theme: style.Theme) -> matplotlib.figure.Figure:
    tasks = [task for task in context.group.tasks if any(d.task == task.name for d in found)]
    methods = [m for m in context.ranking if any(d.method == m for d in found)]
    height = len(tasks) * (PANEL + ROW * len(methods)) + 0.45
    figure, panels = style.sheet(height, len(tasks), sharey=True)
    for panel, task in zip(panels, tasks, strict=True):
        _panel(panel, context, methods, [d for d in found if d.task == task.name], theme)
        panel.set_title(f"{style.short(task.name)} {task.primary} →")
    style.legend(
        figure,
        [
            Line2D([], [], color=style.PALETTE[0], marker="o", markersize=4, linestyle="none", label="one seed"),
            Line2D([], [], color=theme.ink, marker="D", markersize=5, label=f"mean, {CONFIDENCE:.0%} interval"),
        ],
    )
    return figure


def _panel(panel: Axes, context: Context, methods: list[str], found: list[Difference], theme: style.Theme) -> None:
    """Draw one task."""
    style.grid(panel, "x")
    panel.axvline(0.0, color=theme.ink, linewidth=0.9, zorder=1)
    rows = {method: number for number, method in enumerate(methods)}
    for d in found:
        row = rows[d.method]
        dots = list(seed_differences(context, d).values())
        places = [row + JITTER * (2 * i / (len(dots) - 1) - 1) if len(dots) > 1 else row for i in range(len(dots))]
        if d.ci_low is not None and d.ci_high is not None:
            panel.plot([d.ci_low, d.ci_high], [row, row], color=theme.ink, linewidth=1.4, zorder=2)
        panel.plot(d.mean_difference, row, "D", color=theme.ink, markersize=5, zorder=3)
        panel.plot(
            dots, places, "o", color=style.PALETTE[0], markersize=4, zorder=4, gid="seeds",
            markeredgecolor=theme.paper, markeredgewidth=0.5,
        )  # fmt: skip
    panel.set_yticks(range(len(methods)), [style.short(method) for method in methods])
    panel.set_ylim(len(methods) - 0.4, -0.6)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
