"""What an estimate with a standard error and degrees of freedom says by Student's t: intervals and equivalence."""

from __future__ import annotations

from scipy import special


def critical(df: float, alpha: float) -> float:
    """Return the |t| beyond which a two-sided test at level alpha rejects.

    From scipy's special functions, as everywhere here: ``scipy.stats.t`` calls the same ones, and takes fifty times as
    long to prepare its arguments.
    """
    return -float(special.stdtrit(df, alpha / 2))


def two_sided_p(t: float, df: float) -> float:
    """Return the p of a t statistic."""
    return float(2 * special.stdtr(df, -abs(t)))


def interval(estimate: float, error: float, df: float, alpha: float) -> tuple[float, float]:
    """Return the two-sided 1 − alpha interval. With alpha / m, m such intervals hold at once (Bonferroni)."""
    half = critical(df, alpha) * error
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
    return float(special.stdtr(df, (abs(estimate) - margin) / error))  # the larger of the two one-sided p values
