"""Small convex problems over the probability simplex, solved on K × K matrices in float64 and then checked."""

from __future__ import annotations

import numpy as np

from mtlbench.errors import SolverError
from mtlbench.method import Matrix, Vector

TOLERANCE = 1e-8
"""Largest violation of the optimality conditions that is accepted, relative to the norms involved."""


def factor(gram: Matrix) -> Matrix:
    """Return a K × K matrix R with R Rᵀ = G: task gradients in K coordinates.

    The rows are scaled to unit length before the eigendecomposition and back after it, so that a gradient
    10¹⁰ times shorter than its neighbour keeps its own 16 digits.
    """
    length = np.sqrt(np.clip(np.diagonal(gram), 0.0, None))
    unit = np.where(length > 0.0, length, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    return length[:, None] * (vectors * np.sqrt(np.clip(values, 0.0, None)))


def min_norm_point(points: Matrix) -> Vector:
    """Return w on the simplex that minimises ‖Σ wᵢ pᵢ‖: the point of a convex hull that is nearest to the origin.

    With q = ‖Pᵀw‖², the least of ‖t Pᵀw‖² + (t − 1)² over t is q/(1 + q), which grows with q. So the
    non-negative least-squares problem min ‖Pᵀx‖² + (1ᵀx − 1)², x ≥ 0, has the same optimum, x = t w, and the
    active-set solver of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23) ends at it in
    finitely many steps, where the Frank–Wolfe iterations of published code stop on the way.

    :param points: (K, D) one point a row. Where several w give the nearest point, one of them is returned.
    :raises SolverError: when the solver gives up, or ⟨pᵢ, p⟩ ≥ ‖p‖² does not hold for every i at the point p found.
    """
    from scipy.optimize import nnls

    lengths = np.linalg.norm(points, axis=1)
    shortest = float(lengths.min())
    if shortest == 0.0:  # the origin is one of the points
        zero = (lengths == 0.0).astype(np.float64)
        return zero / zero.sum()
    scaled = points / shortest
    stacked, target = np.vstack([scaled.T, np.ones(len(points))]), np.append(np.zeros(points.shape[1]), 1.0)
    try:
        x, _ = nnls(stacked, target, maxiter=100 * len(points))  # scipy's 3 K are too few where norms are spread
    except RuntimeError as error:
        raise SolverError(f"nearest point of a hull: {error}; points {points.tolist()}") from None
    weights: Vector = x / x.sum()
    nearest = weights @ scaled
    violation = float(np.max((nearest @ nearest - scaled @ nearest) * shortest / lengths))
    if not violation <= TOLERANCE:
        raise SolverError(f"nearest point of a hull: optimality violated by {violation:.1e}; points {points.tolist()}")
    return weights
