"""EDM: the direction with the largest smallest cosine to the task gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import factor, min_norm_point, solving


@dataclass
class EDM(Method):
    """Equiangular direction method.

    With the weights v of the point of the hull of the *unit* gradients nearest to the origin::

        wᵢ = γ vᵢ/‖gᵢ‖,    γ = 1/Σ (vᵢ/‖gᵢ‖)

    so that Σ wᵢ = 1: the update is a point of the gradients' own hull whose direction does not depend on their lengths.
    Where no weight is zero, it has one angle to all gradients and equals ``imtl-g``; it is a multiple of
    ``mgda[normalize=l2]``.

    Deviation: published code runs Frank–Wolfe iterations; here the problem is solved to its optimality conditions. A
    task whose gradient is zero is at its optimum, and the update is zero, as in that code.
    """

    name = "edm"
    source = (
        "Katrutsa et al., Follow the Bisector: A Simple Method for Multi-Objective Optimization, arXiv 2007.06937, 2020"
    )
    scale = "mean"
    properties = frozenset({"non-conflicting", "homogeneous", "stationary"})

    def weights(self, observation: Observation) -> Vector:
        lengths = np.sqrt(np.clip(np.diagonal(observation.gram), 0.0, None))
        zero = lengths == 0.0
        if zero.any():
            return zero / zero.sum()
        with solving(self.name):
            shares = min_norm_point(factor(observation.gram) / lengths[:, None]) * (lengths.min() / lengths)
        return shares / shares.sum()

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the violation of ⟨uᵢ, p⟩ ≥ ‖p‖² for the unit gradients and their nearest point p, and of v ≥ 0."""
        lengths = np.sqrt(np.clip(np.diagonal(observation.gram), 0.0, None))
        if (lengths == 0.0).any():
            return float(abs(weights[lengths == 0.0].sum() - 1.0) + np.abs(weights[lengths > 0.0]).sum())
        units, shares = factor(observation.gram) / lengths[:, None], weights * lengths
        shares = shares / (np.abs(shares).sum() or 1.0)
        nearest = shares @ units
        return float(max((nearest @ nearest - units @ nearest).max(), -shares.min(), abs(weights.sum() - 1.0)))
