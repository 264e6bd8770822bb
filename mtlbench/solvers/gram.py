"""Gram matrices taken apart: K coordinates, lengths and cosines. And what all solvers share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench.contract.method import Matrix, Vector
from mtlbench.errors import SolverError

TOLERANCE = 1e-8
"""Largest violation of the optimality conditions that is accepted, relative to the terms in them."""


@contextmanager
def solving(method: str) -> Iterator[None]:
    """Put a method's name before the message of every :class:`SolverError` inside."""
    try:
        yield
    except SolverError as error:
        raise SolverError(f"{method}: {error}") from None


def factor(gram: Matrix) -> Matrix:
    """Return a K × K matrix R with R Rᵀ = G: task gradients in K coordinates.

    The rows are scaled to unit length before the eigendecomposition and back after it, so that a gradient
    10¹⁰ times shorter than its neighbour keeps its own 16 digits.
    """
    length = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    unit = np.where(length > 0.0, length, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    return length[:, None] * (vectors * np.sqrt(np.clip(values, 0.0, None)))


@dataclass(frozen=True)
class Directions:
    """The task gradients that are not zero, as lengths and cosines; see :func:`directions`."""

    kept: NDArray[np.bool_]
    """(K,) whether a task is among them."""
    lengths: Vector
    """Their norms ‖gᵢ‖."""
    cosines: Matrix
    """C, the inner products of the uᵢ."""

    def spread(self, values: Vector) -> Vector:
        """Return K weights from those of the tasks that are kept; the others get 0."""
        weights = np.zeros(len(self.kept))
        weights[self.kept] = values
        return weights


def directions(gram: Matrix) -> Directions:
    """Split a Gram matrix into lengths and cosines, leaving out the gradients that are zero and have no direction."""
    lengths = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    kept = lengths > 0.0
    if not kept.all():
        gram, lengths = gram[np.ix_(kept, kept)], lengths[kept]
    return Directions(kept, lengths, gram / np.outer(lengths, lengths))
