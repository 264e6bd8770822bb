"""Mean of the losses: the direction of the sum, with steps K times shorter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class Mean(Method):
    """Mean of the losses.

    w = (1/K, …, 1/K), so the shared update is the mean of the gradients: the gradient of the whole loss (1/K) Σ Lᵢ. The
    heads therefore descend Lᵢ/K too. With an optimizer that is invariant to the scale of the gradients, such as Adam
    without clipping, it differs from ``sum`` only by rounding and by the optimizer's ε; with SGD its steps are K times
    shorter.
    """

    name = "mean"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Caruana, Multitask Learning, Machine Learning 28, 1997"

    def weights(self, observation: Observation) -> Vector:
        return np.full(observation.tasks, 1.0 / observation.tasks)
