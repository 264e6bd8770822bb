"""Log: apply another method to the gradients of the log-losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtlbench import Method, Observation, UsageError, Vector, Wrapper


@dataclass
class Log(Wrapper):
    """Logarithms of the losses, so that scaling a loss changes nothing.

    The inner method observes the gradients of log Lᵢ, which are gᵢ/Lᵢ, by their inner products Gᵢⱼ/(LᵢLⱼ). With its
    weights wᵢ, the update is Σ wᵢ gᵢ/Lᵢ; the heads descend log Lᵢ too. Where the inner method's update improves every
    log Lᵢ, or vanishes at Pareto-stationary points, so does this one. Any method that reads inner products over all
    shared parameters, and no losses, can be wrapped.
    """

    name = "log"
    source = "Lin et al., Dual-Balancing for Multi-Task Learning, 2023 (log losses in other methods)"
    heads = "log"
    example = "mgda"

    def __post_init__(self) -> None:
        super().__post_init__()
        if super().reads_losses != "no" or self.gram_of != "shared":
            raise UsageError(
                f"method {self.spec}: the inner method must read nothing but inner products over all shared parameters"
            )

    @classmethod
    def accepts(cls, inner: type[Method]) -> str | None:
        if issubclass(inner, cls):
            return "the losses are logarithms already"
        if inner.reads != "gram" or not inner.joint:
            return f"{inner.name} does not read inner products of the task gradients, so it cannot be told other ones"
        return None

    @classmethod
    def around(cls, inner: type[Method]) -> type[Method]:
        wrapped = super().around(inner)
        wrapped.properties = inner.properties | {"loss-scale invariant"}
        return wrapped

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        return super().weights(_of_logarithms(observation)) / observation.losses

    def residual(self, observation: Observation, weights: Vector) -> float | None:
        return super().residual(_of_logarithms(observation), weights * observation.losses)


def _of_logarithms(observation: Observation) -> Observation:
    return observation.replace(gram=observation.gram / np.outer(observation.losses, observation.losses))
