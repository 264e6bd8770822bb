"""Confidence interval over seeds and examples at once: it covers both another training run and another test set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mtlbench.stats.base import ALPHA, Vector
from mtlbench.stats.student import interval


@dataclass(frozen=True)
class Crossed:
    """The mean difference over n seeds and m examples."""

    seeds: int
    examples: int
    mean_difference: float
    ci_low: float
    ci_high: float
    df: float
    """Satterthwaite's degrees of freedom."""
    example_share: float
    """Share of the variance due to the choice of examples, 0 to 1; the rest is due to the seeds."""


def crossed_interval(differences: Vector, alpha: float = ALPHA) -> Crossed | None:
    """Return the interval of the mean difference, treating seeds and examples as samples (a two-way random layout).

    The variance is s²_seed / n + s²_example / m − s²_residual / (n m). The first two terms are the variances of the row
    means and of the column means; both contain the residual, so the third term subtracts it once. A negative variance
    of seeds or examples counts as zero, so the sum is never below either of the first two terms. Valid only for metrics
    that are means over examples, such as accuracy; not for correlations or F1.

    :param differences: (n, m) candidate − baseline by example: seeds in rows, the same examples in columns.
    :param alpha: 1 − the confidence of the two-sided interval.
    :returns: ``None`` for fewer than two seeds or examples, or when the differences do not vary.
    """
    d = np.asarray(differences, dtype=np.float64)
    n, m = d.shape
    if n < 2 or m < 2:
        return None
    rows, columns, mean = d.mean(1), d.mean(0), float(d.mean())
    residual = d - rows[:, None] - columns[None] + mean
    seed_part, example_part = float(rows.var(ddof=1)) / n, float(columns.var(ddof=1)) / m
    residual_part = float((residual**2).sum()) / ((n - 1) * (m - 1)) / (n * m)
    variance = max(seed_part + example_part - residual_part, seed_part, example_part)
    spread = seed_part**2 / (n - 1) + example_part**2 / (m - 1) + residual_part**2 / ((n - 1) * (m - 1))
    if variance <= 1e-30 or spread == 0.0:
        return None
    df = variance**2 / spread
    low, high = interval(mean, math.sqrt(variance), df, alpha)
    share = max(0.0, example_part - residual_part) / variance
    return Crossed(n, m, mean, low, high, df, share)
