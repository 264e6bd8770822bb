"""Sum of the losses: the baseline that every method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class Sum(Method):
    """Plain sum of the losses, also called equal weighting or linear scalarization.

    w = (1, …, 1), so the shared update is Σ gᵢ. Note the convention: the *sum*, not the mean. The steps
    of a method that averages are K times shorter at the same learning rate.
    """

    name = "sum"
    reads = "losses"
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Caruana, Multitask Learning, Machine Learning 28, 1997"

    def weights(self, observation: Observation) -> Vector:
        return np.ones(observation.tasks)
