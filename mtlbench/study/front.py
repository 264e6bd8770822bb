"""The front of scalarization: what constant weights on the losses reach, and which methods lie beyond."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import matplotlib.figure
from matplotlib.lines import Line2D

from mtlbench.grid.tuned_file import TrialEntry, Tuned
from mtlbench.records.groups import Cells, spec
from mtlbench.report.figures import scatter, style
from mtlbench.report.figures.context import listed
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import number
from mtlbench.report.result import ScoredTask
from mtlbench.study.parts import StudiedSuite

PANEL = 2.35
SCALARIZATIONS = ("fixed", "sum", "mean")
"""Methods that give the losses constant weights."""
FEWEST = 3
"""Weightings that make a front."""

Scores = Mapping[str, tuple[float, ...]]
"""Each method's primary metric of every task."""


def front(part: StudiedSuite) -> Figure:
    """Draw a suite's methods: scores are means over seeds.

    :raises Unavailable: when a suite has fewer than two tasks or three scalarizations that differ.
    """
    means = mean_scores(part.cells)
    names = {spec(record): record["method"]["name"] for record in part.cells.records}
    scalar = {method: scores for method, scores in means.items() if names[method] in SCALARIZATIONS}
    others = {method: scores for method, scores in means.items() if method not in scalar}
    points = _Points(part.cells.tasks, scalar, others, part.cells.single_task)
    if not points.enough:
        raise Unavailable(
            "No front of scalarizations: it takes two tasks and three weightings, such as "
            f"mtlbench run --suite {part.suite} --methods 'fixed[w=2:1:1/1:2:1/1:1:2]'"
        )
    return points.figure(
        "front",
        f"Scalarization and the methods, suite {part.suite}",
        "constant weightings of the losses, means over seeds",
    )


def tuned_front(tuned: Tuned, part: StudiedSuite) -> Figure:
    """Draw the trials of a tuning: all of the scalarizations, whose learning rates differ too; the best of others.

    :param part: the suite that was tuned on, for what its tasks are.
    :raises Unavailable: when fewer than two tasks or three weightings were tried, or the suite is another.
    """
    tasks = part.cells.tasks
    known = {name for study in tuned.studies for trial in study.trials for name in trial.scores}
    if part.suite != tuned.suite or known != {task.name for task in tasks}:
        raise Unavailable(f"No front of the tuning: no records of suite {tuned.suite} with the tasks tuned on")
    scalar, others = dict[str, tuple[float, ...]](), dict[str, tuple[float, ...]]()
    for study in tuned.studies:
        if study.method.partition("[")[0] in SCALARIZATIONS:
            scalar |= {trial.spec: _of(trial, tasks) for trial in study.trials if trial.status == "done"}
        elif study.chosen is not None:
            others[study.chosen.spec] = _of(study.chosen, tasks)
    points = _Points(tasks, scalar, others, frozenset())
    if not points.enough:
        raise Unavailable("No front of the tuning: it takes two tasks and three weightings, as of --methods fixed")
    return points.figure(
        "front-tuning",
        f"Scalarization and the methods' best trials, tuning on {tuned.suite}",
        f"trials of constant weights and learning rates, {tuned.steps} steps each, means over tuning seeds",
    )


def mean_scores(cells: Cells) -> dict[str, tuple[float, ...]]:
    """Return the mean of every task's primary metric over seeds, of the methods that have all of them."""
    found = {m: [list(cells.series(m, t.name, t.primary).values()) for t in cells.tasks] for m in cells.methods}
    return {m: tuple(map(statistics.fmean, series)) for m, series in found.items() if all(series)}


def _of(trial: TrialEntry, tasks: tuple[ScoredTask, ...]) -> tuple[float, ...]:
    return tuple(trial.scores[task.name] for task in tasks)


@dataclass(frozen=True)
class _Points:
    """What is drawn: scalarizations with their front, and other methods, every two tasks against each other."""

    tasks: tuple[ScoredTask, ...]
    scalar: Scores
    others: Scores
    single_task: frozenset[str]

    @property
    def enough(self) -> bool:
        return len(self.tasks) >= 2 and self.different >= FEWEST

    @property
    def different(self) -> int:
        """How many scalarizations there are: weights of 1 and the plain sum score alike, and are one."""
        return len(set(self.scalar.values()))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.tasks)), 2))[: scatter.MOST_PAIRS]

    def figure(self, name: str, title: str, what: str) -> Figure:
        words = [f"Crosses: {self.different} {what}; line: their front."]
        for a, b in self.pairs:
            beyond = [method for method, scores in self.others.items() if method in self._best(a, b, {method: scores})]
            told = listed([f"{m} ({number(self.others[m][a])}, {number(self.others[m][b])})" for m in beyond])
            words.append(f"{self.tasks[a].name} and {self.tasks[b].name}: beyond the front {told or 'no method'}.")
        description = f"{' '.join(words)} Means alone: beyond the front is not separable from it."
        return Figure(name, title, description, self._draw)

    def _best(self, a: int, b: int, more: Scores) -> list[str]:
        """Return the scalarizations, or others added to them, that none of these beats on both tasks."""
        return scatter.front({name: (scores[a], scores[b]) for name, scores in {**self.scalar, **more}.items()})

    def _draw(self) -> matplotlib.figure.Figure:
        looks = style.looks(list(self.others), None, [method for method in self.others if method in self.single_task])
        named = [method for method in self.others if looks[method].named]
        columns = min(2, len(self.pairs))
        rows = -(-len(self.pairs) // columns)
        figure, panels = style.sheet(rows * PANEL + style.legend_height(["scalarization", *named]), rows, columns)
        for panel in panels[len(self.pairs) :]:
            panel.set_visible(False)
        for panel, (a, b) in zip(panels, self.pairs, strict=False):
            style.grid(panel, most=3)
            crosses = [(scores[a], scores[b]) for scores in self.scalar.values()]
            panel.plot(*zip(*crosses, strict=True), "x", color=style.QUIET, markersize=5)
            edge = [self.scalar[method] for method in self._best(a, b, {})]
            panel.plot(*zip(*((s[a], s[b]) for s in edge), strict=True), color=style.QUIET, linewidth=1.0, gid="front")
            for method, scores in self.others.items():
                look = looks[method]
                panel.plot(scores[a], scores[b], look.marker, color=look.colour, markersize=7 if look.named else 4)
            panel.set_xlabel(_label(self.tasks[a]))
            panel.set_ylabel(_label(self.tasks[b]))
        entries = [Line2D([], [], color=style.QUIET, marker="x", linewidth=1.0, label="scalarization")]
        entries += [
            Line2D([], [], color=looks[m].colour, marker=looks[m].marker, linestyle="none", label=style.short(m))
            for m in named
        ]
        style.legend(figure, entries)
        return figure


def _label(task: ScoredTask) -> str:
    return f"{style.short(task.name, 18)} {task.primary}{' †' if task.tuned_corpus else ''}"
