"""Types of arrays with one row per problem, and their reductions and products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""The type of a (B, K) array: losses or weights, one row per problem."""
Grams = NDArray[np.float64]
"""The type of a (B, K, K) array: one matrix per problem."""
Mask = NDArray[np.bool_]
"""The type of an array of truth values, one per problem or one row per problem."""


def some(mask: Mask) -> Mask:
    """Return which rows of a (B, K) mask have a true entry."""
    return np.asarray(mask.any(axis=1))


def every(mask: Mask) -> Mask:
    """Return which rows of a (B, K) mask have true entries alone."""
    return np.asarray(mask.all(axis=1))


def dot(first: Rows, second: Rows) -> NDArray[np.float64]:
    """Return the (B,) inner products of the rows of two (B, K) arrays."""
    return np.einsum("bi,bi->b", first, second)


def times(matrices: Grams, vectors: Rows) -> Rows:
    """Return the (B, N) products of (B, N, K) matrices and (B, K) vectors."""
    return np.einsum("bij,bj->bi", matrices, vectors)


def diagonals(matrices: Grams) -> Rows:
    """Return the (B, K) diagonals of (B, K, K) matrices; a view that must not be written to."""
    return np.diagonal(matrices, axis1=1, axis2=2)


def outer(rows: Rows) -> Grams:
    """Return the (B, K, K) products of the entries of each row of a (B, K) array."""
    return rows[:, :, None] * rows[:, None, :]


def or_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with 1 in place of 0, for divisors."""
    return np.where(values == 0.0, 1.0, values)
