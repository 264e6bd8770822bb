"""The plain sum with an update of length 1: what methods with an update of fixed length gain without balancing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector

EPS = float(np.finfo(np.float64).eps)


@dataclass
class UnitStepSum(Method):
    """Plain sum with a shared update of length 1.

    All tasks have the same weight, w = 1/‖Σ gⱼ‖, so the shared update is the direction of the sum: normalized gradient
    descent. A step of SGD is as long as the learning rate, however small the gradients become. Adam divides by an
    average over many steps, so its steps become shorter while the gradients do; here they do not. The heads descend
    their own losses, as under ``sum``.

    This is a control, not a way to balance tasks: it has the step rule of ``nash-mtl``, whose update has length √K
    before it is clipped to 1. Where ``nash-mtl`` beats ``sum`` and this does not, its weights are the reason. ``mean``
    has the same direction, but its length follows the gradients.

    Where the gradients cancel to the last of the Gram matrix's 16 digits, the sum has no direction, and all weights
    are 0.
    """

    name = "unit-step-sum"
    source = "Hazan, Levy and Shalev-Shwartz, Beyond Convexity: Stochastic Quasi-Convex Optimization, NeurIPS 2015"

    def weights(self, observation: Observation) -> Vector:
        lengths = np.sqrt(np.diagonal(observation.gram))
        scale = float(lengths.max()) or 1.0  # the square of a sum of long gradients overflows
        squared = float((observation.gram / scale / scale).sum())
        rounding = observation.tasks * EPS * float((lengths / scale).sum()) ** 2
        if squared <= rounding:
            return np.zeros(observation.tasks)
        return np.full(observation.tasks, 1.0 / (scale * np.sqrt(squared)))
