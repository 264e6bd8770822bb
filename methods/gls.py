"""GLS: the geometric mean of the losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class GLS(Method):
    """Geometric loss strategy.

    The loss is the geometric mean (Π Lᵢ)^(1/K), so wᵢ = (Π Lⱼ)^(1/K) / (K Lᵢ). Its direction is that of ``si``; its
    length falls with the losses. The mean is computed from logarithms, because the product in published code over- or
    underflows for large K.
    """

    name = "gls"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task "
        "Learning, CVPR Workshops 2019"
    )

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        logs = np.log(observation.losses)
        return np.exp(logs.mean() - logs) / observation.tasks
