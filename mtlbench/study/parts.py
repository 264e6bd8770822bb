"""The suites that a study is made of, and the order of those that are rungs of its ladder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtlbench.plan.suite import Recipe, load_suite, packaged_suites
from mtlbench.records.groups import Cells, Record, collect
from mtlbench.report.build import build
from mtlbench.report.result import GroupReport
from mtlbench.report.split import on_test

LADDER = re.compile(r"ladder-(\d+)-(.+)")
"""Names of the suites that are rungs; those of one number stand beside each other, ordered by their descriptions."""


@dataclass(frozen=True)
class StudiedSuite:
    """One suite: the newest of its groups of cells, and what the report makes of them."""

    cells: Cells
    group: GroupReport

    @property
    def suite(self) -> str:
        return self.cells.suite

    @property
    def description(self) -> str:
        """The suite's own words; none where it is not packaged."""
        return load_suite(self.suite).description if self.suite in packaged_suites() else ""


@dataclass(frozen=True)
class Rung:
    """A suite of the ladder, the one before it, and what it changes.

    :param changes: ``field old → new`` for every field of the recipe that differs; none for the first rung.
    """

    part: StudiedSuite
    number: int
    name: str
    before: Rung | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """What a results folder holds.

    :param suites: those that are no rungs, the one with the most finished cells first.
    :param rungs: in the order of the ladder.
    :param tested: the suites whose cells were scored on a test split, by these scores.
    :param older: suite → how many groups of its cells are left out.
    """

    suites: tuple[StudiedSuite, ...]
    rungs: tuple[Rung, ...]
    tested: tuple[StudiedSuite, ...]
    older: Mapping[str, int]

    @property
    def parts(self) -> tuple[StudiedSuite, ...]:
        """Every suite, rungs first."""
        return (*(rung.part for rung in self.rungs), *self.suites)


def study_of(records: Sequence[Record]) -> StudyResult:
    """Sort records by their suites.

    Of several groups of one suite the newest counts: the others were made by another version, or with other options.

    :raises UsageError: as :func:`mtlbench.report.build.build`.
    """
    parts = _parts(records)
    suites = sorted((p for p in parts if not LADDER.fullmatch(p.suite)), key=lambda p: (-len(p.cells.done), p.suite))
    scored = [record for part in suites for record in part.cells.records if record.get("test_scores")]
    counts = Counter(cells.suite for cells in collect(records))
    older = {suite: count - 1 for suite, count in sorted(counts.items()) if count > 1}
    return StudyResult(tuple(suites), tuple(_rungs(parts)), tuple(_parts(on_test(scored))) if scored else (), older)


def _parts(records: Sequence[Record]) -> list[StudiedSuite]:
    newest = {cells.suite: cells for cells in collect(records)}  # oldest first: the last one of a name stays
    report = build([record for cells in newest.values() for record in cells.records])
    groups = {group.group: group for group in report.groups}
    return [
        StudiedSuite(cells, replace(groups[cells.group], heading=f"Suite {suite}")) for suite, cells in newest.items()
    ]


def _rungs(parts: Sequence[StudiedSuite]) -> list[Rung]:
    """Order the rungs. The one before is, of those of lower numbers, the one whose recipe is nearest."""
    found = [(match, part) for part in parts if (match := LADDER.fullmatch(part.suite))]
    rungs: list[Rung] = []
    for match, part in sorted(found, key=lambda one: (int(one[0][1]), one[1].description, one[1].suite)):
        rung = Rung(part, int(match[1]), f"{match[1]}-{match[2]}")
        lower = [other for other in rungs if other.number < rung.number]
        before = min(lower, key=lambda other: (len(_changes(other.part, part)), -other.number), default=None)
        rungs.append(replace(rung, before=before, changes=_changes(before.part, part) if before else ()))
    return rungs


def _changes(before: StudiedSuite, after: StudiedSuite) -> tuple[str, ...]:
    """Say which fields of the recipe differ, in the recipe's order."""
    old, new = _settings(before.cells), _settings(after.cells)
    return tuple(f"{name} {_said(old[name])} → {_said(new[name])}" for name in new if old[name] != new[name])


def _settings(cells: Cells) -> dict[str, Any]:
    """Return the recipe, with today's fields where a record is older: they had their default then."""
    return {name: cells.recipe.get(name, field.get_default()) for name, field in Recipe.model_fields.items()}


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
