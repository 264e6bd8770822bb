"""Krum: take the gradient that lies closest to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector

TIE = 1e-12
"""Scores closer than this, relative to the squared norms in them, differ by rounding alone."""


@dataclass
class Krum(Method):
    """Krum and Multi-Krum, robust choices from distributed learning.

    With f the number of gradients that may be wrong (``byzantine``), the score of gᵢ is the sum of the K − f − 2
    smallest of ‖gᵢ − gⱼ‖², j ≠ i (paper, section 4). The update is the gradient of least score, or the mean of the
    ``selected`` ones of least score (Multi-Krum). ‖gᵢ − gⱼ‖² = Gᵢᵢ + Gⱼⱼ − 2 Gᵢⱼ, so inner products are enough. A
    reference point rather than a multi-task method: it takes the gradient that differs for a wrong one. The paper's
    guarantee needs K > 2f + 2; the scores exist for K ≥ f + 3.

    Deviation: the paper takes the first of equal scores; here they share the weight, so that the order of the tasks
    does not matter. Two gradients that are nearest to each other tie exactly when only one neighbour counts.
    """

    name = "krum"
    source = "Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    byzantine: Annotated[int, Field(ge=0, description="number f of gradients that may be arbitrarily wrong")] = 1
    selected: Annotated[int, Field(ge=1, description="how many gradients of least score are averaged")] = 1

    @property
    def min_tasks(self) -> int:
        return max(self.byzantine + 3, self.selected)

    def weights(self, observation: Observation) -> Vector:
        squares = np.diagonal(observation.gram)
        sums = squares[:, None] + squares[None, :]
        distances = np.maximum(sums - 2.0 * observation.gram, 0.0)
        np.fill_diagonal(distances, np.inf)  # a gradient is no neighbour of its own
        nearest = np.argsort(distances, axis=1)[:, : observation.tasks - self.byzantine - 2]
        scores = np.take_along_axis(distances, nearest, axis=1).sum(axis=1)
        slack = TIE * np.take_along_axis(sums, nearest, axis=1).sum(axis=1)
        last = np.sort(scores)[self.selected - 1]
        tied = np.abs(scores - last) <= slack
        chosen = (scores < last) & ~tied
        share = (self.selected - chosen.sum()) / tied.sum()
        return (chosen + share * tied) / self.selected
