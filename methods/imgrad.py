"""IMGrad: CAGrad's search around the mean gradient, balanced with MGDA by the angle between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Matrix, Method, Observation, Vector
from mtlbench.solvers import TOLERANCE, factor, min_norm_point, solving

SMALLEST_SHIFT = 1e-6
"""Smallest ‖g_w‖ of the dual, relative to the gradients: below it, rounding decides the direction."""


@dataclass
class IMGrad(Method):
    """Imbalance-sensitive gradient descent.

    With the mean gradient g₀, MGDA's point g_m and the cosine μ of the two (paper, equation 9), w minimises over the
    simplex, where g_w = Σ wᵢ gᵢ::

        (1 − μ)(⟨g_w, g₀⟩ + c‖g₀‖‖g_w‖) + μ‖g_w‖²,        d = g₀ + c‖g₀‖ g_w/‖g_w‖

    μ = 0 is ``cagrad``; with μ = 1, g_w is MGDA's point. The paper's simplified equation 11 mixes powers of the
    gradients, so that its update depends on their unit; it is not offered. Where MGDA's point is zero, μ is undefined,
    and 0 is taken.

    Solver: for the length s of g_w, the objective is that of the hull point nearest to −ν g₀ with
    ν = (1 − μ)/(2μ + (1 − μ) c‖g₀‖/s), and ν is found by bracketing. As in ``cagrad``, g_w counts as at least 10⁻⁶
    long.
    """

    name = "imgrad"
    source = "Zhou et al., IMGrad: imbalanced multi-task optimization, IJCAI 2025, arXiv 2503.08006"
    properties = frozenset({"homogeneous"})
    search = {"c": "0.05:0.95"}

    c: Annotated[float, Field(ge=0, lt=1, description="radius of the search around the mean gradient, relative")] = 0.4

    def weights(self, observation: Observation) -> Vector:
        gradients = _scaled(observation.gram)
        mean = gradients.mean(axis=0)
        radius = self.c * float(np.linalg.norm(mean))
        weights = np.full(observation.tasks, 1.0 / observation.tasks)
        with solving(self.name):
            if radius > TOLERANCE * self.c:
                weights += _dual(gradients, mean, radius, _cosine(gradients, mean))
        return weights

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the gap Σ wᵢ F′ᵢ − min F′ᵢ of the objective's slopes F′, or the violation of the constraints on w.

        The slopes belong to gradients of mean square norm 1; those of ‖g_w‖ count it as at least 10⁻⁶.
        """
        gradients = _scaled(observation.gram)
        mean, excess = gradients.mean(axis=0), weights - 1.0 / observation.tasks
        radius = self.c * float(np.linalg.norm(mean))
        if not radius > TOLERANCE * self.c:
            return float(np.abs(excess).max())
        total = float(excess.sum())
        if not total > 0.0:
            return float("inf")
        shares = excess / total
        point, cosine = shares @ gradients, _cosine(gradients, mean)
        reach = max(float(np.linalg.norm(point)), SMALLEST_SHIFT)
        slopes = gradients @ ((1.0 - cosine) * (mean + radius * point / reach) + 2.0 * cosine * point)
        gap = float(shares @ slopes - slopes.min())
        return float(max(gap, -shares.min(), abs(total * reach - radius) * reach))


def _scaled(gram: Matrix) -> Matrix:
    """Return the gradients in K coordinates, scaled to a mean square norm of 1."""
    gradients = factor(gram)
    return gradients / (np.sqrt(np.mean(np.sum(gradients**2, axis=1))) or 1.0)


def _cosine(gradients: Matrix, mean: Vector) -> float:
    """Return μ, the cosine of the mean gradient and MGDA's point, which is never negative."""
    point = min_norm_point(gradients) @ gradients
    length = float(np.linalg.norm(point))
    if length <= SMALLEST_SHIFT:
        return 0.0
    return min(1.0, max(0.0, float(point @ mean) / length / float(np.linalg.norm(mean))))


def _dual(gradients: Matrix, mean: Vector, radius: float, cosine: float) -> Vector:
    """Return the λ ≥ 0 of the optimum d = mean + Σ λᵢ gᵢ."""
    from scipy.optimize import brentq

    rest = 1.0 - cosine

    def shift_of(length: float) -> float:
        return rest / (2.0 * cosine + rest * radius / length)

    def solve(shift: float) -> tuple[Vector, float]:
        weights = min_norm_point(gradients + shift * mean)
        return weights, float(np.linalg.norm(weights @ gradients))

    def excess(shift: float) -> float:
        return shift_of(max(solve(shift)[1], SMALLEST_SHIFT)) - shift

    low, high = shift_of(SMALLEST_SHIFT), shift_of(2.0 * float(np.linalg.norm(gradients, axis=1).max()))
    shift = low if excess(low) <= 0.0 else float(brentq(excess, low, high, xtol=1e-300, rtol=1e-15, maxiter=200))
    weights, length = solve(shift)
    return weights * (radius / max(length, SMALLEST_SHIFT))
