"""Reads labelled texts from tables. Every fault names the file, the line and the value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mtlbench.contract.task import Rows
from mtlbench.errors import UsageError
from mtlbench.text.cell_values import as_text, is_missing
from mtlbench.text.columns import Record
from mtlbench.text.delimited import Dialect
from mtlbench.text.formats import read_records
from mtlbench.text.labels import Labels

MISSING_LIMIT = 0.05
"""The share of rows with missing fields above which a file is taken to be damaged."""


def read_table(
    path: str | Path,
    text_columns: Sequence[str],
    label_columns: Sequence[str],
    labels: Labels,
    *,
    skip_unlabelled: bool = False,
    dialect: Dialect = Dialect(),
) -> Rows:
    """Read one split from a file with named columns.

    :param path: a ``.csv``, ``.tsv``, ``.txt``, ``.jsonl``, ``.ndjson``, ``.json`` or ``.parquet`` file; docs/tasks.md
        says what each may hold.
    :param text_columns: the names of one or two columns of text. White space around a text is removed, nothing else.
    :param label_columns: the names of the columns of labels: one, or one a label.
    :param labels: how labels are read.
    :param skip_unlabelled: rows without a label are left out however many they are.
    :param dialect: how a CSV or TSV file is written.
    :return: the rows in the file's order. Rows in which a text is empty or the label is missing are left out and
        counted.
    :raises UsageError: one line, for a file that is missing, unreadable or without rows, a column that is not
        there, a row that cannot be read, a label that cannot be, and more than 5 % of rows with missing fields.
    """
    path = Path(path)
    records, unit = read_records(path, (*text_columns, *label_columns), dialect, row_test(labels))
    return to_rows(records, str(path), unit, labels, skip_unlabelled=skip_unlabelled)


def row_test(labels: Labels) -> Callable[[Sequence[str | None]], bool | None]:
    """Return what says of cells whether they are a row with a label, one without (``None``), or none."""

    def labelled(cells: Sequence[str | None]) -> bool | None:
        text, label = cells[: -labels.columns], cells[-labels.columns :]
        if any(map(is_missing, text)):
            return False
        try:
            return None if any(map(labels.missing, label)) else labels.read(tuple(label)) is not None
        except ValueError:
            return False

    return labelled


def to_rows(
    records: Iterable[Record], origin: str, unit: str, labels: Labels, *, skip_unlabelled: bool = False
) -> Rows:
    """Check records and make rows of them.

    :param origin: what errors call the place that the records come from.
    :param unit: what errors call a record: ``"line"`` or ``"row"``.
    :raises UsageError: as :func:`read_table`, for everything that concerns a cell.
    """
    texts: list[tuple[str, ...]] = []
    read: list[Any] = []
    missing: list[int] = []
    unlabelled = 0
    for number, cells in records:
        text, label = cells[: -labels.columns], cells[-labels.columns :]
        lacks_label = any(map(labels.missing, label))
        if skip_unlabelled and lacks_label:
            unlabelled += 1
            continue
        if lacks_label or any(map(is_missing, text)):
            missing.append(number)
            continue
        try:
            read.append(labels.read(label))
            texts.append(tuple([as_text(cell) for cell in text]))
        except ValueError as fault:
            raise UsageError(f"{origin}, {unit} {number}: {fault}") from None
    total = len(texts) + len(missing)
    if total == 0:
        raise UsageError(f"{origin} has no row with a label" if unlabelled else f"{origin} is empty: it has no rows")
    if len(missing) > MISSING_LIMIT * total:
        raise UsageError(
            f"{origin}: {len(missing)} of {total} rows lack a text or the label, more than "
            f"{MISSING_LIMIT:.0%} (missing=skip, of a task of your own, allows rows without a label); "
            f"the first is {unit} {missing[0]}"
        )
    return Rows(texts, labels.array(read), skipped=len(missing) + unlabelled)
