"""The list of groups at the top of a page that has several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mtlbench.report.page.cards import glance
from mtlbench.report.result import GroupReport


@dataclass(frozen=True)
class Glance:
    """One group in the list."""

    name: str
    anchor: str
    result: str
    size: str
    settings: str
    """The settings in which the group deviates from most others."""


def overview(groups: Sequence[GroupReport], anchors: Sequence[str]) -> tuple[Glance, ...]:
    """Return a line for each group.

    :param groups: the groups of the report.
    :param anchors: where on the page each of them is.
    """
    usual = common(groups)
    return tuple(
        Glance(
            name=group.name,
            anchor=anchor,
            result=glance(group),
            size=f"{len(group.methods)} × {len(group.seeds)}" if group.seeds else "1 run",
            settings=", ".join(f"{name}={value}" for name, value in group.differs.items() if usual[name] != value),
        )
        for group, anchor in zip(groups, anchors, strict=True)
    )


def common(groups: Sequence[GroupReport]) -> dict[str, str]:
    """Return the most frequent value of each setting in which groups differ; of equally frequent ones, the first.

    :param groups: the groups of the report.
    """
    names = dict.fromkeys(name for group in groups for name in group.differs)
    return {name: Counter(g.differs[name] for g in groups if name in g.differs).most_common(1)[0][0] for name in names}
