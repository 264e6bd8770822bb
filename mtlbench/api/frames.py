"""Records as data frames, in the words of records and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from mtlbench.diagnose.finding import Finding
from mtlbench.records.groups import Record, collect
from mtlbench.records.record_file import read_history
from mtlbench.report.json_csv import to_data
from mtlbench.report.result import Difference, Report
from mtlbench.upkeep.export import COLUMNS, values
from mtlbench.upkeep.status import CellStatus

CELL = ("suite", "group", "method", "seed")
SCORES = (*CELL, "task", "metric", "split", "value")
CELLS = (
    *(*CELL, "status", "started", "seconds", "seconds_per_step", "peak_memory_bytes", "conflict_share"),
    *("error", "log", "key"),
)
COMPARISONS = ("suite", "group", *(field.name for field in fields(Difference)), "verdict", "within_margin")
FINDINGS = ("suite", "group", *(field.name for field in fields(Finding)))
COMPARED = ("comparisons", "delta_m_comparisons", "pairs")
"""Parts of a report that hold comparisons of two methods; the column ``family`` tells them apart."""


def scores_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row for each score of each finished cell, on the development rows and on the test split.

    :param records: the records; of several records of a cell, the newest counts.
    """
    return _frame(SCORES, (row for record in _done(records) for row in _scores(record)))


def _scores(record: Record) -> Iterator[tuple[Any, ...]]:
    for split, part in (("dev", record["scores"]), ("test", record.get("test_scores") or {})):
        for task, scores in part.items():
            for metric, value in scores.items():
                yield (*_cell(record), task, metric, split, value)


def cells_frame(states: Iterable[CellStatus], records: Sequence[Record]) -> pd.DataFrame:
    """Return one row for each cell.

    :param states: the states of the cells, as :func:`mtlbench.upkeep.status.cell_states` returns them.
    :param records: the records that describe them; a missing cell has none.
    """
    by_cell = {_cell(record): record for group in collect(records) for record in group.records}
    rows: list[tuple[Any, ...]] = []
    for state in states:
        record = by_cell.get((state.suite, state.group, state.method, state.seed), {})
        cost, conflict = record.get("cost") or {}, record.get("conflict") or {}
        row: tuple[Any, ...] = (state.suite, state.group, state.method, state.seed, state.status)
        row += (record.get("started"), record.get("seconds"), cost.get("seconds_per_step"))
        row += (cost.get("peak_memory_bytes"), conflict.get("share"))
        row += (state.error["message"] if state.error else None, state.log, record.get("key"))
        rows.append(row)
    return _frame(CELLS, rows)


def history_frame(records: Sequence[Record], tell: Callable[[str], None]) -> pd.DataFrame:
    """Return one row for each number of each history, as ``mtlbench export`` writes them.

    :param records: the records; of several records of a cell, the newest counts.
    :param tell: called with a message for the user for each history that cannot be read.
    """
    rows: list[tuple[Any, ...]] = []
    for record in _done(records):
        try:
            rows += [(*_cell(record), *value) for value in values(read_history(record))]
        except (OSError, ValueError) as error:
            tell(f"left out: {record['path']}: its history cannot be read: {error}")
    return _frame(COLUMNS, rows)


def comparisons_frame(report: Report) -> pd.DataFrame:
    """Return one row for each comparison of two methods in a report.

    :param report: the report.
    """
    data = to_data(report)
    return _frame(COMPARISONS, [row for part in COMPARED for row in data[part]])


def findings_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each finding of the doctor.

    :param rows: as :func:`mtlbench.diagnose.text.finding_rows` returns them.
    """
    return _frame(FINDINGS, rows)


def _done(records: Sequence[Record]) -> Iterator[Record]:
    return (record for group in collect(records) for _, record in sorted(group.done.items()))


def _cell(record: Record) -> tuple[str, str, str, int]:
    return record["suite"], record["group"], record["method"]["spec"], record["seed"]


def _frame(columns: Sequence[str], rows: Iterable[Any]) -> pd.DataFrame:
    """Return a frame that has its columns without rows, too."""
    return pd.DataFrame(list(rows), columns=list(columns))
