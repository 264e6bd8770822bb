"""The Euclidean projection onto the probability simplex, for methods whose task weights take gradient steps on it."""

from __future__ import annotations

import numpy as np

from mtlbench.contract.observation import Vector


def project(values: Vector) -> Vector:
    """Return the point of the probability simplex that is nearest to K values.

    It is max(vᵢ − θ, 0), with θ where the sum is 1 (Duchi et al., Efficient Projections onto the ℓ1-Ball for Learning
    in High Dimensions, ICML 2008, figure 1). Adding a number to all values changes nothing, so the largest is brought
    to 0 first; then −1 ≤ θ < 0, and what lies below −1 ends at 0 wherever it lies. Without that, values of 10³⁰ would
    leave no digit of the 1 that the weights must sum to.
    """
    shifted = np.maximum(values - values.max(), -1.0)
    falling = np.sort(shifted)[::-1]
    thresholds = (np.cumsum(falling) - 1.0) / np.arange(1, len(values) + 1)  # θ if the k largest are kept
    kept = int(np.flatnonzero(falling > thresholds)[-1])
    projected: Vector = np.maximum(shifted - thresholds[kept], 0.0)
    return projected
