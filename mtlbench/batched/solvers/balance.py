"""Solve C y = b y^(−p) for y > 0, many at once: the damped Newton steps of :mod:`mtlbench.solvers.balance`."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Rows, dot, every, times
from mtlbench.batched.solvers.directions import solve
from mtlbench.solvers import RIDGE, TOLERANCE

NEWTON_STEPS = 100
"""Problems that need more go to the single solver."""


def balanced(cosines: Grams, prices: Rows, power: float) -> tuple[Rows, Rows]:
    """Return y > 0 with (C y)ᵢ = bᵢ yᵢ^(−p); see :func:`mtlbench.solvers.balanced`.

    :param cosines: (B, K, K) inner products of unit vectors.
    :param prices: (B, K) the bᵢ > 0.
    :param power: the exponent p > 0.
    :returns: (B, K) solutions, and (B,) the violation of the conditions, NaN where there is no solution.
    """
    matrices = definite(cosines)
    y = prices ** (1.0 / (1.0 + power))
    scale = np.maximum(dot(y, times(matrices, y)), RIDGE * dot(y, y))
    y = y * ((prices * y ** (1.0 - power)).sum(axis=1) / scale)[:, None] ** (1.0 / (1.0 + power))
    result, violations = y.copy(), np.full(len(y), np.inf)
    live, stalled = np.arange(len(y)), np.zeros(len(y), dtype=np.intp)
    for _ in range(NEWTON_STEPS):
        violation = _imbalance(matrices, prices, power, y)
        best = violations[live]
        stalled = np.where(violation < 0.9 * best, 0, stalled + 1)
        better = violation < best
        result[live[better]], violations[live[better]] = y[better], violation[better]
        best = np.where(better, violation, best)
        going = ~((best <= 1e-15) | ((best <= TOLERANCE) & (stalled >= np.where(best <= 1e-12, 1, 20))))
        going &= every(np.isfinite(y))
        if not going.all():
            live, stalled, y, prices, matrices = live[going], stalled[going], y[going], prices[going], matrices[going]
        if not len(live):
            break
        y = _newton(matrices, prices, power, y)
    return result, violations


def imbalance(cosines: Grams, prices: Rows, power: float, y: Rows) -> Rows:
    """Return the largest |(C + 10⁻¹² I)y − b y^(−p)|ᵢ of each problem, relative to the terms in it.

    :param cosines: (B, K, K) inner products of unit vectors.
    :param prices: (B, K) the bᵢ > 0.
    :param power: the exponent p > 0.
    :param y: (B, K) candidate solutions.
    :returns: (B,) violations, infinity where y is not positive and finite.
    """
    positive = every(np.isfinite(y) & (y > 0.0))
    violation = _imbalance(definite(cosines), prices, power, np.where(positive[:, None], y, 1.0))
    return np.where(positive, violation, np.inf)


def definite(cosines: Grams) -> Grams:
    """Return C + 10⁻¹² I, with negative eigenvalues of C replaced by 0.

    :param cosines: (B, K, K) inner products of unit vectors.
    """
    size = cosines.shape[1]
    matrices = cosines + RIDGE * np.eye(size)
    # By Gershgorin's theorem, eigenvalues are positive where the diagonal, about 1, exceeds the rest of each row.
    doubtful = np.flatnonzero(np.abs(cosines).sum(axis=2).max(axis=1) > 1.99)
    if len(doubtful):
        values, vectors = np.linalg.eigh(cosines[doubtful])
        negative = values[:, 0] < 0.0
        rows = vectors[negative] * np.sqrt(np.clip(values[negative], 0.0, None))[:, None, :]
        matrices[doubtful[negative]] = rows @ rows.transpose(0, 2, 1) + RIDGE * np.eye(size)
    return matrices


def _imbalance(matrices: Grams, prices: Rows, power: float, y: Rows) -> Rows:
    pull = prices * y**-power
    violation: Rows = (np.abs(times(matrices, y) - pull) / (times(np.abs(matrices), y) + pull)).max(axis=1)
    return violation


def _newton(matrices: Grams, prices: Rows, power: float, y: Rows) -> Rows:
    """Return y after one damped Newton step of every problem."""
    size = y.shape[1]
    pull = prices * y**-power
    shares = matrices * (y[:, None, :] / pull[:, :, None])
    gaps = 1.0 - shares.sum(axis=2)
    relative = solve(shares + power * np.eye(size), gaps[:, :, None])[:, :, 0]
    slope = dot(relative, y * pull * gaps)

    def derivative(step: Rows, some: slice | Rows) -> Rows:
        moved = y[some] * (1.0 + step[some, None] * relative[some])
        forces = times(matrices[some], moved) - prices[some] * moved**-power
        return dot(y[some] * relative[some], forces)

    longest = -0.95 / np.minimum(relative.min(axis=1), -1e-300)  # keeps y > 0
    step = np.minimum(1.0, longest)
    found = derivative(step, slice(None))
    while (short := (found > 0.5 * slope) & (step > 1e-12)).any():
        step[short] *= 0.5
        found[short] = derivative(step, short)
    longer = (found < -0.3 * slope) & (4.0 * step <= longest)
    while longer.any():
        trial = np.where(longer, 4.0 * step, step)
        found[longer] = derivative(trial, longer)
        longer &= ~(found > 0.5 * slope)
        step = np.where(longer, trial, step)
        longer &= (found < -0.3 * slope) & (4.0 * step <= longest)
    return y * (1.0 + step[:, None] * relative)
