"""STCH: a smooth maximum of the losses, each relative to its value early in training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class STCH(Method):
    """Smooth Tchebycheff scalarization, in the form of the paper's multi-task experiments.

    During a warm-up, the loss is Σ log Lᵢ (wᵢ = 1/Lᵢ). The nadir zᵢ is the mean loss of task i over the last fifth of
    the warm-up. After the warm-up, the loss is::

        K μ log Σ exp(log(Lᵢ/zᵢ)/μ)        wᵢ = K softmax(log(L/z)/μ)ᵢ / Lᵢ

    which tends to K maxᵢ log(Lᵢ/zᵢ) as μ → 0. At μ = 1 it is K log Σ Lᵢ/zᵢ, so the weights stay proportional to 1/zᵢ.
    The weights apply to the whole loss, heads included.

    Deviation: the authors' code counts epochs: of 200, five use the warm-up loss (its ``warmup`` is 4, and the mean of
    the fifth gives the nadir). Tasks with data sets of different sizes have no common epoch, so here the same share,
    one step in 40, is 25 steps of a run of 1000. The warm-up must be long enough to average out the noise of single
    batches in the nadir. The 10⁻²⁰ that the code adds inside logarithms is omitted: a loss of exactly 0 counts as 10⁻⁸.
    """

    name = "stch"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling", "loss-scale invariant"})
    source = "Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML 2024"
    search = {"mu": "0.1:10:log"}

    mu: Annotated[float, Field(gt=0, description="μ: the smaller, the closer to the maximum")] = 1.0
    warmup: Annotated[int, Field(ge=1, description="steps with the sum of log-losses; the last fifth yields z")] = 25

    steps: int = field(default=0, init=False)
    total: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        nadir_steps = math.ceil(self.warmup / 5)
        if self.steps < self.warmup:
            self.steps += 1
            if self.steps > self.warmup - nadir_steps:
                self.total = observation.losses + (0.0 if self.total is None else self.total)
            return 1.0 / observation.losses
        assert self.total is not None
        nadir = self.total / nadir_steps
        return observation.tasks * softmax(np.log(observation.losses / nadir) / self.mu) / observation.losses
