"""Intervals over seeds and examples against the mean squares of a two-way layout."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats


def test_crossed_interval_agrees_with_the_mean_squares_of_a_two_way_layout() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(size=(5, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(5, 30))
    result = stats.crossed_interval(d)
    assert result is not None
    n, m = d.shape
    rows, columns = d.mean(1), d.mean(0)
    mean_squares = [
        m * rows.var(ddof=1),
        n * columns.var(ddof=1),
        (((d - d.mean()) ** 2).sum() - m * (n - 1) * rows.var(ddof=1) - n * (m - 1) * columns.var(ddof=1))
        / ((n - 1) * (m - 1)),
    ]
    variance = (mean_squares[0] + mean_squares[1] - mean_squares[2]) / (n * m)
    df = (variance * n * m) ** 2 / sum(
        square**2 / f for square, f in zip(mean_squares, (n - 1, m - 1, (n - 1) * (m - 1)), strict=True)
    )
    assert result.df == pytest.approx(df)
    assert result.ci_high - result.mean_difference == pytest.approx(scipy_stats.t.isf(0.025, df) * variance**0.5)
    assert 0 < result.example_share < 1


def test_crossed_interval_of_examples_that_do_not_vary_is_the_t_interval_over_seeds() -> None:
    rows = np.array([0.02, 0.02, 0.01, 0.01, 0.03])
    result = stats.crossed_interval(np.repeat(rows[:, None], 50, axis=1))
    oracle = stats.paired_comparison(rows, np.zeros(5))
    assert result is not None
    assert (result.ci_low, result.ci_high, result.df) == pytest.approx((oracle.ci_low, oracle.ci_high, 4))
    assert result.example_share == pytest.approx(0.0, abs=1e-12)


def test_crossed_interval_is_none_for_one_seed_or_no_spread() -> None:
    assert stats.crossed_interval(np.ones((1, 9))) is None
    assert stats.crossed_interval(np.ones((4, 9))) is None
