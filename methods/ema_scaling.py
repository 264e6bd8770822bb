"""EMA scaling: every loss divided by its own running mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class EMAScaling(Method):
    """Exponential moving average loss scaling.

    wᵢ = 1/mᵢ with the running mean mᵢ ← d mᵢ + (1 − d) Lᵢ, which starts at the first loss and knows the step's own. The
    weights apply to the whole loss, heads included. Multiplying a loss by a constant changes nothing. With decay d = 0
    the method is ``si``.

    The card rests on the paper's abstract; whether its mean includes the step's own loss was not checked.
    """

    name = "ema-scaling"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling", "loss-scale invariant"})
    source = "Lakkapragada et al., Mitigating Negative Transfer in Multi-Task Learning with Exponential Moving Average Loss Weighting Strategies, arXiv 2211.12999, 2022"  # noqa: E501
    search = {"decay": "0/0.9/0.99/0.999"}

    decay: Annotated[float, Field(ge=0, lt=1, description="d: share of the past in the running mean")] = 0.9

    mean: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        losses = observation.losses
        self.mean = losses.copy() if self.mean is None else self.decay * self.mean + (1.0 - self.decay) * losses
        return 1.0 / self.mean
