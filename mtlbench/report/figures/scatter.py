"""Scatter plots: one task's score against another's, and score against cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mtlbench.report.figures import style
from mtlbench.report.figures.context import Context, listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.figures.sweeps import Sweep, sweeps
from mtlbench.report.numbers import number, signed
from mtlbench.report.result import ScoredTask

PANEL = 2.35
"""Height of a panel, in inches."""
MOST_PAIRS = 10
"""Most pairs of tasks to show."""
DELTA_M = "Δm %"
Point = tuple[float, float]


def pareto(context: Context) -> Figure:
    """Draw the primary metrics of every pair of tasks against each other.

    :param context: the group's data.
    :raises Unavailable: with fewer than two tasks, or fewer than two methods with finished cells.
    """
    tasks = context.group.tasks
    if len(tasks) < 2:
        raise Unavailable("Trade-offs between tasks: there is one task only")
    seeds = {method: points for method in context.ranking if (points := _seeds(context, method))}
    if len(seeds) < 2:
        raise Unavailable("Trade-offs between tasks: fewer than two methods have finished cells")
    pairs = list(combinations(range(len(tasks)), 2))
    shown = pairs[:MOST_PAIRS]
    means = {method: tuple(map(statistics.fmean, zip(*points, strict=True))) for method, points in seeds.items()}
    words = ["Each method's mean (large) and seeds (small); up and right is better. On the line: no mean beats both."]
    for a, b in shown:
        best = front({method: (mean[a], mean[b]) for method, mean in means.items()})
        best_points = listed([f"{context.labels[m]} ({number(means[m][a])}, {number(means[m][b])})" for m in best])
        words.append(f"{tasks[a].name} and {tasks[b].name}: {best_points}.")
    if len(pairs) > len(shown):
        words.append(f"The first {len(shown)} of {len(pairs)} pairs of tasks are shown.")
    swept = sweeps(context.cells, seeds)
    if swept:
        words.append(
            f"Dashed: one method under several values of one parameter, in their order: {'; '.join(map(str, swept))}."
        )
    return Figure(
        name="trade-offs",
        title="Trade-offs between tasks",
        description=" ".join(words) + context.unnamed(seeds),
        draw=lambda: _draw_pareto(context, shown, seeds, swept),
    )


def front(points: Mapping[str, Point]) -> list[str]:
    """Return the names of the points not dominated by another, from left to right; higher is better on both axes.

    :param points: coordinates by name.
    """
    names = [
        name
        for name, (x, y) in points.items()
        if not any(a >= x and b >= y and (a > x or b > y) for a, b in points.values())
    ]
    return sorted(names, key=lambda name: (points[name][0], -points[name][1], name))


def cost(context: Context) -> Figure:
    """Draw Δm, or the mean of the tasks' primary metrics, against seconds per step.

    :param context: the group's data.
    :raises Unavailable: when fewer than two methods have both.
    """
    quality, label = _quality(context)
    seconds = {cost.method: cost.seconds_per_step for cost in context.group.costs if cost.seconds_per_step is not None}
    methods = [method for method in context.ranking if method in quality and method in seconds]
    if len(methods) < 2:
        raise Unavailable("Cost and score: fewer than two methods have both")
    points = {method: (seconds[method], statistics.fmean(quality[method])) for method in methods}
    points_listed = listed(
        [
            f"{context.labels[m]} {number(x)} s, {signed(y, 2) if label == DELTA_M else number(y)}"
            for m, (x, y) in points.items()
        ]
    )
    spread = {m: statistics.stdev(quality[m]) if len(quality[m]) > 1 else 0.0 for m in methods}
    return Figure(
        name="cost",
        title="Cost and score",
        description=(
            f"{label} (mean over seeds, bars: standard deviation) against median seconds of a step; up and left is "
            f"better. {points_listed}.{context.unnamed(methods)}"
        ),
        draw=lambda: _draw_cost(context, points, spread, label),
    )


def _seeds(context: Context, method: str) -> list[tuple[float, ...]]:
    """Return the primary metrics of every seed that has all of them."""
    series = [context.cells.series(method, task.name, task.primary) for task in context.group.tasks]
    common = sorted(set.intersection(*(set(scores) for scores in series)))
    return [tuple(scores[seed] for scores in series) for seed in common]


def _quality(context: Context) -> tuple[dict[str, list[float]], str]:
    """Return one number per method and seed, and the label of this number."""
    if context.deltas:
        return {method: list(series.values()) for method, series in context.deltas.items()}, DELTA_M
    means = {m: [statistics.fmean(scores) for scores in _seeds(context, m)] for m in context.ranking}
    return {method: values for method, values in means.items() if values}, "Mean of the tasks' scores"


def _draw_pareto(
    context: Context,
    pairs: Sequence[tuple[int, int]],
    seeds: Mapping[str, Sequence[Sequence[float]]],
    swept: Sequence[Sweep],
) -> matplotlib.figure.Figure:
    """Draw a panel per pair of tasks and the legend."""
    looks = context.looks()
    named = [method for method in seeds if looks[method].named]
    columns = 1 if len(pairs) == 1 else 2
    rows = -(-len(pairs) // columns)
    height = rows * PANEL * (1.3 if columns == 1 else 1.0) + style.legend_height([context.named(m) for m in named])
    figure, panels = style.sheet(height, rows, columns)
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    for panel, (a, b) in zip(panels, pairs, strict=False):
        means = {}
        style.grid(panel, most=3)
        for method, points in seeds.items():
            x, y = [point[a] for point in points], [point[b] for point in points]
            means[method] = (statistics.fmean(x), statistics.fmean(y))
            look = looks[method]
            if look.named:  # the seeds of all others would cover the means
                panel.plot(x, y, look.marker, color=look.colour, markersize=3, alpha=0.45, zorder=2, markeredgewidth=0)
            _mean(panel, means[method], look)
        for sweep in swept:
            path = zip(*(means[method] for method in sweep.methods), strict=True)
            panel.plot(*path, color=style.QUIET, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, gid="sweep")
        best = front(means)
        panel.plot(*zip(*(means[m] for m in best), strict=True), color=style.QUIET, linewidth=1.0, zorder=1)
        panel.set_xlabel(_label(context.group.tasks[a]))
        panel.set_ylabel(_label(context.group.tasks[b]))
    style.legend(figure, [_entry(context.named(method), looks[method]) for method in named])
    return figure


def _draw_cost(
    context: Context, points: Mapping[str, Point], spread: Mapping[str, float], label: str
) -> matplotlib.figure.Figure:
    """Draw the panel of cost and score and the legend."""
    looks = context.looks()
    named = [method for method in points if looks[method].named]
    figure, (panel,) = style.sheet(2.7 + style.legend_height([context.named(method) for method in named]))
    style.grid(panel)
    for method, (x, y) in points.items():
        if spread[method]:
            panel.plot([x, x], [y - spread[method], y + spread[method]], color=looks[method].colour, linewidth=1.0)
        _mean(panel, (x, y), looks[method])
    panel.set_xlabel("seconds per step ←")
    panel.set_ylabel(f"{label} ↑")
    style.legend(figure, [_entry(context.named(method), looks[method]) for method in named])
    return figure


def _mean(panel: Axes, place: Point, look: style.Look) -> None:
    """Draw a method's mean."""
    colour, size, order = (look.colour, 8.5, 4) if look.named else (style.QUIET, 5, 3)
    panel.plot(
        *place, look.marker, color=colour, markersize=size, zorder=order,
        markeredgecolor=style.PAPER, markeredgewidth=0.7,
    )  # fmt: skip


def _label(task: ScoredTask) -> str:
    """Return the axis label of a task's primary metric."""
    return f"{style.short(task.name, 18)} {task.primary}"


def _entry(name: str, look: style.Look) -> Line2D:
    """Return the legend entry of one method."""
    return Line2D([], [], color=look.colour, marker=look.marker, markersize=6.5, linestyle="none", label=name)
