"""Families of many problems for the tests of batched methods, and the distance between two answers to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtlbench.check import families

Array = NDArray[np.float64]
Family = Callable[[np.random.Generator, int, int], Array]
"""(generator, K, P) → J, a (K, P) matrix with the task gradients as rows."""
AGREEMENT = 1e-9
SIZE = 20
"""P, the number of parameters."""


def low_rank(draw: np.random.Generator, tasks: int, size: int) -> Array:
    """Gradients in a plane."""
    return np.asarray(draw.normal(size=(tasks, 2)) @ draw.normal(size=(2, size)))


def conflicting(draw: np.random.Generator, tasks: int, size: int) -> Array:
    """Gradients whose mean is mostly taken out, so that many pairs conflict."""
    rows = draw.normal(size=(tasks, size))
    return np.asarray(rows - 1.5 * rows.mean(axis=0) * draw.uniform(0.3, 1.0) + 0.05 * draw.normal(size=(tasks, size)))


def nearly_stationary(draw: np.random.Generator, tasks: int, size: int) -> Array:
    """Pareto-stationary gradients plus noise, 10⁻⁵ to 10⁻² times as long."""
    return families.strongly_stationary(draw, tasks, size) + 10.0 ** draw.uniform(-5.0, -2.0) * draw.normal(
        size=(tasks, size)
    )


def badly_scaled(draw: np.random.Generator, tasks: int, size: int) -> Array:
    """Normal gradients times 10^U(−3, 3): norms up to 10⁶ apart."""
    return np.asarray(draw.normal(size=(tasks, size)) * 10.0 ** draw.uniform(-3.0, 3.0, (tasks, 1)))


def no_gradient(draw: np.random.Generator, tasks: int, size: int) -> Array:
    """All gradients zero."""
    return np.zeros((tasks, size))


FAMILIES: tuple[Family, ...] = (
    *(families.normal, low_rank, conflicting, nearly_stationary, badly_scaled, no_gradient, families.zero_rows),
    *(families.duplicated, families.opposed, families.rank_one, families.strongly_stationary),
)


def jacobians(seed: int, tasks: int, each: int = 3) -> Array:
    """Return (B, K, P) gradients, some of each family."""
    draw = np.random.default_rng([seed, tasks])
    return np.stack([family(draw, tasks, SIZE) for family in FAMILIES for _ in range(each)])


def grams_of(rows: Array) -> Array:
    """Return the (B, K, K) inner products."""
    return np.asarray(rows @ rows.transpose(0, 2, 1))


def losses_of(seed: int, problems: int, tasks: int) -> Array:
    """Return (B, K) positive losses."""
    return np.random.default_rng([seed, problems, tasks]).uniform(0.1, 3.0, (problems, tasks))


def assert_agree(got: Array, wanted: Array, rows: Array) -> None:
    """Check updates Σ wᵢ gᵢ: their difference relative to their terms, and their directions unless they vanish."""
    assert np.isfinite(got).all()
    updates, expected = (np.einsum("bk,bkp->bp", weights, rows) for weights in (got, wanted))
    terms = (np.abs(wanted) * np.linalg.norm(rows, axis=2)).sum(axis=1)
    terms = np.where(terms > 0.0, terms, 1.0)
    distance = np.linalg.norm(updates - expected, axis=1) / terms
    assert distance.max() <= AGREEMENT, distance.argmax()
    lengths = np.linalg.norm(expected, axis=1)
    clear = lengths > 1e-5 * terms
    directions = [update[clear] / np.linalg.norm(update[clear], axis=1)[:, None] for update in (updates, expected)]
    turns = np.linalg.norm(directions[0] - directions[1], axis=1)
    assert turns.max(initial=0.0) <= AGREEMENT, np.flatnonzero(clear)[turns.argmax()]


settings.register_profile("batched", deadline=None, derandomize=True, database=None, max_examples=2)
few = settings(settings.get_profile("batched"))
seeds_drawn = given(seed=st.integers(0, 2**32))
