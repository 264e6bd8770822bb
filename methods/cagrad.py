"""CAGrad: maximise the worst task's improvement near the average gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtlbench import Matrix, Method, Observation, SolverError, Vector
from mtlbench.solvers import TOLERANCE, factor, min_norm_point, solving

SMALLEST_SHIFT = 1e-6
"""Smallest ‖g_w‖ of the dual, relative to the gradients: below it, rounding decides the direction."""
ROOT_STEPS = 100
"""Limit of the steps towards ν: about 4 are needed; bisection would need 60."""


@dataclass
class CAGrad(Method):
    """Conflict-averse gradient descent.

    With g₀ the *mean* gradient, the update solves max_d minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ c‖g₀‖ (paper, equation 3).
    Its dual (paper, equation 4) is min over the simplex of F(w) = ⟨g_w, g₀⟩ + c‖g₀‖‖g_w‖ with g_w = Σ wᵢ gᵢ, and
    d = g₀ + c‖g₀‖ g_w/‖g_w‖.

    Solver: ‖g_w‖ = min over ν > 0 of (‖g_w‖²/s + s)/2 at s = ν c‖g₀‖. For a fixed ν, the dual therefore asks for the
    point of the hull {gᵢ + ν g₀} nearest to the origin, and ν is the root of ‖g_w(ν)‖ = ν c‖g₀‖. While the set of
    positive wᵢ stays the same, w is affine in ν and the root is that of a quadratic equation; a few such steps inside
    a bracket converge. The solver is invariant to the scale of the gradients, unlike the SLSQP call of published code,
    which returns a wrong direction for norms below .2 or above 200. A solution is accepted when the duality gap
    Σ wᵢ⟨gᵢ, d⟩ − minᵢ ⟨gᵢ, d⟩ closes.

    Where no direction improves every task, the dual's optimum is g_w = 0; d is then evaluated at ‖g_w‖ = 10⁻⁶.

    Implementations differ in their conventions, which ``rescale`` and ``reduction`` select: the authors' code divides
    by 1 + c² and multiplies by K. They also differ in c, which is tuned per data set: .5 in the authors' toy problem
    and reinforcement learning, .4 in the code of Nash-MTL and FairGrad, for image data.
    """

    name = "cagrad"
    source = "Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021"
    properties = frozenset({"homogeneous"})
    search = {"c": "0.05:0.95"}

    c: Annotated[float, Field(ge=0, lt=1, description="radius of the search around the mean gradient, relative")] = 0.4
    rescale: Annotated[Literal["none", "c2", "c"], Field(description="divide the update by 1, 1 + c² or 1 + c")] = (
        "none"
    )
    reduction: Annotated[
        Literal["mean", "sum"], Field(description="scale of the update: that of the mean gradient, or K times it")
    ] = "mean"

    def weights(self, observation: Observation) -> Vector:
        gradients, mean, radius = self._problem(observation)
        weights = np.full(observation.tasks, 1.0 / observation.tasks)
        with solving(self.name):
            if radius > TOLERANCE * self.c:
                weights += _dual(gradients, mean, radius)
        return weights * self._factor(observation.tasks)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the duality gap, relative to the mean square norm, or the violation of the constraints on λ.

        With λ = w·c‖g₀‖/‖g_w‖ the weights of d − g₀, the constraints are λ ≥ 0 and Σ λᵢ‖g_w‖ = c‖g₀‖, where ‖g_w‖
        counts as at least 10⁻⁶. The violation of the second is multiplied by ‖g_w‖, its effect on the gap.
        """
        gradients, mean, radius = self._problem(observation)
        dual = weights / self._factor(observation.tasks) - 1.0 / observation.tasks
        if not radius > TOLERANCE * self.c:
            return float(np.abs(dual).max())
        dual_sum = float(dual.sum())
        if not dual_sum > 0.0:
            return float("inf")
        products, length = gradients @ (mean + dual @ gradients), float(np.linalg.norm(dual @ gradients)) / dual_sum
        reach = max(length, SMALLEST_SHIFT)
        gap = float(dual @ products / dual_sum - products.min())
        return float(max(gap, -dual.min(), abs(dual_sum * reach - radius) * reach))

    def _problem(self, observation: Observation) -> tuple[Matrix, Vector, float]:
        """Return the gradients, scaled to a mean square norm of 1, with their mean and the radius c‖g₀‖."""
        gradients = factor(observation.gram)
        gradients /= np.sqrt(np.mean(np.sum(gradients**2, axis=1))) or 1.0
        mean = gradients.mean(axis=0)
        return gradients, mean, self.c * float(np.linalg.norm(mean))

    def _factor(self, tasks: int) -> float:
        divisor = {"none": 1.0, "c2": 1.0 + self.c**2, "c": 1.0 + self.c}[self.rescale]
        return (tasks if self.reduction == "sum" else 1.0) / divisor


def _dual(gradients: Matrix, mean: Vector, radius: float) -> Vector:
    """Return the λ of the optimum d = mean + Σ λᵢ gᵢ, for gradients of mean square norm 1."""
    low = least = SMALLEST_SHIFT / radius
    high = 2.0 * float(np.linalg.norm(gradients, axis=1).max()) / radius
    shift = float(np.linalg.norm(mean)) / radius
    weights = min_norm_point(gradients + shift * mean)
    for _ in range(ROOT_STEPS):
        excess = float(np.linalg.norm(weights @ gradients)) - shift * radius
        if abs(excess) <= 1e-14 * shift * radius or (excess <= 0.0 and shift <= least):
            break
        low, high = (shift, high) if excess > 0.0 else (low, shift)
        root = _root(gradients, mean, radius, weights > 0.0)
        if root is None or not low < root < high:
            root = least if excess <= 0.0 and low == least else float(np.sqrt(low * high))
        if abs(root - shift) <= 1e-15 * shift:
            break
        shift = root
        weights = min_norm_point(gradients + shift * mean)
    direction = mean + weights @ gradients / shift
    products = gradients @ direction
    gap = float(weights @ products - products.min())
    if not gap <= TOLERANCE:
        raise SolverError(f"CAGrad: duality gap {gap:.1e}; gradients {gradients.tolist()}")
    return weights / shift


def _root(gradients: Matrix, mean: Vector, radius: float, support: NDArray[np.bool_]) -> float | None:
    """Return ν with ‖g_w(ν)‖ = ν radius, where w(ν) is the point of the affine hull of the support nearest to 0.

    w = a + ν b solves [[G, 1], [1ᵀ, 0]] (w, −μ) = (−ν⟨gᵢ, g₀⟩, 1), so ‖g_w‖² is quadratic in ν.
    """
    rows = gradients[support]
    count = len(rows)
    system, constants = np.ones((count + 1, count + 1)), np.zeros((count + 1, 2))
    system[:count, :count], system[count, count] = rows @ rows.T, 0.0
    constants[count, 0], constants[:count, 1] = 1.0, -(rows @ mean)
    try:
        solutions = np.linalg.solve(system, constants)[:count]
    except np.linalg.LinAlgError:
        return None
    offset, slope = solutions.T @ rows
    quadratic, linear, constant = slope @ slope - radius**2, offset @ slope, offset @ offset
    discriminant = linear**2 - quadratic * constant
    if not (discriminant >= 0.0 and quadratic < 0.0):
        return None
    return float(-(linear + np.sqrt(discriminant)) / quadratic)
