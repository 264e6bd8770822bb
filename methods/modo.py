"""MoDo: step towards the shortest combination, using inner products between two independent batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers.simplex import project


@dataclass
class MoDo(Method):
    """Multi-objective gradient with double sampling.

    Let C = J₁J₂ᵀ be the inner products between the gradients of two independent batches, an unbiased estimate of JJᵀ,
    and Π the projection onto the simplex. Each step updates the task weights once (paper, algorithm 1)::

        λ ← Π(λ − γ (C λ + ρ λ)),    λ starts at 1/K

    and the update Σ λᵢ gᵢ uses the new λ and the gradients of a third batch. Since γ multiplies squared gradients, the
    method is not invariant to their scale. γ and ρ are the defaults of published code; the paper tunes them per data
    set.
    """

    name = "modo"
    source = (
        "Chen et al., Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and "
        "Conflict-Avoidance, NeurIPS 2023"
    )
    reads = "cross_gram"
    scale = "mean"
    state = "K"
    search = {"gamma": "1e-4:1:log"}

    gamma: Annotated[float, Field(gt=0, description="step size γ of the task weights")] = 1e-3
    rho: Annotated[float, Field(ge=0, description="pull ρ of the task weights towards 1/K")] = 0.1

    task_weights: Vector | None = field(default=None, init=False)

    def weights(self, observation: Observation) -> Vector:
        weights = (
            np.full(observation.tasks, 1.0 / observation.tasks) if self.task_weights is None else self.task_weights
        )
        self.task_weights = project(weights - self.gamma * (observation.cross_gram @ weights + self.rho * weights))
        return self.task_weights.copy()
