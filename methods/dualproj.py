"""DualProj: project the mean gradient to where it hurts no task."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import cone_multipliers, cone_violation, directions, factor, solving


@dataclass
class DualProj(Method):
    """Projection of the mean gradient onto the dual cone {d: ⟨gᵢ, d⟩ ≥ 0 for all i}.

    Gradient episodic memory projects the gradient of the current task so that the losses on the memories of earlier
    ones do not grow (Lopez-Paz and Ranzato); Jacobian descent states it for the mean of K gradients.

    How it is solved: the projection is g₀ + Σ vᵢ uᵢ over the unit gradients, where v ≥ 0 minimises its norm; this
    non-negative least-squares problem is solved by active sets, and accepted when ⟨uᵢ, d⟩ ≥ 0, v ≥ 0 and
    vᵢ⟨uᵢ, d⟩ = 0. A task whose gradient is zero bounds nothing.

    Deviation: published codes add up to 10⁻³ of the identity to the (normalised) G, and the code of Lopez-Paz and
    Ranzato can ask for v above a margin; neither is done here.
    """

    name = "dualproj"
    source = "Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, NeurIPS 2017"
    scale = "mean"
    properties = frozenset({"non-conflicting", "homogeneous"})

    def weights(self, observation: Observation) -> Vector:
        given = directions(observation.gram)
        if not given.kept.any():
            return given.spread(given.lengths)
        longest = float(given.lengths.max())
        shares = given.lengths / longest / observation.tasks
        units = factor(given.cosines)
        with solving(self.name):
            added = cone_multipliers(units, shares @ units, size=float(shares.sum()))
        return given.spread((shares + added) * longest / given.lengths)

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        given = directions(observation.gram)
        coordinates, shares = weights[given.kept] * given.lengths, given.lengths / observation.tasks
        units = factor(given.cosines)
        return cone_violation(units @ (coordinates @ units), coordinates - shares, float(shares.sum()))
