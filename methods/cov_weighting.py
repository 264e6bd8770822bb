"""CoV-Weighting: more weight for losses that still vary, relative to their mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class CoVWeighting(Method):
    """Multi-loss weighting with coefficients of variation.

    A loss counts relative to the mean of its past, ℓᵢ = Lᵢ/mean(Lᵢ). Its coefficient of variation is cᵢ = standard
    deviation of ℓᵢ / mean of ℓᵢ, over the past steps, and w = c/Σ c. The weights apply to the whole loss, heads
    included. As in the authors' code, the weights of a step do not yet know its losses, and the first two steps have
    equal weights.

    ``decay`` is the share of the past in the running means after a step; by default every past step counts the same.

    Deviation: the authors' code adds 10⁻⁸ to the variance. Without it the weights do not depend on the units of the
    losses, and a loss that never varied gets no weight; if none has varied, the weights are equal.
    """

    name = "cov-weighting"
    reads = "losses"
    heads = "weighted"
    scale = "mean"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Groenendijk, Karaoglu, Gevers and Mensink, Multi-Loss Weighting with Coefficient of Variations, WACV 2021"

    decay: Annotated[
        float, Field(ge=0, lt=1, description="share of the past in running means; 0: all steps count the same")
    ] = 0.0

    steps: int = field(default=0, init=False)
    mean_loss: Vector | None = field(default=None, init=False)
    mean_ratio: Vector | None = field(default=None, init=False)
    variance: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        weights = np.full(observation.tasks, 1.0 / observation.tasks)
        if self.steps > 1 and self.variance is not None:
            variation = np.sqrt(self.variance) / self.mean_ratio
            weights = variation / variation.sum() if variation.any() else weights
        self._add(observation.losses)
        return weights

    def _add(self, losses: Vector) -> None:
        """Add one step's losses to the running statistics."""
        ratios = losses / (losses if self.mean_loss is None else self.mean_loss)
        past = 0.0 if self.steps == 0 else self.decay or self.steps / (self.steps + 1)
        if self.mean_loss is None or self.mean_ratio is None or self.variance is None:
            self.mean_loss, self.mean_ratio, self.variance = losses.copy(), ratios, np.zeros(len(losses))
        else:
            before = ratios - self.mean_ratio
            self.mean_ratio = past * self.mean_ratio + (1.0 - past) * ratios
            self.variance = past * self.variance + (1.0 - past) * before * (ratios - self.mean_ratio)
            self.mean_loss = past * self.mean_loss + (1.0 - past) * losses
        self.steps += 1
