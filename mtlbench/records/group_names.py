"""Names of groups: what tells the groups of a report apart, in full for headings and short for lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mtlbench.recipe.suite import Recipe, meaningful
from mtlbench.records.groups import Cells

OWN = "own training, watched"


def headings(groups: Sequence[Cells]) -> list[str]:
    """Return a heading for each group: its suite, and the settings that differ between groups, as users write them.

    :param groups: the groups of one report.
    """
    titles = [_title(cells, facts) for cells, facts in zip(groups, distinctions(groups), strict=True)]
    return _told_apart(titles, groups)


def names(groups: Sequence[Cells]) -> list[str]:
    """Return a short name for each group: its suite, and what tells it from the other groups of this suite.

    :param groups: the groups of one report.
    """
    titles = [""] * len(groups)
    for suite in dict.fromkeys(cells.suite for cells in groups):
        members = [index for index, cells in enumerate(groups) if cells.suite == suite]
        alike = [groups[index] for index in members]
        for index, facts in zip(members, distinctions(alike), strict=True):
            titles[index] = _title(groups[index], facts)
    return _told_apart(titles, groups)


def distinctions(groups: Sequence[Cells]) -> list[dict[str, str]]:
    """Return, for each group, the settings in which groups differ; nothing for watched runs.

    :param groups: the groups to tell apart.
    """
    facts = [{} if cells.watched else _facts(cells) for cells in groups]
    cell_facts = [fact for fact, cells in zip(facts, groups, strict=True) if not cells.watched]
    differing = [name for name in sorted({name for fact in facts for name in fact}) if _tells(name, cell_facts)]
    return [{name: fact[name] for name in differing if name in fact} for fact in facts]


def _title(cells: Cells, facts: Mapping[str, str]) -> str:
    differing = OWN if cells.watched else ", ".join(f"{name}={value}" for name, value in facts.items())
    return f"{cells.suite} ({differing})" if differing else cells.suite


def _told_apart(titles: Sequence[str], groups: Sequence[Cells]) -> list[str]:
    """Add the group's id to titles that several groups have."""
    repeated = {title for title in titles if titles.count(title) > 1}
    return [f"{t} [{c.group[:8]}]" if t in repeated else t for t, c in zip(titles, groups, strict=True)]


def _tells(name: str, facts: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a fact differs between groups: the hashes of a problem only where groups have the same problem."""
    if name not in ("code", "data"):
        return len({fact.get(name) for fact in facts}) > 1
    values: dict[str, set[str]] = {}
    for fact in facts:
        if name in fact:
            values.setdefault(fact["problem"], set()).add(fact[name])
    return any(len(different) > 1 for different in values.values())


def _facts(cells: Cells) -> dict[str, str]:
    """Return all facts in which a group may differ from others, as short strings."""
    # a field that is newer than a record had its default when the record was made
    recipe = {name: field.default for name, field in Recipe.model_fields.items() if not field.is_required()}
    recipe |= cells.recipe
    facts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in meaningful(recipe).items()}
    fingerprint = str(cells.encoder.get("fingerprint", ""))[:8]
    if cells.problem is not None:  # one table of rows for all tasks; its hash and that of the code follow from the spec
        tasks = [task for record in cells.records for task in record.get("tasks", {}).values()]
        return facts | {"code": fingerprint, "data": str(tasks[0].get("fingerprint", ""))[:8]}
    facts["encoder_weights"] = fingerprint
    for record in cells.records:
        for name, task in record.get("tasks", {}).items():
            facts[f"{name}_data"] = str(task.get("fingerprint", ""))[:8]
    return facts
