"""The dual of CAGrad, many at once: the point of a hull shifted by a multiple of the mean gradient; see
:mod:`mtlbench.methods.cagrad`."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Mask, Rows, dot, times
from mtlbench.batched.solvers.directions import factor, solve
from mtlbench.batched.solvers.nonnegative import nearest_in_hull
from mtlbench.contract.observation import Vector
from mtlbench.methods.cagrad import SMALLEST_SHIFT
from mtlbench.solvers import TOLERANCE

ROOT_STEPS = 60
"""Limit of the steps towards ν; about 4 are needed."""
WELL_SEPARATED = 1e-4
"""The closed form for two tasks is used where its differences are larger: below, they lose digits."""


def conflict_averse(gram: Grams, c: float) -> tuple[Rows, Vector]:
    """Return the λ ≥ 0 of d = g₀ + Σ λᵢ gᵢ, which maximises minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ c‖g₀‖.

    :param gram: (B, K, K) inner products of gradients with a mean square norm of 1.
    :param c: the radius around the mean gradient g₀, relative to its length.
    :returns: (B, K) the λᵢ, and (B,) the duality gaps.
    """
    radius = c * np.sqrt(np.maximum(gram.mean(axis=(1, 2)), 0.0))
    shifts, gaps = np.zeros(gram.shape[:2]), np.zeros(len(gram))
    general = radius > TOLERANCE * c
    if gram.shape[1] == 2:
        closed, found = _of_two(gram, radius)
        closed &= general
        shifts[closed], gaps[closed] = found[closed], _gap(gram, found)[closed]
        general &= ~closed
    if general.any():
        gradients = factor(gram[general])
        shifts[general], gaps[general] = _by_roots(gradients, c)
    return shifts, gaps


def _gap(gram: Grams, shifts: Rows) -> Vector:
    """Return Σ wᵢ⟨gᵢ, d⟩ − minᵢ ⟨gᵢ, d⟩ with w the λ divided by their sum."""
    products = times(gram, shifts + 1.0 / gram.shape[1])
    gaps: Vector = dot(shifts / shifts.sum(axis=1)[:, None], products) - products.min(axis=1)
    return gaps


def _of_two(gram: Grams, radius: Vector) -> tuple[Mask, Rows]:
    """Return where the closed form for two tasks is accurate, and its λ.

    On the line g_w = t g₁ + (1 − t) g₂, with h the distance of t from the point nearest to the origin, the dual is
    F = h (‖g₁‖² − ‖g₂‖²)/2 + r √(α h² + m) and a constant, with α = ‖g₁ − g₂‖² and m the square of the line's distance.
    """
    first, second, product = gram[:, 0, 0], gram[:, 1, 1], gram[:, 0, 1]
    width = first + second - 2.0 * product
    slope = (first - second) / 2.0
    height = (first * second - product**2) / width
    reach = radius**2 * width - slope**2
    inner = -slope * np.sqrt(height / (width * np.abs(reach)))
    h = np.where(reach > 0.0, inner, -np.sign(slope) * np.inf)
    nearest = (second - product) / width
    t = np.clip(nearest + h, 0.0, 1.0)
    length = np.sqrt(width * (t - nearest) ** 2 + height)
    accurate = (width > WELL_SEPARATED) & (height > WELL_SEPARATED) & (np.abs(reach) > WELL_SEPARATED * width)
    return accurate, np.stack([t, 1.0 - t], axis=1) * (radius / length)[:, None]


def _by_roots(gradients: Grams, c: float) -> tuple[Rows, Vector]:
    """Return λ and duality gaps from the root ν of ‖g_w(ν)‖ = ν c‖g₀‖, for (N, K, K) gradients in rows."""
    mean = gradients.mean(axis=1)
    radius = c * np.sqrt(dot(mean, mean))
    least = SMALLEST_SHIFT / radius
    low, high = least.copy(), 2.0 * np.sqrt(np.einsum("bij,bij->bi", gradients, gradients).max(axis=1)) / radius
    shift = np.full(len(mean), 1.0 / c)
    weights = _nearest(gradients, mean, shift)
    live = np.arange(len(mean))
    for _ in range(ROOT_STEPS):
        point = np.einsum("bi,bij->bj", weights[live], gradients[live])
        target = shift[live] * radius[live]
        excess = np.sqrt(dot(point, point)) - target
        going = (np.abs(excess) > 1e-14 * target) & ((excess > 0.0) | (shift[live] > least[live]))
        live, above = live[going], excess[going] > 0.0
        if not len(live):
            break
        at = shift[live]
        low[live], high[live] = np.where(above, at, low[live]), np.where(above, high[live], at)
        root = _root(gradients[live], mean[live], radius[live], weights[live] > 0.0)
        middle = np.where(~above & (low[live] == least[live]), least[live], np.sqrt(low[live] * high[live]))
        root = np.where((low[live] < root) & (root < high[live]), root, middle)
        moving = np.abs(root - at) > 1e-15 * at
        live = live[moving]
        shift[live] = root[moving]
        weights[live] = _nearest(gradients[live], mean[live], shift[live])
    direction = mean + np.einsum("bi,bij->bj", weights, gradients) / shift[:, None]
    products = times(gradients, direction)
    return weights / shift[:, None], dot(weights, products) - products.min(axis=1)


def _nearest(gradients: Grams, mean: Rows, shift: Vector) -> Rows:
    """Return the weights of the point nearest to the origin of the hull {gᵢ + ν g₀}."""
    points = gradients + (shift[:, None] * mean)[:, None, :]
    weights, _ = nearest_in_hull(points @ points.transpose(0, 2, 1))
    return weights


def _root(gradients: Grams, mean: Rows, radius: Vector, support: Mask) -> Vector:
    """Return ν with ‖g_w(ν)‖ = ν c‖g₀‖ while the positive weights stay the same, NaN where there is none."""
    problems, tasks = support.shape
    both = support[:, :, None] & support[:, None, :]
    system = np.zeros((problems, tasks + 1, tasks + 1))
    system[:, :tasks, :tasks] = np.where(
        both, gradients @ gradients.transpose(0, 2, 1), np.eye(tasks) * ~support[:, None]
    )
    system[:, :tasks, tasks] = system[:, tasks, :tasks] = support
    constants = np.zeros((problems, tasks + 1, 2))
    constants[:, tasks, 0], constants[:, :tasks, 1] = 1.0, np.where(support, -times(gradients, mean), 0.0)
    solutions = solve(system, constants)[:, :tasks]
    offset, slope = np.einsum("bks,bkp->sbp", solutions, gradients)
    quadratic, linear, constant = dot(slope, slope) - radius**2, dot(offset, slope), dot(offset, offset)
    discriminant = linear**2 - quadratic * constant
    fits = (discriminant >= 0.0) & (quadratic < 0.0)
    return np.where(fits, -(linear + np.sqrt(np.abs(discriminant))) / np.where(fits, quadratic, 1.0), np.nan)
