"""Adjustment of p values for the number of tests in their family.

``None`` (no test was possible) stays ``None`` and does not count as a test. The results equal those of statsmodels'
``multipletests``, which takes longer than the rest of a report because it runs the garbage collector on each call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtlbench.stats.base import Vector


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust by Holm's step-down procedure (1979), which makes no assumption about dependence.

    The i-th smallest of m p values is multiplied by m − i + 1, and raised to the adjusted value before it if lower.

    :param ps: p values of the family, in any order.
    :returns: the adjusted values, in the same order, at most 1.
    """
    return _adjusted(ps, lambda sorted_: np.maximum.accumulate(sorted_ * np.arange(len(sorted_), 0, -1)))


def hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust by Hochberg's step-up procedure (1988), which assumes that the tests are not negatively dependent.

    The factors are Holm's; a value is lowered to the adjusted value after it if higher.

    :param ps: p values of the family, in any order.
    :returns: the adjusted values, in the same order, at most 1.
    """
    return _adjusted(ps, lambda sorted_: _from_above(sorted_ * np.arange(len(sorted_), 0, -1)))


def benjamini_hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust by Benjamini & Hochberg (1995): control the false discovery rate, not the family-wise error rate.

    :param ps: p values of the family, in any order.
    :returns: the adjusted values, in the same order, at most 1.
    """
    return _adjusted(ps, lambda sorted_: _from_above(sorted_ * len(sorted_) / np.arange(1, len(sorted_) + 1)))


def _from_above(values: Vector) -> Vector:
    """Return the running minimum from the end."""
    return np.asarray(np.minimum.accumulate(values[::-1])[::-1], dtype=np.float64)


def _adjusted(ps: Sequence[float | None], rule: Callable[[Vector], Vector]) -> list[float | None]:
    """Apply a rule to the sorted p values and restore the original order."""
    tested = np.array([p for p in ps if p is not None], dtype=np.float64)
    order = np.argsort(tested)
    adjusted = np.empty(len(tested))
    if len(tested):
        adjusted[order] = np.minimum(rule(tested[order]), 1.0)
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in ps]
