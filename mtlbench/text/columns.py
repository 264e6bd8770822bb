"""Which column is meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from mtlbench.errors import UsageError, one_line

Record = tuple[int, tuple[Any, ...]]
"""The number of a line (or row), counted from 1, and its cells: one or two texts, then the label's one or more."""


def find_columns(origin: str, wanted: Iterable[str], columns: Sequence[str], hint: str = "") -> list[int]:
    """Return the place of every wanted column: of the one with this name, or with this name between spaces.

    :param hint: what may help where one is missing.
    :raises UsageError: for a column that is not there, with the closest name, if one is close, and all columns that
        there are; and for one that is there twice.
    """
    return [_find(origin, name, columns, hint) for name in wanted]


def _find(origin: str, name: str, columns: Sequence[str], hint: str) -> int:
    for names in (list(columns), [column.strip() for column in columns]):
        if names.count(name) > 1:
            raise UsageError(f"{origin} has more than one column '{name}'; rename all but one")
        if name in names:
            return names.index(name)
    columns = [column for column in columns if column]  # CS224N files have an index column with an empty name
    close = difflib.get_close_matches(name, columns, n=1, cutoff=0.55)
    hint = hint or (f"did you mean {close[0]}? " if close else "")
    known = one_line(", ".join(columns), 300) or "none"
    raise UsageError(f"{origin} has no column '{name}'; {hint}it has: {known}")
