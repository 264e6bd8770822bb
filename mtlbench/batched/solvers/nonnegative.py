"""Quadratic problems over x ≥ 0, many at once: the active sets of Lawson and Hanson by principal pivots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtlbench.batched.arrays import Grams, Mask, Rows, diagonals, dot, or_one, outer, times

EPSILON = float(np.finfo(np.float64).eps)
DEPENDENT = 16.0 * EPSILON
"""A variable whose pivot is smaller is a linear combination of those in use: it cannot enter."""
ITERATIONS = 6
"""Limit of the exchanges, times K + 1; about K are needed."""


def nonnegative(matrices: Grams, targets: Rows) -> Rows:
    """Return x ≥ 0 that minimise ½ xᵀAx − bᵀx.

    Each problem keeps a table of its variables: w = b − A x, solved for the x that are positive and for the w of the
    others. One iteration exchanges one variable of every problem that is not done, by a principal pivot of its table:
    the variable with the largest w enters; where the solution for the positive variables is not positive, x goes
    towards it until the first variable is 0, which leaves. In the end, one step of iterative refinement removes the
    rounding of the pivots. Callers check the optimality conditions.

    :param matrices: (N, K, K) symmetric, positive semidefinite A, with a diagonal of about 1.
    :param targets: (N, K) vectors b.
    :returns: (N, K) solutions; NaN for problems that run out of iterations.
    """
    count, size = targets.shape
    tables = np.empty((size, size + 1, count))  # problems last: NumPy is fast along the longest axis
    tables[:, :size], tables[:, size] = -matrices.transpose(1, 2, 0), targets.T
    x, positive = np.zeros((size, count)), np.zeros((size, count), dtype=np.bool_)
    result, inverses, supports = (
        np.full((count, size), np.nan),
        np.zeros_like(matrices),
        np.ones(targets.shape, np.bool_),
    )
    live, magnitude = np.arange(count), np.abs(targets).max(axis=1, initial=0.0)
    for _ in range(ITERATIONS * (size + 1)):
        values = tables[:, size]
        blocked = positive & (values <= 0.0)
        leaving: Mask = np.asarray(blocked.any(axis=0))
        x, last = _towards(x, np.where(positive, values, 0.0), blocked)
        excluded = positive | (tables[np.arange(size), np.arange(size)] > -DEPENDENT)
        pull = np.where(excluded, -np.inf, values)
        entering = pull.argmax(axis=0)
        limit = 4.0 * size * EPSILON * (magnitude + x.sum(axis=0))
        done = ~leaving & ~(pull.max(axis=0) > limit)
        if done.any():
            ended, going = live[done], np.flatnonzero(~done)
            result[ended], supports[ended] = x[:, done].T, positive[:, done].T
            inverses[ended] = tables[:, :size, done].transpose(2, 0, 1)
            live, magnitude, leaving = live[going], magnitude[going], leaving[going]
            entering, last = entering[going], last[going]
            tables, x, positive = tables[:, :, going], x[:, going], positive[:, going]
        if not len(live):
            break
        variable = np.where(leaving, last, entering)
        positive[variable, np.arange(len(live))] ^= True
        _pivot(tables, variable)
    return _refined(matrices, targets, result, inverses, supports)


def _towards(x: Rows, solution: Rows, blocked: Mask) -> tuple[Rows, NDArray[np.intp]]:
    """Return x moved to the solution, or until the first blocked variable is 0; and that variable. All are (K, N)."""
    if not blocked.any():
        return solution, np.zeros(x.shape[1], dtype=np.intp)
    steps = np.where(blocked & (x > 0.0), x / np.where(blocked, x - solution, 1.0), np.where(blocked, 0.0, np.inf))
    last = steps.argmin(axis=0)
    stopped = np.flatnonzero(blocked.any(axis=0))
    moved = solution.copy()
    start, end = x[:, stopped], solution[:, stopped]
    step = np.minimum(steps[last[stopped], stopped], 1.0)
    moved[:, stopped] = np.maximum(start + step * (end - start), 0.0)
    moved[last[stopped], stopped] = 0.0
    return moved, last


def _pivot(tables: Grams, variable: NDArray[np.intp]) -> None:
    """Exchange one variable of each (K, K + 1, N) table with its counterpart, in place. Twice restores the table."""
    problems = np.arange(len(variable))
    column, line = tables[:, variable, problems], tables[variable, :, problems].T.copy()
    pivots = line[variable, problems]
    line /= -pivots
    line[variable, problems] = 1.0 / pivots
    tables[:, variable, problems] = 0.0
    tables += column[:, None] * line
    tables[variable, :, problems] = line.T


def _refined(matrices: Grams, targets: Rows, x: Rows, inverses: Grams, supports: Mask) -> Rows:
    """Return x after one step of refinement; `inverses` holds −(A of the positive variables)⁻¹ in their rows."""
    error = np.where(supports, targets - times(matrices, x), 0.0)
    return np.where(supports, np.maximum(x - times(inverses, error), 0.0), 0.0)


def nearest_in_hull(gram: Grams) -> tuple[Rows, Rows]:
    """Return the w on the simplex that minimise ‖Σ wᵢ pᵢ‖; see :func:`mtlbench.solvers.min_norm_point`.

    :param gram: (N, K, K) inner products of the points.
    :returns: (N, K) weights, and (N,) the violation of ⟨pᵢ, p⟩ ≥ ‖p‖², relative to ‖pᵢ‖ and the shortest point. Where
        points are zero, they share the weight.
    """
    lengths = np.sqrt(np.clip(diagonals(gram), 0.0, None))
    shortest = lengths.min(axis=1)
    at_origin = shortest == 0.0
    safe = np.where(lengths > 0.0, lengths, 1.0)
    if gram.shape[1] == 2:
        weights = _between_two(gram)
    else:
        pulls = shortest[:, None] / safe
        cosines = gram / outer(safe)
        shares = nonnegative(cosines + outer(pulls), pulls) * pulls
        weights = shares / or_one(shares.sum(axis=1))[:, None]
    if at_origin.any():
        zero = (lengths == 0.0).astype(np.float64)
        weights = np.where(at_origin[:, None], zero / np.maximum(zero.sum(axis=1), 1.0)[:, None], weights)
    products = times(gram, weights)
    terms = safe * np.where(at_origin, 1.0, shortest)[:, None]
    violation = ((dot(weights, products)[:, None] - products) / terms).max(axis=1)
    return weights, np.where(at_origin, 0.0, violation)


def _between_two(gram: Grams) -> Rows:
    """Return the weights of the point of a segment nearest to the origin; a half each where its ends are one point."""
    first, second, product = gram[:, 0, 0], gram[:, 1, 1], gram[:, 0, 1]
    above = np.stack([np.maximum(second - product, 0.0), np.maximum(first - product, 0.0)], axis=1)
    total = above.sum(axis=1)
    return np.where(total[:, None] > 0.0, above / np.where(total > 0.0, total, 1.0)[:, None], 0.5)


def cone_violation(along: Rows, multipliers: Rows, size: Rows) -> Rows:
    """Return how far projections onto cones violate their conditions; see :func:`mtlbench.solvers.cone_violation`.

    :param along: (N, K) the ⟨uᵢ, d⟩.
    :param multipliers: (N, K) the vᵢ.
    :param size: (N,) the magnitudes of the targets' terms.
    :returns: (N,) violations.
    """
    terms = (size + np.abs(multipliers).sum(axis=1))[:, None]
    terms = np.where(terms > 0.0, terms, 1.0)
    shares = np.clip(multipliers / terms, 0.0, None)
    worst = np.maximum(np.maximum(-multipliers, -along), shares * along) / terms
    return np.where(size == 0.0, 0.0, np.maximum(worst.max(axis=1), 0.0))
