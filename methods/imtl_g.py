"""IMTL-G: the update whose projections onto all task gradients are equally long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlbench import Matrix, Method, Observation, SolverError, Vector
from mtlbench.solvers import TOLERANCE, directions

SIGNIFICANT = 1e-4
"""Least part of the vector of ones in the null space of C, relative, that is not taken for rounding of C."""


@dataclass
class IMTLG(Method):
    """Impartial multi-task learning, gradient balance.

    The update d = Σ αᵢ gᵢ with Σ αᵢ = 1 has the same projection ⟨uᵢ, d⟩ onto every unit gradient uᵢ = gᵢ/‖gᵢ‖ (paper,
    section 3.1). With their cosines C that is C β = 1 up to a factor, so that::

        αᵢ ∝ βᵢ/‖gᵢ‖,   β = C⁻¹ 1

    Weights may be negative. Where C is singular, α is the limit for C + εI at ε → 0. If the vector of ones is in the
    range of C, β = C⁺ 1 (duplicated gradients share their weight). If it is not, β is its part in the null space of
    C, and d = 0: the unit gradients have an affine combination that vanishes. Where Σ βᵢ/‖gᵢ‖ = 0 no α exists, which
    is an error. A task whose gradient is zero is left out: its weight is 0.

    Deviation: the paper's closed form inverts a (K − 1)² matrix of differences to the first gradient, which is the same
    where that inverse exists.
    """

    name = "imtl-g"
    source = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        given = directions(observation.gram)
        if not given.kept.any():
            return given.spread(given.lengths)
        shares = _balance(*_spectrum(given.cosines))[0] * (given.lengths.min() / given.lengths)
        total, terms = float(shares.sum()), float(np.abs(shares).sum())
        if not abs(total) > TOLERANCE * terms:
            raise SolverError(
                f"imtl-g: no weights that sum to 1 have equal projections: they sum to {total / terms:.1e} of their "
                f"absolute values; gram {observation.gram.tolist()}"
            )
        return given.spread(shares / total)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return by how much the projections ⟨uᵢ, d⟩ differ from each other, relative to the terms in them."""
        given = directions(observation.gram)
        if not given.kept.any():
            return 0.0
        values, vectors, null = _spectrum(given.cosines)
        wanted = _balance(values, vectors, null)[1]
        coordinates = weights[given.kept] * given.lengths
        along = vectors @ (np.where(null, 0.0, values) * (coordinates @ vectors))
        level = float(along @ wanted) / float(wanted @ wanted or 1.0)
        unequal = float(np.abs(along - level * wanted).max()) / float(np.abs(coordinates).sum() or 1.0)
        return max(unequal, abs(float(weights.sum()) - 1.0) / float(np.abs(weights).sum() or 1.0))


def _spectrum(cosines: Matrix) -> tuple[Vector, Matrix, NDArray[np.bool_]]:
    """Return eigenvalues, eigenvectors, and which eigenvalues are zero: as near to it as the negative ones, or K ε."""
    values, vectors = np.linalg.eigh(cosines)
    null = values <= max(len(values) * float(np.finfo(np.float64).eps) * values[-1], -2.0 * values[0])
    return values, vectors, null


def _balance(values: Vector, vectors: Matrix, null: NDArray[np.bool_]) -> tuple[Vector, Vector]:
    """Return β and C β: C⁺ 1 and 1 (but for what rounding of C puts in its null space), or 1's null part and 0."""
    ones = vectors.sum(axis=0)  # the vector of ones in the basis of the eigenvectors
    if np.linalg.norm(ones[null]) > SIGNIFICANT * np.sqrt(len(values)):
        return vectors[:, null] @ ones[null], np.zeros(len(values))
    return vectors[:, ~null] @ (ones[~null] / values[~null]), vectors[:, ~null] @ ones[~null]
