"""Families of task gradients. Each docstring proves the property of its matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtlbench.contract.observation import Matrix

Family = Callable[[np.random.Generator, int, int], Matrix]
"""(generator, K, P) → J, a (K, P) matrix with the task gradients as rows."""


def normal(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """Independent standard normal entries: of full rank, and in general position, with probability 1."""
    return draw.normal(size=(tasks, size))


def non_stationary(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """Ju = a > 0 for a unit vector u: the step −u improves all tasks at once.

    J = N + (a − Nu) uᵀ, so Ju = Nu + a − Nu = a. Then ⟨wᵀJ, u⟩ = wᵀa > 0 for every w of the simplex: the hull of the
    rows does not touch the origin.
    """
    rows, u = normal(draw, tasks, size), draw.normal(size=size)
    u /= np.linalg.norm(u)
    return rows + np.outer(draw.uniform(0.05, 1.0, tasks) - rows @ u, u)


def strongly_stationary(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """vᵀJ = 0 for a v > 0: no direction improves one task without hurting another.

    J = (I − v vᵀ/‖v‖²) N, so vᵀJ = vᵀN − vᵀN = 0. For K = 1 that is J = 0, returned without rounding.
    """
    if tasks == 1:
        return np.zeros((1, size))
    v = draw.uniform(0.1, 1.0, tasks)
    rows = normal(draw, tasks, size)
    return rows - np.outer(v, v @ rows) / (v @ v)


def weakly_stationary(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """vᵀJ = 0 for a v ≥ 0, v ≠ 0, with one zero: as strongly stationary, but one task is outside the conflict.

    For K = 2 that is one zero row, returned without rounding; for K = 1, J = 0.
    """
    if tasks <= 2:
        return draw.permutation(np.vstack([np.zeros((1, size)), normal(draw, tasks - 1, size)]))
    v = draw.uniform(0.1, 1.0, tasks)
    v[draw.integers(tasks)] = 0.0
    rows = normal(draw, tasks, size)
    return rows - np.outer(v, v @ rows) / (v @ v)


def duplicated(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """The first and the last row are equal: JJᵀ is singular for every K ≥ 2."""
    rows = normal(draw, tasks, size)
    rows[-1] = rows[0]
    return rows


def zero_rows(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """At least one row is zero, sometimes all of them: tasks that are at their optimum."""
    rows = normal(draw, tasks, size)
    rows[: draw.integers(1, tasks + 1)] = 0.0
    return draw.permutation(rows)


def rank_one(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """J = a uᵀ with normal a and u: every gradient lies on one line, some of them opposed."""
    return np.outer(draw.normal(size=tasks), draw.normal(size=size))


def opposed(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """The last row is the negative of the first, to the last bit: their cosine is −1."""
    rows = normal(draw, tasks, size)
    rows[-1] = -rows[0] if tasks > 1 else rows[0]
    return rows


def spread(draw: np.random.Generator, tasks: int, size: int) -> Matrix:
    """Normal rows times 10^U(−5, 5): norms up to 10¹⁰ apart in one matrix, directions as in ``normal``."""
    return normal(draw, tasks, size) * 10.0 ** draw.uniform(-5.0, 5.0, (tasks, 1))


GENERIC: tuple[Family, ...] = (normal, non_stationary)
STATIONARY: tuple[Family, ...] = (strongly_stationary, weakly_stationary, zero_rows)
ALL: tuple[Family, ...] = (*GENERIC, *STATIONARY, duplicated, rank_one, opposed, spread)
EXPONENTS = (-10, 0, 15)
"""Exponents of the powers of ten that matrices are multiplied by."""
