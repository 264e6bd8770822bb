"""The paper's Figure 4: development scores along training, beside the paper's last ones."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.figure

from mtlbench.report.figures import curves
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.figure import Figure
from mtlbench.report.figures.traces import read
from mtlbench.report.numbers import number
from mtlbench.study.paper import METHODS, RED, SCORES
from mtlbench.study.parts import StudiedSuite

ENDS = {"stl": (0.01, "left"), "pcgrad": (1.0, "right")}
"""Where a line of the paper is named: the place along it, and the side that the text begins or ends at."""


def scores(part: StudiedSuite, name: str) -> Figure:
    """Draw the report's scores over steps, and lines at the paper's last scores.

    :param name: of the figure's file.
    :raises Unavailable: when no history has two evaluations.
    """
    traces = read(part.cells)
    figure = curves.scores_by_step(Context(part.group, part.cells, traces))
    drawn = set(zip(traces.evaluations["task"], traces.evaluations["metric"], strict=True))
    tasks = [task.name for task in part.cells.tasks if (task.name, task.primary) in drawn]
    told = [f"{task} {' and '.join(map(number, SCORES[task].values()))}" for task in tasks if task in SCORES]
    lines = f" Red: where the paper's scores ended, single-task and PCGrad: {'; '.join(told)}." if told else ""
    return replace(
        figure,
        name=name,
        title=f"Development scores over steps, suite {part.suite}",
        description=figure.description + lines,
        draw=lambda: _with_paper(figure.draw(), tasks),
    )


def _with_paper(drawn: matplotlib.figure.Figure, tasks: list[str]) -> matplotlib.figure.Figure:
    """Draw the paper's scores into the panels, which stand in the order of the tasks."""
    for panel, task in zip(drawn.axes, tasks, strict=True):
        for method, score in SCORES.get(task, {}).items():
            panel.axhline(score, color=RED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
            place, side = ENDS[method]  # apart, as the two scores may be near each other
            panel.text(
                place, score, f"paper, {METHODS[method]} {number(score)}", color=RED, fontsize=7.0,
                transform=panel.get_yaxis_transform(), ha=side, va="bottom",
            )  # fmt: skip
    return drawn
