"""Kinds of labels and their parsing: one class, a real number, or a set of labels; as numbers, names or lists."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind
from mtlbench.errors import closest, one_line, shown
from mtlbench.text.cell_values import as_flag, as_list, as_number, find_name, is_marker, is_missing


class Labels(Protocol):
    """How the labels of a task are read from cells."""

    prediction: ClassVar[Kind]

    @property
    def outputs(self) -> int:
        """The size of the task's head."""

    @property
    def columns(self) -> int:
        """How many columns hold a row's label."""

    def missing(self, cell: Any) -> bool:
        """Return whether a cell means that the row has no label."""

    def read(self, cells: tuple[Any, ...]) -> Any:
        """Return the label in a row's cells.

        :param cells: one or more cells, none of them missing.
        :raises ValueError: when a cell is not a label; the message describes the fault.
        """

    def array(self, values: list[Any]) -> NDArray[Any]:
        """Return labels as the array that :class:`mtlbench.contract.task.Rows` holds.

        :param values: results of :meth:`read`.
        """


@dataclass(frozen=True)
class Scores:
    """Real numbers from ``low`` to ``high``, both inclusive."""

    low: float = -math.inf
    high: float = math.inf
    prediction: ClassVar[Kind] = "regression"
    outputs: ClassVar[int] = 1
    columns: ClassVar[int] = 1

    def missing(self, cell: Any) -> bool:
        return is_missing(cell) or is_marker(cell)

    def read(self, cells: tuple[Any, ...]) -> float:
        return _number(cells[0], self.low, self.high)

    def array(self, values: list[Any]) -> NDArray[np.float64]:
        return np.array(values, dtype=np.float64)


@dataclass(frozen=True)
class Classes:
    """One of the classes 0 … ``count`` − 1, written as a number, or as a name where there are names."""

    count: int
    names: tuple[str, ...] = ()
    prediction: ClassVar[Kind] = "classification"
    columns: ClassVar[int] = 1

    @property
    def outputs(self) -> int:
        return self.count

    def missing(self, cell: Any) -> bool:
        return is_missing(cell) or is_marker(cell, self.names)

    def read(self, cells: tuple[Any, ...]) -> int:
        return _class_number(cells[0], self.count, self.names)

    def array(self, values: list[Any]) -> NDArray[np.int64]:
        return np.array(values, dtype=np.int64)


@dataclass(frozen=True)
class LabelSets:
    """Any subset of ``count`` labels, read as ``count`` zeros and ones.

    A single column lists the labels of each row by number or name, in any form that
    :func:`mtlbench.text.cell_values.as_list` reads; ``|`` alone is the empty set. With ``count`` columns, each cell is
    0 or 1.

    :param count: number of labels.
    :param names: their names, if they have any.
    :param flags: the single column holds lists of ``count`` zeros and ones.
    :param columns: 1 or ``count``.
    """

    count: int
    names: tuple[str, ...] = ()
    flags: bool = False
    columns: int = 1
    prediction: ClassVar[Kind] = "multilabel"

    @property
    def outputs(self) -> int:
        return self.count

    def missing(self, cell: Any) -> bool:
        return is_missing(cell) or is_marker(cell, self.names if self.columns == 1 else ())

    def read(self, cells: tuple[Any, ...]) -> list[int]:
        if self.columns > 1:
            return [as_flag(cell) for cell in cells]
        (cell,) = cells
        items = as_list(cell, self.names)
        if self.flags:
            if len(items) != self.count:
                raise ValueError(f"label {shown(cell)} has {len(items)} entries, but there are {self.count} labels")
            return [as_flag(item) for item in items]
        numbers = [_class_number(item, self.count, self.names) for item in items]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"label {shown(cell)} names a label twice; for zeros and ones in a list write flags=true")
        return [int(number in numbers) for number in range(self.count)]

    def array(self, values: list[Any]) -> NDArray[np.int64]:
        return np.array(values, dtype=np.int64).reshape(-1, self.count)


def _number(cell: Any, low: float, high: float) -> float:
    value = as_number(cell)
    if not low <= value <= high:
        raise ValueError(f"label {shown(cell)} is out of range; {low:g} to {high:g} are allowed")
    return value


def _class_number(cell: Any, count: int, names: tuple[str, ...]) -> int:
    """Return the class in a cell: the index of its name where there are names, else its number."""
    if names:
        index = find_name(cell, names)
        if index is None:
            close = closest(str(cell).strip(), names, count=1)
            hint = f"did you mean {close[0]}? " if close else ""
            known = one_line(", ".join(names), 200)
            raise ValueError(f"label {shown(cell)} is not one of the declared names; {hint}they are: {known}")
        return index
    value = _number(cell, 0.0, count - 1.0)
    if not value.is_integer():
        raise ValueError(f"label {shown(cell)} is not a class; the classes are the whole numbers 0 to {count - 1}")
    return int(value)
