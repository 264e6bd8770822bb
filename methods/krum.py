"""Krum: take the gradient closest to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector

TIE = 1e-12
"""Scores that differ by less than this, relative to the squared norms in them, count as equal: rounding."""


@dataclass
class Krum(Method):
    """Krum and Multi-Krum, robust choices from distributed learning.

    With f the number of gradients that may be wrong (``byzantine``), the score of gᵢ is the sum of the K − f − 2
    smallest ‖gᵢ − gⱼ‖², j ≠ i (paper, section 4). The update is the gradient with the lowest score, or the mean of the
    ``selected`` gradients with the lowest scores (Multi-Krum). ‖gᵢ − gⱼ‖² = Gᵢᵢ + Gⱼⱼ − 2 Gᵢⱼ, so inner products
    suffice. It is a reference point rather than a multi-task method, as it treats a differing gradient as a wrong one.
    The paper's guarantee needs K > 2f + 2; the scores exist for K ≥ f + 3.

    Deviation: the paper takes the first of equal scores; here they share the weight, so that the order of the tasks
    does not matter. Two gradients that are each other's nearest neighbour tie exactly when only one neighbour counts.
    """

    name = "krum"
    source = "Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017"
    scale = "mean"
    properties = frozenset({"homogeneous"})

    byzantine: Annotated[int, Field(ge=0, description="number f of gradients that may be arbitrarily wrong")] = 1
    selected: Annotated[int, Field(ge=1, description="number of lowest-scoring gradients to average")] = 1

    @property
    def min_tasks(self) -> int:
        return max(self.byzantine + 3, self.selected)

    def weights(self, observation: Observation) -> Vector:
        squares = np.diagonal(observation.gram)
        norm_sums = squares[:, None] + squares[None, :]
        distances = np.maximum(norm_sums - 2.0 * observation.gram, 0.0)
        np.fill_diagonal(distances, np.inf)  # a gradient is not its own neighbour
        nearest = np.argsort(distances, axis=1)[:, : observation.tasks - self.byzantine - 2]
        scores = np.take_along_axis(distances, nearest, axis=1).sum(axis=1)
        tolerance = TIE * np.take_along_axis(norm_sums, nearest, axis=1).sum(axis=1)
        threshold = np.sort(scores)[self.selected - 1]
        tied = np.abs(scores - threshold) <= tolerance
        selection = (scores < threshold) & ~tied
        share = (self.selected - selection.sum()) / tied.sum()
        return (selection + share * tied) / self.selected
