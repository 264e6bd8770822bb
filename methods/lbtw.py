"""LBTW: weights from the share of its first loss that every task still has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class LBTW(Method):
    """Loss-balanced task weighting.

    With the ratios rᵢ = Lᵢ/Lᵢ(0) of each loss to its value at the start, w = K r^α / Σ r^α, so Σ wᵢ = K. Tasks that
    have improved less get more weight; α = 0 gives equal weights. The weights apply to the whole loss, heads included.

    Deviation: the authors' code takes L(0) anew from the first batch of every epoch, which restarts the weights at 1.
    Tasks with data sets of different sizes have no common epoch; ``renew`` says after how many steps this happens. By
    default it never does, as in a training of one epoch.
    """

    name = "lbtw"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = (
        "Liu, Liang and Gitter, Loss-Balanced Task Weighting to Reduce Negative Transfer in Multi-Task Learning, "
        "AAAI 2019, student abstract"
    )
    search = {"alpha": "0.1:2:log"}

    alpha: Annotated[float, Field(ge=0, description="α: exponent of the ratios; 0: equal weights")] = 0.5
    renew: Annotated[int, Field(ge=0, description="steps after which the losses are first ones again; 0: never")] = 0

    steps: int = field(default=0, init=False)
    first: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        if self.first is None or (self.renew and self.steps % self.renew == 0):
            self.first = observation.losses.copy()
        self.steps += 1
        ratios = (observation.losses / self.first) ** self.alpha
        return observation.tasks * ratios / ratios.sum()
