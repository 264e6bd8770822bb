"""CR-MOGM: smooth another method's weights over the steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from mtlbench import Method, Observation, Vector, Wrapper
from mtlbench.contract.method import Property

LOST: frozenset[Property] = frozenset({"non-conflicting", "stationary"})
"""Properties that hold for the weights of a single step, but not for an average over steps."""


@dataclass
class CRMOGM(Wrapper):
    """Correlation-reduced multi-objective gradient manipulation: a moving average of the weights.

    With λ̂ the inner method's weights, the update is Σ λᵢ gᵢ with λ ← α λ + (1 − α) λ̂ (``smoothing`` is α); the first
    step uses λ̂ itself. Weights computed from the gradients of the same batch bias the direction; averaged weights
    depend less on that batch. Any method that returns weights can be wrapped. Where several weights yield the inner
    method's update (MGDA on linearly dependent gradients), the average uses those that its solver returns.

    Deviation: in the paper α grows towards 1 as the learning rate falls; here it is constant, by convention 0.9.
    """

    name = "cr-mogm"
    source = (
        "Zhou et al., On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond, NeurIPS 2022"
    )
    example = "pcgrad"
    search = {"smoothing": "0.5:0.99"}

    smoothing: Annotated[float, Field(ge=0, lt=1, description="decay α of the average weights at each step")] = 0.9

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
        wrapped = super().around(inner)
        wrapped.properties = inner.properties - LOST
        wrapped.state = "K" if inner.state == "none" else inner.state
        return wrapped

    def weights(self, observation: Observation) -> Vector:
        weights = super().weights(observation)
        average = weights if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * average + (1.0 - self.smoothing) * weights
        return self.smoothed.copy()

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        """Return ``None``: averaged weights satisfy the inner method's conditions at no particular step."""
        return None
