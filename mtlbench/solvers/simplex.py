"""Euclidean projection onto the probability simplex, for methods that take gradient steps in the task weights."""

from __future__ import annotations

import numpy as np

from mtlbench.contract.observation import Vector


def project(values: Vector) -> Vector:
    """Return the point of the probability simplex nearest to the values.

    The point is max(vᵢ − θ, 0), with θ such that the sum is 1 (Duchi et al., Efficient Projections onto the ℓ1-Ball for
    Learning in High Dimensions, ICML 2008, figure 1). Adding a number to all values changes nothing, so the largest is
    shifted to 0 first; then −1 ≤ θ < 0, and all values below −1 end at 0. Without the shift, values of 10³⁰ would leave
    no digit of the 1 that the weights must sum to.

    :param values: (K,) any finite numbers.
    """
    shifted = np.maximum(values - values.max(), -1.0)
    falling = np.sort(shifted)[::-1]
    thresholds = (np.cumsum(falling) - 1.0) / np.arange(1, len(values) + 1)  # θ if the k largest are kept
    last = int(np.flatnonzero(falling > thresholds)[-1])
    projected: Vector = np.maximum(shifted - thresholds[last], 0.0)
    return projected
