"""Data shared by all figures of a group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mtlbench.records.groups import Cells
from mtlbench.report.compare import Series, delta_m
from mtlbench.report.figures import style
from mtlbench.report.figures.traces import Traces
from mtlbench.report.result import GroupReport

MOST_LISTED = 8
"""Most items to name in a description."""


@dataclass(frozen=True)
class Context:
    """A group, its cells and their histories."""

    group: GroupReport
    cells: Cells
    traces: Traces

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """All methods: single-task, the baseline, then the others from best to worst, unranked ones last.

        Of a watched run: the user's own training, then the methods whose weights were computed.
        """
        if self.group.watched:
            return (*self.group.methods, *(method.spec for method in self.group.watched_methods))
        ranks = {rank.method: rank.mean_rank for rank in self.group.mean_ranks}
        single = self.cells.single_task
        return tuple(
            sorted(
                self.group.methods,
                key=lambda m: (m not in single, m != self.group.baseline, ranks.get(m, float("inf")), m),
            )
        )

    @cached_property
    def deltas(self) -> dict[str, Series]:
        """Δm in percent by joint method and seed; empty where it is undefined."""
        return delta_m(self.cells)[0]

    @property
    def joint(self) -> tuple[str, ...]:
        """The methods that train one model for all tasks, in the order of :attr:`ranking`."""
        return tuple(method for method in self.ranking if method not in self.cells.single_task)

    def looks(self) -> dict[str, style.Look]:
        """Return the look of every method, which is the same in all figures of the group."""
        single = [method for method in self.ranking if method in self.cells.single_task]
        return style.looks(self.ranking, self.group.baseline, single)

    def unnamed(self, methods: Iterable[str]) -> str:
        """Return the sentence that names the methods drawn in the shared grey look, or nothing.

        :param methods: the methods of the figure.
        """
        grey = [m for m in methods if not self.looks()[m].named]
        return f" In grey, without a name: {listed(grey)}." if grey else ""


def listed(items: Sequence[str]) -> str:
    """Join the first items and count the rest: screen readers read descriptions aloud.

    :param items: names or short phrases.
    """
    more = len(items) - MOST_LISTED
    return ", ".join(items) if more <= 1 else f"{', '.join(items[:MOST_LISTED])} and {more} more"
