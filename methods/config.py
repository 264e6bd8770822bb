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

    so û has the same cosine to every gradient, and its length is the sum of the gradients' projections. Since
    U⁺ 1 = Uᵀ β with β = C⁺ 1 for the cosines C, it needs inner products only. The direction does not depend on the
    lengths of the gradients, and d is linear in them.

    Where the unit gradients are linearly dependent, equal cosines may not exist; the pseudoinverse then gives them in
    the sense of least squares, and conflicts may stay. Where it gives no direction at all, d = 0. Eigenvalues of C
    count as zero up to K ε of the largest, and up to the most negative one, which only rounding makes. A task whose
    gradient is zero is left out: its weight is 0.
    """

    name = "config"
    source = (
        "Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025"
    )
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})

    def weights(self, observation: Observation) -> Vector:
        given = directions(observation.gram)
        if not given.kept.any():
            return given.spread(given.lengths)
        values, vectors = np.linalg.eigh(given.cosines)
        range_ = values > max(len(values) * float(np.finfo(np.float64).eps) * values[-1], -values[0])
        values, vectors = values[range_], vectors[:, range_]
        ones = vectors.sum(axis=0)
        square = float(ones @ (ones / values))  # ‖U⁺ 1‖² = βᵀ C β
        if ones @ ones <= (len(given.lengths) * np.finfo(np.float64).eps) ** 2:  # U⁺ 1 = 0
            return given.spread(np.zeros_like(given.lengths))
        along = vectors @ ones  # ⟨uᵢ, U⁺ 1⟩
        return given.spread((given.lengths @ along) / square * (vectors @ (ones / values)) / given.lengths)
