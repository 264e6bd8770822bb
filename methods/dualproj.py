"""DualProj: project the mean gradient so that it conflicts with no task."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import cone_multipliers, cone_violation, directions, factor, solving


@dataclass
class DualProj(Method):
    """Projection of the mean gradient onto the dual cone {d: ⟨gᵢ, d⟩ ≥ 0 for all i}.

    Gradient episodic memory projects the gradient of the current task so that the losses on the memories of earlier
    tasks do not grow (Lopez-Paz and Ranzato); Jacobian descent applies the projection to the mean of K gradients.

    Solver: the projection is g₀ + Σ vᵢ uᵢ over the unit gradients, where v ≥ 0 minimises its norm. This non-negative
    least-squares problem is solved by active sets; a solution is accepted when ⟨uᵢ, d⟩ ≥ 0, v ≥ 0 and vᵢ⟨uᵢ, d⟩ = 0. A
    task whose gradient is zero imposes no constraint.

    Deviation: published implementations add up to 10⁻³ times the identity to the (normalised) G, and the code of
    Lopez-Paz and Ranzato can require v to exceed a margin; neither is done here.
    """

    name = "dualproj"
    source = "Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017"
    scale = "mean"
    properties = frozenset({"non-conflicting", "homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        if not units.kept.any():
            return units.spread(units.lengths)
        longest = float(units.lengths.max())
        shares = units.lengths / longest / observation.tasks
        rows = factor(units.cosines)
        with solving(self.name):
            multipliers = cone_multipliers(rows, shares @ rows, size=float(shares.sum()))
        return units.spread((shares + multipliers) * longest / units.lengths)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        units = directions(observation.gram)
        coordinates, shares = weights[units.kept] * units.lengths, units.lengths / observation.tasks
        rows = factor(units.cosines)
        return cone_violation(rows @ (coordinates @ rows), coordinates - shares, float(shares.sum()))
