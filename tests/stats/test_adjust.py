"""Adjusted p values against published numbers and statsmodels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mtlbench import stats

DEMSAR = [0.015720, 0.019172, 0.608408]  # Demšar 2006, section 3.2.2


@pytest.mark.parametrize(("adjust", "ps", "adjusted"), [
    (stats.holm, [0.01, 0.02, 0.022, 0.09], [0.04, 0.06, 0.06, 0.09]),
    (stats.holm, DEMSAR, [0.04716, 0.04716, 0.60841]),
    (stats.holm, [0.09, None, 0.01, 0.022, 0.02], [0.09, None, 0.04, 0.06, 0.06]),
    (stats.holm, [None, None], [None, None]),
    (stats.holm, [], []),
    (stats.hochberg, [0.01, 0.02, 0.022, 0.09], [0.04, 0.044, 0.044, 0.09]),
    (stats.hochberg, DEMSAR, [0.03834, 0.03834, 0.60841]),
    (stats.benjamini_hochberg, [0.01, 0.02, 0.022, 0.09], [0.0293333, 0.0293333, 0.0293333, 0.09]),
])  # fmt: skip
def test_reference_cases(
    adjust: Callable[..., list[float | None]], ps: list[float | None], adjusted: list[float | None]
) -> None:
    assert adjust(ps) == [None if p is None else pytest.approx(p, abs=5e-6) for p in adjusted]


@pytest.mark.parametrize(("adjust", "method"), [
    (stats.holm, "holm"), (stats.hochberg, "simes-hochberg"), (stats.benjamini_hochberg, "fdr_bh"),
])  # fmt: skip
def test_agreement_with_statsmodels(adjust: Callable[..., list[float | None]], method: str) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    ps = np.round(np.random.default_rng(0).uniform(0, 0.2, 30), 2)  # with ties
    assert adjust(ps.tolist()) == pytest.approx(multitest.multipletests(ps, method=method)[1])
