"""Ranks and Friedman's test against Demšar 2006, scipy and full enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mtlbench import stats
from mtlbench.stats import ranks

# Demšar 2006, Table 6: four variants of C4.5 on 14 data sets; .9751 is the tie that the paper's rounding made
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_mean_ranks_of_demsar() -> None:
    assert stats.mean_ranks(DEMSAR.T) == pytest.approx([3.1429, 2.0000, 2.8929, 1.9643], abs=5e-5)


def test_friedman_of_demsar() -> None:
    result = stats.friedman(DEMSAR.T)
    assert result is not None
    assert result.mean_ranks == pytest.approx([3.1429, 2.0000, 2.8929, 1.9643], abs=5e-5)
    assert result.chi_squared == pytest.approx(9.2786, abs=5e-5)
    assert result.f == pytest.approx(3.6863, abs=5e-5)
    oracle = scipy_stats.friedmanchisquare(*DEMSAR.T)  # asymptotic
    assert result.p == pytest.approx(oracle.pvalue, abs=0.006)


def test_critical_difference_of_demsar() -> None:
    assert stats.critical_difference(4, 14, 0.05) == pytest.approx(1.2536, abs=5e-4)
    assert stats.critical_difference(4, 14, 0.10) == pytest.approx(1.1181, abs=5e-4)
    assert stats.critical_difference(10, 3) == pytest.approx(7.8, abs=0.05)


def test_wilcoxon_of_demsar_is_the_sign_flip_of_signed_ranks() -> None:
    d = np.round(DEMSAR[:, 1] - DEMSAR[:, 0], 12)
    size = scipy_stats.rankdata(np.abs(d))
    below = size[d < 0].sum() + size[d == 0].sum() / 2  # zsplit
    assert below == 12
    assert stats.sign_flip((np.sign(d) * size)[d != 0]) == pytest.approx(0.0078125, abs=1e-12)


@pytest.mark.parametrize(("methods", "blocks"), [(3, 2), (3, 5), (4, 4)])
@pytest.mark.parametrize("ties", [False, True])
def test_exact_p_agrees_with_listing_every_ranking(methods: int, blocks: int, ties: bool) -> None:
    scores = np.random.default_rng(blocks).normal(size=(methods, blocks))
    scores = np.round(scores) if ties else scores
    result = stats.friedman(scores)
    assert result is not None and result.exact
    ranked = ranks.ranks(scores).T
    shuffles = [list(itertools.permutations(block)) for block in ranked[1:]]
    observed = (ranked.sum(0) ** 2).sum()
    counted = [
        ((ranked[0] + np.sum(rest, axis=0)) ** 2).sum() >= observed - 1e-9 for rest in itertools.product(*shuffles)
    ]
    assert result.p == pytest.approx(np.mean(counted))
    assert result.p >= result.resolution


def test_drawn_p_agrees_with_the_exact_one_and_names_its_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(3).normal(size=(4, 6)) + np.arange(4)[:, None] * 0.6
    exact = stats.friedman(scores)
    monkeypatch.setattr(ranks, "MOST_ROWS", 0)
    drawn = stats.friedman(scores)
    assert exact is not None and drawn is not None
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p / ranks.DRAWS))
    assert drawn.resolution == 1 / (ranks.DRAWS + 1)
    assert drawn == stats.friedman(scores)  # seeded


def test_friedman_of_many_methods_alike_and_of_too_few() -> None:
    result = stats.friedman(np.ones((10, 5)))
    assert result is not None
    assert (result.p, result.chi_squared, set(result.mean_ranks)) == (1.0, 0.0, {5.5})
    same_order = stats.friedman(np.arange(3.0)[:, None] * np.ones(4))
    assert same_order is not None and same_order.f is None
    assert same_order.p == pytest.approx(6 / 6**4) == same_order.resolution
    assert stats.friedman(np.ones((2, 5))) is None
    assert stats.friedman(np.ones((5, 1))) is None
