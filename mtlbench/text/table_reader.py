"""Reader for labelled texts from tables. Error messages name the file, the line and the value."""

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
"""Largest tolerated share of rows with missing fields; a file with more is considered damaged."""


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

    :param path: a ``.csv``, ``.tsv``, ``.txt``, ``.jsonl``, ``.ndjson``, ``.json`` or ``.parquet`` file; see
        docs/tasks.md for the formats.
    :param text_columns: names of one or two columns of text. Only white space around a text is removed.
    :param label_columns: names of the columns of the label: one, or one per label.
    :param labels: how labels are read.
    :param skip_unlabelled: leave out rows without a label, however many they are.
    :param dialect: format of a CSV or TSV file, as far as the user specifies it.
    :returns: the rows in the file's order. Rows with an empty text or without a label are left out and counted.
    :raises UsageError: for a file that is missing, unreadable or empty; a missing column; a row or label that cannot
        be read; and more than 5 % of rows with missing fields.
    """
    path = Path(path)
    records, unit = read_records(path, (*text_columns, *label_columns), dialect, row_test(labels))
    return to_rows(records, str(path), unit, labels, skip_unlabelled=skip_unlabelled)


def row_test(labels: Labels) -> Callable[[Sequence[str | None]], bool | None]:
    """Return a test of a row's cells: texts, then label.

    Its result is ``True`` for a row with a label, ``None`` for a row without one, and ``False`` for cells that are not
    a row.
    """

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
    """Check records, and convert them to rows.

    :param records: their numbers and cells.
    :param origin: name of the file or data set, for messages.
    :param unit: what the records' numbers count, for messages: ``"line"`` or ``"row"``.
    :param labels: how labels are read.
    :param skip_unlabelled: leave out rows without a label, however many they are.
    :raises UsageError: when there are no rows, a label or text cannot be read, or more than 5 % of rows have missing
        fields.
    """
    texts: list[tuple[str, ...]] = []
    values: list[Any] = []
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
            values.append(labels.read(label))
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
    return Rows(texts, labels.array(values), skipped=len(missing) + unlabelled)
