"""Nash-MTL: the bargaining solution, to which every task contributes the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import balanced, directions, imbalance, solving


@dataclass
class NashMTL(Method):
    """Multi-task learning as a bargaining game.

    The update Σ αᵢ gᵢ maximises Σ log ⟨gᵢ, d⟩ over a ball, which is the case where, with α > 0 (paper, section 3)::

        G α = 1/α   (elementwise)

    so that αᵢ⟨gᵢ, d⟩ = 1 for every task, and ‖d‖² = K: only its direction matters, which ``max_norm`` reflects.

    How it is solved: with αᵢ = yᵢ/‖gᵢ‖ it reads C y = 1/y for the cosines C alone, the stationary point of the convex
    ½yᵀCy − Σ log yᵢ, found by damped Newton steps and accepted by its residual. Multiplying a loss by a constant
    changes nothing. At Pareto-stationary points there is no solution; therefore C + 10⁻¹² I takes the place of C,
    everywhere. There ⟨gᵢ, d⟩ may be below zero, by 10⁻⁶‖gᵢ‖; elsewhere it is 1/αᵢ > 0. A task whose gradient is zero is
    left out: its weight is 0.

    Deviations: the paper solves a sequence of convex problems, up to 20, and its code may stop before the end. That
    code divides G by its Frobenius norm first, so its update is √‖G‖ times longer before the clip.
    """

    name = "nash-mtl"
    source = "Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"
    state = "K"
    properties = frozenset({"loss-scale invariant"})

    every: Annotated[int, Field(ge=1, description="steps between two computations of the weights")] = 1
    max_norm: Annotated[float, Field(ge=0, description="norm that the shared update is clipped to; 0: never")] = 1.0

    steps: int = field(default=0, init=False)
    used: Vector | None = field(default=None, init=False)

    @property
    def clip_norm(self) -> float | None:
        return self.max_norm or None

    def weights(self, observation: Observation) -> Vector:
        if self.used is None or self.steps % self.every == 0:
            given = directions(observation.gram)
            with solving(self.name):
                y = balanced(given.cosines, np.ones_like(given.lengths), power=1.0)
            self.used = given.spread(y / given.lengths)
        self.steps += 1
        return self.used.copy()

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        if self.every > 1:
            return None  # weights of an earlier step are not meant to solve this one
        given = directions(observation.gram)
        return imbalance(given.cosines, np.ones_like(given.lengths), 1.0, weights[given.kept] * given.lengths)
