"""Data shared by all figures of a group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mtlbench.records.groups import Cells
from mtlbench.report.compare import Series, delta_m
from mtlbench.report.figures import style
from mtlbench.report.figures.traces import Traces
from mtlbench.report.names import MANY, labels
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
        """All methods, in the order of the tables: single-task, the baseline, then the others from best to worst.

        Of a watched run: the user's own training, then the methods whose weights were computed.
        """
        return (*self.group.methods, *(method.spec for method in self.group.watched_methods))

    @cached_property
    def labels(self) -> dict[str, str]:
        """A short label for each method."""
        return labels(self.ranking)

    @property
    def many(self) -> bool:
        """Whether there are so many methods that figures show them smaller, or not all of them."""
        return len(self.ranking) > MANY

    def named(self, method: str, width: int = style.NAME_WIDTH) -> str:
        """Return a method's label in a drawing.

        :param method: spec of the method.
        :param width: most characters.
        """
        return style.short(self.labels[method], width)

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
        looks = self.looks()
        grey = [self.labels[method] for method in methods if not looks[method].named]
        if len(grey) > MOST_LISTED:
            return f" In grey, without a name: the other {len(grey)} methods."
        return f" In grey, without a name: {listed(grey)}." if grey else ""


def listed(items: Sequence[str]) -> str:
    """Join the first items and count the rest: screen readers read descriptions aloud.

    :param items: names or short phrases.
    """
    more = len(items) - MOST_LISTED
    return ", ".join(items) if more <= 1 else f"{', '.join(items[:MOST_LISTED])} and {more} more"
