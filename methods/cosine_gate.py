"""Cosine gate: use an auxiliary task only while its gradient agrees with the main task's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector


@dataclass
class CosineGate(Method):
    """Gating of auxiliary losses by the cosine between their gradient and the main task's.

    The main task, with gradient g_m, always has weight 1. An auxiliary task has weight 1 while cos(g_m, gᵢ) ≥ 0, and 0
    otherwise; with ``weighted=true`` its weight is max(0, cos(g_m, gᵢ)). Hence ⟨g_m, d⟩ ≥ ‖g_m‖²: the other tasks never
    slow the main task down, whatever they lose. The cosine to a zero gradient counts as 0. The gate acts on the shared
    parameters; every head learns its own task throughout, as in the paper.

    The paper has one auxiliary task; here each of the K − 1 is compared with the main task alone.
    """

    name = "cosine-gate"
    source = "Du et al., Adapting Auxiliary Losses Using Gradient Similarity, 2018 (arXiv 1812.02224)"
    scale = "sum"
    symmetry = "main task"
    properties = frozenset({"homogeneous", "linear under scaling"})

    main: Annotated[int, Field(ge=0, description="position of the main task, counted from 0")] = 0
    weighted: Annotated[bool, Field(description="weight an agreeing task by its cosine, not by 1")] = False

    def weights(self, observation: Observation) -> Vector:
        if self.main >= observation.tasks:
            raise UsageError(
                f"method {self.name}: main={self.main} counts from 0, and there are {observation.tasks} tasks"
            )
        products = observation.gram[self.main]
        if self.weighted:
            lengths = np.sqrt(np.diagonal(observation.gram))
            lengths = lengths[self.main] * lengths
            weights = np.divide(
                np.maximum(products, 0.0), lengths, out=np.zeros(observation.tasks), where=lengths > 0.0
            )
        else:
            weights = (products >= 0.0).astype(np.float64)
        weights[self.main] = 1.0
        return weights
