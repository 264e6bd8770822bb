"""FairGrad: maximise α-fair progress, between the largest sum and the largest minimum over tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import Directions, balanced, directions, imbalance, solving


@dataclass
class FairGrad(Method):
    """Fair resource allocation in multi-task learning.

    The update d = Σ xᵢ gᵢ maximises Σ ⟨gᵢ, d⟩^(1−α)/(1−α) over a ball. This holds exactly if, with x > 0::

        G x = x^(−1/α)   (elementwise)

    α → 0 is the plain sum, α = 1 is Nash-MTL (Σ log ⟨gᵢ, d⟩), and α → ∞ maximises the smallest ⟨gᵢ, d⟩. The default
    α = 2 is that of the authors' scripts; the paper tries several values.

    Solver: with p = 1/α and xᵢ = yᵢ/‖gᵢ‖ the equation becomes (C y)ᵢ = ‖gᵢ‖^(p−1) yᵢ^(−p) for the cosines C: the
    stationary point of a convex function, found by damped Newton steps on the relative residual, and accepted if that
    residual is small. The bounded least squares of the authors' code minimise the absolute residual, and stop early
    where x is large. At Pareto-stationary points no solution exists; therefore C + 10⁻¹² I replaces C everywhere. A
    task whose gradient is zero gets weight 0. For α ≥ 5 and norms spread over twenty orders of magnitude, x may exceed
    double precision, which raises an error.

    Deviation: the authors' code multiplies the update by K before clipping it.
    """

    name = "fairgrad"
    source = "Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024"
    search = {"alpha": "1:10:log"}

    alpha: Annotated[float, Field(gt=0, description="fairness: 1 is Nash-MTL, larger favours the worst task")] = 2.0
    max_norm: Annotated[float, Field(ge=0, description="norm that the shared update is clipped to; 0: never")] = 1.0

    @property
    def clip_norm(self) -> float | None:
        return self.max_norm or None

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        prices, scale = self._prices(units)
        with solving(self.name):
            y = balanced(units.cosines, prices, 1.0 / self.alpha)
        return units.spread(scale * y / units.lengths)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        units = directions(observation.gram)
        prices, scale = self._prices(units)
        return imbalance(units.cosines, prices, 1.0 / self.alpha, weights[units.kept] * units.lengths / scale)

    def _prices(self, units: Directions) -> tuple[Vector, float]:
        """Return b and s such that y = s z and (C z)ᵢ = bᵢ zᵢ^(−p): s takes the common scale of the norms out of z."""
        power = 1.0 / self.alpha
        log_lengths = np.log(units.lengths)
        mean_log = log_lengths.mean() if log_lengths.size else 0.0
        return np.exp((log_lengths - mean_log) * (power - 1.0)), float(np.exp(mean_log * (power - 1.0) / (power + 1.0)))
