"""The sum of the gradients' directions: balancing alone, without surgery."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench import Method, Observation, Vector
from mtlbench.solvers import directions


@dataclass
class NormalizedSum(Method):
    """Sum of the task gradients after scaling all to one length, their mean length.

    The shared update is m Σ gᵢ/‖gᵢ‖ with m the mean of the ‖gⱼ‖, so wᵢ = m/‖gᵢ‖. The heads descend their own losses. A
    task whose gradient is zero gets weight 0, and its length does not count in m.

    This is a control: balancing of the gradients' lengths alone, from one step's gradients and without any surgery.
    Where a method that also balances lengths beats ``sum`` and this does not, what it does beyond that is the reason.
    For two tasks its direction is that of ``imtl-g`` and ``nash-mtl``; for more it is theirs where all cosines are
    equal. ``imtl-g`` takes shorter steps (Σ wᵢ = 1), and ``nash-mtl`` steps of fixed length. ``metabalance[relax=1]``
    scales moving averages of the lengths to that of its main task, and ``db-mtl`` those of log-losses to the longest.
    """

    name = "normalized-sum"
    scale = "sum"
    properties = frozenset({"homogeneous"})
    source = (
        "Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018 (gradients of unit "
        "length, as in its code)"
    )

    def weights(self, observation: Observation) -> Vector:
        units = directions(observation.gram)
        if not units.kept.any():
            return units.spread(units.lengths)
        return units.spread(units.lengths.mean() / units.lengths)
