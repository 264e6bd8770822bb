"""UPGrad: project every gradient to where it hurts no task, and average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import cone_multipliers, cone_violation, directions, factor, solving


@dataclass
class UPGrad(Method):
    """Unconflicting projection of gradients: Jacobian descent.

    The update is the mean of the projections of the gᵢ onto the dual cone {d: ⟨gⱼ, d⟩ ≥ 0 for all j}, so it conflicts
    with no task, and each task's share in it is proportional to its own gradient's length.

    How it is solved: the projection of a unit gradient uᵢ is uᵢ + Σ vⱼ uⱼ, where v ≥ 0 minimises its norm; this
    non-negative least-squares problem is solved by active sets, and accepted when ⟨uⱼ, d⟩ ≥ 0, v ≥ 0 and
    vⱼ⟨uⱼ, d⟩ = 0. The cone does not depend on the lengths of the gradients, so neither does v. A task whose gradient is
    zero bounds nothing and adds nothing.

    Deviation: the authors' code adds 10⁻⁴ of the identity to the normalised G, which leaves conflicts of that order;
    nothing is added here.
    """

    name = "upgrad"
    source = "Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024"
    properties = frozenset({"non-conflicting", "homogeneous", "linear under scaling"})

    reduction: Annotated[Literal["mean", "sum"], Field(description="average or add the projections")] = "mean"

    @property
    def scale(self) -> Literal["sum", "mean", "own"]:  # type: ignore[override]
        return self.reduction

    def weights(self, observation: Observation) -> Vector:
        given = directions(observation.gram)
        units = factor(given.cosines)
        total = given.lengths.copy()  # the coordinates of Σ ‖gᵢ‖ proj(uᵢ) over the unit gradients
        with solving(self.name):
            for unit, length in zip(units, given.lengths, strict=True):
                total += length * cone_multipliers(units, unit, size=1.0)
        return given.spread(total / given.lengths) / (observation.tasks if self.reduction == "mean" else 1.0)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the violation of what the sum shows: ⟨gⱼ, d⟩ ≥ 0 and v ≥ 0. Equality is checked in each projection."""
        given = directions(observation.gram)
        added = (
            weights[given.kept] * (observation.tasks if self.reduction == "mean" else 1.0) * given.lengths
            - given.lengths
        )
        units = factor(given.cosines)
        along = units @ ((added + given.lengths) @ units)
        return cone_violation(np.minimum(along, 0.0), added, float(given.lengths.sum()))
