"""Decompose Gram matrices into K coordinates, or lengths and cosines; tolerance and errors of all solvers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import SolverError

TOLERANCE = 1e-8
"""The largest accepted violation of optimality conditions, relative to the terms in them."""


@contextmanager
def solving(method: str) -> Iterator[None]:
    """Prefix the message of every :class:`SolverError` raised inside with a method's name.

    :param method: the name.
    """
    try:
        yield
    except SolverError as error:
        raise SolverError(f"{method}: {error}") from None


def factor(gram: Matrix) -> Matrix:
    """Return a K × K matrix R with R Rᵀ = G: task gradients in K coordinates.

    The rows are scaled to unit length before the eigendecomposition and back after it, so that a gradient
    10¹⁰ times shorter than its neighbour keeps its own 16 digits.

    :param gram: (K, K) inner products; eigenvalues that rounding made negative count as 0.
    """
    length = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    unit = np.where(length > 0.0, length, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    return length[:, None] * (vectors * np.sqrt(np.clip(values, 0.0, None)))


@dataclass(frozen=True)
class Directions:
    """Lengths and cosines of the nonzero task gradients; see :func:`directions`."""

    kept: NDArray[np.bool_]
    """(K,) whether a task's gradient is nonzero. N of them are."""
    lengths: Vector
    """(N,) their norms ‖gᵢ‖."""
    cosines: Matrix
    """(N, N) their cosines C, the inner products of the uᵢ."""

    def spread(self, values: Vector) -> Vector:
        """Return K weights; tasks whose gradient is zero get 0.

        :param values: (N,) weights of the other tasks.
        """
        weights = np.zeros(len(self.kept))
        weights[self.kept] = values
        return weights


def directions(gram: Matrix) -> Directions:
    """Split a Gram matrix into lengths and cosines. Zero gradients, which have no direction, are left out.

    :param gram: (K, K) inner products.
    """
    lengths = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    kept = lengths > 0.0
    if not kept.all():
        gram, lengths = gram[np.ix_(kept, kept)], lengths[kept]
    return Directions(kept, lengths, gram / np.outer(lengths, lengths))
