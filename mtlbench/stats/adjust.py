"""p values adjusted for the number of tests in their family.

``None`` (no test was possible) stays ``None`` and does not count. The same numbers as statsmodels' ``multipletests``,
which takes longer than all the rest of a report (it collects garbage each time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtlbench.stats.base import Vector


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm 1979, step-down: the i-th smallest of m times m − i + 1, and never below a smaller one's. No assumption."""
    return _adjusted(ps, lambda sorted_: np.maximum.accumulate(sorted_ * np.arange(len(sorted_), 0, -1)))


def hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Hochberg 1988, step-up: Holm's factors, and never above a larger one's. Assumes no negative dependence."""
    return _adjusted(ps, lambda sorted_: _from_above(sorted_ * np.arange(len(sorted_), 0, -1)))


def benjamini_hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Benjamini & Hochberg 1995: controls the share of false findings among all findings, not the chance of one."""
    return _adjusted(ps, lambda sorted_: _from_above(sorted_ * len(sorted_) / np.arange(1, len(sorted_) + 1)))


def _from_above(values: Vector) -> Vector:
    """Return the smallest of each value and those after it."""
    return np.asarray(np.minimum.accumulate(values[::-1])[::-1], dtype=np.float64)


def _adjusted(ps: Sequence[float | None], rule: Callable[[Vector], Vector]) -> list[float | None]:
    """Apply a rule to the sorted p values and put them back in the given order."""
    tested = np.array([p for p in ps if p is not None], dtype=np.float64)
    order = np.argsort(tested)
    adjusted = np.empty(len(tested))
    if len(tested):
        adjusted[order] = np.minimum(rule(tested[order]), 1.0)
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in ps]
