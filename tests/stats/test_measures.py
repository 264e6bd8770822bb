"""Δm, interquartile mean, win rate and equivalence against published numbers and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats


@pytest.mark.parametrize(("scores", "improvement"), [
    ([39.29, 65.33, 0.5493, 0.2263, 28.15, 23.96, 22.09, 47.50, 61.08], -5.589),  # linear scalarization
    ([40.13, 65.93, 0.5261, 0.2171, 25.26, 20.08, 28.40, 55.47, 68.15], 4.047),  # Nash-MTL
])  # fmt: skip
def test_delta_m_of_nyuv2(scores: list[float], improvement: float) -> None:
    single = np.array([38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15])
    better = np.array([1, 1, -1, -1, -1, -1, 1, 1, 1])  # errors are turned round: higher is better throughout
    found = stats.delta_m(np.array([scores]) * better, single[None] * better)
    assert found == pytest.approx([improvement], abs=5e-4)


def test_delta_m_has_fixed_denominators() -> None:
    scores, single = np.array([[0.5], [0.5]]), np.array([[0.4], [0.6]])
    assert stats.delta_m(scores, single) == pytest.approx([20.0, -20.0])  # not +25 and -16.7
    assert stats.delta_m(scores, np.zeros((2, 1))) is None


def test_interquartile_mean() -> None:
    assert stats.interquartile_mean(np.arange(1.0, 11.0)) == 5.5
    assert stats.interquartile_mean(np.array([1.0, 2.0, 9.0])) == 4.0


def test_win_rate_and_its_exact_interval() -> None:
    found = stats.win_rate(np.array([0.1, 0.2, 0.3, 0.1, -0.1, 0.0]))
    assert (found.wins, found.losses, found.ties, found.rate) == (4, 1, 1, 0.8)
    assert found.probability_of_improvement == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(("wins", "losses"), [(0, 5), (5, 0), (1, 4), (7, 3), (10, 10)])
def test_win_rate_interval_agrees_with_scipy(wins: int, losses: int) -> None:
    found = stats.win_rate(np.array([1.0] * wins + [-1.0] * losses))
    oracle = scipy_stats.binomtest(wins, wins + losses).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))


def test_ties_alone_have_no_win_rate() -> None:
    found = stats.win_rate(np.zeros(3))
    assert (found.rate, found.low, found.high, found.probability_of_improvement) == (None, None, None, 0.5)
    won = stats.win_rate(np.ones(5))
    assert (won.low, won.high) == pytest.approx((0.025 ** (1 / 5), 1.0))


def test_equivalence_agrees_with_statsmodels() -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = np.array([0.80, 0.81, 0.79, 0.82, 0.80]), np.array([0.82, 0.83, 0.80, 0.83, 0.83])
    result = stats.paired_comparison(b, a)
    assert result.standard_error is not None and result.df is not None
    for margin in (0.01, 0.02, 0.05):
        oracle = weightstats.ttost_paired(b, a, -margin, margin)[0]
        found = stats.equivalence_p(result.mean_difference, result.standard_error, result.df, margin)
        assert found == pytest.approx(oracle)


def test_equivalence_needs_a_margin_and_takes_no_spread() -> None:
    assert stats.equivalence_p(0.0, 0.0, 4, 0.01) == 0.0
    assert stats.equivalence_p(0.01, 0.0, 4, 0.01) == 1.0
    with pytest.raises(ValueError, match="must be positive"):
        stats.equivalence_p(0.0, 0.1, 4, 0.0)


def test_crossed_interval_agrees_with_the_mean_squares_of_a_two_way_layout() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(size=(5, 1)) + rng.normal(size=(1, 30)) + rng.normal(size=(5, 30))
    found = stats.crossed_interval(d)
    assert found is not None
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
    assert found.df == pytest.approx(df)
    assert found.ci_high - found.mean_difference == pytest.approx(scipy_stats.t.isf(0.025, df) * variance**0.5)
    assert 0 < found.example_share < 1


def test_crossed_interval_of_examples_that_do_not_vary_is_the_t_interval_over_seeds() -> None:
    rows = np.array([0.02, 0.02, 0.01, 0.01, 0.03])
    found = stats.crossed_interval(np.repeat(rows[:, None], 50, axis=1))
    oracle = stats.paired_comparison(rows, np.zeros(5))
    assert found is not None
    assert (found.ci_low, found.ci_high, found.df) == pytest.approx((oracle.ci_low, oracle.ci_high, 4))
    assert found.example_share == pytest.approx(0.0, abs=1e-12)


def test_crossed_interval_says_nothing_of_one_seed_or_no_spread() -> None:
    assert stats.crossed_interval(np.ones((1, 9))) is None
    assert stats.crossed_interval(np.ones((4, 9))) is None
