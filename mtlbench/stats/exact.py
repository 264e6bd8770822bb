"""The exact sign-flip test."""

from __future__ import annotations

import numpy as np

from mtlbench.stats.base import NOISE, Vector

EXACT_UP_TO = 32
"""Most seeds for which all 2ⁿ sign flips are counted (milliseconds; 2 × 2¹⁶ numbers are held)."""


def sign_flip(differences: Vector) -> float | None:
    """Return the exact two-sided p of the sign-flip (paired permutation) test of mean 0; Fisher 1935.

    Under the null each dₛ may as well have been −dₛ: p is the share of the 2ⁿ sign patterns with |Σ ±dₛ| ≥ |Σ dₛ|.
    The sums of either half are listed and matched by bisection, which needs 2^(n/2) numbers, not 2ⁿ. The same
    number as scipy's ``permutation_test(..., permutation_type="samples", n_resamples=np.inf)``, which loops over
    all 2ⁿ (0.4 s at n = 16, sixteen times that at n = 20).

    :param differences: (n,) paired differences.
    :return: ``None`` above :data:`EXACT_UP_TO` differences, where the t test stands alone.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not 1 <= len(d) <= EXACT_UP_TO:
        return None
    half = (len(d) + 1) // 2  # the longer list is searched for the shorter one: fewer searches
    first, second = d[:half], d[half:]
    observed = abs(d.sum()) - NOISE * np.abs(d).sum()  # ties must count as ties after rounding
    listed = _signed_sums(first, observed - np.abs(second).sum())
    sought = _signed_sums(second, observed - np.abs(first).sum())
    upper = int((len(listed) - np.searchsorted(listed, observed - sought)).sum())
    return min(1.0, upper / 2.0 ** (len(d) - 1))  # by symmetry the lower tail is as large


def _signed_sums(d: Vector, least: float) -> Vector:
    """Return those of the 2ⁿ sums Σ ±dₛ that are not below the least which the other half can still make up for."""
    sums = np.zeros(2 ** len(d))
    for index, value in enumerate(d):
        known = 2**index
        sums[known : 2 * known] = sums[:known] - value
        sums[:known] += value
    return np.sort(sums[sums >= least])
