"""ConFIG: the direction with the same positive cosine to every task gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import directions


@dataclass
class ConFIG(Method):
    """Conflict-free inverse gradients.

    With the unit gradients uᵢ = gᵢ/‖gᵢ‖ as the rows of U, the update is (paper, section 3)::

        û = U⁺ 1 / ‖U⁺ 1‖,   d = (Σ ⟨gᵢ, û⟩) û

    so û has the same cosine to every gradient, and the length of d is the sum of the gradients' projections. Since
    U⁺ 1 = Uᵀ β with β = C⁺ 1 for the cosines C, inner products suffice. The direction does not depend on the lengths of
    the gradients, and d is linear in them.

    Where the unit gradients are linearly dependent, equal cosines may not exist; the pseudoinverse then yields the
    least-squares solution, and conflicts may remain. Where it yields no direction, d = 0. An eigenvalue of C counts as
    zero if it is at most K ε times the largest, or at most as large as the most negative one, which only rounding can
    produce. A task whose gradient is zero gets weight 0.
    """

    name = "config"
    source = (
        "Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025"
    )
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        if not units.kept.any():
            return units.spread(units.lengths)
        values, vectors = np.linalg.eigh(units.cosines)
        nonzero = values > max(len(values) * float(np.finfo(np.float64).eps) * values[-1], -values[0])
        values, vectors = values[nonzero], vectors[:, nonzero]
        ones = vectors.sum(axis=0)
        squared_length = float(ones @ (ones / values))  # ‖U⁺ 1‖² = βᵀ C β
        if ones @ ones <= (len(units.lengths) * np.finfo(np.float64).eps) ** 2:  # U⁺ 1 = 0
            return units.spread(np.zeros_like(units.lengths))
        projections = vectors @ ones  # ⟨uᵢ, U⁺ 1⟩
        return units.spread(
            (units.lengths @ projections) / squared_length * (vectors @ (ones / values)) / units.lengths
        )
