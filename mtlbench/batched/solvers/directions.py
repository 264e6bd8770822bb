"""Decompose many Gram matrices into lengths and cosines, or coordinates; solve many small linear systems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench.batched.arrays import Grams, Mask, Rows, diagonals, outer


@dataclass(frozen=True)
class Directions:
    """Lengths and cosines of the task gradients of B problems; see :func:`directions`."""

    kept: Mask
    """(B, K) whether a task's gradient is nonzero."""
    lengths: Rows
    """(B, K) the norms ‖gᵢ‖."""
    divisors: Rows
    """(B, K) the norms, with 1 in place of 0."""
    cosines: Grams
    """(B, K, K) the cosines. The row and column of a zero gradient are 0, its diagonal entry included."""

    @property
    def decoupled(self) -> Grams:
        """(B, K, K) the cosines, with zero gradients replaced by unit vectors orthogonal to all others."""
        if self.kept.all():
            return self.cosines
        result = self.cosines.copy()
        problems, tasks = np.nonzero(~self.kept)
        result[problems, tasks, tasks] = 1.0
        return result


def directions(gram: Grams) -> Directions:
    """Split Gram matrices into lengths and cosines.

    :param gram: (B, K, K) inner products.
    """
    lengths = np.sqrt(np.clip(diagonals(gram), 0.0, None))
    kept = lengths > 0.0
    divisors = np.where(kept, lengths, 1.0)
    cosines = gram / outer(divisors)
    if not kept.all():  # a gradient of length 0 may have products that only rounding made nonzero
        cosines = np.where(kept[:, :, None] & kept[:, None, :], cosines, 0.0)
    return Directions(kept, lengths, divisors, cosines)


def factor(gram: Grams) -> Grams:
    """Return matrices R with R Rᵀ = G, as :func:`mtlbench.solvers.factor` does for one.

    :param gram: (B, K, K) inner products; eigenvalues that rounding made negative count as 0.
    """
    lengths = np.sqrt(np.clip(diagonals(gram), 0.0, None))
    units = np.where(lengths > 0.0, lengths, 1.0)
    values, vectors = np.linalg.eigh(gram / outer(units))
    return lengths[:, :, None] * (vectors * np.sqrt(np.clip(values, 0.0, None))[:, None, :])


def solve(matrices: Grams, vectors: Grams) -> Grams:
    """Return the solutions of linear systems, NaN where a matrix is singular.

    :param matrices: (B, N, N) matrices.
    :param vectors: (B, N, M) right-hand sides.
    """
    try:
        return np.asarray(np.linalg.solve(matrices, vectors), dtype=np.float64)
    except np.linalg.LinAlgError:  # from one matrix, for all
        solutions = np.full(vectors.shape, np.nan)
        regular = np.linalg.matrix_rank(matrices) == matrices.shape[1]
        solutions[regular] = np.linalg.solve(matrices[regular], vectors[regular])
        return solutions
