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

    w minimises ‖Σ wᵢ gᵢ‖² over the simplex (Désidéri 2012; paper, equation 3). It is zero exactly at Pareto-stationary
    points; elsewhere ⟨gᵢ, d⟩ ≥ ‖d‖² for every task. Deviation: the paper iterates Frank–Wolfe, up to 250 times; the
    problem is solved to its optimality conditions here.

    The paper's code may divide each gᵢ by a scale first (``normalize``): its norm, its loss, or both. The
    combination is then taken of the divided gradients, as that code does.
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
        """Return the violation of ⟨gᵢ, d⟩ ≥ ‖d‖² and of the simplex, all for the divided gradients."""
        scale = self._scale(observation)
        points, shares = factor(observation.gram) / scale[:, None], weights * scale
        lengths, nearest = np.linalg.norm(points, axis=1), shares @ points
        short = (nearest @ nearest - points @ nearest) / (np.where(lengths > 0.0, lengths, 1.0))
        terms = float(np.abs(shares) @ lengths) or 1.0
        return float(max(short.max() / terms, -shares.min(), abs(shares.sum() - 1.0)))

    def _scale(self, observation: Observation) -> Vector:
        scale = np.ones(observation.tasks)
        if self.normalize in ("l2", "loss+"):
            scale *= np.sqrt(np.diagonal(observation.gram))
        if self.normalize in ("loss", "loss+"):
            scale *= observation.losses
        scale[scale <= 0.0] = 1.0  # a task with no gradient or no loss left is at its optimum: leave it as it is
        return scale
