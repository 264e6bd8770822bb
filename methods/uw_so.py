"""UW-SO: the optimal weights of uncertainty weighting, softened by a softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class SoftOptimalUncertainty(Method):
    """Soft optimal uncertainty weighting.

    For given losses, the optimum of uncertainty weighting has wᵢ proportional to 1/Lᵢ. Instead of learning the weights,
    UW-SO computes them by a softmax: w = softmax((1/L)/T), held constant, so Σ wᵢ = 1. The weights apply to the whole
    loss, heads included. As the smallest loss falls well below 1/T, it takes all the weight. The softmax uses the
    differences 1/Lᵢ − 1/min L in the form (min L − Lᵢ)/Lᵢ/min L, which cannot overflow to 0/0 or ∞ − ∞.

    The paper tunes T for every data set and network and has no default; T = 1 is that of published code.
    """

    name = "uw-so"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, GCPR 2024"
    search = {"temperature": "0.1:10:log"}

    temperature: Annotated[float, Field(gt=0, description="T: the higher, the more equal the weights")] = 1.0

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        smallest = observation.losses.min()
        with np.errstate(over="ignore"):  # exp(−∞) = 0 is the intended weight
            shares = np.exp((smallest - observation.losses) / observation.losses / smallest / self.temperature)
        return shares / shares.sum()
