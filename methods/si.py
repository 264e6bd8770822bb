"""SI: the sum of the log-losses, invariant to the scale of each loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mtlbench import Method, Observation, Vector


@dataclass
class ScaleInvariant(Method):
    """Scale-invariant baseline.

    The loss is Σ log Lᵢ (the baseline SI of the paper's experiments), so wᵢ = 1/Lᵢ: the units of a loss do not matter.
    As a loss goes to zero, its weight grows without bound. A loss of exactly 0 counts as 10⁻⁸, whereas published code
    adds a small number to every loss. A negative loss is an error.
    """

    name = "si"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling", "loss-scale invariant"})
    source = "Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        return 1.0 / observation.losses
