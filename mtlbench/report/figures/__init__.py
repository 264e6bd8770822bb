"""Figures from records and their histories; figures without sufficient data are omitted with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mtlbench.records.groups import Cells
from mtlbench.report.figures import cosines, curves, forest, rank_diagram, scatter
from mtlbench.report.figures.context import Context
from mtlbench.report.figures.figure import Figure, Omission, Unavailable
from mtlbench.report.figures.save import save_figures
from mtlbench.report.figures.traces import read
from mtlbench.report.result import GroupReport

__all__ = ["Figure", "Gallery", "Omission", "figures_of", "save_figures"]

KINDS: Final[tuple[Callable[[Context], Figure], ...]] = (
    forest.forest,
    scatter.pareto,
    scatter.cost,
    rank_diagram.ranking,
)
"""Kinds of figures of scores and costs, in the order of the page, the most important first."""

OVER_TRAINING: Final[tuple[Callable[[Context], Figure], ...]] = (
    curves.scores_by_step,
    curves.scores_by_time,
    curves.losses,
    cosines.cosines,
    curves.norm_ratios,
    curves.weights,
)
"""Kinds of figures that need histories; they follow :data:`KINDS`."""

WATCHED_KINDS: Final[tuple[Callable[[Context], Figure], ...]] = (
    curves.losses,
    cosines.cosines,
    curves.norm_ratios,
    curves.weights,
    curves.scores_by_step,
)
"""Kinds of figures of a watched run: none that compares."""


@dataclass(frozen=True)
class Gallery:
    """The figures that could be drawn, and the reasons why others were omitted."""

    figures: tuple[Figure, ...]
    omitted: tuple[Omission, ...]


def figures_of(group: GroupReport, cells: Cells) -> Gallery:
    """Return the figures of one group.

    :param group: the report of the group.
    :param cells: its cells; each record has a ``path``, and its history lies beside it.
    """
    traces = read(cells)
    context = Context(group, cells, traces)
    what = "All figures over training" if traces.left_out else "Not in the figures over training"
    figures, omitted = [], [Omission(f"{what}: {cell}", group.name) for cell in traces.unread]
    kinds = WATCHED_KINDS if group.watched else (*KINDS, *OVER_TRAINING)
    for kind in () if group.watched and traces.left_out else KINDS if traces.left_out else kinds:
        try:
            figures.append(replace(kind(context), group=group.name))
        except Unavailable as reason:
            omitted.append(Omission(str(reason), group.name))
    return Gallery(tuple(figures), tuple(omitted))
