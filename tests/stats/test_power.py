"""Power of n seeds against published numbers and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats


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


@pytest.mark.parametrize("effect", [0.3, 0.66, 1.0, 1.68, 5.0])
def test_seeds_needed_is_the_first_number_that_finds_the_effect(effect: float) -> None:
    n = stats.seeds_needed(effect, 0.05)
    assert n is not None
    assert (stats.detectable_effect(n, 0.05) or math.inf) <= effect
    assert n == 3 or (stats.detectable_effect(n - 1, 0.05) or math.inf) > effect


def test_seeds_needed_agrees_with_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    for effect in (0.3, 0.8, 1.5):
        oracle = power.TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
        assert stats.seeds_needed(effect, 0.05) == math.ceil(oracle)


def test_no_effect_needs_more_seeds_than_there_are() -> None:
    assert stats.seeds_needed(0.0, 0.05) is None
    assert stats.detectable_noncentrality(1, 1e-9) is None  # no number instead of a wrong one
