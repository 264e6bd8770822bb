"""UPGrad: project every gradient so that it conflicts with no task, and average the projections."""

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

    The update is the mean of the projections of all gᵢ onto the dual cone {d: ⟨gⱼ, d⟩ ≥ 0 for all j}, so it conflicts
    with no task, and each task's share in it is proportional to the length of its gradient.

    Solver: the projection of a unit gradient uᵢ is uᵢ + Σ vⱼ uⱼ, where v ≥ 0 minimises its norm. This non-negative
    least-squares problem is solved by active sets; a solution is accepted when ⟨uⱼ, d⟩ ≥ 0, v ≥ 0 and vⱼ⟨uⱼ, d⟩ = 0.
    The cone does not depend on the lengths of the gradients, so neither does v. A task whose gradient is zero imposes
    no constraint and contributes nothing.

    Deviation: the authors' code adds 10⁻⁴ times the identity to the normalised G, which leaves conflicts of that order;
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
        units = directions(observation.gram)
        rows = factor(units.cosines)
        coordinates = units.lengths.copy()  # coordinates of Σ ‖gᵢ‖ proj(uᵢ) over the unit gradients
        with solving(self.name):
            for row, length in zip(rows, units.lengths, strict=True):
                coordinates += length * cone_multipliers(rows, row, size=1.0)
        return units.spread(coordinates / units.lengths) / (observation.tasks if self.reduction == "mean" else 1.0)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return the violation of ⟨gⱼ, d⟩ ≥ 0 and v ≥ 0 by the sum. Each projection checks complementarity itself."""
        units = directions(observation.gram)
        multipliers = (
            weights[units.kept] * (observation.tasks if self.reduction == "mean" else 1.0) * units.lengths
            - units.lengths
        )
        rows = factor(units.cosines)
        products = rows @ ((multipliers + units.lengths) @ rows)
        return cone_violation(np.minimum(products, 0.0), multipliers, float(units.lengths.sum()))
