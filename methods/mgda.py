"""MGDA: the steepest direction that is a descent direction for every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import factor, min_norm_point, solving


@dataclass
class MGDA(Method):
    """Multiple-gradient descent algorithm: the shortest convex combination of the task gradients.

    w minimises ‖Σ wᵢ gᵢ‖² over the simplex (Désidéri 2012; paper, equation 3). The update is zero exactly at
    Pareto-stationary points; elsewhere ⟨gᵢ, d⟩ ≥ ‖d‖² for every task. Deviation: the paper runs up to 250 Frank–Wolfe
    iterations; here the problem is solved to its optimality conditions.

    The paper's code can first divide each gᵢ by a scale (``normalize``): its norm, its loss, or both. As in that code,
    the update then combines the divided gradients.
    """

    name = "mgda"
    source = "Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018"
    scale = "mean"
    properties = frozenset({"non-conflicting", "homogeneous", "stationary"})
    search = {"normalize": "none/l2"}

    normalize: Annotated[
        Literal["none", "l2", "loss", "loss+"],
        Field(description="divide each task gradient by: nothing, its norm, its loss, or both"),
    ] = "none"

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any" if self.normalize.startswith("loss") else "no"

    def weights(self, observation: Observation) -> Vector:
        scale = self._scale(observation)
        with solving(self.name):
            return min_norm_point(factor(observation.gram) / scale[:, None]) / scale

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the violation of ⟨gᵢ, d⟩ ≥ ‖d‖² and of the simplex constraints, for the divided gradients."""
        scale = self._scale(observation)
        points, shares = factor(observation.gram) / scale[:, None], weights * scale
        lengths, nearest = np.linalg.norm(points, axis=1), shares @ points
        shortfall = (nearest @ nearest - points @ nearest) / (np.where(lengths > 0.0, lengths, 1.0))
        terms = float(np.abs(shares) @ lengths) or 1.0
        return float(max(shortfall.max() / terms, -shares.min(), abs(shares.sum() - 1.0)))

    def _scale(self, observation: Observation) -> Vector:
        scale = np.ones(observation.tasks)
        if self.normalize in ("l2", "loss+"):
            scale *= np.sqrt(np.diagonal(observation.gram))
        if self.normalize in ("loss", "loss+"):
            scale *= observation.losses
        scale[scale <= 0.0] = 1.0  # a task whose gradient or loss is zero is at its optimum: do not rescale it
        return scale
