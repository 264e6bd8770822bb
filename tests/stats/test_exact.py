"""The exact sign-flip test against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats


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
