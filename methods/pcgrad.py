"""PCGrad: project each task's gradient off those that it conflicts with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class PCGrad(Method):
    """Projecting conflicting gradients (gradient surgery).

    For every task i, in a fresh random order of the other tasks j (paper, algorithm 1)::

        if ⟨gᵢᴾᶜ, gⱼ⟩ < 0:   gᵢᴾᶜ ← gᵢᴾᶜ − ⟨gᵢᴾᶜ, gⱼ⟩ / ‖gⱼ‖² · gⱼ

    with the *original* gⱼ, and the update is the sum Σ gᵢᴾᶜ. Each gᵢᴾᶜ stays in the span of the gradients, so the
    projections are done on its K coordinates, and need inner products only. At K = 2 the two projected gradients
    conflict with neither original one; at K > 2 a later projection may bring an earlier conflict back.
    """

    name = "pcgrad"
    source = "Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020"
    scale = "sum"
    symmetry = "in distribution"
    properties = frozenset({"homogeneous", "linear under scaling"})

    def weights(self, observation: Observation) -> Vector:
        gram = observation.gram
        projected = np.eye(observation.tasks)  # row i: the coordinates of gᵢᴾᶜ
        for i in range(observation.tasks):
            for j in self.generator.permutation(observation.tasks):
                inner = projected[i] @ gram[:, j]
                if j != i and inner < 0.0:
                    projected[i, j] -= inner / gram[j, j]
        return projected.sum(axis=0)
