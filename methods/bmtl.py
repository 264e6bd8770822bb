"""BMTL: the sum of exponentials of the losses, which gives hard tasks more weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class BMTL(Method):
    """Balanced multi-task learning.

    The loss is Σ exp(Lᵢ/T), so wᵢ ∝ exp(Lᵢ/T): harder tasks count more. T → ∞ gives the plain sum, T → 0 the task with
    the largest loss. The weights apply to the whole loss, heads included.

    Deviation: w = K softmax(L/T). The gradient of the loss itself is about exp(max L/T)/T times larger; it overflows
    for small T, and its length would be a learning-rate schedule of its own.

    The rule was built from descriptions of the paper; its temperature was not checked.
    """

    name = "bmtl"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Liang and Zhang, A Simple General Approach to Balance Task Difficulty in Multi-Task Learning, arXiv 2020"
    search = {"temperature": "0.1:100:log"}

    temperature: Annotated[float, Field(gt=0, description="T: the higher, the more equal the weights")] = 1.0

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        return observation.tasks * softmax(observation.losses / self.temperature)
