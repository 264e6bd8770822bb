"""Mean of the losses: the sum's direction, K times shorter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class Mean(Method):
    """Mean of the losses.

    w = (1/K, …, 1/K), so the shared update is the mean of the gradients. It is the gradient of (1/K) Σ Lᵢ as a whole,
    and so the heads descend Lᵢ/K too. With an optimizer that is invariant to the gradients' scale, such as Adam
    without clipping, it differs from ``sum`` by rounding and by the optimizer's ε only; with SGD it takes steps K
    times shorter.
    """

    name = "mean"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Caruana, Multitask Learning, Machine Learning 28, 1997"

    def weights(self, observation: Observation) -> Vector:
        return np.full(observation.tasks, 1.0 / observation.tasks)
