"""Files of the problem ``columns``: their cells by column, and targets as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtlbench import UsageError
from mtlbench.contract.spec import quoted
from mtlbench.errors import one_line, shown
from mtlbench.text import delimited, parquet
from mtlbench.text.cell_values import as_flag, as_number, as_text, find_name, is_marker, is_missing
from mtlbench.text.columns import find_columns
from mtlbench.text.delimited import DELIMITED, Dialect
from mtlbench.text.file_content import PACKERS, file_type, read_text

Kind = Literal["class", "number", "flag"]
MOST = 100
"""Largest number of classes of a target that names none, and of categories of an input."""


@dataclass(frozen=True)
class Predicted:
    """A column to predict.

    :param column: its name in the file.
    :param kind: what it holds.
    :param classes: the declared names of its classes; none: those that the file has.
    """

    column: str
    kind: Kind
    classes: tuple[str, ...] = ()

    def read(self, cell: Any) -> float:
        """Return a cell as a number: of a class, its place among the declared ones.

        :raises ValueError: when the cell is not of the column's kind.
        """
        if self.kind == "number":
            return as_number(cell)
        if self.kind == "flag":
            return as_flag(cell)
        if not self.classes:
            as_text(cell)
            return 0.0
        place = find_name(cell, self.classes)
        if place is None:
            raise ValueError(f"{shown(cell)} is not one of the classes {one_line(', '.join(self.classes), 200)}")
        return place


@dataclass(frozen=True)
class Table:
    """Columns of a file, with missing cells as ``None``.

    :param path: the file.
    :param unit: what ``numbers`` count: lines or rows of the file.
    :param numbers: (N,) of the rows.
    :param columns: column → N cells.
    """

    path: Path
    unit: str
    numbers: Sequence[int]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.numbers)

    def fault(self, column: str, row: int, reason: object) -> UsageError:
        """Return the error for a cell; it names file, line, column, and what is wrong with the value.

        :param row: from 0.
        """
        return _one_line_error(f"{self.path}, {self.unit} {self.numbers[row]}, column '{column}': {reason}")

    def column_fault(self, column: str, reason: str) -> UsageError:
        """Return the error for a whole column; it names file and column."""
        return _one_line_error(f"{self.path}: column '{column}' {reason}")

    def converted(self, column: str, convert: Callable[[Any], Any], missing: Any) -> list[Any]:
        """Return a column's cells converted.

        :param convert: returns a cell's value; may raise ``ValueError``.
        :param missing: the value of a missing cell.
        :raises UsageError: for the first cell that cannot be converted.
        """
        values = []
        for row, cell in enumerate(self.columns[column]):
            try:
                values.append(missing if cell is None else convert(cell))
            except ValueError as fault:
                raise self.fault(column, row, str(fault).removeprefix("label ")) from None
        return values


def read_table(
    path: Path, predicted: Sequence[Predicted], ignored: Sequence[str], missing: Sequence[str], dialect: Dialect
) -> Table:
    """Read all columns of a file but the ignored ones. A column without a name is an index, and ignored.

    :param path: a CSV, TSV or parquet file.
    :param predicted: columns to predict.
    :param ignored: names of columns.
    :param missing: texts that stand for a missing value, besides the usual ones.
    :param dialect: format of a CSV or TSV file, as far as the user specifies it.
    :raises UsageError: for a file that is missing or cannot be read, a missing column, and a file without rows.
    """
    if not path.exists():
        raise UsageError(f"data file {path} does not exist; give its whole path, or its folder: --data-dir FOLDER")
    is_text = file_type(path) in DELIMITED
    if not is_text and path.suffix.lower() != ".parquet":
        ends = f"{', '.join(DELIMITED)} (also with {', '.join(PACKERS)}) or .parquet"
        raise UsageError(f"data file {path} is of an unknown type; give a file that ends with {ends}")
    text = read_text(path) if is_text else ""
    names = delimited.names_of(path, text, dialect) if is_text else parquet.names_of(path)
    if not names:
        raise UsageError(f"data file {path} is empty")
    targets = [names[place].strip() for place in find_columns(str(path), (goal.column for goal in predicted), names)]
    left_out = {names[place].strip() for place in find_columns(str(path), ignored, names)}
    inputs = [name.strip() for name in names if name.strip() and name.strip() not in (*left_out, *targets)]
    if not inputs:
        raise UsageError(f"data file {path} has no column left to predict from")
    wanted = [*targets, *inputs]

    def is_row(cells: Sequence[str | None]) -> bool:
        values = [_present(cell, missing) for cell in cells[: len(targets)]]
        try:
            return bool([goal.read(v) for goal, v in zip(predicted, values, strict=True) if v is not None])
        except ValueError:
            return False

    records: Iterable[tuple[int, tuple[Any, ...]]]
    records = (
        delimited.read_delimited(path, text, wanted, dialect, is_row) if is_text else parquet.read_parquet(path, wanted)
    )
    numbers, cells = [], []
    for number, row in records:
        values = [_present(cell, missing) for cell in row]
        if any(value is not None for value in values[: len(targets)]):  # else there is nothing to learn from
            numbers.append(number)
            cells.append(values)
    if not numbers:
        raise UsageError(f"data file {path} has no row with a value to predict")
    return Table(
        path, "line" if is_text else "row", numbers, dict(zip(wanted, map(list, zip(*cells, strict=True)), strict=True))
    )


def _present(cell: Any, missing: Sequence[str]) -> Any:
    """Return a cell, or ``None`` where it means a missing value."""
    gone = is_missing(cell) or is_marker(cell) or (isinstance(cell, str) and cell.strip() in missing)
    return None if gone else cell


def in_spec(name: str) -> str:
    """Return a name as a list in a spec has it."""
    return quoted(name, ",/")


def _one_line_error(message: str) -> UsageError:
    """Return an error; names of columns in quotes may span lines."""
    return UsageError(" ".join(message.splitlines()))


def classes_of(table: Table, goal: Predicted) -> tuple[str, ...]:
    """Return the names of a target's classes: the declared ones, else those in the file, sorted.

    :raises UsageError: for a cell that cannot be a class, and where the file has one class or too many.
    """
    if goal.kind != "class":
        return ()
    if goal.classes:
        return goal.classes
    names = sorted({name for name in table.converted(goal.column, as_text, None) if name is not None})
    if not 2 <= len(names) <= MOST:
        known = f"only '{names[0]}'" if len(names) == 1 else f"{len(names)} different values, more than {MOST}"
        remedy = f"predict it as a number, or declare its classes: {goal.column}:class:A|B"
        raise table.column_fault(goal.column, f"has {known}; {remedy}")
    return tuple(names)


def labels_of(table: Table, goal: Predicted) -> NDArray[Any]:
    """Return (N,) labels: classes with −1 for a missing one, or numbers with NaN.

    :raises UsageError: for the first cell that is not of the target's kind.
    """
    classes = classes_of(table, goal)
    read = Predicted(goal.column, goal.kind, classes).read
    if goal.kind == "number":
        return np.array(table.converted(goal.column, read, np.nan), np.float64)
    return np.array(table.converted(goal.column, read, -1), np.int64)
