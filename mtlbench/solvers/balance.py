"""Solve C y = b y^(−p) for y > 0, the equations of bargaining and fair shares, by damped Newton steps."""

from __future__ import annotations

import numpy as np

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import SolverError
from mtlbench.solvers.gram import TOLERANCE, factor

RIDGE = 1e-12
"""Added to the diagonal of the cosines by :func:`balanced`, so that a solution exists at Pareto-stationary points."""
NEWTON_STEPS = 400
"""Three times the largest number of steps ever needed; :func:`imbalance` decides on acceptance, not this limit."""


def balanced(cosines: Matrix, prices: Vector, power: float) -> Vector:
    """Return y > 0 with (C y)ᵢ = bᵢ yᵢ^(−p): the stationary point of ½yᵀCy − Σ bᵢ yᵢ^(1−p)/(1−p), which is convex.

    At p = 1 the second term is Σ bᵢ log yᵢ. Newton steps in relative terms, δ = Δy/y, solve (S + p I) δ = 1 − S1 with
    Sᵢⱼ = Cᵢⱼ yⱼ/(bᵢ yᵢ^(−p)), whose rows sum to 1 at the solution, however far apart the yᵢ are. A step keeps y > 0. It
    is halved while the slope of the potential along it has changed sign, and lengthened while the potential falls on.

    Where a non-negative combination of the unit gradients is zero, no y exists; for C + 10⁻¹² I there is always one.
    The ridge changes y by about 10⁻¹² yᵢ^(1+p)/bᵢ, relative to y. It exceeds the rounding of C in double precision, but
    not in single precision, where y is as uncertain as the direction of a vector that nearly vanishes.

    :param cosines: (K, K) inner products of unit vectors; eigenvalues that rounding made negative count as 0.
    :param prices: (K,) the bᵢ > 0.
    :param power: the exponent p > 0.
    :raises SolverError: when the conditions are violated by more than :data:`TOLERANCE` (see :func:`imbalance`).
    """
    if not prices.size:
        return prices
    matrix = _definite(cosines)
    y = prices ** (1.0 / (1.0 + power))
    y *= ((prices * y ** (1.0 - power)).sum() / max(y @ matrix @ y, RIDGE * (y @ y))) ** (1.0 / (1.0 + power))
    best, best_violation, stalled = y, np.inf, 0
    for _ in range(NEWTON_STEPS):
        violation = _imbalance(matrix, prices, power, y)
        stalled = 0 if violation < 0.9 * best_violation else stalled + 1
        if violation < best_violation:
            best, best_violation = y, violation
        if best_violation <= 1e-15 or (
            best_violation <= TOLERANCE and stalled >= (1 if best_violation <= 1e-12 else 20)
        ):
            break  # further steps only move the rounding error
        y = _newton(matrix, prices, power, y)
    if not best_violation <= TOLERANCE:
        raise SolverError(
            f"optimality violated by {best_violation:.1e}; cosines {cosines.tolist()}, prices {prices.tolist()}"
        )
    return best


def imbalance(cosines: Matrix, prices: Vector, power: float, y: Vector) -> float:
    """Return the largest |(C + 10⁻¹² I)y − b y^(−p)|ᵢ, relative to the terms in it.

    :param cosines: (K, K) inner products of unit vectors, as in :func:`balanced`.
    :param prices: (K,) the bᵢ > 0.
    :param power: the exponent p > 0.
    :param y: (K,) a candidate solution.
    :returns: infinity when y is not positive and finite.
    """
    if not (np.isfinite(y).all() and (y > 0.0).all()):
        return float("inf")
    return _imbalance(_definite(cosines), prices, power, y) if y.size else 0.0


def _imbalance(matrix: Matrix, prices: Vector, power: float, y: Vector) -> float:
    pull = prices * y**-power
    return float((np.abs(matrix @ y - pull) / (np.abs(matrix) @ y + pull)).max())


def _newton(matrix: Matrix, prices: Vector, power: float, y: Vector) -> Vector:
    """Return y after one damped Newton step."""
    pull = prices * y**-power
    shares = matrix * (y / pull[:, None])  # row i sums to 1 at the solution, however far apart the yᵢ are
    gaps = 1.0 - shares.sum(axis=1)
    shares[np.diag_indices_from(shares)] += power
    relative = np.linalg.solve(shares, gaps)
    slope = float(relative @ (y * pull * gaps))  # minus the derivative of the potential along the step

    def trial(step: float) -> tuple[Vector, float]:
        moved = y * (1.0 + step * relative)
        return moved, float((y * relative) @ (matrix @ moved - prices * moved**-power))

    longest = -0.95 / min(float(relative.min()), -1e-300)  # keeps y > 0
    step = min(1.0, longest)
    moved, derivative = trial(step)
    while derivative > 0.5 * slope and step > 1e-12:
        step *= 0.5
        moved, derivative = trial(step)
    while derivative < -0.3 * slope and 4.0 * step <= longest:  # far below the optimum a Newton step only doubles y
        longer, derivative = trial(4.0 * step)
        if derivative > 0.5 * slope:
            break
        step, moved = 4.0 * step, longer
    return moved


def _definite(cosines: Matrix) -> Matrix:
    """Return C + 10⁻¹² I, with negative eigenvalues of C replaced by 0."""
    rows = factor(cosines)
    matrix = rows @ rows.T
    matrix[np.diag_indices_from(matrix)] += RIDGE
    return matrix
