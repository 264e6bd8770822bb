"""CR-MOGM: another method's weights, smoothed over the steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from mtlbench import Method, Observation, Vector, Wrapper
from mtlbench.contract.method import Property

LOST: frozenset[Property] = frozenset({"non-conflicting", "stationary"})
"""What holds for the weights of one step's own gradients, and no longer for an average over steps."""


@dataclass
class CRMOGM(Wrapper):
    """Correlation-reduced multi-objective gradient manipulation: a moving average of the weights.

    With λ̂ the inner method's weights, the update is Σ λᵢ gᵢ with λ ← α λ + (1 − α) λ̂ (``smoothing`` is α), from λ̂
    itself at the first step. Weights that depend on the batch's own gradients give a biased direction; averaged ones
    depend on it less. Every method that returns weights can be wrapped. Where several weights give the inner method's
    update (MGDA on linearly dependent gradients), the average takes the ones that its solver found.

    Deviation: the paper lets α grow towards 1 as the learning rate falls; here it is constant, 0.9 by custom.
    """

    name = "cr-mogm"
    source = (
        "Zhou et al., On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond, NeurIPS 2022"
    )
    example = "pcgrad"
    search = {"smoothing": "0.5:0.99"}

    smoothing: Annotated[float, Field(ge=0, lt=1, description="how much of the average weights is kept at a step")] = (
        0.9
    )

    smoothed: Vector | None = field(default=None, init=False)

    @classmethod
    def accepts(cls, inner: type[Method]) -> str | None:
        if issubclass(inner, cls):
            return "the weights are smoothed already"
        if inner.returns != "weights" or not inner.joint:
            return f"{inner.name} gives no weights to its task gradients, so there is nothing to smooth"
        return None

    @classmethod
    def around(cls, inner: type[Method]) -> type[Method]:
        made = super().around(inner)
        made.properties = inner.properties - LOST
        made.state = "K" if inner.state == "none" else inner.state
        return made

    def weights(self, observation: Observation) -> Vector:
        found = super().weights(observation)
        kept = found if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * kept + (1.0 - self.smoothing) * found
        return self.smoothed.copy()

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """``None``: averaged weights meet the inner method's conditions for no step in particular."""
        return None
