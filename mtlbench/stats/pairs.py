"""Comparison of two methods on one endpoint, paired by seed or unpaired."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mtlbench.stats.base import CONFIDENCE, Vector, noise, without_noise
from mtlbench.stats.exact import sign_flip
from mtlbench.stats.power import detectable_noncentrality
from mtlbench.stats.student import interval, two_sided_p


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline on one endpoint. Differences are candidate − baseline: positive is better."""

    n: int
    """Pairs; without pairing, the smaller of the two samples."""
    mean_difference: float
    paired: bool
    test: str = "none"
    """Test that gave ``p``: ``"paired t"``, ``"Welch t"``, or ``"none"`` when there is no ``p``."""
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    """Two-sided p of the t test."""
    exact_p: float | None = None
    """Two-sided p of the exact sign-flip test, which needs pairs and assumes symmetry of d instead of normality."""
    exact_floor: float | None = None
    """2/2ⁿ, the smallest ``exact_p`` possible with n pairs."""
    rho: float | None = None
    """Pearson correlation of the two series over seeds: the higher, the more pairing reduced the variance."""
    effect_size: float | None = None
    """d_z = mean(d) / SD(d)."""
    minimum_detectable_effect: float | None = None
    """True difference, in the score's unit, that a single t test detects with 80 % power."""
    standard_error: float | None = None
    """Standard error of the mean difference; ``None`` when nothing varies, as with one seed."""
    df: float | None = None
    """Degrees of freedom of the standard error."""
    variance_ratio: float | None = None
    """Var(d) / (Var(candidate) + Var(baseline)): share of the variance that remains after pairing; 1 means no gain."""


def paired_comparison(candidate: Vector, baseline: Vector, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two series measured on the same seeds with the same batches, initial heads and dropout masks.

    The interval and ``p`` are Student's, of d = candidate − baseline: the interval keeps its coverage at 3 seeds, where
    a percentile bootstrap has .74. One seed gives the difference alone. When d does not vary, the interval has zero
    width, and ``p`` is 1 if d is zero throughout and ``None`` otherwise, since the t statistic would be infinite; the
    exact p is defined in both cases.

    :param candidate: (n,) scores, one per seed.
    :param baseline: (n,) scores of the same seeds in the same order.
    :param confidence: of the two-sided interval.
    :raises ValueError: when the series are empty or differ in length.
    """
    a, b = np.asarray(candidate, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"a paired comparison needs two series of equal length, not {a.shape} and {b.shape}")
    n, d = len(a), without_noise(a, b)
    mean = float(d.mean())
    if n == 1:
        return Comparison(n=1, mean_difference=mean, paired=True)

    result = Comparison(
        n=n,
        mean_difference=mean,
        paired=True,
        ci_low=mean,
        ci_high=mean,
        exact_p=sign_flip(d),
        exact_floor=2.0 / 2.0**n,
        rho=correlation(a, b),
        variance_ratio=variance_ratio(a, b),
    )
    sd = float(d.std(ddof=1))
    if sd > noise(a, b):
        by_t = _by_t(result, sd / math.sqrt(n), n - 1, confidence)
        return replace(by_t, test="paired t", effect_size=mean / sd)
    return replace(result, test="paired t", p=1.0) if mean == 0.0 else result


def unpaired_comparison(candidate: Vector, baseline: Vector, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two series without proven pairing by Welch's t test, with Satterthwaite's degrees of freedom.

    The exact p and the correlation are not defined here and stay ``None``.

    :param candidate: (n,) scores.
    :param baseline: (m,) scores, of any seeds.
    :param confidence: of the two-sided interval.
    :raises ValueError: when a series is empty.
    """
    a, b = np.asarray(candidate, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    n = min(len(a), len(b))
    if n == 0:
        raise ValueError("an unpaired comparison needs at least one score on either side")
    mean = float(a.mean() - b.mean())
    if n == 1:
        return Comparison(n=1, mean_difference=mean, paired=False)
    if max(a.std(), b.std()) <= noise(a, b):
        same = abs(mean) <= noise(a, b)
        p, test = (1.0, "Welch t") if same else (None, "none")
        return Comparison(n=n, mean_difference=mean, paired=False, test=test, ci_low=mean, ci_high=mean, p=p)
    # not scipy's ttest_ind, which warns about a sample without spread, as collapsed runs give
    variance_a, variance_b = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    df = (variance_a + variance_b) ** 2 / (variance_a**2 / (len(a) - 1) + variance_b**2 / (len(b) - 1))
    result = Comparison(n=n, mean_difference=mean, paired=False, test="Welch t")
    return _by_t(result, math.sqrt(variance_a + variance_b), df, confidence)


def variance_ratio(a: Vector, b: Vector) -> float | None:
    """Return Var(a − b) / (Var(a) + Var(b)), the share of the variance that remains after pairing.

    :param a: (n,) scores.
    :param b: (n,) scores.
    :returns: ``None`` if neither series varies or n < 3, as with :func:`correlation`.
    """
    if len(a) < 3 or max(np.ptp(a), np.ptp(b)) <= noise(a, b):
        return None
    return float(without_noise(a, b).var(ddof=1) / (a.var(ddof=1) + b.var(ddof=1)))


def correlation(a: Vector, b: Vector) -> float | None:
    """Return Pearson's ρ of two series.

    :param a: (n,) scores.
    :param b: (n,) scores.
    :returns: ``None`` if a series is constant or n < 3 (two points always give ±1).
    """
    if len(a) < 3 or min(np.ptp(a), np.ptp(b)) <= noise(a, b):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _by_t(result: Comparison, error: float, df: float, confidence: float) -> Comparison:
    """Add interval, p and detectable effect, which follow from the mean's standard error by Student's t."""
    alpha = round(1 - confidence, 12)
    low, high = interval(result.mean_difference, error, df, alpha)
    noncentrality = detectable_noncentrality(df, alpha)
    return replace(
        result,
        ci_low=low,
        ci_high=high,
        p=two_sided_p(result.mean_difference / error, df),
        minimum_detectable_effect=None if noncentrality is None else noncentrality * error,
        standard_error=error,
        df=df,
    )
