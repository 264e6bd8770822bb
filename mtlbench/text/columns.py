"""Look-up of columns by name, and the records that every reader of tables yields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mtlbench.errors import UsageError, closest, one_line

Record = tuple[int, tuple[Any, ...]]
"""Number of a line or row, counted from 1, and its cells: one or two texts, then one or more cells of the label."""


def find_columns(origin: str, wanted: Iterable[str], columns: Sequence[str], hint: str = "") -> list[int]:
    """Return the index of every wanted column; spaces around a column's name are ignored if need be.

    :param origin: name of the file or data set, for messages.
    :param wanted: names of the columns to find.
    :param columns: names of all columns, in order.
    :param hint: advice for the message about a missing column; default: the closest name.
    :raises UsageError: for a column that is missing (the message lists all columns), or that occurs twice.
    """
    return [_find(origin, name, columns, hint) for name in wanted]


def _find(origin: str, name: str, columns: Sequence[str], hint: str) -> int:
    for names in (list(columns), [column.strip() for column in columns]):
        if names.count(name) > 1:
            raise UsageError(f"{origin} has more than one column '{name}'; rename all but one")
        if name in names:
            return names.index(name)
    columns = [column for column in columns if column]  # CS224N files have an index column with an empty name
    close = closest(name, columns, count=1)
    hint = hint or (f"did you mean {close[0]}? " if close else "")
    known = one_line(", ".join(columns), 300) or "none"
    raise UsageError(f"{origin} has no column '{name}'; {hint}it has: {known}")
