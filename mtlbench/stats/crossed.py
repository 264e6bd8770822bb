"""An interval over seeds and examples at once: would another training run, and another test set, say the same?"""

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
    """Share of the variance that the choice of examples contributes, 0 to 1; the rest is the seeds'."""


def crossed_interval(differences: Vector, alpha: float = ALPHA) -> Crossed | None:
    """Return the interval of the mean when seeds and examples are both samples (a two-way random layout).

    v = s²_seed / n + s²_example / m − s²_residual / (n m), where the first two are the variances of the row means and
    of the column means, which both contain the residual; the third takes out what was counted twice. A negative
    variance of seeds or of examples is taken as zero, so that v is never below either term alone. Only for metrics
    that are means over examples (accuracy), not for correlations or F1.

    :param differences: (n, m) of candidate − baseline, example by example: seeds in rows, the same examples in columns.
    :return: ``None`` for fewer than two seeds or examples, or when the differences do not vary.
    """
    d = np.asarray(differences, dtype=np.float64)
    n, m = d.shape
    if n < 2 or m < 2:
        return None
    rows, columns, mean = d.mean(1), d.mean(0), float(d.mean())
    residual = d - rows[:, None] - columns[None] + mean
    of_seeds, of_examples = float(rows.var(ddof=1)) / n, float(columns.var(ddof=1)) / m
    twice = float((residual**2).sum()) / ((n - 1) * (m - 1)) / (n * m)
    variance = max(of_seeds + of_examples - twice, of_seeds, of_examples)
    spread = of_seeds**2 / (n - 1) + of_examples**2 / (m - 1) + twice**2 / ((n - 1) * (m - 1))
    if variance <= 1e-30 or spread == 0.0:
        return None
    df = variance**2 / spread
    low, high = interval(mean, math.sqrt(variance), df, alpha)
    share = max(0.0, of_examples - twice) / variance
    return Crossed(n, m, mean, low, high, df, share)
