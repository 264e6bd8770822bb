"""Nash-MTL: the bargaining solution, to which all tasks contribute equally."""

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

    The update Σ αᵢ gᵢ maximises Σ log ⟨gᵢ, d⟩ over a ball. This holds exactly if, with α > 0 (paper, section 3)::

        G α = 1/α   (elementwise)

    so αᵢ⟨gᵢ, d⟩ = 1 for every task, and ‖d‖² = K: only the direction of d matters, which ``max_norm`` reflects.

    Solver: with αᵢ = yᵢ/‖gᵢ‖ the equation becomes C y = 1/y, for the cosines C alone: the stationary point of the
    convex ½yᵀCy − Σ log yᵢ, found by damped Newton steps and accepted if its residual is small. Multiplying a loss by a
    constant changes nothing. At Pareto-stationary points no solution exists; therefore C + 10⁻¹² I replaces C
    everywhere. There ⟨gᵢ, d⟩ may be negative by up to 10⁻⁶‖gᵢ‖; elsewhere it is 1/αᵢ > 0. A task whose gradient is zero
    gets weight 0.

    Deviations: the paper solves a sequence of up to 20 convex problems, and its code may stop early. That code first
    divides G by its Frobenius norm, so its update is √‖G‖ times longer before clipping.
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
            units = directions(observation.gram)
            with solving(self.name):
                y = balanced(units.cosines, np.ones_like(units.lengths), power=1.0)
            self.used = units.spread(y / units.lengths)
        self.steps += 1
        return self.used.copy()

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        if self.every > 1:
            return None  # weights of an earlier step need not solve this one
        units = directions(observation.gram)
        return imbalance(units.cosines, np.ones_like(units.lengths), 1.0, weights[units.kept] * units.lengths)
