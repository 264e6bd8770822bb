"""Inputs of the problem ``columns``: columns of a table as numbers for a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.errors import one_line, shown
from mtlbench.problems._table_file import MOST, Table, in_spec
from mtlbench.text.cell_values import as_number, as_text

LARGEST = 1e9
"""Largest input, in standard deviations of the training rows: a network of float32 makes nothing of a larger one."""


def features_of(
    table: Table, inputs: Sequence[str], categories: Sequence[str], train: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the inputs of all rows as (N, D) numbers; everything is fitted on the training rows.

    A column of numbers becomes one of mean 0 and standard deviation 1, with 0 for a missing cell, and, where a training
    row lacks it, another one that says so. Any other column becomes one column of zeros and ones for each category of
    the training rows, a missing cell being a category of its own; a category that no training row has is all zeros.

    :param inputs: names of the columns.
    :param categories: columns of numbers that are categories.
    :param train: numbers of the training rows.
    :raises UsageError: for a column of numbers and texts, one without values, and one of too many categories.
    """
    parts = []
    for name in inputs:
        numbers = None if name in categories else _numbers(table, name)
        parts.append(_one_hot(table, name, train) if numbers is None else _standardised(table, name, numbers, train))
    return np.concatenate(parts, axis=1)


def _numbers(table: Table, column: str) -> NDArray[np.float64] | None:
    """Return a column's numbers, or ``None`` for a column of texts; refuse a column in which only some are numbers."""
    values = np.full(len(table), np.nan)
    first: dict[bool, int] = {}
    for row, cell in enumerate(table.columns[column]):
        if cell is not None:
            try:
                values[row] = as_number(cell)
            except ValueError:
                first.setdefault(False, row)
            else:
                first.setdefault(True, row)
    if not first:
        raise table.column_fault(column, f"has no value in any row; leave it out: ignore={in_spec(column)}")
    if len(first) == 2:
        cell = table.columns[column][first[False]]
        gone, category = in_spec(one_line(str(cell), 30)), in_spec(column)
        reason = (
            f"{shown(cell)} is not a number, but {table.unit} {table.numbers[first[True]]} has one; correct it, or "
            f"give missing={gone} if it means a missing value, or categories={category}"
        )
        raise table.fault(column, first[False], reason)
    return values if True in first else None


def _standardised(
    table: Table, column: str, values: NDArray[np.float64], train: NDArray[np.int64]
) -> NDArray[np.float32]:
    absent = np.isnan(values)
    present = values[train][~absent[train]]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = (present.mean(), present.std()) if len(present) else (0.0, 0.0)
        scaled = np.where(absent, 0.0, (values - mean) / (spread or 1.0))
        too_far = ~(np.abs(scaled) < LARGEST) | ~np.isfinite(spread)
    if too_far.any():
        row = int(np.argmax(np.where(absent, 0.0, np.abs(values))))
        value = shown(table.columns[column][row])
        raise table.fault(
            column, row, f"{value} is too large beside the others; correct it, or ignore={in_spec(column)}"
        )
    parts = [scaled, absent] if absent[train].any() else [scaled]
    return np.stack(parts, axis=1).astype(np.float32)


def _one_hot(table: Table, column: str, train: NDArray[np.int64]) -> NDArray[np.float32]:
    def name_of(cell: Any) -> str:
        try:
            return as_text(cell)
        except ValueError as fault:  # a date, a list
            raise ValueError(f"{fault}; leave the column out: ignore={in_spec(column)}") from None

    names = table.converted(column, name_of, "")  # no other cell is empty
    known = sorted({names[row] for row in train})
    if len(known) > MOST:
        raise table.column_fault(
            column, f"has {len(known)} categories, more than {MOST}; leave it out: ignore={in_spec(column)}"
        )
    places = {name: place for place, name in enumerate(known)}
    place = np.array([places.get(name, -1) for name in names])
    return (place[:, None] == np.arange(len(known))).astype(np.float32)
