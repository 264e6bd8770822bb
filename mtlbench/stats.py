"""The science of the paired comparison: pure functions on arrays of scores, one score per seed, higher is better.

Conventions, kept everywhere in this module: a quantity that the data cannot give is ``None``, never NaN and never an
exception; the seeds are the sample, tasks never are (Demšar 2006 needs many independent tasks; a suite has three).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Vector = NDArray[np.float64]

NOISE = 1e-12
"""Differences below this share of the scores' size are rounding of the last bits, and count as zero."""
EXACT_UP_TO = 32
"""Most seeds for which all 2ⁿ sign flips are counted (milliseconds; 2 × 2¹⁶ numbers are held)."""
POWER = 0.8
"""The power at which the minimum detectable effect is stated."""


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline on one endpoint. Differences are candidate − baseline: positive is better."""

    n: int
    """Pairs; without pairing, the smaller of the two samples."""
    mean_difference: float
    paired: bool
    test: str = "none"
    """What gave ``p``: ``"paired t"``, ``"Welch t"``, or ``"none"`` when there is no ``p``."""
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    """Two-sided p of the t test."""
    exact_p: float | None = None
    """Two-sided p of the exact sign-flip test; it needs pairs, and symmetry of d in place of normality."""
    exact_floor: float | None = None
    """2/2ⁿ, the smallest ``exact_p`` that n pairs can ever give."""
    rho: float | None = None
    """Pearson correlation of the two series over seeds: what the pairing gained."""
    effect_size: float | None = None
    """d_z = mean(d) / SD(d)."""
    minimum_detectable_effect: float | None = None
    """The true difference, in the score's unit, that a single t test finds with 80 % power."""


def paired_comparison(candidate: Vector, baseline: Vector, confidence: float = 0.95) -> Comparison:
    """Compare two series measured on the same seeds with the same batches, initial heads and dropout masks.

    The interval and ``p`` are Student's, of d = candidate − baseline: its coverage holds at 3 seeds, where that of a
    percentile bootstrap is .74. One seed gives the difference alone. When d does not vary, the interval has zero
    width; ``p`` is 1 if d is zero throughout (no statistic is less extreme) and ``None`` otherwise, since the
    t statistic would be infinite; the exact p is defined all the same.

    :param candidate: (n,) scores, one per seed.
    :param baseline: (n,) scores of the same seeds in the same order.
    :param confidence: of the two-sided interval.
    :raises ValueError: when the series are empty or differ in length.
    """
    a, b = np.asarray(candidate, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"a paired comparison needs two series of equal length, not {a.shape} and {b.shape}")
    n, d = len(a), _without_noise(a, b)
    mean = float(d.mean())
    if n == 1:
        return Comparison(n=1, mean_difference=mean, paired=True)

    sd = float(d.std(ddof=1))
    low, high, p, effect, detectable = mean, mean, None, None, None
    if sd > _noise(a, b):
        result = stats.ttest_1samp(d, 0.0)
        interval = result.confidence_interval(confidence)
        low, high, p = float(interval.low), float(interval.high), float(result.pvalue)
        effect, detectable = mean / sd, _detectable(n, 1 - confidence, sd)
    elif mean == 0.0:
        p = 1.0
    return Comparison(
        n=n,
        mean_difference=mean,
        paired=True,
        test="none" if p is None else "paired t",
        ci_low=low,
        ci_high=high,
        p=p,
        exact_p=sign_flip(d),
        exact_floor=2.0 / 2.0**n,
        rho=correlation(a, b),
        effect_size=effect,
        minimum_detectable_effect=detectable,
    )


def unpaired_comparison(candidate: Vector, baseline: Vector, confidence: float = 0.95) -> Comparison:
    """Compare two series that share no proven pairing: Welch's t, with Satterthwaite's degrees of freedom.

    Nothing is exact here and no correlation is defined; both stay ``None``.

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
    if max(a.std(), b.std()) <= _noise(a, b):
        same = abs(mean) <= _noise(a, b)
        p, test = (1.0, "Welch t") if same else (None, "none")
        return Comparison(n=n, mean_difference=mean, paired=False, test=test, ci_low=mean, ci_high=mean, p=p)
    # by hand: scipy's ttest_ind warns of a sample without spread, which collapsed runs give
    of_a, of_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(of_a + of_b)
    student = stats.t((of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1)))
    half, p = float(student.isf((1 - confidence) / 2)) * error, float(2 * student.sf(abs(mean) / error))
    return Comparison(
        n=n, mean_difference=mean, paired=False, test="Welch t", ci_low=mean - half, ci_high=mean + half, p=p
    )


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
    half = len(d) // 2
    left, right = np.sort(_signed_sums(d[:half])), np.sort(_signed_sums(d[half:]))
    observed = abs(d.sum()) - NOISE * np.abs(d).sum()  # ties must count as ties after rounding
    upper = int((len(left) - np.searchsorted(left, observed - right)).sum())
    return min(1.0, upper / 2.0 ** (len(d) - 1))  # by symmetry the lower tail is as large


def correlation(a: Vector, b: Vector) -> float | None:
    """Return Pearson's ρ of two (n,) series; ``None`` if one is constant or n < 3 (two points always give ±1)."""
    if len(a) < 3 or min(np.ptp(a), np.ptp(b)) <= _noise(a, b):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted by Holm's step-down procedure (Holm 1979), in the given order.

    The i-th smallest of m is multiplied by m − i + 1, and never falls below a smaller one's. The same numbers as
    statsmodels' ``multipletests``, which takes longer than all the rest of a report (it collects garbage each time).

    :param ps: the family; ``None`` (no test was possible) stays ``None`` and does not count.
    """
    tested = [p for p in ps if p is not None]
    if not tested:
        return [None] * len(ps)
    order = np.argsort(tested)
    adjusted = np.empty(len(tested))
    steps = np.arange(len(tested), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(np.array(tested)[order] * steps), 1.0)
    values = iter(adjusted.tolist())
    return [None if p is None else next(values) for p in ps]


@cache
def detectable_effect(n: int, alpha: float) -> float:
    """Return the |mean(d)| / SD(d) that a two-sided paired t test at level alpha finds with 80 % power, n ≥ 2 pairs.

    On the upper tail of the noncentral t; the other one adds nothing visible at this power. (statsmodels'
    ``TTestPower`` adds it, and scipy's ``nct`` fails there at few degrees of freedom: the answer is 8.85 for n = 3,
    α = .05/9, where simulation and this function give 9.82.)

    :param alpha: between .0001 and .5; n = 2 does not converge far below.
    """
    noncentrality = special.nctdtrinc(n - 1, 1.0 - POWER, stats.t.isf(alpha / 2, n - 1))
    return float(noncentrality) / math.sqrt(n)


def delta_m(scores: Vector, single_task: Vector) -> Vector | None:
    """Return Δm of every seed, in percent, as an improvement (Maninis et al. 2019 print it as a drop).

    Δmₛ = 100 · meanₜ (Mₜₛ − STLₜₛ) / |mean over s of STLₜ|. The denominators are fixed over seeds, so that a lucky
    single-task seed does not rescale the measure.

    :param scores: (S, T) scores of a method, higher is better: one column per task. A task with several metrics
        has one column too (here: its primary metric), or tasks with more metrics would weigh more.
    :param single_task: (S', T) scores of the single-task baseline; S' = S, the same seeds, or 1.
    :return: (S,), or ``None`` when a task's mean single-task score is zero.
    """
    size = np.abs(single_task.mean(axis=0))
    if (size == 0.0).any():
        return None
    return np.asarray(100.0 * ((scores - single_task) / size).mean(axis=-1), dtype=np.float64)


def mean_ranks(scores: Vector) -> Vector:
    """Return each method's rank, 1 is best, ranked within every block and averaged over blocks; ties share a rank.

    :param scores: (M, B) scores of M methods on B blocks (every seed of every task), higher is better.
    :return: (M,) mean ranks; their sum is M (M + 1) / 2.
    """
    return np.asarray(stats.rankdata(-np.round(scores, 12), axis=0).mean(axis=1), dtype=np.float64)


def _signed_sums(d: Vector) -> Vector:
    """Return all 2ⁿ sums Σ ±dₛ."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _without_noise(a: Vector, b: Vector) -> Vector:
    """Return a − b with rounding noise set to zero, so that bit-level dust is not taken for a difference."""
    d = a - b
    return np.where(np.abs(d) <= _noise(a, b), 0.0, d)


def _noise(a: Vector, b: Vector) -> float:
    """Return the size of rounding noise in differences of these scores."""
    return NOISE * float(max(np.abs(a).max(), np.abs(b).max()))


def _detectable(n: int, alpha: float, sd: float) -> float:
    """Return the minimum detectable effect in the score's unit."""
    return detectable_effect(n, round(alpha, 12)) * sd
