"""Batched forms of closed forms in the spectrum of the Gram matrix: aligned-mtl, config, imtl-g."""

from __future__ import annotations

import numpy as np

from mtlbench.batched.arrays import Grams, Mask, Rows, dot, or_one, some, times
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import form_of
from mtlbench.batched.solvers.directions import Directions, directions
from mtlbench.contract.observation import Vector
from mtlbench.methods.aligned_mtl import AlignedMTL
from mtlbench.methods.config import ConFIG
from mtlbench.methods.imtl_g import IMTLG, SIGNIFICANT
from mtlbench.solvers import TOLERANCE

EPSILON = float(np.finfo(np.float64).eps)


@form_of(AlignedMTL)
class BatchedAligned(Batched):
    """Independent component alignment."""

    method: AlignedMTL

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        tasks = gram.shape[1]
        trace = np.trace(gram, axis1=1, axis2=2)
        values, vectors = np.linalg.eigh(gram / np.where(trace > 0.0, trace, 1.0)[:, None, None])
        nonzero = values > np.maximum(tasks * EPSILON * values[:, -1], -values[:, 0])[:, None]
        ones = np.where(nonzero, vectors.sum(axis=1), 0.0)
        sigma = np.sqrt(self._variance(values, nonzero))
        aligned = times(vectors, sigma[:, None] / np.sqrt(np.where(nonzero, values, 1.0)) * ones)
        return aligned / (tasks if self.method.reduction == "mean" else 1.0)

    def _variance(self, values: Rows, nonzero: Mask) -> Vector:
        """Return the (B,) σ²; the nonzero eigenvalues are the last ones, because they ascend."""
        count, tasks = nonzero.sum(axis=1), values.shape[1]
        if self.method.scale_mode == "rmse":
            return np.where(nonzero, values, 0.0).sum(axis=1) / np.maximum(count, 1)
        offset = np.maximum(count - 1, 0) // 2 if self.method.scale_mode == "median" else 0
        place = np.minimum(tasks - count + offset, tasks - 1)
        chosen: Vector = np.maximum(values[np.arange(len(values)), place], 0.0)
        return chosen


@form_of(ConFIG)
class BatchedConFIG(Batched):
    """Conflict-free inverse gradients."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        count = units.kept.sum(axis=1)
        values, vectors = np.linalg.eigh(units.cosines)
        nonzero = values > np.maximum(count * EPSILON * values[:, -1], -values[:, 0])[:, None]
        ones = np.where(nonzero, _ones(units, vectors), 0.0)
        inverse = ones / np.where(nonzero, values, 1.0)
        squared_length = dot(ones, inverse)
        scale = dot(units.lengths, times(vectors, ones)) / squared_length
        weights = scale[:, None] * times(vectors, inverse) / units.divisors
        vanished = dot(ones, ones) <= (count * EPSILON) ** 2
        return np.where(vanished[:, None] | ~units.kept, 0.0, weights)


@form_of(IMTLG)
class BatchedIMTLG(Batched):
    """Impartial multi-task learning, gradient balance."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        units = directions(gram)
        kept = units.kept
        values, vectors, null, ones = _spectrum(units)
        beta, _ = _balance(units, values, vectors, null, ones)
        shortest = np.where(kept, units.lengths, np.inf).min(axis=1)
        shares = np.where(kept, beta * (shortest[:, None] / units.divisors), 0.0)
        total, terms = shares.sum(axis=1), np.abs(shares).sum(axis=1)
        weights = np.where(kept, shares / total[:, None], 0.0)
        unsolved = some(kept) & ~(np.abs(total) > TOLERANCE * terms)
        self.solve_alone(unsolved, weights, losses, gram)
        return weights

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert gram is not None
        units = directions(gram)
        values, vectors, null, ones = _spectrum(units)
        _, target = _balance(units, values, vectors, null, ones)
        coordinates = weights * units.lengths
        projections = times(vectors, np.where(null, 0.0, values) * np.einsum("bi,bij->bj", coordinates, vectors))
        level = dot(projections, target) / or_one(dot(target, target))
        differences = np.abs(projections - level[:, None] * target) * units.kept
        spread = differences.max(axis=1) / or_one(np.abs(coordinates).sum(axis=1))
        excess = np.abs(weights.sum(axis=1) - 1.0) / or_one(np.abs(weights).sum(axis=1))
        return np.where(some(units.kept), np.maximum(spread, excess), 0.0)


def _ones(units: Directions, vectors: Grams) -> Rows:
    """Return the vector of ones, zero for tasks whose gradient is zero, in the basis of the eigenvectors."""
    return np.einsum("bi,bij->bj", units.kept.astype(np.float64), vectors)


def _spectrum(units: Directions) -> tuple[Rows, Grams, Mask, Rows]:
    """Return eigenvalues, eigenvectors, a mask of zero eigenvalues, and the vector of ones in their basis."""
    values, vectors = np.linalg.eigh(units.cosines)
    least = np.maximum(units.kept.sum(axis=1) * EPSILON * values[:, -1], -2.0 * values[:, 0])
    return values, vectors, values <= least[:, None], _ones(units, vectors)


def _balance(units: Directions, values: Rows, vectors: Grams, null: Mask, ones: Rows) -> tuple[Rows, Rows]:
    """Return β and C β, each (B, K); see :mod:`mtlbench.methods.imtl_g`."""
    null_ones = np.where(null, ones, 0.0)
    singular = dot(null_ones, null_ones) > SIGNIFICANT**2 * units.kept.sum(axis=1)
    range_ones = np.where(singular[:, None], 0.0, ones - null_ones)
    inverse = np.where(singular[:, None], null_ones, range_ones / np.where(null, 1.0, values))
    return times(vectors, inverse), times(vectors, range_ones)
