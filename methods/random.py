"""RGW: random weights of the task gradients, drawn anew at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class RandomGradients(Method):
    """Random gradient weighting, RGW in the paper: like ``rlw``, but for the shared gradients only.

    Every step draws w on the simplex (Σ wᵢ = 1: a step of ``mean`` in expectation), and the shared update is Σ wᵢ gᵢ.
    Unlike in ``rlw``, the heads descend their own plain losses. ``normal`` is w = softmax(z) with z ~ N(0, I), the
    authors' choice; ``dirichlet`` is uniform on the simplex, where weights close to zero are more frequent. Deviation:
    for loss weights, the authors' code offers a Dirichlet distribution but takes the softmax of the draw, so that at
    K = 2 no weight leaves (.27, .73); here the draw itself is w.
    """

    name = "random"
    reads = "losses"
    scale = "mean"
    symmetry = "in distribution"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Lin et al., Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning, TMLR 2022"
    )

    distribution: Annotated[
        Literal["normal", "dirichlet"], Field(description="softmax of normal draws, or uniform on the simplex")
    ] = "normal"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        if self.distribution == "dirichlet":
            return self.generator.dirichlet(np.ones(observation.tasks))
        return softmax(self.generator.normal(size=observation.tasks))
