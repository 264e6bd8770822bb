"""FairGrad: α-fair progress of the tasks, between the greatest sum and the greatest minimum."""

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

    The update d = Σ xᵢ gᵢ maximises Σ ⟨gᵢ, d⟩^(1−α)/(1−α) over a ball, which is the case where, with x > 0::

        G x = x^(−1/α)   (elementwise)

    α → 0 is the plain sum, α = 1 is Nash-MTL (Σ log ⟨gᵢ, d⟩), α → ∞ maximises the least ⟨gᵢ, d⟩. The default
    α = 2 is that of the authors' scripts; the paper tries several.

    How it is solved: with p = 1/α and xᵢ = yᵢ/‖gᵢ‖ it reads (C y)ᵢ = ‖gᵢ‖^(p−1) yᵢ^(−p) for the cosines C, the
    stationary point of a convex function, found by damped Newton steps in relative terms and accepted by its residual.
    The bounded least squares of the authors' code minimise the absolute residual, and stop early where x is large.
    At Pareto-stationary points no solution exists; therefore C + 10⁻¹² I takes the place of C, everywhere. A task whose
    gradient is zero is left out: its weight is 0. From α = 5 on, and with norms spread over twenty orders of magnitude,
    x may be too extreme for double precision; this is then an error.

    Deviation: the authors' code multiplies the update by K before it clips it.
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
        given = directions(observation.gram)
        prices, unit = self._prices(given)
        with solving(self.name):
            y = balanced(given.cosines, prices, 1.0 / self.alpha)
        return given.spread(unit * y / given.lengths)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        given = directions(observation.gram)
        prices, unit = self._prices(given)
        return imbalance(given.cosines, prices, 1.0 / self.alpha, weights[given.kept] * given.lengths / unit)

    def _prices(self, given: Directions) -> tuple[Vector, float]:
        """Return b and s for which y = s z and (C z)ᵢ = bᵢ zᵢ^(−p): a common scale of the norms is taken out."""
        power = 1.0 / self.alpha
        logs = np.log(given.lengths)
        middle = logs.mean() if logs.size else 0.0
        return np.exp((logs - middle) * (power - 1.0)), float(np.exp(middle * (power - 1.0) / (power + 1.0)))
