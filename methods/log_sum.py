"""The logarithm of the summed loss: what methods on log-losses gain without balancing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class LogSum(Method):
    """Logarithm of the sum of the losses.

    The loss is ln Σ Lⱼ, so all tasks have the same weight, w = 1/Σ Lⱼ, on the whole loss, heads included. The direction
    is that of ``sum``; the update becomes longer, relative to it, as the losses fall.

    This is a control, not a way to balance tasks: it is the step rule of sums of logarithms, such as ``si``, which
    descends Σ ln Lⱼ with the weights 1/Lᵢ, and of uncertainty weighting: with one uncertainty σ for all tasks, the
    minimum of Σ Lⱼ/(2σ²) + ln σ over σ is ½ ln Σ Lⱼ, up to a constant. Where those methods beat ``sum`` and this does
    not, their weights are the reason. The name does not stand for the wrapper ``log`` around ``sum``, which would be
    ``si``.

    A loss of exactly 0 counts as 10⁻⁸, as for ``si``, and a negative loss is an error.
    """

    name = "log-sum"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and "
        "Semantics, CVPR 2018 (with one uncertainty for all tasks)"
    )

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        return np.full(observation.tasks, 1.0 / observation.losses.sum())
