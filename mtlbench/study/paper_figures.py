"""The paper's Figure 4: development scores during training, with the paper's final scores."""

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
"""Label of a line of the paper: its position along the line, and its horizontal alignment."""


def scores(part: StudiedSuite, name: str) -> Figure:
    """Return the report's figure of scores over steps, with lines at the paper's final scores.

    :param part: the suite.
    :param name: the name of the figure's file.
    :raises Unavailable: if no history has two evaluations.
    """
    traces = read(part.cells)
    figure = curves.scores_by_step(Context(part.group, part.cells, traces))
    evaluated = set(zip(traces.evaluations["task"], traces.evaluations["metric"], strict=True))
    tasks = [task.name for task in part.cells.tasks if (task.name, task.primary) in evaluated]
    finals = [f"{task} {' and '.join(map(number, SCORES[task].values()))}" for task in tasks if task in SCORES]
    lines = f" Red: where the paper's scores ended, single-task and PCGrad: {'; '.join(finals)}." if finals else ""
    return replace(
        figure,
        name=name,
        title=f"Development scores over steps, suite {part.suite}",
        description=figure.description + lines,
        draw=lambda: _with_paper(figure.draw(), tasks),
    )


def _with_paper(sheet: matplotlib.figure.Figure, tasks: list[str]) -> matplotlib.figure.Figure:
    """Draw the paper's scores into the panels, which are in the order of the tasks."""
    for panel, task in zip(sheet.axes, tasks, strict=True):
        for method, score in SCORES.get(task, {}).items():
            panel.axhline(score, color=RED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
            position, side = ENDS[method]  # at opposite ends, as the two scores may be close
            panel.text(
                position, score, f"paper, {METHODS[method]} {number(score)}", color=RED, fontsize=7.0,
                transform=panel.get_yaxis_transform(), ha=side, va="bottom",
            )  # fmt: skip
    return sheet
