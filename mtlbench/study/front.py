"""The front of scalarization: the scores that constant loss weights reach, and the methods beyond that front."""

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
"""Height of a panel, in inches."""
SCALARIZATIONS = ("fixed", "sum", "mean")
"""Methods that weight the losses by constants."""
FEWEST = 3
"""Smallest number of different weightings that form a front."""

Scores = Mapping[str, tuple[float, ...]]
"""Method → primary metric of every task, in the order of the tasks."""


def front(part: StudiedSuite) -> Figure:
    """Return a figure of the methods of a suite, by their mean scores over seeds.

    :param part: the suite.
    :raises Unavailable: if the suite has fewer than two tasks or three different scalarizations.
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
    """Return a figure of the trials of a tuning: all trials of scalarizations, and the best trial of other methods.

    The trials of a scalarization also differ in their learning rates.

    :param tuned: the content of ``tuned.json``.
    :param part: the suite that was tuned on, which describes the tasks.
    :raises Unavailable: if fewer than two tasks or three weightings were tried, or if the suite does not match.
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
    """Return each method's mean primary metrics over seeds, without methods that lack scores of a task.

    :param cells: the cells of one group.
    """
    scores = {m: [list(cells.series(m, t.name, t.primary).values()) for t in cells.tasks] for m in cells.methods}
    return {m: tuple(map(statistics.fmean, series)) for m, series in scores.items() if all(series)}


def _of(trial: TrialEntry, tasks: tuple[ScoredTask, ...]) -> tuple[float, ...]:
    return tuple(trial.scores[task.name] for task in tasks)


@dataclass(frozen=True)
class _Points:
    """Data of the figure: scalarizations with their front, and other methods, for every pair of tasks."""

    tasks: tuple[ScoredTask, ...]
    scalar: Scores
    others: Scores
    single_task: frozenset[str]

    @property
    def enough(self) -> bool:
        return len(self.tasks) >= 2 and self.different >= FEWEST

    @property
    def different(self) -> int:
        """Number of different scalarizations: weights of 1 and the plain sum have equal scores, and count once."""
        return len(set(self.scalar.values()))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.tasks)), 2))[: scatter.MOST_PAIRS]

    def figure(self, name: str, title: str, scalarizations: str) -> Figure:
        words = [f"Crosses: {self.different} {scalarizations}; line: their front."]
        for a, b in self.pairs:
            beyond = [method for method, scores in self.others.items() if method in self._best(a, b, {method: scores})]
            names = listed([f"{m} ({number(self.others[m][a])}, {number(self.others[m][b])})" for m in beyond])
            words.append(f"{self.tasks[a].name} and {self.tasks[b].name}: beyond the front {names or 'no method'}.")
        description = f"{' '.join(words)} Means alone: beyond the front is not separable from it."
        return Figure(name, title, description, self._draw)

    def _best(self, a: int, b: int, others: Scores) -> list[str]:
        """Return the front on two tasks, of the scalarizations and the given others."""
        return scatter.front({name: (scores[a], scores[b]) for name, scores in {**self.scalar, **others}.items()})

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
