"""PCGrad: project each task's gradient off the gradients that it conflicts with."""

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
    projections operate on its K coordinates and need inner products only. At K = 2 neither projected gradient conflicts
    with an original gradient; at K > 2 a later projection may reintroduce an earlier conflict.
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
                product = projected[i] @ gram[:, j]
                if j != i and product < 0.0:
                    projected[i, j] -= product / gram[j, j]
        return projected.sum(axis=0)
