"""What may be tuned, and between which bounds: read from short texts, the same in a method's file and in an option.

``0.1:0.9`` is a range, ``1e-3:0.1:log`` one on a logarithmic scale, ``none/l2`` a choice. ``0.1:10:log:tasks`` is one
number of the range for each task, of which only the ratios count. Every space is a cube: coordinates from 0 to 1 stand
for values, so that a sampler needs to know nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mtlbench.contract.method import Method
from mtlbench.contract.numerals import number
from mtlbench.errors import UsageError

DIGITS = 3
"""Significant digits of a value, so that a spec stays short."""
EDGE = 0.1
"""Share of a range at each end that counts as its edge."""

Side = Literal["low", "high"]
Point = tuple[float, ...]
"""Coordinates from 0 to 1."""


class Space(Protocol):
    """The values that one parameter may take."""

    @property
    def text(self) -> str:
        """As it is written."""

    @property
    def size(self) -> int:
        """How many coordinates it has."""

    @property
    def options(self) -> int | None:
        """The number of choices, where there is no order between values."""

    def at(self, point: Point) -> Any:
        """Return the value at some coordinates."""

    def find(self, value: Any) -> Point:
        """Return the coordinates of a value, which must be one of the space.

        :raises ValueError: when it is not.
        """

    def edge(self, value: Any) -> Side | None:
        """Return on which edge of the space a value lies, if on one."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``."""

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
    """One of several values, without an order."""

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
    """One number of a range for each task, joined by ``:`` and divided by their mean: they add up to K.

    Every task has a coordinate of its own, so that no task is special. The edge is that of the ratio between the
    largest and the smallest weight, which is (high / low) at most.
    """

    text: str
    range: Range
    size: int

    options = None

    def at(self, point: Point) -> str:
        drawn = [self.range.at((place,)) for place in point]
        mean = sum(drawn) / len(drawn)
        return ":".join(f"{_rounded(one / mean):g}" for one in drawn)

    def find(self, value: Any) -> Point:
        numbers = [float(piece) for piece in str(value).split(":")]
        return tuple(place for one in (numbers * self.size)[: self.size] for place in self.range.find(one))

    def edge(self, value: Any) -> Side | None:
        numbers = [float(piece) for piece in str(value).split(":")]
        spread = math.log(max(numbers) / min(numbers))
        return "high" if spread > (1.0 - EDGE) * math.log(self.range.high / self.range.low) else None


def read_space(text: str, method: Method, parameter: str, tasks: int) -> Space:
    """Read the space of one parameter of a method.

    :param tasks: K.
    :raises UsageError: for an unknown parameter, a text that is no space, or values that the parameter cannot have.
    """
    where = f"method {method.name}: space {parameter}={text}"
    pieces = [piece.strip() for piece in re.split(r"[|/]", text)]
    if ":" not in text:
        values = tuple(_made(method, parameter, piece) for piece in pieces)
        if len(values) < 2 or len(set(values)) < len(values):
            raise UsageError(f"{where}: give at least two different choices such as a/b, or a range LOW:HIGH")
        return Choice(text, values)
    low, high, *marks = (piece.strip() for piece in text.split(":"))
    if marks not in ([], ["log"], ["tasks"], ["log", "tasks"]):
        raise UsageError(
            f"{where}: write LOW:HIGH, then :log for a logarithmic scale, then :tasks for one number a task"
        )
    for bound in (low, high):
        _made(method, parameter, bound)
    try:
        found = Range(text, number(low), number(high), "log" in marks, _is_whole(getattr(method, parameter)))
    except ValueError:
        raise UsageError(f"{where}: the bounds of a range must be numbers") from None
    if not found.low < found.high:
        raise UsageError(f"{where}: the lower bound must be below the upper one")
    if marks and found.low <= 0.0:
        raise UsageError(f"{where}: a logarithmic scale, and weights of tasks, need a lower bound above 0")
    return Weights(text, found, tasks) if "tasks" in marks else found


def _made(method: Method, parameter: str, text: str) -> Any:
    """Return a parameter's value from its text.

    :raises UsageError: when the method has no such parameter, or it cannot have this value.
    """
    return getattr(type(method).make({**method.parameters, parameter: text}), parameter)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def split(spaces: Sequence[Space], point: Point) -> list[Point]:
    """Return each space's own coordinates of a point of all of them."""
    found, start = [], 0
    for space in spaces:
        found.append(point[start : start + space.size])
        start += space.size
    return found
