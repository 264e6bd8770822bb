"""Statistical power: the smallest effect that n seeds detect, and the seeds needed to detect an effect."""

from __future__ import annotations

import math
from functools import cache

from scipy import special

from mtlbench.stats.student import critical

POWER = 0.8
"""Power at which the minimum detectable effect is stated."""
FARTHEST = 1e3
"""Largest critical t for which the noncentral t is inverted."""
MOST_SEEDS = 10_000
"""Upper limit of the search in :func:`seeds_needed`."""


@cache
def detectable_noncentrality(df: float, alpha: float) -> float | None:
    """Return the true difference, in standard errors, that a two-sided t test detects with 80 % power.

    Only the upper tail of the noncentral t is used, since the lower one is negligible at this power. (statsmodels'
    ``TTestPower`` adds it, and scipy's ``nct`` fails there at few degrees of freedom: it gives 8.85 SD for n = 3,
    α = .05/9, where simulation and this function give 9.82.)

    :param df: degrees of freedom.
    :param alpha: level of the test.
    :returns: ``None`` where the critical t exceeds :data:`FARTHEST` (two pairs, far below α = .001), because scipy's
        inversion does not end there.
    """
    critical_t = critical(df, alpha)
    return float(special.nctdtrinc(df, 1.0 - POWER, critical_t)) if critical_t < FARTHEST else None


def detectable_effect(n: int, alpha: float) -> float | None:
    """Return the |mean(d)| / SD(d) that a two-sided paired t test detects with 80 % power.

    :param n: number of pairs, at least 2.
    :param alpha: level of the test.
    :returns: ``None`` where :func:`detectable_noncentrality` returns ``None``.
    """
    noncentrality = detectable_noncentrality(n - 1, alpha)
    return None if noncentrality is None else noncentrality / math.sqrt(n)


def seeds_needed(effect: float, alpha: float) -> int | None:
    """Return the fewest pairs with which a two-sided paired t test detects an effect with 80 % power.

    The answer holds if the true effect is as large as ``effect``. An observed effect is a poor estimate of the true
    one: an effect observed as large tends to be smaller.

    :param effect: |mean(d)| / SD(d).
    :param alpha: level of the test.
    :returns: at least 3, since fewer pairs say too little about the SD; ``None`` when more than :data:`MOST_SEEDS`
        would be needed, as for an effect of zero.
    """
    if not _detects(effect, MOST_SEEDS, alpha):
        return None
    low, high = 3, MOST_SEEDS
    while low < high:  # the detectable effect falls with n
        middle = (low + high) // 2
        low, high = (low, middle) if _detects(effect, middle, alpha) else (middle + 1, high)
    return low


def _detects(effect: float, n: int, alpha: float) -> bool:
    """Return whether n pairs detect the effect with 80 % power."""
    detectable = detectable_effect(n, alpha)
    return detectable is not None and detectable <= effect
