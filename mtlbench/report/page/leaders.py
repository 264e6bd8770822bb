"""Marks in tables: the best method of a column, and those that are not separable from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtlbench.records.groups import Cells
from mtlbench.report.compare import Series, compare_pairs
from mtlbench.report.result import FEWEST_SEEDS, Difference, GroupReport

BEST, NEAR = "best", "near"
LEGEND = (
    "● highest mean of the column. ○ not separable from it over {seeds} seeds (Holm over all pairs of methods of the "
    "column), which does not mean alike."
)


@dataclass(frozen=True)
class Leaders:
    """The marks of a group's tables."""

    marks: Mapping[tuple[str, str], str]
    """Column title and method → :data:`BEST` or :data:`NEAR`."""
    legend: str = ""
    """What the marks mean; empty without marks."""


def leaders(group: GroupReport, cells: Cells | None) -> Leaders:
    """Return the marks of the tasks' primary metrics and of Δm.

    Every pair of methods is compared, since the best one is chosen by the same scores that are tested. With fewer than
    four seeds in common nothing is marked: any order might be chance.

    :param group: the report of one group.
    :param cells: its cells; without them nothing is marked.
    """
    if cells is None or group.watched:
        return Leaders({})
    marks: dict[tuple[str, str], str] = {}
    methods = [method for method in group.methods if method in cells.done_of]
    seeds = 0
    for task in group.tasks:
        series = _common({method: cells.series(method, task.name, task.primary) for method in methods})
        seeds = max(seeds, *(len(scores) for scores in series.values())) if series else seeds
        pairs = compare_pairs(cells, series)
        marks |= {(f"{task.name} {task.primary} ↑", m): mark for m, mark in _marks(series, pairs).items()}
    ranked = group.rankings[0] if group.rankings else None
    if ranked is not None and ranked.score == "Δm":
        means = {delta.method: {0: delta.mean} for delta in group.delta_m}
        marks |= {("Δm % ↑", m): mark for m, mark in _marks(means, group.pairs).items()}
    return Leaders(marks, LEGEND.format(seeds=seeds) if marks else "")


def _common(series: Mapping[str, Series]) -> dict[str, dict[int, float]]:
    """Return the series on the seeds that all of them have; nothing where these are too few for a claim."""
    scored = {method: scores for method, scores in series.items() if scores}
    seeds = sorted(set.intersection(*(set(scores) for scores in scored.values()))) if scored else []
    if len(seeds) < FEWEST_SEEDS or len(scored) < 2:
        return {}
    return {method: {seed: scores[seed] for seed in seeds} for method, scores in scored.items()}


def _marks(series: Mapping[str, Series], pairs: Sequence[Difference]) -> dict[str, str]:
    """Return the mark of every method that has one."""
    pairs = [pair for pair in pairs if pair.n >= FEWEST_SEEDS]
    if not pairs:
        return {}
    best = max(series, key=lambda method: sum(series[method].values()) / len(series[method]))
    near = {
        name for p in pairs if not p.separable and best in (p.method, p.baseline) for name in (p.method, p.baseline)
    }
    return dict.fromkeys(near, NEAR) | {best: BEST}
