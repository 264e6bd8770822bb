"""The suites of a study, and the order of the rungs of its ladder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtlbench.recipe.suite import Recipe, load_suite, packaged_suites
from mtlbench.records.groups import Cells, Record, collect
from mtlbench.report.build import build
from mtlbench.report.result import GroupReport
from mtlbench.report.split import on_test

LADDER = re.compile(r"ladder-(\d+)-(.+)")
"""Names of the suites that are rungs; rungs with the same number are ordered by their descriptions."""


@dataclass(frozen=True)
class StudiedSuite:
    """One suite: the newest of its groups of cells, with the report of that group."""

    cells: Cells
    group: GroupReport

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return self.cells.suite

    @property
    def description(self) -> str:
        """The description in the suite's file; empty for a suite that is not packaged."""
        return load_suite(self.suite).description if self.suite in packaged_suites() else ""


@dataclass(frozen=True)
class Rung:
    """A suite of the ladder, with the rung before it and the changes to its recipe.

    :param part: the suite.
    :param number: the number in the suite's name, which orders the rungs.
    :param name: the suite's name without its prefix.
    :param before: the rung that this one is compared to; ``None`` for the first rung.
    :param changes: ``field old → new`` for every field of the recipe that differs; empty for the first rung.
    """

    part: StudiedSuite
    number: int
    name: str
    before: Rung | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """The suites of a results folder.

    :param suites: suites that are not rungs, by falling number of finished cells.
    :param rungs: in the order of the ladder.
    :param tested: suites whose cells were scored on a test split, with these scores.
    :param older: suite → number of older groups of its cells, which are left out.
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

    Of several groups of one suite, the newest counts: the others come from another version, or from other options.

    :param records: the records of a results folder.
    :raises UsageError: as :func:`mtlbench.report.build.build`.
    """
    records = [record for record in records if not record.get("watched")]  # a user's own training is no part of a grid
    parts = _parts(records)
    suites = sorted((p for p in parts if not LADDER.fullmatch(p.suite)), key=lambda p: (-len(p.cells.done), p.suite))
    scored = [record for part in suites for record in part.cells.records if record.get("test_scores")]
    counts = Counter(cells.suite for cells in collect(records))
    older = {suite: count - 1 for suite, count in sorted(counts.items()) if count > 1}
    return StudyResult(tuple(suites), tuple(_rungs(parts)), tuple(_parts(on_test(scored))) if scored else (), older)


def _parts(records: Sequence[Record]) -> list[StudiedSuite]:
    newest = {cells.suite: cells for cells in collect(records)}  # oldest first: the newest group of a suite remains
    report = build([record for cells in newest.values() for record in cells.records])
    groups = {group.group: group for group in report.groups}
    return [
        StudiedSuite(cells, replace(groups[cells.group], heading=f"Suite {suite}")) for suite, cells in newest.items()
    ]


def _rungs(parts: Sequence[StudiedSuite]) -> list[Rung]:
    """Order the rungs. The rung before a rung has, of all rungs with lower numbers, the most similar recipe."""
    matches = [(match, part) for part in parts if (match := LADDER.fullmatch(part.suite))]
    rungs: list[Rung] = []
    for match, part in sorted(matches, key=lambda pair: (int(pair[0][1]), pair[1].description, pair[1].suite)):
        rung = Rung(part, int(match[1]), f"{match[1]}-{match[2]}")
        lower = [other for other in rungs if other.number < rung.number]
        before = min(lower, key=lambda other: (len(_changes(other.part, part)), -other.number), default=None)
        rungs.append(replace(rung, before=before, changes=_changes(before.part, part) if before else ()))
    return rungs


def _changes(before: StudiedSuite, after: StudiedSuite) -> tuple[str, ...]:
    """Describe the fields of the recipe that differ, in the recipe's order."""
    old, new = _settings(before.cells), _settings(after.cells)
    return tuple(f"{name} {_text(old[name])} → {_text(new[name])}" for name in new if old[name] != new[name])


def _settings(cells: Cells) -> dict[str, Any]:
    """Return the recipe; fields that an older record lacks have their default, as they did then."""
    return {name: cells.recipe.get(name, field.get_default()) for name, field in Recipe.model_fields.items()}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
