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

    During a warm-up the loss is Σ log Lᵢ (wᵢ = 1/Lᵢ). The nadir zᵢ is the mean loss of task i over the last fifth of
    the warm-up. From then on the loss is::

        K μ log Σ exp(log(Lᵢ/zᵢ)/μ)        wᵢ = K softmax(log(L/z)/μ)ᵢ / Lᵢ

    which goes to K maxᵢ log(Lᵢ/zᵢ) as μ → 0. At μ = 1 it is K log Σ Lᵢ/zᵢ, so weights stay in proportion to 1/zᵢ. The
    loss as a whole is weighted, heads included.

    Deviation: the authors' code counts epochs: of 200, five have the warm-up's loss (``warmup`` is 4, and the fifth is
    the one whose mean gives the nadir). That is one step in 40, or 25 of a run of 1000 steps, since tasks with data of
    different sizes have no common epoch. The warm-up has to be long enough for the nadir not to be one batch's noise.
    The 10⁻²⁰ that the code adds inside logarithms is left out: a loss of exactly 0 counts as 10⁻⁸.
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
    warmup: Annotated[int, Field(ge=1, description="steps with the sum of log-losses; the last fifth give z")] = 25

    steps: int = field(default=0, init=False)
    total: Vector | None = field(default=None, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"

    def weights(self, observation: Observation) -> Vector:
        from scipy.special import softmax

        averaged = math.ceil(self.warmup / 5)
        if self.steps < self.warmup:
            self.steps += 1
            if self.steps > self.warmup - averaged:
                self.total = observation.losses + (0.0 if self.total is None else self.total)
            return 1.0 / observation.losses
        assert self.total is not None
        nadir = self.total / averaged
        return observation.tasks * softmax(np.log(observation.losses / nadir) / self.mu) / observation.losses
