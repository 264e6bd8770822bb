"""What an estimate with a standard error and degrees of freedom says by Student's t: intervals and equivalence."""

from __future__ import annotations

from scipy import stats


def interval(estimate: float, error: float, df: float, alpha: float) -> tuple[float, float]:
    """Return the two-sided 1 − alpha interval. With alpha / m, m such intervals hold at once (Bonferroni)."""
    half = float(stats.t.isf(alpha / 2, df)) * error
    return estimate - half, estimate + half


def equivalence_p(estimate: float, error: float, df: float, margin: float) -> float:
    """Return the p of two one-sided tests (TOST; Schuirmann 1987) of |true difference| ≥ margin.

    Small p: the difference lies within ±margin. It is the only test whose rejection supports "no difference worth
    speaking of", and the margin has to be declared before the scores are seen.

    :param error: standard error of the estimate; zero (no spread at all) gives 0 or 1, as the estimate lies.
    :raises ValueError: when the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"a margin of equivalence must be positive, not {margin}")
    if error == 0.0:
        return 0.0 if abs(estimate) < margin else 1.0
    return float(stats.t.sf((margin - abs(estimate)) / error, df))  # the larger of the two one-sided p values
