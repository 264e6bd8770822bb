"""IMTL-G: the update whose projections onto all task gradients have equal length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench import Matrix, Method, Observation, SolverError, Vector
from mtlbench.solvers import TOLERANCE, directions

SIGNIFICANT = 1e-4
"""Relative part of the vector of ones in the null space of C above which it counts as more than rounding of C."""


@dataclass
class IMTLG(Method):
    """Impartial multi-task learning, gradient balance.

    The update d = Σ αᵢ gᵢ with Σ αᵢ = 1 has the same projection ⟨uᵢ, d⟩ onto every unit gradient uᵢ = gᵢ/‖gᵢ‖ (paper,
    section 3.1). With their cosines C this means C β = 1 up to a factor, so::

        αᵢ ∝ βᵢ/‖gᵢ‖,   β = C⁻¹ 1

    Weights may be negative. Where C is singular, α is the limit for C + εI as ε → 0. If the vector of ones is in the
    range of C, β = C⁺ 1 (duplicated gradients share their weight). Otherwise β is its component in the null space of
    C, and d = 0: an affine combination of the unit gradients vanishes. Where Σ βᵢ/‖gᵢ‖ = 0, no α exists, which raises
    an error. A task whose gradient is zero gets weight 0.

    Deviation: the paper's closed form inverts a (K − 1)² matrix of differences to the first gradient, which is
    equivalent where that inverse exists.
    """

    name = "imtl-g"
    source = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        if not units.kept.any():
            return units.spread(units.lengths)
        shares = _balance(*_spectrum(units.cosines))[0] * (units.lengths.min() / units.lengths)
        total, terms = float(shares.sum()), float(np.abs(shares).sum())
        if not abs(total) > TOLERANCE * terms:
            raise SolverError(
                f"imtl-g: no weights that sum to 1 have equal projections: they sum to {total / terms:.1e} of their "
                f"absolute values; gram {observation.gram.tolist()}"
            )
        return units.spread(shares / total)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the largest difference between the projections ⟨uᵢ, d⟩, relative to the terms in them."""
        units = directions(observation.gram)
        if not units.kept.any():
            return 0.0
        values, vectors, null = _spectrum(units.cosines)
        target = _balance(values, vectors, null)[1]
        coordinates = weights[units.kept] * units.lengths
        projections = vectors @ (np.where(null, 0.0, values) * (coordinates @ vectors))
        level = float(projections @ target) / float(target @ target or 1.0)
        spread = float(np.abs(projections - level * target).max()) / float(np.abs(coordinates).sum() or 1.0)
        return max(spread, abs(float(weights.sum()) - 1.0) / float(np.abs(weights).sum() or 1.0))


def _spectrum(cosines: Matrix) -> tuple[Vector, Matrix, NDArray[np.bool_]]:
    """Return eigenvalues, eigenvectors and a mask of zero eigenvalues: as close to 0 as the negative ones, or K ε."""
    values, vectors = np.linalg.eigh(cosines)
    null = values <= max(len(values) * float(np.finfo(np.float64).eps) * values[-1], -2.0 * values[0])
    return values, vectors, null


def _balance(values: Vector, vectors: Matrix, null: NDArray[np.bool_]) -> tuple[Vector, Vector]:
    """Return β and C β: C⁺ 1 and 1 (less its rounding in the null space), or the null component of 1 and 0."""
    ones = vectors.sum(axis=0)  # the vector of ones in the basis of the eigenvectors
    if np.linalg.norm(ones[null]) > SIGNIFICANT * np.sqrt(len(values)):
        return vectors[:, null] @ ones[null], np.zeros(len(values))
    return vectors[:, ~null] @ (ones[~null] / values[~null]), vectors[:, ~null] @ ones[~null]
