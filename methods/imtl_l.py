"""IMTL-L: learn a factor for each loss that brings all losses to the same scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, UsageError, Vector
from mtlbench.solvers.adam import Adam


@dataclass
class IMTLL(Method):
    """Impartial multi-task learning, the loss balance.

    The loss is Σ e^(sᵢ) Lᵢ − sᵢ, where sᵢ is learned starting from 0. Hence wᵢ = e^(sᵢ) tends to 1/Lᵢ, and every
    weighted loss to 1. This is ``uw`` with −s instead of s and twice the loss. The weights of a step use s before its
    update, as in one backward pass through the loss, and apply to the whole loss, heads included. Negative losses are
    an error: the loss then has no minimum in s.

    Deviation: the paper trains s with the network's optimizer; here s has its own Adam with learning rate .025, as in
    ``uw``.
    """

    name = "imtl-l"
    reads = "losses"
    heads = "weighted"
    scale = "sum"
    state = "K"
    properties = frozenset({"homogeneous", "linear under scaling"})
    source = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"
    search = {"lr": "0.0025:0.25:log"}

    lr: Annotated[float, Field(gt=0, description="learning rate of the log-factors s")] = 0.025

    log_factors: Vector | None = field(default=None, init=False)
    adam: Adam = field(default_factory=Adam, init=False)

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "any"

    def weights(self, observation: Observation) -> Vector:
        if (observation.losses < 0.0).any():
            raise UsageError(f"method imtl-l needs losses that are not negative: {observation.losses.tolist()}")
        s = np.zeros(observation.tasks) if self.log_factors is None else self.log_factors
        weights = np.exp(s)
        self.log_factors = self.adam.step(s, weights * observation.losses - 1.0, self.lr)
        return weights
