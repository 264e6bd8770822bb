"""Δm, interquartile mean and win rate against published numbers and other libraries."""

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
    result = stats.delta_m(np.array([scores]) * better, single[None] * better)
    assert result == pytest.approx([improvement], abs=5e-4)


def test_delta_m_has_fixed_denominators() -> None:
    scores, single = np.array([[0.5], [0.5]]), np.array([[0.4], [0.6]])
    assert stats.delta_m(scores, single) == pytest.approx([20.0, -20.0])  # not +25 and -16.7
    assert stats.delta_m(scores, np.zeros((2, 1))) is None


def test_interquartile_mean() -> None:
    assert stats.interquartile_mean(np.arange(1.0, 11.0)) == 5.5
    assert stats.interquartile_mean(np.array([1.0, 2.0, 9.0])) == 4.0


def test_win_rate_and_its_exact_interval() -> None:
    result = stats.win_rate(np.array([0.1, 0.2, 0.3, 0.1, -0.1, 0.0]))
    assert (result.wins, result.losses, result.ties, result.rate) == (4, 1, 1, 0.8)
    assert result.probability_of_improvement == pytest.approx(4.5 / 6)


@pytest.mark.parametrize(("wins", "losses"), [(0, 5), (5, 0), (1, 4), (7, 3), (10, 10)])
def test_win_rate_interval_agrees_with_scipy(wins: int, losses: int) -> None:
    result = stats.win_rate(np.array([1.0] * wins + [-1.0] * losses))
    oracle = scipy_stats.binomtest(wins, wins + losses).proportion_ci(0.95, method="exact")
    assert (result.low, result.high) == pytest.approx((oracle.low, oracle.high))


def test_ties_alone_have_no_win_rate() -> None:
    result = stats.win_rate(np.zeros(3))
    assert (result.rate, result.low, result.high, result.probability_of_improvement) == (None, None, None, 0.5)
    won = stats.win_rate(np.ones(5))
    assert (won.low, won.high) == pytest.approx((0.025 ** (1 / 5), 1.0))
