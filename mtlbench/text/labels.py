"""What a label in a file means: a class, a real number, or any of several labels; as a number, a name or a list."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.task import Kind
from mtlbench.errors import one_line, shown
from mtlbench.text.cell_values import as_flag, as_list, as_number, find_name, is_marker, is_missing


class Labels(Protocol):
    """How the labels of a task are read."""

    prediction: ClassVar[Kind]

    @property
    def outputs(self) -> int:
        """The size of the task's head."""

    @property
    def columns(self) -> int:
        """How many columns hold a row's label."""

    def missing(self, cell: Any) -> bool:
        """Whether one of the cells says that the row has no label."""

    def read(self, cells: tuple[Any, ...]) -> Any:
        """Return the label that a row's cells hold; none of them is missing.

        :raises ValueError: with what is wrong with a cell, for people.
        """

    def array(self, read: list[Any]) -> NDArray[Any]:
        """Return labels that were read as the ``labels`` of :class:`mtlbench.contract.task.Rows`."""


@dataclass(frozen=True)
class Scores:
    """Real numbers from ``low`` to ``high``, both included."""

    low: float = -math.inf
    high: float = math.inf
    prediction: ClassVar[Kind] = "regression"
    outputs: ClassVar[int] = 1
    columns: ClassVar[int] = 1

    def missing(self, cell: Any) -> bool:
        return is_missing(cell) or is_marker(cell)

    def read(self, cells: tuple[Any, ...]) -> float:
        return _number(cells[0], self.low, self.high)

    def array(self, read: list[Any]) -> NDArray[np.float64]:
        return np.array(read, dtype=np.float64)


@dataclass(frozen=True)
class Classes:
    """One of the classes 0 … ``count`` − 1: by its number or, where there are names, its name."""

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
        return _place(cells[0], self.count, self.names)

    def array(self, read: list[Any]) -> NDArray[np.int64]:
        return np.array(read, dtype=np.int64)


@dataclass(frozen=True)
class LabelSets:
    """Any of ``count`` labels, none and all included; they are read as ``count`` zeros and ones.

    In one column a cell holds the labels that the row has, by number or name, as a list in any of the forms that
    :func:`mtlbench.text.cell_values.as_list` reads (``|`` alone: none of them). In ``count`` columns, each cell says 0 or 1.

    :param flags: the one column holds ``count`` zeros and ones in place of the labels that the row has.
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
        pieces = as_list(cell, self.names)
        if self.flags:
            if len(pieces) != self.count:
                raise ValueError(f"label {shown(cell)} has {len(pieces)} entries, but there are {self.count} labels")
            return [as_flag(piece) for piece in pieces]
        places = [_place(piece, self.count, self.names) for piece in pieces]
        if len(set(places)) < len(places):
            raise ValueError(f"label {shown(cell)} names a label twice; for zeros and ones in a list write flags=true")
        return [int(place in places) for place in range(self.count)]

    def array(self, read: list[Any]) -> NDArray[np.int64]:
        return np.array(read, dtype=np.int64).reshape(-1, self.count)


def _number(cell: Any, low: float, high: float) -> float:
    value = as_number(cell)
    if not low <= value <= high:
        raise ValueError(f"label {shown(cell)} is out of range; {low:g} to {high:g} are allowed")
    return value


def _place(cell: Any, count: int, names: tuple[str, ...]) -> int:
    """Return which of the classes a cell is: its place among the names, or its number."""
    if names:
        place = find_name(cell, names)
        if place is None:
            close = difflib.get_close_matches(str(cell).strip(), names, n=1, cutoff=0.55)
            hint = f"did you mean {close[0]}? " if close else ""
            known = one_line(", ".join(names), 200)
            raise ValueError(f"label {shown(cell)} is none of the declared ones; {hint}they are: {known}")
        return place
    value = _number(cell, 0.0, count - 1.0)
    if not value.is_integer():
        raise ValueError(f"label {shown(cell)} is not a class; the classes are the whole numbers 0 to {count - 1}")
    return int(value)
