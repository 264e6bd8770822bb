"""GradOPS: each conflicting gradient loses its part in the span of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mtlbench import Matrix, Method, Observation, Vector
from mtlbench.solvers import directions


@dataclass
class GradOPS(Method):
    """Orthogonal projections onto subspaces.

    A gradient that conflicts with some other one is replaced by its part orthogonal to *all* others::

        gᵢ' = gᵢ minus its projection on span{gⱼ: j ≠ i} if some ⟨gᵢ, gⱼ⟩ < 0, else gᵢ;    d = Σ wᵢ gᵢ'

    so no gᵢ' conflicts with any gⱼ, whatever the order of the tasks. With two tasks and α = 0 this is ``pcgrad``.
    Re-weighting: with the scalar projections Rᵢ = ⟨Σ gⱼ', uᵢ⟩ and rᵢ = Rᵢ/mean(R), w = K r^α/Σ r^α; α < 0 favours
    dominated tasks.

    Linearly dependent gradients leave nothing: gᵢ' = 0. An eigenvalue of the others' cosines counts as zero if it is at
    most K ε times the largest, or as large as the most negative one, which only rounding can produce. A task whose
    gradient is zero gets weight 0; a task with Rᵢ = 0 counts as rᵢ = 10⁻⁶, so that α < 0 keeps its weight finite.

    The projection is the published one. The re-weighting was built from descriptions, and the paper's α was not
    checked: the default has none.
    """

    name = "gradops"
    source = "Zhu et al., Gradient Deconfliction via Orthogonal Projections onto Subspaces, WSDM 2025"
    scale = "sum"
    search = {"alpha": "-3:1"}

    alpha: Annotated[float, Field(ge=-10, le=10, description="α: exponent of the re-weighting; 0: none")] = 0.0

    @property
    def properties(self) -> frozenset[Any]:  # type: ignore[override]
        exact = frozenset({"non-conflicting", "homogeneous", "linear under scaling"})
        return exact if self.alpha == 0.0 else frozenset({"homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        cosines, lengths = units.cosines, units.lengths
        rows = np.array([_deconflicted(cosines, number) for number in range(len(lengths))]).reshape(cosines.shape)
        coefficients = lengths[:, None] * rows  # of gᵢ' in the unit gradients
        if self.alpha != 0.0 and len(lengths):
            coefficients *= self._shares(coefficients.sum(axis=0) @ cosines)[:, None]
        return units.spread(coefficients.sum(axis=0) / lengths)

    def _shares(self, projections: Vector) -> Vector:
        relative = np.clip(projections, 0.0, None) / (np.clip(projections, 0.0, None).mean() or 1.0)
        powers = np.clip(relative, 1e-6, None) ** self.alpha
        return len(projections) * powers / powers.sum()


def _deconflicted(cosines: Matrix, number: int) -> Vector:
    """Return the coefficients of uᵢ', in the unit gradients."""
    coefficients = np.zeros(len(cosines))
    coefficients[number] = 1.0
    others = np.arange(len(cosines)) != number
    if not (cosines[number, others] < 0.0).any():
        return coefficients
    values, vectors = np.linalg.eigh(cosines[np.ix_(others, others)])
    nonzero = values > max(len(cosines) * float(np.finfo(np.float64).eps) * values[-1], -values[0])
    vectors = vectors[:, nonzero]
    coefficients[others] = -vectors @ ((vectors.T @ cosines[others, number]) / values[nonzero])
    return coefficients
