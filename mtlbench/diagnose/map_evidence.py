"""What recommendations rest on: thresholds, and the gains that a map of problems showed, from ``map_evidence.json``.

The file is data, to be written anew from a map's results. A point of gain is 100 × ln of a ratio of errors: the
geometric mean over tasks of the test error under the plain sum, over that under the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import exp
from pathlib import Path

from pydantic import TypeAdapter

FILE = Path(__file__).with_name("map_evidence.json")


@dataclass(frozen=True)
class Range:
    """A range of numbers that holds from a number of tasks on."""

    tasks: int
    low: float
    high: float


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the conditions of rules.

    :param ratio: two tasks are unequal if their losses at the start, or their early gradient norms, have a larger one.
    :param noise: one task is noisier than another from this ratio of their noise-to-signal ratios on.
    :param remaining: a training loss is high at the end from this share of its start on.
    :param falling: a training loss has come to a halt if it fell by less in the second half of training.
    :param cosine: two tasks oppose each other below this median cosine.
    """

    ratio: float
    noise: float
    remaining: float
    falling: float
    cosine: float


@dataclass(frozen=True)
class Observation:
    """Gains in points that were observed in one setting: method → from and to."""

    setting: str
    gains: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        gains = (f"{method} {_span(low, high)}" for method, (low, high) in self.gains.items())
        return f"{self.setting}: {', '.join(gains)}"


@dataclass(frozen=True)
class RuleEvidence:
    """The evidence for one rule.

    :param gain: the gain to expect in points, by the number of tasks; empty where no number is known.
    :param observed: the observations behind it.
    :param r2: measurements → share of the gain's variance that they explain on settings they were not fitted to.
    """

    gain: tuple[Range, ...]
    observed: tuple[Observation, ...]
    r2: dict[str, float]


@dataclass(frozen=True)
class Study:
    """Where all numbers are from, and what they do not show."""

    source: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class MapEvidence:
    """The content of the file; ``trials`` of fixed weights gain as much as methods do with a few learning rates."""

    study: Study
    thresholds: Thresholds
    trials: tuple[Range, ...]
    rules: dict[str, RuleEvidence]


@cache
def map_evidence() -> MapEvidence:
    """Return the packaged evidence."""
    return TypeAdapter(MapEvidence).validate_json(FILE.read_bytes())


def range_for(ranges: Sequence[Range], tasks: int) -> tuple[float, float] | None:
    """Return the range for a number of tasks, which is that of the next smaller number; ``None`` without any.

    :param ranges: ranges by their smallest number of tasks.
    :param tasks: K.
    """
    holding = [one for one in ranges if one.tasks <= tasks]
    found = max(holding, key=lambda one: one.tasks, default=None)
    return None if found is None else (found.low, found.high)


def in_errors(gain: tuple[float, float]) -> str:
    """Return a gain in points as a clause, also as a share of the errors.

    :param gain: from and to, not negative.
    """
    low, high = (1.0 - exp(-points / 100.0) for points in gain)
    return f"{gain[0]:g} to {gain[1]:g} points, that is errors lower by {low:.0%} to {high:.0%}"


def _span(low: float, high: float) -> str:
    return f"{low:+g}" if low == high else f"{low:+g} to {high:+g}"
