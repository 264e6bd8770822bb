"""Quadratic problems over x ≥ 0, such as nearest points of hulls and cones, by the active sets of Lawson and Hanson."""

from __future__ import annotations

import numpy as np

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import SolverError
from mtlbench.solvers.gram import TOLERANCE

INCOMPATIBLE = 1e-9
"""Constraints are incompatible if the shortest step that meets them is longer than their violation / √10⁻⁹."""


def min_norm_point(points: Matrix) -> Vector:
    """Return the w on the simplex that minimises ‖Σ wᵢ pᵢ‖: the point of a convex hull nearest to the origin.

    With q = ‖Pᵀw‖², the minimum of ‖t Pᵀw‖² + (t − 1)² over t is q/(1 + q), which grows with q. So the
    non-negative least-squares problem min ‖Pᵀx‖² + (1ᵀx − 1)², x ≥ 0, has the same optimum, x = t w. The active-set
    solver of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23) reaches it in finitely many steps,
    whereas the Frank–Wolfe iterations of published code stop short of it.

    :param points: (K, D) one point per row.
    :returns: (K,) weights; any of them where several give the nearest point.
    :raises SolverError: when the solver gives up, or its point p violates ⟨pᵢ, p⟩ ≥ ‖p‖² for some i.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", points, points))
    shortest = float(lengths.min())
    if shortest == 0.0:  # the origin is one of the points
        zero = (lengths == 0.0).astype(np.float64)
        return zero / zero.sum()
    tasks, size = points.shape
    scaled = points / shortest
    stacked, target = np.ones((size + 1, tasks)), np.zeros(size + 1)
    stacked[:size], target[size] = scaled.T, 1.0
    x = _non_negative(stacked, target, "nearest point of a hull", points)
    weights: Vector = x / x.sum()
    nearest = weights @ scaled
    violation = float(np.max((nearest @ nearest - scaled @ nearest) * shortest / lengths))
    if not violation <= TOLERANCE:
        raise SolverError(f"nearest point of a hull: optimality violated by {violation:.1e}; points {points.tolist()}")
    return weights


def cone_multipliers(units: Matrix, target: Vector, size: float) -> Vector:
    """Return the v ≥ 0 for which target + Σ vᵢ uᵢ is the projection of the target onto {d: ⟨uᵢ, d⟩ ≥ 0 for all i}.

    v minimises ‖target + Uᵀv‖ over v ≥ 0, the dual of the projection.

    :param units: (K, D) one unit vector per row.
    :param target: (D,) the vector to project.
    :param size: the magnitude of the terms of which the target is a sum, which limits its precision.
    :returns: (K,) multipliers.
    :raises SolverError: when the solver gives up, or the conditions of :func:`cone_violation` do not hold.
    """
    if (units @ target >= 0.0).all():
        return np.zeros(len(units))
    v = _non_negative(units.T, -target, "projection onto a cone", units)
    violation = cone_violation(units @ (target + v @ units), v, size)
    if not violation <= TOLERANCE:
        raise SolverError(f"projection onto a cone: optimality violated by {violation:.1e}; rows {units.tolist()}")
    return v


def cone_violation(along: Vector, multipliers: Vector, size: float) -> float:
    """Return how far a projection d = target + Σ vᵢ uᵢ violates v ≥ 0, ⟨uᵢ, d⟩ ≥ 0 and vᵢ⟨uᵢ, d⟩ = 0.

    :param along: (K,) the ⟨uᵢ, d⟩.
    :param multipliers: (K,) the vᵢ.
    :param size: the magnitude of the target's terms; the magnitude of the others is Σ vᵢ.
    :returns: the largest violation, relative to the terms.
    """
    if not along.size or size == 0.0:
        return 0.0
    terms = size + float(np.abs(multipliers).sum())
    share = np.clip(multipliers / terms, 0.0, None)  # the equality does not apply to multipliers that are mere rounding
    return float(max(0.0, *(-multipliers / terms), *(-along / terms), *(share * along / terms)))


def nearest_feasible(units: Matrix, bounds: Vector) -> Vector | None:
    """Return the μ ≥ 0 for which x = Σ μᵢ uᵢ is the shortest x with ⟨uᵢ, x⟩ ≥ hᵢ for all i.

    This is least-distance programming (Lawson and Hanson, chapter 23): let y ≥ 0 minimise ‖Uᵀy‖² + (hᵀy − 1)², with the
    minimum φ = 1 − hᵀy. Then μ = y/φ and ‖x‖² = 1/φ − 1; φ = 0 means that no x exists.

    :param units: (K, D) one unit vector per row.
    :param bounds: (K,) the hᵢ.
    :returns: (K,) multipliers, or ``None`` if no x meets the constraints.
    :raises SolverError: when the solver gives up, or μ violates its optimality conditions.
    """
    unit = float(np.abs(bounds).max(initial=0.0))
    if (bounds <= 0.0).all():
        return np.zeros(len(bounds))
    tasks, size = units.shape
    stacked, target = np.empty((size + 1, tasks)), np.zeros(size + 1)
    stacked[:size], stacked[size], target[size] = units.T, bounds / unit, 1.0
    y = _non_negative(stacked, target, "nearest feasible direction", units)
    least = 1.0 - float(bounds @ y) / unit
    if least <= INCOMPATIBLE:
        return None
    multipliers: Vector = y * (unit / least)
    violation = cone_violation(units @ (multipliers @ units) - bounds, multipliers, unit)
    if not violation <= TOLERANCE:
        raise SolverError(f"nearest feasible direction: optimality violated by {violation:.1e}; rows {units.tolist()}")
    return multipliers


def _non_negative(matrix: Matrix, target: Vector, problem: str, rows: Matrix) -> Vector:
    """Return argmin ‖A x − b‖ over x ≥ 0."""
    from scipy.optimize import nnls

    try:
        x, _ = nnls(matrix, target, maxiter=100 * matrix.shape[1])  # scipy's 3 K fall short where norms are spread
    except RuntimeError as error:
        raise SolverError(f"{problem}: {error}; points {rows.tolist()}") from None
    return x
