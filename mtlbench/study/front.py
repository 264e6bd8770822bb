"""The front of scalarization: what constant weights on the losses reach, and which methods lie beyond."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import combinations

import matplotlib.figure
from matplotlib.lines import Line2D

from mtlbench.report.figures import scatter, style
from mtlbench.report.figures.context import listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.model import Task
from mtlbench.report.numbers import number
from mtlbench.report.records import Cells, spec
from mtlbench.study.parts import Part

PANEL = 2.35
SCALARIZATIONS = ("fixed", "sum", "mean")
"""Methods that give the losses constant weights."""


def front(part: Part) -> Figure:
    """Draw every two tasks' scores against each other: scalarizations and their front, other methods as points.

    :raises Unavailable: when a suite has fewer than two tasks or three scalarizations.
    """
    tasks, means = part.cells.tasks, mean_scores(part.cells)
    names = {spec(record): record["method"]["name"] for record in part.cells.records}
    scalar = {method: scores for method, scores in means.items() if names[method] in SCALARIZATIONS}
    if len(tasks) < 2 or len(scalar) < 3:
        raise Unavailable(
            "No front of scalarizations: it takes two tasks and three weightings, such as "
            f"mtlbench run --suite {part.suite} --methods 'fixed[w=2:1:1/1:2:1/1:1:2]'"
        )
    others = {method: scores for method, scores in means.items() if method not in scalar}
    pairs = list(combinations(range(len(tasks)), 2))[: scatter.MOST_PAIRS]
    words = [f"Crosses: {len(scalar)} constant weightings of the losses, means over seeds; line: their front."]
    for a, b in pairs:
        beyond = [method for method in others if method in _best({**scalar, method: others[method]}, a, b)]
        told = listed([f"{m} ({number(others[m][a])}, {number(others[m][b])})" for m in beyond]) or "no method"
        words.append(f"{tasks[a].name} and {tasks[b].name}: beyond the front {told}.")
    return Figure(
        name="front",
        title=f"Scalarization and the methods, suite {part.suite}",
        description=f"{' '.join(words)} Means alone: beyond the front is not separable from it.",
        draw=lambda: _draw(tasks, pairs, scalar, others, part),
    )


def mean_scores(cells: Cells) -> dict[str, tuple[float, ...]]:
    """Return the mean of every task's primary metric over seeds, of the methods that have all of them."""
    found = {m: [list(cells.series(m, t.name, t.primary).values()) for t in cells.tasks] for m in cells.methods}
    return {m: tuple(map(statistics.fmean, series)) for m, series in found.items() if all(series)}


def _best(points: Mapping[str, tuple[float, ...]], a: int, b: int) -> list[str]:
    return scatter.front({name: (scores[a], scores[b]) for name, scores in points.items()})


def _draw(
    tasks: tuple[Task, ...],
    pairs: list[tuple[int, int]],
    scalar: Mapping[str, tuple[float, ...]],
    others: Mapping[str, tuple[float, ...]],
    part: Part,
) -> matplotlib.figure.Figure:
    looks = style.looks(list(others), None, [method for method in others if method in part.cells.single_task])
    named = [method for method in others if looks[method].named]
    columns = min(2, len(pairs))
    rows = -(-len(pairs) // columns)
    figure, panels = style.sheet(rows * PANEL + style.legend_height(["scalarization", *named]), rows, columns)
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    for panel, (a, b) in zip(panels, pairs, strict=False):
        style.grid(panel, most=3)
        panel.plot(*zip(*((s[a], s[b]) for s in scalar.values()), strict=True), "x", color=style.QUIET, markersize=5)
        edge = [scalar[method] for method in _best(scalar, a, b)]
        panel.plot(*zip(*((s[a], s[b]) for s in edge), strict=True), color=style.QUIET, linewidth=1.0, gid="front")
        for method, scores in others.items():
            look = looks[method]
            panel.plot(scores[a], scores[b], look.marker, color=look.colour, markersize=7 if look.named else 4)
        panel.set_xlabel(_label(tasks[a]))
        panel.set_ylabel(_label(tasks[b]))
    entries = [Line2D([], [], color=style.QUIET, marker="x", linewidth=1.0, label="scalarization")]
    entries += [
        Line2D([], [], color=looks[m].colour, marker=looks[m].marker, linestyle="none", label=style.short(m))
        for m in named
    ]
    style.legend(figure, entries)
    return figure


def _label(task: Task) -> str:
    return f"{style.short(task.name, 18)} {task.primary}{' †' if task.tuned_corpus else ''}"
