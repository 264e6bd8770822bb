"""Solvers of small convex problems on K × K matrices, in float64, with a check of the optimality conditions.

Most problems are posed on the unit gradients uᵢ = gᵢ/‖gᵢ‖ and their cosines Cᵢⱼ = Gᵢⱼ/(‖gᵢ‖‖gⱼ‖), so that neither the
scale of the gradients nor the spread of their norms matters.
"""

from mtlbench.solvers.balance import RIDGE, balanced, imbalance
from mtlbench.solvers.gram import TOLERANCE, Directions, directions, factor, solving
from mtlbench.solvers.nonnegative import cone_multipliers, cone_violation, min_norm_point, nearest_feasible

__all__ = [
    "RIDGE",
    "TOLERANCE",
    "Directions",
    "balanced",
    "cone_multipliers",
    "cone_violation",
    "directions",
    "factor",
    "imbalance",
    "min_norm_point",
    "nearest_feasible",
    "solving",
]
