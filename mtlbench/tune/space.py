"""Search spaces of parameters, read from short texts, as in a method's file or in ``--space``.

``0.1:0.9`` is a range, ``1e-3:0.1:log`` a range on a logarithmic scale, ``none/l2`` a choice. ``0.1:10:log:tasks``
stands for one number of the range per task, of which only the ratios matter. Every space is a cube: coordinates from 0
to 1 stand for values, so that samplers need no other knowledge of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mtlbench.contract.method import Method
from mtlbench.contract.numerals import number
from mtlbench.errors import UsageError
from mtlbench.grid.tuned_file import Side

DIGITS = 3
"""Significant digits of a value; few, to keep specs short."""
EDGE = 0.1
"""Fraction of a range at each end that counts as its edge."""

Point = tuple[float, ...]
"""Coordinates from 0 to 1."""


class Space(Protocol):
    """The values that one parameter can take."""

    @property
    def text(self) -> str:
        """The text that the space was read from."""

    @property
    def size(self) -> int:
        """Number of coordinates."""

    @property
    def options(self) -> int | None:
        """Number of choices; ``None`` for spaces whose values have an order."""

    def at(self, point: Point) -> Any:
        """Return the value at a point.

        :param point: as many coordinates as the space has.
        """

    def find(self, value: Any) -> Point:
        """Return the coordinates of a value.

        :raises ValueError: if the space does not contain it.
        """

    def edge(self, value: Any) -> Side | None:
        """Return the edge of the space on which a value lies, or ``None``."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``.

    :param log: whether the scale is logarithmic.
    :param whole: whether values are whole numbers.
    """

    text: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    size = 1
    options = None

    def at(self, point: Point) -> float | int:
        low, high = self._scaled(self.low), self._scaled(self.high)
        scaled = low + point[0] * (high - low)
        value = min(max(_rounded(math.exp(scaled) if self.log else scaled), self.low), self.high)
        return round(value) if self.whole else value

    def find(self, value: Any) -> Point:
        if not self.low <= value <= self.high:
            raise ValueError(f"{value:g} is not between {self.low:g} and {self.high:g}")
        low, high = self._scaled(self.low), self._scaled(self.high)
        return ((self._scaled(value) - low) / (high - low),)

    def edge(self, value: Any) -> Side | None:
        (place,) = self.find(value)
        return "low" if place < EDGE else "high" if place > 1.0 - EDGE else None

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else float(value)


@dataclass(frozen=True)
class Choice:
    """Several values without an order."""

    text: str
    values: tuple[Any, ...]

    size = 1

    @property
    def options(self) -> int:
        return len(self.values)

    def at(self, point: Point) -> Any:
        return self.values[min(int(point[0] * len(self.values)), len(self.values) - 1)]

    def find(self, value: Any) -> Point:
        if value not in self.values:
            raise ValueError(f"{value} is not one of {self.text}")
        return ((self.values.index(value) + 0.5) / len(self.values),)

    def edge(self, value: Any) -> Side | None:
        return None


@dataclass(frozen=True)
class Weights:
    """One weight per task from a range, divided by the mean weight, so that the K weights add up to K.

    A value is a text: the weights, joined by ``:``. Every task has a coordinate, so that none is special. A value lies
    on the edge if the ratio of the largest to the smallest weight is close to its maximum, high / low.

    :param size: number of tasks, K.
    """

    text: str
    range: Range
    size: int

    options = None

    def at(self, point: Point) -> str:
        weights = [self.range.at((place,)) for place in point]
        mean = sum(weights) / len(weights)
        return ":".join(f"{_rounded(weight / mean):g}" for weight in weights)

    def find(self, value: Any) -> Point:
        weights = [float(piece) for piece in str(value).split(":")]
        return tuple(place for weight in (weights * self.size)[: self.size] for place in self.range.find(weight))

    def edge(self, value: Any) -> Side | None:
        weights = [float(piece) for piece in str(value).split(":")]
        spread = math.log(max(weights) / min(weights))
        return "high" if spread > (1.0 - EDGE) * math.log(self.range.high / self.range.low) else None


def read_space(text: str, method: Method, parameter: str, tasks: int) -> Space:
    """Read the search space of one parameter.

    :param text: such as ``0.1:0.9``; see the module.
    :param method: the method that has the parameter.
    :param parameter: its name.
    :param tasks: number of tasks, K.
    :raises UsageError: for an unknown parameter, a text of another form, or values that the parameter cannot have.
    """
    where = f"method {method.name}: space {parameter}={text}"
    pieces = [piece.strip() for piece in re.split(r"[|/]", text)]
    if ":" not in text:
        values = tuple(_parameter_value(method, parameter, piece) for piece in pieces)
        if len(values) < 2 or len(set(values)) < len(values):
            raise UsageError(f"{where}: give at least two different choices such as a/b, or a range LOW:HIGH")
        return Choice(text, values)
    low, high, *marks = (piece.strip() for piece in text.split(":"))
    if marks not in ([], ["log"], ["tasks"], ["log", "tasks"]):
        raise UsageError(
            f"{where}: write LOW:HIGH, then :log for a logarithmic scale, then :tasks for one number per task"
        )
    for bound in (low, high):
        _parameter_value(method, parameter, bound)
    try:
        values_range = Range(text, number(low), number(high), "log" in marks, _is_whole(getattr(method, parameter)))
    except ValueError:
        raise UsageError(f"{where}: the bounds of a range must be numbers") from None
    if not values_range.low < values_range.high:
        raise UsageError(f"{where}: the lower bound must be below the upper one")
    if marks and values_range.low <= 0.0:
        raise UsageError(f"{where}: logarithmic scales and task weights need a lower bound above 0")
    return Weights(text, values_range, tasks) if "tasks" in marks else values_range


def _parameter_value(method: Method, parameter: str, text: str) -> Any:
    """Return a parameter's value from its text.

    :raises UsageError: if the method has no such parameter, or the parameter cannot have this value.
    """
    return getattr(type(method).make({**method.parameters, parameter: text}), parameter)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def split(spaces: Sequence[Space], point: Point) -> list[Point]:
    """Split a point of several spaces into one point for each space.

    :param point: the coordinates of all spaces, in order.
    """
    points, start = [], 0
    for space in spaces:
        points.append(point[start : start + space.size])
        start += space.size
    return points
