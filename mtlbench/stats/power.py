"""What a number of seeds can show: the smallest effect that is found, and the seeds that an effect needs."""

from __future__ import annotations

import math
from functools import cache

from scipy import special

from mtlbench.stats.student import critical

POWER = 0.8
"""The power at which the minimum detectable effect is stated."""
FARTHEST = 1e3
"""Critical t up to which the noncentral t can be inverted."""
MOST_SEEDS = 10_000
"""Where :func:`seeds_needed` stops searching."""


@cache
def detectable_noncentrality(df: float, alpha: float) -> float | None:
    """Return the true difference, in standard errors, that a two-sided t test at level alpha finds with 80 % power.

    On the upper tail of the noncentral t; the other one adds nothing visible at this power. (statsmodels'
    ``TTestPower`` adds it, and scipy's ``nct`` fails there at few degrees of freedom: the answer is 8.85 SD for n = 3,
    α = .05/9, where simulation and this function give 9.82.)

    :return: ``None`` where the critical t is above :data:`FARTHEST` (two pairs, far below α = .001): scipy's inversion
        does not end there.
    """
    rejected = critical(df, alpha)
    return float(special.nctdtrinc(df, 1.0 - POWER, rejected)) if rejected < FARTHEST else None


def detectable_effect(n: int, alpha: float) -> float | None:
    """Return the |mean(d)| / SD(d) that a two-sided paired t test at level alpha finds with 80 % power, n ≥ 2 pairs."""
    noncentrality = detectable_noncentrality(n - 1, alpha)
    return None if noncentrality is None else noncentrality / math.sqrt(n)


def seeds_needed(effect: float, alpha: float) -> int | None:
    """Return the fewest pairs with which a two-sided paired t test at level alpha finds an effect with 80 % power.

    An observed effect is a poor guess of the true one (what was seen large tends to be smaller): the answer says
    "if the truth is as large as this".

    :param effect: |mean(d)| / SD(d).
    :return: at least 3, below which nothing may be assumed of the SD; ``None`` when more than :data:`MOST_SEEDS`
        would be needed, as for an effect of zero.
    """
    if not _found(effect, MOST_SEEDS, alpha):
        return None
    low, high = 3, MOST_SEEDS
    while low < high:  # the detectable effect falls with n
        middle = (low + high) // 2
        low, high = (low, middle) if _found(effect, middle, alpha) else (middle + 1, high)
    return low


def _found(effect: float, n: int, alpha: float) -> bool:
    """Whether n pairs find the effect with 80 % power."""
    detectable = detectable_effect(n, alpha)
    return detectable is not None and detectable <= effect
