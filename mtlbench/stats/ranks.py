"""Ranks of several methods, and Friedman's test of whether the ranks differ by more than chance. Blocks are seeds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtlbench.stats.base import ALPHA, Vector

DRAWS = 20_000
"""Number of random permutations behind a Monte Carlo p."""
MOST_ROWS = 150_000
"""Most rows (distinct states × permutations) that the exact p lists per block; above it, permutations are drawn."""
HELD = 2_000_000
"""Most numbers held at once while permutations are drawn."""


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of k methods in n blocks."""

    methods: int
    blocks: int
    mean_ranks: tuple[float, ...]
    """1 is best; ties share a rank."""
    chi_squared: float
    """Friedman's statistic without correction for ties, as Demšar 2006 prints it. p does not depend on the correction:
    the permutations keep the ties."""
    f: float | None
    """Iman & Davenport's F; ``None`` when the ranks are the same in every block, where F is infinite."""
    p: float
    """Permutation p: share of rankings, shuffled within blocks, whose statistic is at least as large."""
    exact: bool
    """Whether all permutations were counted."""
    resolution: float
    """Smallest p possible with this number of permutations."""


def ranks(scores: Vector) -> Vector:
    """Return the rank of every method within each block, 1 is best; ties share their average rank.

    :param scores: (M, B) scores of M methods in B blocks, higher is better.
    :returns: (M, B) ranks.
    """
    return np.asarray(stats.rankdata(-np.round(scores, 12), axis=0), dtype=np.float64)


def mean_ranks(scores: Vector) -> Vector:
    """Return every method's rank within blocks, averaged over blocks; 1 is best, ties share a rank.

    :param scores: (M, B) scores of M methods in B blocks (every seed of every task), higher is better.
    :returns: (M,) mean ranks; their sum is M (M + 1) / 2.
    """
    return np.asarray(ranks(scores).mean(axis=1), dtype=np.float64)


def friedman(scores: Vector, seed: int = 0) -> Friedman | None:
    """Test whether the methods' ranks differ by more than chance (Friedman 1937), with a permutation p.

    The χ² distribution approximates the statistic only for many blocks. For a handful of seeds every ranking is counted
    instead, or a random sample where there are too many.

    :param scores: (M, B) scores of M methods in B independent blocks: seeds, never tasks.
    :param seed: of the random permutations.
    :returns: ``None`` for fewer than three methods or two blocks, where the test does not apply.
    """
    methods, blocks = scores.shape
    if methods < 3 or blocks < 2:
        return None
    ranked = ranks(scores)
    doubled = np.rint(2 * ranked).astype(np.int64).T  # (B, M); midranks are halves, so twice a rank is an integer
    observed = int((doubled.sum(0) ** 2).sum())
    exact = _exact_p(doubled, observed)
    p = _drawn_p(doubled, observed, seed) if exact is None else exact
    means = ranked.mean(axis=1)
    squares = float((means**2).sum())
    chi = max(0.0, 12 * blocks / (methods * (methods + 1)) * (squares - methods * (methods + 1) ** 2 / 4))
    rest = blocks * (methods - 1) - chi
    return Friedman(
        methods=methods,
        blocks=blocks,
        mean_ranks=tuple(means.tolist()),
        chi_squared=chi,
        f=(blocks - 1) * chi / rest if rest > 1e-9 else None,
        p=p,
        exact=exact is not None,
        resolution=1 / math.factorial(methods) ** (blocks - 1) if exact is not None else 1 / (DRAWS + 1),
    )


@cache
def critical_difference(methods: int, blocks: int, alpha: float = ALPHA) -> float:
    """Return Nemenyi's critical difference of two mean ranks (Demšar 2006): q_α √(k (k + 1) / 6 n).

    q_α is the quantile of the Studentized range over √2. It illustrates the pairwise tests and does not replace them,
    since ranks ignore how far apart the scores are.

    :param methods: number k of methods.
    :param blocks: number n of blocks.
    :param alpha: level of the test.
    """
    q = float(stats.studentized_range.isf(alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def _exact_p(doubled: NDArray[np.int64], observed: int) -> float | None:
    """Return the share of permutations with a statistic as large as observed; ``None`` if there are too many.

    The distribution of the rank sums is built block by block. All orders of the next block are equally likely, so the
    order of the sums does not matter; sorted sums leave few distinct states.
    """
    methods = doubled.shape[1]
    if math.factorial(methods) > MOST_ROWS:
        return None
    orders = np.array(list(itertools.permutations(range(methods))))
    states: NDArray[np.int64] = np.zeros((1, methods), dtype=np.int64)
    weights: Vector = np.ones(1)
    for block in doubled:
        if len(states) * len(orders) > MOST_ROWS:
            return None
        sums = np.sort((states[:, None] + block[orders][None]).reshape(-1, methods), axis=1)
        states, where = np.unique(sums, axis=0, return_inverse=True)
        weights = np.bincount(where.ravel(), np.repeat(weights / len(orders), len(orders))).astype(np.float64)
    return min(1.0, float(weights[(states**2).sum(1) >= observed].sum()))


def _drawn_p(doubled: NDArray[np.int64], observed: int, seed: int) -> float:
    """Return the Monte Carlo p; the observed ranking counts as one of the draws, so p is never zero."""
    blocks = tuple(map(tuple, np.sort(doubled, axis=1).tolist()))  # blocks are shuffled, so order is irrelevant
    extreme = DRAWS - int(np.searchsorted(_drawn(blocks, seed, DRAWS), observed))
    return (1 + extreme) / (1 + DRAWS)


@lru_cache(maxsize=8)
def _drawn(blocks: tuple[tuple[int, ...], ...], seed: int, draws: int) -> NDArray[np.int64]:
    """Return sorted statistics of shuffled blocks; without ties, all groups of one size share them."""
    generator, doubled = np.random.default_rng(seed), np.array(blocks)
    batch = max(1, HELD // doubled.size)
    statistics = []
    for start in range(0, draws, batch):
        shuffled = np.broadcast_to(doubled, (min(batch, draws - start), *doubled.shape))
        statistics.append((generator.permuted(shuffled, axis=2).sum(axis=1) ** 2).sum(axis=1))
    return np.sort(np.concatenate(statistics))
