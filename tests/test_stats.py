"""The paired comparison against published and independently computed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats

A = np.array([0.80, 0.81, 0.79, 0.82, 0.80])
B = np.array([0.82, 0.83, 0.80, 0.83, 0.83])

# Demšar 2006, Table 6: four variants of C4.5 on 14 data sets; .9751 is the tie that the paper's rounding made
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


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


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("ties", [False, True])
def test_sign_flip_agrees_with_scipy(n: int, ties: bool) -> None:
    d = np.random.default_rng(n).normal(0.5, 1, n)
    d = np.round(d, 1) if ties else d
    if n == 1:  # scipy refuses a single observation
        assert stats.sign_flip(d) == 1.0
        return
    oracle = scipy_stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert stats.sign_flip(d) == pytest.approx(oracle.pvalue)


def test_sign_flip_reaches_its_floor_and_stays_exact_at_the_largest_n() -> None:
    assert stats.sign_flip(np.ones(stats.EXACT_UP_TO)) == 2.0 / 2**stats.EXACT_UP_TO
    assert stats.sign_flip(np.ones(stats.EXACT_UP_TO + 1)) is None
    assert stats.sign_flip(np.array([1.0, -1.0])) == 1.0


@pytest.mark.parametrize(("ps", "adjusted"), [
    ([0.01, 0.02, 0.022, 0.09], [0.04, 0.06, 0.06, 0.09]),
    ([0.015720, 0.019172, 0.608408], [0.04716, 0.04716, 0.60841]),  # Demšar 2006, section 3.2.2
    ([0.09, None, 0.01, 0.022, 0.02], [0.09, None, 0.04, 0.06, 0.06]),
    ([None, None], [None, None]),
    ([], []),
])  # fmt: skip
def test_holm(ps: list[float | None], adjusted: list[float | None]) -> None:
    assert stats.holm(ps) == [None if p is None else pytest.approx(p, abs=5e-6) for p in adjusted]


def test_holm_agrees_with_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    ps = np.round(np.random.default_rng(0).uniform(0, 0.2, 30), 2)  # with ties
    assert stats.holm(ps.tolist()) == pytest.approx(multitest.multipletests(ps, method="holm")[1])


@pytest.mark.parametrize(("n", "alpha", "effect"), [
    (3, 0.05, 3.26), (5, 0.05, 1.68), (10, 0.05, 1.00), (20, 0.05, 0.66),
    (3, 0.05 / 9, 9.82), (5, 0.05 / 9, 3.07), (10, 0.05 / 9, 1.46), (20, 0.05 / 9, 0.90),
])  # fmt: skip
def test_minimum_detectable_effect(n: int, alpha: float, effect: float) -> None:
    assert stats.detectable_effect(n, alpha) == pytest.approx(effect, abs=0.005)


def test_minimum_detectable_effect_is_found_four_times_of_five() -> None:
    d = np.random.default_rng(0).normal(stats.detectable_effect(3, 0.05), 1, (100_000, 3))
    t = np.abs(d.mean(1)) / d.std(1, ddof=1) * math.sqrt(3)
    assert (t > scipy_stats.t.isf(0.025, 2)).mean() == pytest.approx(0.8, abs=0.005)


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


def test_mean_ranks_of_demsar() -> None:
    assert stats.mean_ranks(DEMSAR.T) == pytest.approx([3.1429, 2.0000, 2.8929, 1.9643], abs=5e-5)
