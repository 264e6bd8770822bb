"""Paired and unpaired comparisons against published and independently computed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats

A = np.array([0.80, 0.81, 0.79, 0.82, 0.80])


B = np.array([0.82, 0.83, 0.80, 0.83, 0.83])


def test_reference_case_of_the_paired_comparison() -> None:
    result = stats.paired_comparison(B, A)
    assert result.n == 5
    assert result.test == "paired t"
    assert result.paired
    assert result.mean_difference == pytest.approx(0.018)
    assert result.p == pytest.approx(0.0085809, abs=5e-8)
    assert result.ci_low == pytest.approx(0.0076115, abs=5e-8)
    assert result.ci_high == pytest.approx(0.0283885, abs=5e-8)
    assert result.effect_size == pytest.approx(2.15141, abs=5e-6)
    assert result.effect_size * math.sqrt(5) == pytest.approx(4.810702, abs=5e-7)  # the t statistic
    assert result.rho == pytest.approx(0.77357, abs=5e-6)
    assert result.exact_p == result.exact_floor == 0.0625


def test_exchanging_the_sides_exchanges_the_sign_alone() -> None:
    forth, back = stats.paired_comparison(B, A), stats.paired_comparison(A, B)
    assert back.mean_difference == pytest.approx(-forth.mean_difference)
    assert (back.ci_low, back.ci_high) == pytest.approx((-forth.ci_high, -forth.ci_low))
    assert (back.p, back.exact_p, back.rho) == pytest.approx((forth.p, forth.exact_p, forth.rho))


def test_one_seed_gives_the_difference_and_nothing_else() -> None:
    for compare in (stats.paired_comparison, stats.unpaired_comparison):
        result = compare(np.array([0.5]), np.array([0.25]))
        assert (result.n, result.mean_difference, result.test) == (1, 0.25, "none")
        assert (result.p, result.ci_low, result.ci_high, result.exact_p, result.exact_floor, result.rho) == (None,) * 6


@pytest.mark.parametrize("dust", [0.0, 1e-16])
def test_identical_series_have_p_one_and_an_interval_of_no_width(dust: float) -> None:
    result = stats.paired_comparison(A, A + dust)
    assert (result.mean_difference, result.ci_low, result.ci_high) == (0.0, 0.0, 0.0)
    assert (result.p, result.exact_p) == (1.0, 1.0)
    assert result.rho == pytest.approx(1.0)
    assert result.effect_size is None


def test_a_constant_difference_claims_no_p_of_zero() -> None:
    result = stats.paired_comparison(A + 0.02, A)
    assert (result.p, result.test) == (None, "none")
    assert result.ci_low == result.ci_high == pytest.approx(0.02)
    assert result.exact_p == result.exact_floor == 0.0625


def test_constant_scores_have_no_correlation_and_raise_no_warning() -> None:
    flat = np.full(5, 0.625)  # a method that collapsed to the majority class in every seed
    assert stats.paired_comparison(A, flat).rho is None
    assert stats.unpaired_comparison(A, flat).p is not None
    assert stats.unpaired_comparison(flat, flat).p == 1.0
    assert stats.unpaired_comparison(flat + 0.1, flat).p is None


def test_two_seeds_always_correlate_perfectly_so_no_correlation_is_given() -> None:
    assert stats.paired_comparison(A[:2], B[1:3]).rho is None


def test_series_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        stats.paired_comparison(A, B[:3])


def test_unpaired_is_welch() -> None:
    result, oracle = stats.unpaired_comparison(B, A[:4]), scipy_stats.ttest_ind(B, A[:4], equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert (result.test, result.paired, result.n) == ("Welch t", False, 4)
    assert (result.p, result.ci_low, result.ci_high) == pytest.approx((oracle.pvalue, interval.low, interval.high))
    assert (result.exact_p, result.exact_floor, result.rho) == (None, None, None)
