"""Equivalence tests against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench import stats


def test_equivalence_agrees_with_statsmodels() -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = np.array([0.80, 0.81, 0.79, 0.82, 0.80]), np.array([0.82, 0.83, 0.80, 0.83, 0.83])
    result = stats.paired_comparison(b, a)
    assert result.standard_error is not None and result.df is not None
    for margin in (0.01, 0.02, 0.05):
        oracle = weightstats.ttost_paired(b, a, -margin, margin)[0]
        actual = stats.equivalence_p(result.mean_difference, result.standard_error, result.df, margin)
        assert actual == pytest.approx(oracle)


def test_equivalence_needs_a_margin_and_takes_no_spread() -> None:
    assert stats.equivalence_p(0.0, 0.0, 4, 0.01) == 0.0
    assert stats.equivalence_p(0.01, 0.0, 4, 0.01) == 1.0
    with pytest.raises(ValueError, match="must be positive"):
        stats.equivalence_p(0.0, 0.1, 4, 0.0)
